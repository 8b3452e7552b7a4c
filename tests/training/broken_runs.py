"""Runs that are broken off at every place where they can be, and gone on with; what they leave is compared."""

import copy
import csv
import math
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import lightning
import torch
from lightning.pytorch.callbacks import Callback

from lit_listener.data.shapes import ShapesTraces
from lit_listener.training import TraceSFT
from lit_listener.training.callbacks import SampleTable
from lit_listener.training.listener_grpo import Updates
from lit_listener.training.run.checkpoints import RunCheckpoint
from lit_listener.training.run.metrics_file import MetricsFile
from lit_listener.training.schedule import Schedule
from lit_listener.vlm.rollout import Sampling
from tests.training.tiny_runs import BLANK, Babble, Seen, data, grpo, pairs, trainer

How = Literal["killed", "error", "ctrl-c", "asked"]
"""Dead at once; an exception; a Ctrl-C that is not taken over; asked to stop where nothing is lost.

A run that is dead leaves its folder and nothing else: what it would leave is copied from one run that goes on.
"""

HOOKS = (
    "on_train_epoch_start",
    "on_train_batch_start",
    "on_before_optimizer_step",
    "on_train_batch_end",
    "on_validation_start",
    "on_validation_batch_end",
    "on_validation_end",
    "on_train_epoch_end",
    "on_train_end",
)


class Break(Callback):
    """Breaks training off when any hook is called for the n-th time."""

    def __init__(self, at: int | None, how: How) -> None:
        self.at = at
        self.how = how
        self.calls: list[str] = []
        for hook in HOOKS:
            setattr(self, hook, self._at(hook))

    def _at(self, hook: str) -> Any:
        def called(trainer: lightning.Trainer, module: Any, *args: Any) -> None:
            self.calls.append(hook)
            self._reached(trainer, module)

        return called

    def _reached(self, trainer: lightning.Trainer, module: Any) -> None:
        if len(self.calls) != self.at:
            return
        if self.how == "asked":
            module.stop_requested = True
        else:
            raise OSError("broken") if self.how == "error" else KeyboardInterrupt


class Copies(Break):
    """Breaks nothing off; keeps what the run would leave if it were killed at each call."""

    def __init__(self, folder: Path) -> None:
        super().__init__(None, "killed")
        self.folder = folder
        self.at_calls: list[Path | None] = []
        """A copy of the run's folder for each call, one for all calls between which nothing was written; None where
        there is no checkpoint to go on from."""
        self._made: dict[Any, Path] = {}

    def _reached(self, trainer: lightning.Trainer, module: Any) -> None:
        for logger in trainer.loggers:
            logger.flush()  # type: ignore[attr-defined]  # rows that the checkpoint does not know of may be on the disk
        run = Path(trainer.default_root_dir)
        if not (run / "checkpoints" / "last.ckpt").exists():
            self.at_calls.append(None)
            return
        files = {path: path.stat() for path in sorted(run.rglob("*")) if path.is_file()}
        written = tuple((path, found.st_ino, found.st_size, found.st_mtime_ns) for path, found in files.items())
        if written not in self._made:
            self._made[written] = copied(run, self.folder / str(len(self._made)))
        self.at_calls.append(self._made[written])


def copied(run: Path, folder: Path) -> Path:
    """A copy of a run's folder. Checkpoints are linked, since a run replaces them and never writes into them."""

    def copy(source: str, target: str) -> None:
        if source.endswith(".ckpt"):
            os.link(source, target)
        else:
            shutil.copy2(source, target)

    shutil.copytree(run, folder, copy_function=copy)
    return folder


@dataclass(frozen=True)
class Setting:
    """A run of 6 pairs in batches of 2: three batches an epoch."""

    steps: int = 5
    sft: bool = False
    baseline: Callable[..., Any] | None = None
    """Makes another module than GRPO's, one that needs no traces."""
    updates: Updates = Updates()  # noqa: RUF009  # frozen
    num_workers: int = 0
    every: int = 1
    best: int = 1
    validated: bool = True
    trainer: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    """Further ones of the model."""
    data: dict[str, Any] = field(default_factory=dict)

    def module(self) -> Any:
        schedule = Schedule("linear", 3) if self.steps > 0 else Schedule()
        if self.baseline is not None:
            return self.baseline(policy=BLANK, optimizer=adam, schedule=schedule)
        if self.sft:
            return TraceSFT(BLANK, task=Babble(), sampling=Sampling(4), optimizer=adam, schedule=schedule)
        settings: dict[str, Any] = {"updates": self.updates, "group_size": 2, "sampling": Sampling(4), **self.options}
        return grpo(optimizer=adam, schedule=schedule, **copy.deepcopy(settings))

    def fit(self, folder: Path, *callbacks: Callback, resume: bool = False, **options: Any) -> Any:
        """Train, or go on in the same folder. Returns the module."""
        lightning.seed_everything(99 if resume else 0, verbose=False)  # streams must come from the checkpoint
        sources: dict[str, Any] = {"num_workers": self.num_workers, "eval_batch_size": 1, **self.data}
        if self.validated:
            sources["validation"] = {"near": pairs(2, split="validation"), "far": pairs(1, split="validation", seed=1)}
        if self.sft:
            sources["traces"] = ShapesTraces({"thorough": 0.5, "hasty": 0.5})
        module = self.module()
        run = trainer(
            folder,
            options.pop("steps", self.steps),
            *callbacks,
            RunCheckpoint(self.every, self.best, monitor="val/unparsable_share"),
            SampleTable(every_n_steps=2, show=False),
            logger=MetricsFile(folder),
            enable_checkpointing=True,
            **{**self.trainer, **options},
        )
        path = folder / "checkpoints" / "last.ckpt" if resume else None
        run.fit(module, data(6, batch_size=2, **sources), ckpt_path=path, weights_only=True if resume else None)
        return module


def adam(parameters: Any) -> torch.optim.Optimizer:
    """Has a memory, which has to be resumed too."""
    return torch.optim.AdamW(parameters, lr=1e-3)


def left_by(folder: Path) -> dict[str, Any]:
    """All that a run leaves, but for how long it took."""
    with (folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    timed = ("time/", "throughput/")
    samples = folder / "samples.csv"
    return {
        "metrics": [{key: value for key, value in row.items() if not key.startswith(timed)} for row in rows],
        "samples": samples.read_bytes() if samples.exists() else None,
        **{path.name: torch.load(path, weights_only=True) for path in sorted((folder / "checkpoints").glob("*.ckpt"))},
    }


def differences(one: Any, other: Any, place: str = "") -> Iterator[str]:
    """Where two records differ, to the last bit."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        if not torch.equal(one, other):
            yield place
    elif isinstance(one, dict) and isinstance(other, dict):
        for key in {**one, **other}:
            yield from differences(one.get(key, "-"), other.get(key, "-"), f"{place}/{key}")
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        for number, pair in enumerate(zip(one, other, strict=True)):
            yield from differences(*pair, f"{place}/{number}")
    elif one != other and not all(isinstance(value, float) and math.isnan(value) for value in (one, other)):
        yield f"{place}: {one!r} and {other!r}"


def break_and_go_on(setting: Setting, folder: Path, at: int, how: How) -> tuple[str, dict[str, Any] | None]:
    """Break a run off at one place, and go on.

    Returns:
        the hook where it was broken off, and what the run left in the end; None if there was nothing to go on from.
    """
    shutil.rmtree(folder, ignore_errors=True)
    breaking = Break(at, how)
    try:
        setting.fit(folder, breaking)
    except (OSError, SystemExit):
        if not (folder / "checkpoints" / "last.ckpt").exists():
            return breaking.calls[-1], None
        return breaking.calls[at - 1], go_on(setting, folder)
    return breaking.calls[at - 1], left_by(folder)


def go_on(setting: Setting, folder: Path) -> dict[str, Any]:
    """Go on with what a run has left. Returns what it leaves in the end."""
    setting.fit(folder, seen := Seen(), resume=True)
    assert len(seen.batches) <= setting.steps or setting.steps < 0
    return left_by(folder)
