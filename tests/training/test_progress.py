"""What a run changed, on a run of three steps."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from lit_listener.evaluation.predictions_file import read_predictions
from lit_listener.training.predictions import PredictionsFile
from lit_listener.training.progress import compare, judge_before_and_after, write_progress
from lit_listener.training.run.checkpoints import RunCheckpoint
from lit_listener.training.run.metrics_file import MetricsFile
from tests.training.tiny_runs import data, grpo, pairs, trainer

SOURCES = {"held_in": pairs(5, split="test"), "held_out": pairs(4, split="test", seed=1)}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("run")
    loaders = data(validation={"held_in": pairs(2, split="validation")})
    options = {"logger": MetricsFile(folder), "val_check_interval": 1, "enable_checkpointing": True}
    trainer(folder, 3, RunCheckpoint(), **options).fit(grpo(), loaders)
    return folder


@pytest.fixture(scope="module")
def judged(run: Path) -> Any:
    runner = trainer(run, -1, PredictionsFile())
    last = run / "checkpoints" / "last.ckpt"
    return judge_before_and_after(grpo(), data(test=SOURCES, eval_batch_size=3), runner, last)


def test_the_start_and_the_end_judge_the_same_pairs(judged):
    before, after = judged
    assert [(row.source, row.pair_id, row.first) for row in before] == [
        (row.source, row.pair_id, row.first) for row in after
    ]
    start = grpo()
    start.configure_model()
    held_in = data(test=SOURCES, eval_batch_size=1).test_dataloader()[0]
    from_scratch = [start.judge(batch, "held_in")[0] for batch in held_in]
    assert [row.trace for row in before[:5]] == [row.trace for row in from_scratch]
    assert any(old.trace != new.trace for old, new in zip(before, after, strict=True))


def test_every_source_is_compared(judged):
    before, after = judged
    rows = compare(before, after)
    assert list(rows) == ["held_in", "held_out"]
    for name, size in (("held_in", 5), ("held_out", 4)):
        old, new = ([row for row in side if row.source == name] for side in (before, after))
        assert len(old) == size
        accuracy = [sum(bool(row.correct) for row in side) / size for side in (old, new)]
        row = rows[name]
        assert row.before["accuracy"].mean == pytest.approx(accuracy[0])
        assert row.after["accuracy"].mean == pytest.approx(accuracy[1])
        assert row.difference["accuracy"].mean == pytest.approx(accuracy[1] - accuracy[0])


def test_files_are_left_in_the_runs_folder(run, judged):
    before, after = judged
    rows = compare(before, after)
    curves = write_progress(run, before, after, rows)
    assert curves == run / "learning_curves.png"
    assert curves.read_bytes().startswith(b"\x89PNG")
    assert read_predictions(run / "predictions_before.parquet") == before
    assert read_predictions(run / "predictions_after.parquet") == after
    numbers = json.loads((run / "progress.json").read_text())
    assert set(numbers) == {"held_in", "held_out"}
    estimate = numbers["held_in"]["before"]["unparsable_share"]["mean"]
    assert estimate == pytest.approx(rows["held_in"].before["unparsable_share"].mean)
    assert math.isfinite(estimate)
    text = (run / "progress.md").read_text()
    assert "held_in" in text
    assert "contradiction share" in text
    assert not [path for path in run.iterdir() if path.name.endswith(".part")]


def test_a_run_without_its_last_checkpoint_is_refused(tmp_path):
    runner = trainer(tmp_path, -1, PredictionsFile())
    with pytest.raises(
        FileNotFoundError, match=r"no checkpoint at .*last.ckpt: the run has not saved one yet; .*--checkpoint"
    ):
        judge_before_and_after(grpo(), data(test=SOURCES), runner, tmp_path / "last.ckpt")


def test_a_run_without_test_pairs_is_refused(run):
    runner = trainer(run, -1, PredictionsFile())
    with pytest.raises(ValueError, match=r"data\.test: the run's config names no pairs to test on"):
        judge_before_and_after(grpo(), data(), runner, run / "checkpoints" / "last.ckpt")
