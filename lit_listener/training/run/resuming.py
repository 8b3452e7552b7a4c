"""What Lightning does not do by itself where a run is gone on with: new options take effect, and its end is reached."""

from dataclasses import dataclass
from typing import Any

import lightning
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR


@dataclass(frozen=True)
class FreshOptions:
    """The optimizers' options as the config gives them; restoring a checkpoint puts those of its run in their place."""

    groups: list[list[dict[str, Any]]]
    base_rates: list[list[Any]]

    @classmethod
    def of(cls, trainer: lightning.Trainer) -> "FreshOptions":
        """To be called before anything is restored."""
        groups = [
            [{name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups]
            for optimizer in trainer.optimizers
        ]
        return cls(groups, [list(schedule.base_lrs) for schedule in _schedules(trainer)])

    def apply(self, trainer: lightning.Trainer) -> None:
        """Put them back; rates are those of the new schedule at the step that was reached."""
        for optimizer, groups in zip(trainer.optimizers, self.groups, strict=True):
            for group, fresh in zip(optimizer.param_groups, groups, strict=True):
                group.update({name: value for name, value in fresh.items() if name != "lr"})
        for schedule, rates in zip(_schedules(trainer), self.base_rates, strict=True):
            schedule.base_lrs = list(rates)
            of_steps = zip(rates, schedule.lr_lambdas, strict=True)
            now: list[Any] = [rate * of_step(schedule.last_epoch) for rate, of_step in of_steps]
            for group, rate in zip(schedule.optimizer.param_groups, now, strict=True):
                if isinstance(group["lr"], Tensor):
                    group["lr"].fill_(rate)
                else:
                    group["lr"] = rate
            schedule._last_lr = now


class LoopsTakenUp:
    """Leads Lightning's loops from where a checkpoint left them to the next batch.

    - Lightning leaves a training that has made its last step without another look: no validation that was still due, no
      ``on_train_end``. Its limit is raised by a step until the loops are entered.
    - It looks for another batch where an epoch's last one is done, which ``limit_train_batches`` should prevent.
    - It counts a batch too many for logs where a validation had been done.
    - It leaves the loader at its start if the number of batches had to be known for a schedule.
    """

    def __init__(self, trainer: lightning.Trainer, steps: int) -> None:
        """Before training starts, and after the optimizers are made: a schedule must not see the raised limit.

        Args:
            trainer: its loops.
            steps: optimizer steps that were made.
        """
        self._loop: Any = trainer.fit_loop.epoch_loop
        self._limit: int | None = None
        if 0 <= self._loop.max_steps <= steps:
            self._limit, self._loop.max_steps = self._loop.max_steps, steps + 1

    def start(self, trainer: lightning.Trainer, *, validation_due: bool, within_rollout: bool) -> bool:
        """When training starts. Returns whether there will be a validation first."""
        loop = self._loop
        fit_loop: Any = trainer.fit_loop
        if fit_loop._combined_loader_states_to_load and fit_loop.restarting:
            fit_loop._load_combined_loader_states()
            iter(fit_loop._data_fetcher)
        validates = (
            validation_due
            and sum(trainer.num_val_batches) > 0
            and bool(loop._should_check_val_fx(trainer.fit_loop._data_fetcher))
        )
        if not validates:
            if not within_rollout:
                self.lower_limit()
            loop.val_loop.reset_restart_stage()
            loop.val_loop._has_run = True  # else Lightning would take the epoch's end for one without its validation
        return validates

    def lower_limit(self) -> None:
        """The loops are entered: the limit is what it was."""
        if self._limit is not None:
            self._loop.max_steps, self._limit = self._limit, None

    def end_epoch(self) -> None:
        """The epoch was at its end: the next one is no restart."""
        self._loop.restarting = False
        self._loop.on_iteration_done()

    def count(self, logged_as: int) -> None:
        """The number that the next batch has in logs."""
        self._loop._batches_that_stepped = logged_as


def _schedules(trainer: lightning.Trainer) -> list[LambdaLR]:
    return [config.scheduler for config in trainer.lr_scheduler_configs if isinstance(config.scheduler, LambdaLR)]
