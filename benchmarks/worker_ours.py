"""Our side: ListenerGRPO under Lightning's Trainer. Run as ``python -m benchmarks.worker_ours JOB``."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback

from benchmarks.bounds import measured_bounds
from benchmarks.measure import MovedWeight, finished, peak
from benchmarks.pairs import Link
from benchmarks.shapes import TEMPLATE, Job, pairs
from lit_listener.data.records import PairSource, PreferencePair
from lit_listener.data.shown import ShownPair
from lit_listener.tasks import Outcome, PairwisePreference, Transcript
from lit_listener.training import ListenerGRPO, PreferenceData
from lit_listener.training.grpo_options import RewardWeights
from lit_listener.vlm.listeners import Listener, ModelListener, ReferenceListener
from lit_listener.vlm.rollout import Sampling
from lit_listener.vlm.specs import LoraSpec, PolicySpec

PARTS = ("rollout_s", "reference_s", "update_s")


class Listed(PairSource):
    """Given pairs."""

    def __init__(self, listed: Sequence[PreferencePair]) -> None:
        self._listed = listed

    def __len__(self) -> int:
        return len(self._listed)

    def __getitem__(self, index: int) -> PreferencePair:
        return self._listed[index]


class LastTokenAnswers(PairwisePreference):
    """Takes the last token for the answer's place: random weights write no answer, and a listener shall hear it all.

    Form and answer follow from the bytes, so that rewards differ within a group.
    """

    def __init__(self) -> None:
        super().__init__(template=TEMPLATE, system=None)

    def parse(self, token_bytes: Sequence[bytes], *, truncated: bool) -> Transcript:
        """A transcript that can always be heard."""
        text = b"".join(token_bytes)
        return Transcript(
            text=text.decode(errors="replace"),
            outcome=Outcome.OK if sum(text) % 3 else Outcome.NO_THINK,
            think=None,
            answer=sum(text) % 2,
            answer_token=len(token_bytes) - 1,
        )


class EndlessGRPO(ListenerGRPO):
    """GRPO whose completions never end early: their end token is one that is never sampled."""

    def configure_model(self) -> None:
        """Load, then make the image placeholder the end token."""
        if self.models is not None:
            return
        super().configure_model()
        image_token = self.reader.tokenizer.convert_tokens_to_ids("<|image_pad|>")
        self.policy.vocabulary = replace(self.policy.vocabulary, end_ids=(image_token,))


class TakesTurns(Callback):
    """Waits for the parent's word after every step, and tells what the step took."""

    def __init__(self, link: Link, job: Job) -> None:
        self._link = link
        self._job = job
        self._started = 0.0
        self._prompt_tokens = 0
        self.moved: MovedWeight | None = None

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Count a question's tokens, and wait for the first step."""
        shown = ShownPair(pairs(self._job.shape)[0], "a", 0)
        encoded = pl_module.reader.encoder.encode([pl_module.task.encode(shown)])
        self._prompt_tokens = int(encoded.lengths_P.sum())
        self.moved = MovedWeight(pl_module.policy)
        self._link.tell({"kind": "ready"})
        self._wait(trainer)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """A step is over."""
        finished(pl_module.device)
        seconds = perf_counter() - self._started
        logged = trainer.callback_metrics
        self._link.tell(
            {
                "kind": "step",
                "step_s": seconds,
                **{part: float(logged[f"time/{part}"]) for part in PARTS},
                "prompt_tokens": self._prompt_tokens * len(batch) * pl_module.group_size,
                "completion_tokens": int(pl_module.trail.completions.mask_NT.sum()),
                "rollouts": int(pl_module.trail.completions.mask_NT.shape[0]),
            }
        )
        self._wait(trainer)

    def _wait(self, trainer: Any) -> None:
        if not self._link.wait():
            trainer.should_stop = True
        self._started = perf_counter()


def listener_of(job: Job) -> Listener:
    """Who listens: the reference, or the same weights loaded once more, in a pass of their own."""
    if job.listener == "model":
        return ModelListener(job.folder, context="reasoner", dtype=job.shape.dtype)
    return ReferenceListener()


def module_of(job: Job) -> EndlessGRPO:
    """The module as a user would make it."""
    shape = job.shape
    return EndlessGRPO(
        policy=PolicySpec(
            job.folder,
            lora=None if shape.lora_rank is None else LoraSpec(shape.lora_rank),
            train_vision=job.vision == "trained",
            dtype=shape.dtype,
            quantization=shape.quantization,
            gradient_checkpointing=shape.gradient_checkpointing,
        ),
        task=LastTokenAnswers(),
        sampling=Sampling(max_new_tokens=shape.new_tokens),
        listener=listener_of(job),
        group_size=shape.group_size,
        reward=RewardWeights(listener=0.0 if job.listener == "none" else 0.5),
        optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=1e-5, weight_decay=0.0, fused=True),
    )


def main(job: Job) -> None:
    """Train until the parent has seen enough."""
    link = Link()
    torch.manual_seed(0)
    shape = job.shape
    turns = TakesTurns(link, job)
    module = module_of(job)
    trainer = lightning.Trainer(
        max_epochs=-1,
        accelerator="gpu" if shape.device == "cuda" else "cpu",
        devices=1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        callbacks=[turns],
    )
    trainer.fit(module, PreferenceData(Listed(pairs(shape)), batch_size=shape.prompts))
    assert turns.moved is not None
    end = {"kind": "end", **peak(shape.device)}
    end["moved"] = turns.moved.distance()
    if job.bounds:
        end["bounds"] = measured_bounds(module.policy.model, shape, job.vision)
    link.tell(end)


if __name__ == "__main__":
    main(Job.from_json(sys.argv[1]))
