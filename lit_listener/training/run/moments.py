"""The moment between two batches that a run can go on from, as Lightning's loops and random streams know it.

A checkpoint holds the weights as they are when it is written, and the loops as they were when the last batch had
ended: a batch that was broken off is given out again, and so is a validation. Lightning's own record would have the
loader past that batch and skip a validation that is due after it; and the row that is logged last would be missing.
"""

import random
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor

_VALIDATION = "epoch_loop.val_loop.batch_progress"
_NONE_YET = {"ready": 0, "completed": 0, "started": 0, "processed": 0}
_PYTHON_STATE_VERSION = 3
_RECORDED = ("rollouts", "logged_as", "validation_due", "rows")


@dataclass(frozen=True)
class Moment:
    """Where a run stood when its last batch had ended."""

    loops: dict[str, Any]
    """State of Lightning's loops and of the loader."""
    rng: Tensor
    """Random streams of this process, as bytes."""
    rollouts: int
    """Batches done."""
    steps: int
    """Optimizer steps made."""
    logged_as: int
    """Lightning's number of the next batch in logs."""
    validation_due: bool
    """Whether a validation is to come before the next batch."""
    rows: int | None = None
    """Rows of ``metrics.csv``; None until the batch's own row is logged."""

    @classmethod
    def of_start(cls, trainer: lightning.Trainer, rows: int) -> "Moment":
        """Before the first batch."""
        return cls(deepcopy(trainer.fit_loop.state_dict()), streams(), 0, trainer.global_step, 0, False, rows)

    @classmethod
    def of_record(cls, record: Mapping[str, Any], loops: dict[str, Any], steps: int, rng: Tensor) -> "Moment":
        """From a checkpoint."""
        return cls(loops, rng, steps=steps, **{name: record[name] for name in _RECORDED})

    def record(self) -> dict[str, Any]:
        """What a checkpoint has no other place for."""
        return {name: getattr(self, name) for name in _RECORDED}

    @classmethod
    def of_batch_end(cls, trainer: lightning.Trainer) -> "Moment":
        """When the hooks of a batch's end are called: its row is not logged yet."""
        loop: Any = trainer.fit_loop.epoch_loop
        loops = deepcopy(trainer.fit_loop.state_dict())
        for counts in (loops["epoch_loop.batch_progress"][scope] for scope in ("total", "current")):
            counts.update(started=counts["ready"], processed=counts["ready"], completed=counts["ready"])
        due = loop._should_check_val_fx(trainer.fit_loop._data_fetcher) and sum(trainer.num_val_batches) > 0
        done = loops["epoch_loop.batch_progress"]["total"]["ready"]
        moment = cls(loops, streams(), done, trainer.global_step, loop._batches_that_stepped + 1, False)
        return moment.with_validation(due=due)

    def with_validation(self, *, due: bool) -> "Moment":
        """The same moment, a validation being due or not.

        Lightning makes up for a validation, and for the count that follows it, if its record looks as if one batch of
        it had begun.
        """
        loops = deepcopy(self.loops)
        begun = {**_NONE_YET, "ready": 1, "started": 1} if due else _NONE_YET
        loops[_VALIDATION] = {"total": dict(begun), "current": dict(_NONE_YET), "is_last_batch": False}
        loops["epoch_loop.state_dict"]["_batches_that_stepped"] = self.logged_as - due
        return replace(self, loops=loops, validation_due=due)

    def loops_with_steps(self, trainer: lightning.Trainer) -> dict[str, Any]:
        """The loops' state with the optimizer steps made since, which stay made."""
        loops = deepcopy(self.loops)
        made = deepcopy(trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress.state_dict())
        for counts in made.values():
            counts["ready"] = counts["completed"]  # one may have broken off
        loops["epoch_loop.manual_optimization.optim_step_progress"] = made
        return loops


def streams() -> Tensor:
    """The states of all random streams that libraries share in this process: bytes, as many in every process."""
    _, keys, place, has_gauss, gauss = np.random.get_state(legacy=True)  # noqa: NPY002  # libraries draw from it
    version, words, normal = random.getstate()
    if version != _PYTHON_STATE_VERSION:
        raise RuntimeError(f"cannot keep Python's random stream: expected a state of version 3, got {version}")
    numbers = np.array([place, has_gauss, gauss, float("nan") if normal is None else normal], np.float64)
    parts = [
        torch.get_rng_state(),
        torch.from_numpy(np.asarray(keys, np.uint32).view(np.uint8).copy()),
        torch.from_numpy(np.array(words, np.uint32).view(np.uint8).copy()),
        torch.from_numpy(numbers.view(np.uint8).copy()),
    ]
    if torch.cuda.is_available():
        parts.append(torch.cuda.get_rng_state())
    return torch.cat(parts)


def set_streams(saved: Tensor) -> None:
    """Put the random streams back; of a GPU's only if both then and now there is one."""
    size = len(torch.get_rng_state())
    parts = torch.split(saved, [size, 624 * 4, 625 * 4, 4 * 8, len(saved) - size - (624 + 625) * 4 - 4 * 8])
    torch.set_rng_state(parts[0].clone())
    keys, words = (part.numpy().copy().view(np.uint32) for part in parts[1:3])
    place, has_gauss, gauss, normal = parts[3].numpy().copy().view(np.float64).tolist()
    np.random.set_state(("MT19937", keys, int(place), int(has_gauss), gauss))  # noqa: NPY002
    random.setstate((_PYTHON_STATE_VERSION, tuple(words.tolist()), None if np.isnan(normal) else normal))
    if len(parts[4]) and torch.cuda.is_available():
        torch.cuda.set_rng_state(parts[4].clone())
