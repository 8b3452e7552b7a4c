"""What a run shows in the terminal: a progress bar, and nothing that a user cannot act on."""

import logging
import math
import warnings
from typing import Any

import lightning
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.callbacks.progress.rich_progress import RichProgressBarTheme
from rich.console import Console

_NO_CONCERN_OF_USERS = (
    ".*set_vital.*",  # torchdata calls a deprecated torch function
    ".*treespec, LeafSpec.*",  # Lightning calls a deprecated torch function
    ".*overridden `transfer_batch_to_device`.*",  # on purpose: records are not moved, what is encoded from them is
    ".*in eval mode at the start of training.*",  # on purpose: frozen models; the policy is switched where it is used
    ".*Total length of `list` across ranks is zero.*",  # a run may have no pairs to validate on
    ".*recommended to use `self.log.*sync_dist=True.*",  # what is logged is over all processes already
    ".*does not have many workers.*",  # the bundled world draws faster than processes could hand over
)


class StepProgressBar(RichProgressBar):
    """Lightning's rich progress bar with short numbers, without a version number, and ending where training will."""

    def __init__(self) -> None:
        super().__init__(theme=RichProgressBarTheme(metrics_format=".3f"))

    def get_metrics(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The logged metrics alone."""
        metrics: dict[str, Any] = super().get_metrics(*args, **kwargs)
        metrics.pop("v_num", None)
        return metrics

    @property
    def total_train_batches(self) -> int | float:
        """Batches of this epoch, or fewer where ``max_steps`` ends training within it (Lightning: steps left)."""
        in_epoch = self.trainer.num_training_batches
        if self.trainer.max_steps < 0:
            return in_epoch
        left = self.trainer.max_steps - self.trainer.global_step
        done = self.trainer.fit_loop.epoch_loop.batch_progress.current.completed
        steps_per_batch: int = getattr(self.trainer.lightning_module, "optimizer_steps_per_batch", 1)
        return min(in_epoch, done + math.ceil(left / steps_per_batch))

    def on_test_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Close the bar, so that the table of results, which comes next, stands below it."""
        super().on_test_end(trainer, pl_module)
        self._stop_progress()

    def _get_train_description(self, current_epoch: int) -> str:
        """Tell epochs where they are counted; where steps are, Lightning would write "Epoch 0/-2"."""
        if self.trainer.max_epochs in (None, -1):
            return "Training".ljust(len(self.validation_description))
        return super()._get_train_description(current_epoch)


def quiet_libraries() -> None:
    """Hide library messages that are no concern of users (each listed with its reason); all others stay."""
    for message in _NO_CONCERN_OF_USERS:
        warnings.filterwarnings("ignore", message=message)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(
        lambda record: "litlogger" not in record.getMessage()
    )


def wide_terminal() -> Console:
    """The terminal; output to a file or a pipe is as wide as the widest table, not 80 columns."""
    console = Console()
    return console if console.is_terminal else Console(width=100)
