"""The learning rate over optimizer steps."""

from dataclasses import dataclass
from typing import Any

from torch.optim import Optimizer
from transformers import SchedulerType, get_scheduler

_BY_METRIC = ("reduce_lr_on_plateau", "greedy")
"""These follow a measure, not the number of steps."""


@dataclass(frozen=True)
class Schedule:
    """The learning rate over optimizer steps, by a named schedule of transformers.

    Args:
        name: constant, constant_with_warmup, linear, cosine, or another name that transformers.get_scheduler knows.
        warmup_steps: optimizer steps over which the rate rises from 0; at least 0. Not for constant.
    """

    name: str = "constant_with_warmup"
    warmup_steps: int = 0

    def __post_init__(self) -> None:
        known = [kind.value for kind in SchedulerType if kind.value not in _BY_METRIC]
        if self.name not in known:
            raise ValueError(f"model.schedule.name: expected one of {known}, got {self.name!r}")
        if self.warmup_steps < 0:
            raise ValueError(f"model.schedule.warmup_steps: expected at least 0, got {self.warmup_steps}")
        if self.name == "constant" and self.warmup_steps:
            raise ValueError("model.schedule.warmup_steps: name: constant has no warm-up; use constant_with_warmup")

    def of(self, optimizer: Optimizer, steps: int | None) -> Any:
        """The schedule of an optimizer's rates.

        Args:
            optimizer: its rates are those that are reached after the warm-up.
            steps: optimizer steps of the whole run; None where its end is not known.

        Raises:
            ValueError: the schedule falls towards an end that is not known, or needs more options than there are here.
        """
        try:
            return get_scheduler(self.name, optimizer, num_warmup_steps=self.warmup_steps, num_training_steps=steps)
        except (TypeError, ValueError) as error:
            end = "" if steps else " (the run has no end: set trainer.max_steps or max_epochs)"
            raise ValueError(f"model.schedule.name: {self.name} cannot be used here{end}: {error}") from error
