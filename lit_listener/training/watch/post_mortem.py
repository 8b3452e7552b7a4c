"""A post-mortem: what a step had before it, and had made of it, when something in it was not finite.

``RUN_DIR/post_mortem/step-<n>`` holds ``batch.json`` to read, ``tensors.pt`` to compute with, and the images; n is the
number of optimizer steps that were made before. Weights are not part of it: the run's last checkpoint has them.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from lit_listener.data.shown import Shown
from lit_listener.tasks import Transcript
from lit_listener.training.reasoner import Reasoner
from lit_listener.training.step_report import StepTrail
from lit_listener.training.watch.shown_files import read_shown, write_shown
from lit_listener.vlm.saving import whole_folder

_BATCH = "batch.json"
_TENSORS = "tensors.pt"


@dataclass(frozen=True)
class CompletionRecord:
    """One completion and what became of it; None: the step had not come so far."""

    pair: int
    """Which of the step's pairs it answers, from 0."""
    ids: tuple[int, ...]
    """Its tokens, without the end token."""
    text: str
    outcome: str | None = None
    answer: int | None = None
    """None too where no answer could be read."""
    p_correct: float | None = None
    """None too where there was nothing for the listener to hear."""
    reward: float | None = None
    advantage: float | None = None


@dataclass(frozen=True, eq=False)
class PostMortemRecord:
    """All that was written of a broken step."""

    step: int
    """Optimizer steps made before it."""
    rank: int
    error: str
    shown: tuple[Shown, ...]
    completions: tuple[CompletionRecord, ...]
    """A pair's side by side; empty where the step had not come so far."""
    metrics: dict[str, float]
    tensors: dict[str, Tensor]
    """What the step computed, by names such as ``reference.log_probs_NT``."""


class PostMortem(Callback):
    """Writes down the batch of a step in which something was not finite, in a folder of the run, and says where."""

    def __init__(self) -> None:
        self._batch: Sequence[Any] = ()
        self._trail_before: StepTrail | None = None

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Keep the batch at hand: a step that breaks early has the trail of the last one still."""
        self._batch = batch
        self._trail_before = getattr(pl_module, "trail", None)

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Write, on every rank that broke; a disk that is full must not hide the error itself."""
        if not isinstance(exception, FloatingPointError) or not isinstance(pl_module, Reasoner):
            return
        trail = getattr(pl_module, "trail", None)
        if trail is None or trail is self._trail_before:
            trail = StepTrail()
        shown = tuple(getattr(record, "shown", record) for record in trail.shown or self._batch)
        of_rank = f"-rank-{trainer.global_rank}" if trainer.world_size > 1 else ""
        folder = Path(trainer.default_root_dir) / "post_mortem" / f"step-{trainer.global_step}{of_rank}"
        record = PostMortemRecord(
            step=trainer.global_step,
            rank=trainer.global_rank,
            error=str(exception),
            shown=shown,
            completions=tuple(_completions(pl_module, trail, len(shown))),
            metrics=trail.metrics or {},
            tensors=_tensors(trail),
        )
        try:
            write_post_mortem(record, folder)
        except OSError as error:
            rank_zero_warn(f"the post-mortem could not be written: {error}")
        else:
            rank_zero_warn(
                f"step {record.step} broke: what it showed, its completions and tensors are in {folder}; "
                "lit_listener.training.watch.post_mortem.read_post_mortem reads them back"
            )


def write_post_mortem(record: PostMortemRecord, folder: Path) -> None:
    """Write a record as a folder that is there whole or not at all; an earlier one of that name is replaced."""
    with whole_folder(folder) as beside:
        batch = {
            "step": record.step,
            "rank": record.rank,
            "error": record.error,
            "shown": [write_shown(shown, n, beside) for n, shown in enumerate(record.shown)],
            "completions": [asdict(completion) for completion in record.completions],
            "metrics": record.metrics,
        }
        text = json.dumps(_spelled(batch), indent=1, ensure_ascii=False, allow_nan=False)
        (beside / _BATCH).write_text(text, encoding="utf-8")
        torch.save(record.tensors, beside / _TENSORS)


def read_post_mortem(folder: str | Path) -> PostMortemRecord:
    """Read a post-mortem back, images and all.

    Raises:
        FileNotFoundError: there is none in the folder.
    """
    folder = Path(folder)
    if not (folder / _BATCH).is_file():
        raise FileNotFoundError(f"there is no {_BATCH} in {folder}; expected a folder RUN_DIR/post_mortem/step-<n>")
    batch = json.loads((folder / _BATCH).read_text(encoding="utf-8"))
    return PostMortemRecord(
        step=batch["step"],
        rank=batch["rank"],
        error=batch["error"],
        shown=tuple(read_shown(saved, folder) for saved in batch["shown"]),
        completions=tuple(_read_completion(completion) for completion in batch["completions"]),
        metrics={name: float(value) for name, value in batch["metrics"].items()},
        tensors=torch.load(folder / _TENSORS, weights_only=True),
    )


def _completions(module: Reasoner, trail: StepTrail, pairs: int) -> Iterator[CompletionRecord]:
    """The completions as far as the step came."""
    if trail.completions is None or not pairs:
        return
    ids = trail.completions.content_ids()
    transcripts: Iterator[Transcript | None] = chain(trail.transcripts or (), repeat(None))
    for n, (tokens, transcript) in enumerate(zip(ids, transcripts, strict=False)):
        heard = trail.rewards is not None and trail.heard is not None and bool(trail.heard.readable_N[n])
        yield CompletionRecord(
            pair=n * pairs // len(ids),
            ids=tuple(tokens),
            text=b"".join(module.reader.token_bytes(tokens)).decode(errors="replace"),
            outcome=str(transcript.outcome) if transcript else None,
            answer=transcript.answer if transcript else None,
            p_correct=float(trail.rewards.p_correct_N[n]) if heard and trail.rewards else None,
            reward=float(trail.rewards.total_N[n]) if trail.rewards else None,
            advantage=None if trail.advantages_N is None else float(trail.advantages_N[n]),
        )


def _tensors(trail: StepTrail) -> dict[str, Tensor]:
    """Every tensor of the trail, on the CPU, under the name of its place."""
    named: dict[str, Any] = {}
    for part in fields(trail):
        value = getattr(trail, part.name)
        named[part.name] = value
        if is_dataclass(value):
            named |= {f"{part.name}.{inner.name}": getattr(value, inner.name) for inner in fields(value)}
    return {name: value.detach().cpu().clone() for name, value in named.items() if isinstance(value, Tensor)}


def _read_completion(saved: dict[str, Any]) -> CompletionRecord:
    numbers = ("p_correct", "reward", "advantage")
    read = {name: None if saved[name] is None else float(saved[name]) for name in numbers}
    return CompletionRecord(**{**saved, **read, "ids": tuple(saved["ids"])})


def _spelled(value: Any) -> Any:
    """The same with "nan" and "inf" spelled out, for which JSON has no numbers."""
    if isinstance(value, dict):
        return {key: _spelled(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_spelled(part) for part in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
