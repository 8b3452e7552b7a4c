"""Checkpoints that a run can be gone on with exactly, whatever ended it."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

import lightning
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities import rank_zero_info

from lit_listener.training.reasoner import Reasoner
from lit_listener.training.run.best import Best
from lit_listener.training.run.checkpoint_files import PlainFileIO, clear_parts, remove_checkpoint, write_whole
from lit_listener.training.run.metrics_file import metrics_files, rows_logged
from lit_listener.training.run.moments import Moment, set_streams, streams
from lit_listener.training.run.resuming import FreshOptions, LoopsTakenUp
from lit_listener.training.run.stop_signals import StopSignals
from lit_listener.training.stopping import StopRequested
from lit_listener.vlm import ranks
from lit_listener.vlm.listeners import ListenerFailedError

_OURS = "run"
"""Key of a checkpoint under which this callback keeps what Lightning's record lacks."""


class RunCheckpoint(Checkpoint):
    """Keeps ``checkpoints/last.ckpt``, and the best ones by a validation measure if asked for.

    A checkpoint is always whole, and always the state between two batches (or between two optimizer steps of one
    rollout): see ``moments``. The run is saved every few rollouts, when it is asked to stop (Ctrl-C, SIGTERM), when it
    breaks off between two optimizer steps, and at its end.

    Args:
        every_n_rollouts: rollouts (training batches) between two saves; 0 saves where a run stops and at its end.
        save_top_k: checkpoints kept beside that, by the monitored measure: best-step=N.ckpt; 0 keeps none.
        monitor: measure of validation that decides which are the best.
        mode: whether more of it is better (max), or less (min).
    """

    def __init__(
        self,
        every_n_rollouts: int = 20,
        save_top_k: int = 0,
        monitor: str = "val/accuracy",
        mode: Literal["max", "min"] = "max",
    ) -> None:
        for name, value in (("every_n_rollouts", every_n_rollouts), ("save_top_k", save_top_k)):
            if value < 0:
                raise ValueError(f"checkpoint.{name}: expected at least 0, got {value}")
        self.every_n_rollouts = every_n_rollouts
        self.save_top_k = save_top_k
        self.monitor = monitor
        self.go_on_with: str | None = None
        """Command line that goes on with the run, for messages."""
        self._moment: Moment | None = None
        self._saved: Moment | None = None
        self._within_rollout = False
        self._ended = False
        self._saving = False
        self._best = Best(save_top_k, mode)
        self._fresh: FreshOptions | None = None
        self._taken_up: LoopsTakenUp | None = None
        self._loaded_streams: torch.Tensor | None = None
        self._signals: StopSignals | None = None

    @property
    def stopped_by(self) -> int | None:
        """The signal that asked training to stop."""
        return self._signals.received if self._signals is not None else None

    # ---- start -------------------------------------------------------------------------------------------------------

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Clear what a killed run left, and write checkpoints without detours."""
        self._moment = self._saved = self._fresh = self._taken_up = None
        if stage != "fit" or _is_trial(trainer):
            return
        if trainer.is_global_zero:
            clear_parts(self._folder(trainer))
        strategy: Any = trainer.strategy
        if type(strategy.checkpoint_io) is TorchCheckpointIO:
            strategy.checkpoint_io = PlainFileIO()

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Note the options of this start, before those of a checkpoint are restored."""
        self._fresh = FreshOptions.of(trainer)
        if self._moment is not None:
            self._taken_up = LoopsTakenUp(trainer, self._moment.steps)

    def on_load_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Read where the checkpoint's run was."""
        if trainer.state.fn != "fit" or _OURS not in checkpoint:
            return
        ours = checkpoint[_OURS]
        saved = ours["streams"]
        mine = saved[ranks.rank()] if len(saved) == ranks.world_size() else streams()  # of other ranks: no use
        self._loaded_streams = mine if ours["within_rollout"] else None
        self._moment = Moment.of_record(ours, checkpoint["loops"]["fit_loop"], checkpoint["global_step"], mine)
        if self._fresh is not None:  # restored late, by a strategy that shards
            self._taken_up = LoopsTakenUp(trainer, self._moment.steps)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Begin; or go on exactly, with metrics cut back to the checkpoint's."""
        if _is_trial(trainer):
            return
        self._ended = False
        if self._moment is None or self._taken_up is None:
            self._moment = Moment.of_start(trainer, rows_logged(trainer))
        else:
            assert self._fresh is not None
            self._fresh.apply(trainer)
            for logger in metrics_files(trainer):
                logger.cut_back(self._moment.rows or 0)
            due = self._taken_up.start(
                trainer,
                validation_due=self._moment.validation_due,
                within_rollout=self._loaded_streams is not None,
            )
            self._moment = self._saved = replace(self._moment.with_validation(due=due), rows=rows_logged(trainer))
            set_streams(self._moment.rng)
        self._signals = StopSignals(lambda: _ask_to_stop(pl_module), tell=trainer.is_global_zero)
        self._signals.install()

    # ---- on the way --------------------------------------------------------------------------------------------------

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Between two batches: save or stop, if it is time."""
        self._between(trainer, pl_module)
        if self._taken_up is not None and self._moment is not None:
            self._taken_up.lower_limit()
            self._taken_up.count(self._moment.logged_as)
            self._taken_up = None
            if self._loaded_streams is not None:  # within a rollout; an epoch that began here has drawn from them
                set_streams(self._loaded_streams)
                self._loaded_streams = None

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        """Note where the run stands. Its row is logged after this, so that nothing is saved yet."""
        if not _is_trial(trainer):
            self._moment = Moment.of_batch_end(trainer)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """As between two batches."""
        self._between(trainer, pl_module)
        if self._taken_up is not None:
            self._taken_up.end_epoch()

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Save before a validation that may be long."""
        if self._moment is None or not _in_training(trainer):
            return
        if self._taken_up is not None:
            self._taken_up.lower_limit()
        if not self._moment.validation_due:  # Lightning decides by the clock, if it is told to
            self._moment = self._moment.with_validation(due=True)
        self._between(trainer, pl_module)

    def on_validation_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        """Stop in the middle of a validation: it will be done again."""
        if self._moment is not None and _in_training(trainer):
            self._stop_if_asked(trainer, pl_module)

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """The validation is done; keep this checkpoint if it is among the best."""
        if self._moment is None or not _in_training(trainer):
            return
        self._moment = replace(self._moment.with_validation(due=False), rng=streams(), rows=rows_logged(trainer))
        if self.save_top_k:
            self._save_if_among_best(trainer)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Save the end."""
        if _is_trial(trainer):
            return
        self._ended = True
        self._save(trainer, self._last(trainer))
        self._remove_signals()

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Save what would be lost, and say how to go on."""
        try:
            if self._moment is not None and trainer.state.fn == "fit":
                self._break_off(trainer, pl_module, exception)
        finally:
            self._remove_signals()

    # ---- saving ------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """The best so far."""
        return {"best": dict(self._best.scores)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on comparing."""
        self._best.scores = dict(state_dict["best"])

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Put the loops back to the last batch's end, and add random streams and rows; on all ranks together."""
        moment = self._moment
        if moment is None or moment.rows is None or not (self._within_rollout or trainer.global_step == moment.steps):
            return  # somebody else saves, in the middle of a batch
        checkpoint["loops"]["fit_loop"] = moment.loops_with_steps(trainer)
        checkpoint["epoch"] = moment.loops["epoch_progress"]["current"]["completed"]
        rng = streams() if self._within_rollout else moment.rng
        checkpoint[_OURS] = {
            "streams": ranks.gathered(rng[None]),
            **moment.record(),
            "within_rollout": self._within_rollout,
            "ended": self._ended,
        }

    def _between(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """The row of the last batch is logged: this moment can be gone on from."""
        if self._moment is None:
            return
        if self._moment.rows is None:
            self._moment = replace(self._moment, rows=rows_logged(trainer))
            if self.every_n_rollouts and self._moment.rollouts % self.every_n_rollouts == 0:
                self._save(trainer, self._last(trainer))
        self._stop_if_asked(trainer, pl_module)

    def _stop_if_asked(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if ranks.any_rank(bool(getattr(pl_module, "stop_requested", False))):
            raise StopRequested

    def _break_off(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        moment = self._moment
        assert moment is not None
        progress: Any = trainer.fit_loop.epoch_loop.batch_progress.total
        if moment.rows is None and progress.completed == moment.rollouts:  # its row was logged just after that
            moment = self._moment = replace(moment, rows=rows_logged(trainer))
        asked = isinstance(exception, StopRequested)
        self._within_rollout = asked and getattr(pl_module, "unfinished", None) is not None
        if (self._may_save(trainer, exception) and moment is not self._saved) or self._within_rollout:
            try:
                self._save(trainer, self._last(trainer))
            except OSError as error:
                if asked:
                    raise
                rank_zero_info(str(error))  # what broke training off is told by others
        if asked or self._saved is not None:
            what = "Stopped" if asked else "Broke off; the last checkpoint is that"
            saved = self._saved or moment
            steps = trainer.global_step if self._within_rollout else saved.steps
            how = self.go_on_with or f"the checkpoint {self._last(trainer)}"
            rank_zero_info(f"{what} after {saved.rollouts} rollouts ({steps} optimizer steps); go on with: {how}")

    def _may_save(self, trainer: lightning.Trainer, exception: BaseException) -> bool:
        """Whether the weights are those of the last batch's end, and nobody waits for other processes."""
        moment = self._moment
        if isinstance(exception, StopRequested):
            return True
        if moment is None or moment.rows is None or moment.rollouts == 0 or trainer.global_step != moment.steps:
            return False
        together = isinstance(exception, ListenerFailedError)  # all ranks are here
        insists = self._signals is not None and self._signals.insisted and isinstance(exception, KeyboardInterrupt)
        bad = isinstance(exception, FloatingPointError)  # the weights may be what is wrong
        return (trainer.world_size == 1 or together) and not self._saving and not insists and not bad

    def _save(self, trainer: lightning.Trainer, path: Path) -> None:
        """Write a checkpoint; what metrics it counts are on the disk before."""
        for logger in metrics_files(trainer):
            logger.flush()
        self._saving = True  # and stays so if it fails
        save = partial(trainer.save_checkpoint, weights_only=False)
        write_whole(path, save, first_rank=trainer.is_global_zero)
        self._saving = False
        if path == self._last(trainer):
            self._saved = self._moment

    def _save_if_among_best(self, trainer: lightning.Trainer) -> None:
        measured = trainer.callback_metrics
        if self.monitor not in measured:
            known = sorted(name for name in measured if name.startswith("val/"))
            raise ValueError(f"checkpoint.monitor: validation measures no {self.monitor!r}; it measures {known}")
        name = f"best-step={trainer.global_step}.ckpt"
        dropped = self._best.compare(name, float(measured[self.monitor]))
        if name in self._best.scores:
            self._save(trainer, self._folder(trainer) / name)
        if trainer.is_global_zero:
            for other in dropped:
                remove_checkpoint(self._folder(trainer) / other)

    def _folder(self, trainer: lightning.Trainer) -> Path:
        return Path(trainer.default_root_dir) / "checkpoints"

    def _last(self, trainer: lightning.Trainer) -> Path:
        return self._folder(trainer) / "last.ckpt"

    def _remove_signals(self) -> None:
        if self._signals is not None:
            self._signals.remove()


def _ask_to_stop(module: lightning.LightningModule) -> None:
    cast(Reasoner, module).stop_requested = True


def _is_trial(trainer: lightning.Trainer) -> bool:
    return bool(getattr(trainer, "fast_dev_run", False))


def _in_training(trainer: lightning.Trainer) -> bool:
    return trainer.state.fn == "fit" and not trainer.sanity_checking and not _is_trial(trainer)
