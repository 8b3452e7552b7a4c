"""A tiny training: the untrained bundled model, and a task that reads an answer out of whatever it babbles.

An untrained model never keeps the answer's form, so that all its rewards would be 0 and nothing would be learnt. The
babbling task gives every completion rewards of its own, by the bytes that were written; and a third of the vocabulary
ends a completion, so that lengths differ.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from lit_listener.data.records import PairSource, PreferencePair
from lit_listener.data.shapes import ShapesPairs
from lit_listener.data.shown import ShownPair
from lit_listener.tasks import Outcome, PairwisePreference, Transcript
from lit_listener.training import ListenerGRPO, PreferenceData
from lit_listener.vlm.rollout import Sampling
from lit_listener.vlm.specs import PolicySpec

TEMPLATE = "{prompt}. first {image_0} second {image_1} Which is better, 0 or 1?"
BLANK = PolicySpec("shapes-blank")


class Babble(PairwisePreference):
    """Reads any completion: its bytes decide answer and form; every fifth cannot be read."""

    def __init__(self) -> None:
        super().__init__(template=TEMPLATE, system=None)

    def parse(self, token_bytes: Sequence[bytes], *, truncated: bool) -> Transcript:
        text = b"".join(token_bytes)
        digest = sum(text)
        readable = bool(token_bytes) and digest % 5 != 0
        return Transcript(
            text=text.decode(errors="replace"),
            outcome=Outcome.OK if digest % 3 else Outcome.NO_THINK,
            think=f"{text.decode(errors='replace')} the first is better." if digest % 7 else None,
            answer=digest % 2 if readable else None,
            answer_token=digest % len(token_bytes) if readable else None,
        )


class BabblingGRPO(ListenerGRPO):
    """GRPO whose completions end early, at unequal lengths, and which keeps what its last step used."""

    def configure_model(self) -> None:
        if self.models is not None:
            return
        super().configure_model()
        vocabulary = self.policy.vocabulary
        self.policy.vocabulary = replace(vocabulary, end_ids=tuple(range(0, vocabulary.size, 6)))


class Listed(PairSource):
    """Given pairs."""

    def __init__(self, pairs: Sequence[PreferencePair]) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> PreferencePair:
        return self.pairs[index]


class Seen(Callback):
    """Notes the pairs of every batch that was trained on."""

    def __init__(self) -> None:
        self.batches: list[list[tuple[int, int, str]]] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        shown = [getattr(record, "shown", record) for record in batch]
        self.batches.append([(pair.epoch, pair.index, pair.first) for pair in shown])


def sgd(parameters: Any) -> torch.optim.Optimizer:
    """Steps by the gradient itself: a wrong scale shows, which Adam would hide."""
    return torch.optim.SGD(parameters, lr=0.02)


def pairs(size: int = 8, **options: Any) -> ShapesPairs:
    return ShapesPairs(["flat", "paper"], size=size, **options)


def shown(count: int, *, first: str = "ab") -> list[ShownPair]:
    source = pairs(count)
    return [ShownPair(source[n], first[n % len(first)], n) for n in range(count)]  # type: ignore[arg-type]


def grpo(kind: type[ListenerGRPO] = BabblingGRPO, **options: Any) -> Any:
    settings: dict[str, Any] = {
        "policy": BLANK,
        "task": Babble(),
        "sampling": Sampling(max_new_tokens=8),
        "group_size": 3,
        "optimizer": sgd,
        "gradient_clip_norm": float("inf"),
    }
    return kind(**{**settings, **options})


def data(train: int | PairSource = 8, *, batch_size: int = 4, **options: Any) -> PreferenceData:
    source = pairs(train) if isinstance(train, int) else train
    return PreferenceData(source, batch_size=batch_size, **options)


def trainer(folder: Path, max_steps: int, *callbacks: Callback, **options: Any) -> lightning.Trainer:
    settings: dict[str, Any] = {
        "default_root_dir": folder,
        "max_steps": max_steps,
        "accelerator": "cpu",
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": any(isinstance(c, lightning.pytorch.callbacks.Checkpoint) for c in callbacks),
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 1,
        "callbacks": list(callbacks),
    }
    return lightning.Trainer(**{**settings, **options})


def weights(module: lightning.LightningModule) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in module.named_parameters()}
