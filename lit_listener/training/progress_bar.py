"""The progress bar of a run."""

from typing import Any

from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.callbacks.progress.rich_progress import RichProgressBarTheme


class StepProgressBar(RichProgressBar):
    """Lightning's rich progress bar, one row a step, without the version number."""

    def __init__(self) -> None:
        super().__init__(theme=RichProgressBarTheme(metrics_format=".3f"))

    def get_metrics(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The logged metrics alone."""
        metrics = super().get_metrics(*args, **kwargs)
        metrics.pop("v_num", None)
        return metrics
