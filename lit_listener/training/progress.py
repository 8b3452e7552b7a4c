"""What a training run changed: its start against its end, on every test source, and its learning curves."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from lightning import Trainer

from lit_listener.evaluation.learning_curves import learning_curves
from lit_listener.evaluation.metrics import summary, summary_difference
from lit_listener.evaluation.prediction import Prediction
from lit_listener.evaluation.predictions_file import write_predictions
from lit_listener.evaluation.replaced_file import replaced_file
from lit_listener.evaluation.tables import BeforeAfter, before_after_markdown
from lit_listener.training.data_module import PreferenceData
from lit_listener.training.predictions import PredictionsFile
from lit_listener.training.reasoner import Reasoner


def judge_before_and_after(
    model: Reasoner, data: PreferenceData, trainer: Trainer, checkpoint: Path
) -> tuple[list[Prediction], list[Prediction]]:
    """Test a run's start, then its checkpoint, on the same pairs with the same random streams.

    Raises:
        FileNotFoundError: the checkpoint does not exist.
        ValueError: the run's config names no test source.
    """
    if not checkpoint.exists():
        raise FileNotFoundError(
            f"no checkpoint at {checkpoint}: the run has not saved one yet; name another with --checkpoint"
        )
    if not data.test:
        raise ValueError("data.test: the run's config names no pairs to test on")
    return _test(model, data, trainer, None), _test(model, data, trainer, checkpoint)


def compare(before: Sequence[Prediction], after: Sequence[Prediction]) -> dict[str, BeforeAfter]:
    """Every measure of every source before and after, with 95% intervals clustered by prompt."""
    sources = list(dict.fromkeys(prediction.source for prediction in before))
    rows = {}
    for source in sources:
        old, new = ([p for p in predictions if p.source == source] for predictions in (before, after))
        rows[source] = BeforeAfter(summary(old), summary(new), summary_difference(old, new))
    return rows


def write_progress(
    run: Path, before: Sequence[Prediction], after: Sequence[Prediction], rows: Mapping[str, BeforeAfter]
) -> Path:
    """Leave predictions, figures (``progress.json``, ``progress.md``) and learning curves in the run's folder.

    Returns:
        the path of the learning curves (PNG).
    """
    write_predictions(before, run / "predictions_before.parquet")
    write_predictions(after, run / "predictions_after.parquet")
    with replaced_file(run / "progress.json") as beside:
        beside.write_text(json.dumps({source: asdict(row) for source, row in rows.items()}, indent=1))
    with replaced_file(run / "progress.md") as beside:
        beside.write_text(before_after_markdown(rows))
    curves = run / "learning_curves.png"
    learning_curves(run / "metrics.csv", curves, title=run.name)
    return curves


def _test(model: Reasoner, data: PreferenceData, trainer: Trainer, checkpoint: Path | None) -> list[Prediction]:
    collector = next(c for c in trainer.callbacks if isinstance(c, PredictionsFile))  # type: ignore[attr-defined]
    collector.only_gather = True
    trainer.test(model, data, ckpt_path=checkpoint, verbose=False, weights_only=True)
    return collector.predictions
