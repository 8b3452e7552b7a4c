"""Validation, test and predict: what Lightning's loops do with a module that judges pairs."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import lightning

from lit_listener.data.shown import ShownPair
from lit_listener.evaluation.metrics import JudgementMetrics
from lit_listener.evaluation.prediction import Prediction


class JudgingModule(lightning.LightningModule):
    """A module that is validated and tested by its judgements."""

    def __init__(self) -> None:
        super().__init__()
        self.metrics: dict[str, JudgementMetrics] = {}

    @abstractmethod
    def judge(self, shown: Sequence[ShownPair], source: str = "") -> list[Prediction]:
        """One judgement for each pair that counts; the same whatever the batch."""

    def examine(self, shown: Sequence[ShownPair], source: str = "") -> list[Prediction]:
        """What ``test`` and ``predict`` record of the pairs: all that is known of each judgement."""
        return self.judge(shown, source)

    def setup(self, stage: str) -> None:
        """Refuse to judge without pairs, which Lightning would do in silence."""
        source = {"validate": "validation", "test": "test", "predict": "test"}.get(stage)
        if source is not None and not self._source_names(source):
            raise ValueError(f"data.{source}: no pairs to judge; name a source of pairs")

    def on_validation_start(self) -> None:
        """Fresh metrics, one a validation source."""
        for name in self._source_names("validation"):
            self.metrics[f"val/{name}"] = JudgementMetrics().to(self.device)

    def validation_step(self, batch: list[ShownPair], batch_idx: int, dataloader_idx: int = 0) -> None:
        """Judge a batch and log ``val/*``; a second and later source carries its name in the key."""
        name = self._source_names("validation")[dataloader_idx]
        self.metrics[f"val/{name}"].update(self.judge(batch))

    def on_validation_epoch_end(self) -> None:
        """Log the means over each source: the first under the plain keys."""
        for place, name in enumerate(self._source_names("validation")):
            means = self.metrics[f"val/{name}"].compute()
            kept = ("accuracy", "p_correct", "contradiction_share", "unparsable_share")
            infix = "" if place == 0 else f"{name}/"
            self.log_dict({f"val/{infix}{key}": means[key] for key in kept})  # means over all ranks already

    def test_step(  # type: ignore[override]  # callbacks are given what is returned, whatever it is
        self, batch: list[ShownPair], batch_idx: int, dataloader_idx: int = 0
    ) -> list[dict[str, Any]]:
        """Judge a batch; a row a prediction (Lightning cannot move frozen records), gathered by a callback."""
        return [asdict(prediction) for prediction in self.examine(batch, self._source_names("test")[dataloader_idx])]

    predict_step = test_step  # the same, without a summary

    def _source_names(self, stage: str) -> list[str]:
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        return list(getattr(data, stage)) if data is not None else ["pairs"]
