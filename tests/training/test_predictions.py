"""What test and predict leave behind, whatever ends them."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.callbacks import Callback

from lit_listener.evaluation.prediction_parts import PredictionParts
from lit_listener.evaluation.predictions_file import read_predictions
from lit_listener.training.examination import Examination
from lit_listener.training.predictions import PredictionsFile
from lit_listener.training.run.evaluations import PARTS, fingerprint
from tests.training.tiny_runs import data, grpo, pairs, trainer

SOURCES = {"held_in": 5, "held_out": 4}


class Stop(Callback):
    """Breaks off before a batch is judged."""

    def __init__(self, batch: int) -> None:
        self.left = batch

    def on_test_batch_start(self, *args: Any) -> None:
        if not self.left:
            raise OSError("the machine went away")
        self.left -= 1

    on_predict_batch_start = on_test_batch_start


class Counting(Callback):
    """Counts the pairs that are judged."""

    def __init__(self) -> None:
        self.judged: list[str] = []

    def on_test_batch_end(self, trainer: Any, module: Any, outputs: Any, *args: Any) -> None:
        self.judged += [row["pair_id"] for row in outputs]

    on_predict_batch_end = on_test_batch_end


def evaluate(folder: Path, command: str, *further: Callback, goes_on: bool = False, **options: Any) -> None:
    keeper = PredictionsFile()
    keeper.goes_on = goes_on
    sources = {name: pairs(size, split="test", seed=seed) for seed, (name, size) in enumerate(SOURCES.items())}
    module = grpo(evaluation=Examination(rollouts=2))
    judging = trainer(folder, -1, keeper, *further)
    loaders = data(test=sources, eval_orders="both", eval_batch_size=2, **options)
    getattr(judging, command)(module, loaders, **({"verbose": False} if command == "test" else {}))


@pytest.mark.parametrize("command", ["test", "predict"])
@pytest.mark.parametrize("batch", [0, 3, 7])
def test_an_evaluation_that_broke_off_goes_on_where_it_was(tmp_path, command, batch):
    evaluate(tmp_path / "whole", command)
    with pytest.raises(OSError, match="went away"):
        evaluate(tmp_path / "broken", command, Stop(batch))
    assert not (tmp_path / "broken" / "predictions.parquet").exists()
    counting = Counting()
    evaluate(tmp_path / "broken", command, counting, goes_on=True)
    # a unit is a pair in both orders, with two completions each
    assert len(set(counting.judged)) == 9 - batch
    assert len(counting.judged) == 4 * (9 - batch)
    one, other = (read_predictions(tmp_path / name / "predictions.parquet") for name in ("whole", "broken"))
    assert [asdict(row) for row in one] == [asdict(row) for row in other]
    assert not (tmp_path / "broken" / PARTS).exists()


def test_one_that_broke_off_at_its_very_end_only_writes(tmp_path):
    class Full(PredictionsFile):
        def on_test_end(self, *args: Any) -> None:
            raise OSError("no space left")

    sources = {"held_in": pairs(3, split="test")}
    with pytest.raises(OSError, match="no space"):
        trainer(tmp_path, -1, Full()).test(grpo(), data(test=sources), verbose=False)
    keeper = PredictionsFile()
    keeper.goes_on = True
    trainer(tmp_path, -1, keeper).test(grpo(), data(test=sources), verbose=False)
    assert [row.index for row in read_predictions(tmp_path / "predictions.parquet")] == [0, 1, 2]


def test_one_that_has_ended_judges_nothing_again(tmp_path):
    evaluate(tmp_path, "test")
    before = read_predictions(tmp_path / "predictions.parquet")
    (tmp_path / "results.json").unlink()
    counting = Counting()
    evaluate(tmp_path, "test", counting, goes_on=True)
    assert counting.judged == []
    assert read_predictions(tmp_path / "predictions.parquet") == before
    assert (tmp_path / "results.json").exists()


def test_what_broke_off_is_not_mixed_with_something_else(tmp_path):
    with pytest.raises(OSError, match="went away"):
        evaluate(tmp_path, "test", Stop(2))
    with pytest.raises(FileExistsError, match=r"--run_dir: .* was broken off; go on with it: --resume"):
        evaluate(tmp_path, "test")
    parts = PredictionParts(tmp_path / PARTS)
    parts.note({"checkpoint": {"path": "another"}})
    with pytest.raises(ValueError, match=r"the checkpoint has changed since .* began"):
        evaluate(tmp_path, "test", goes_on=True)
    assert parts.places() == {"held_in": {0, 1}}


def test_who_is_interrupted_is_told_how_to_go_on(tmp_path, capsys):
    with pytest.raises(OSError, match="went away"):
        evaluate(tmp_path, "test", Stop(2))
    assert (
        f"2 pairs (or lists) were judged. Go on with: python -m lit_listener test --resume {tmp_path}"
        in capsys.readouterr().err
    )


def test_a_training_that_breaks_off_is_no_evaluation(tmp_path, monkeypatch, capsys):
    class Break(Callback):
        def on_train_batch_start(self, *args: Any) -> None:
            raise OSError("the machine went away")

    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path, tmp_path / PARTS):
        folder.mkdir(exist_ok=True)
        (folder / "0000.parquet").write_bytes(b"somebody's own")
    with pytest.raises(OSError, match="went away"):
        trainer(tmp_path / "run", 1, PredictionsFile(), Break()).fit(grpo(), data())
    assert "were judged" not in capsys.readouterr().err


def test_a_part_that_was_being_written_is_not_read(tmp_path):
    parts = PredictionParts(tmp_path / PARTS)
    (tmp_path / PARTS).mkdir()
    (tmp_path / PARTS / ".0000-000000.parquet.12.part").write_bytes(b"half")
    assert parts
    assert parts.read() == []
    assert parts.places() == {}


def test_prompts_that_were_trained_on_are_known(tmp_path):
    for check, expected in ((True, {True}), (False, {None})):
        keeper = PredictionsFile()
        loaders = data(200, test={"held_in": pairs(2)}, check_overlap=check)  # the same pairs are trained on
        trainer(tmp_path / str(check), -1, keeper).test(grpo(), loaders, verbose=False)
        assert {row.prompt_in_training for row in keeper.predictions} == expected
    keeper = PredictionsFile()
    trainer(tmp_path / "other", -1, keeper).test(grpo(), data(1, test={"held_in": pairs(40, seed=9)}), verbose=False)
    trained_on = pairs(1)[0].prompt
    assert {row.prompt_in_training for row in keeper.predictions if row.prompt != trained_on} == {False}


def test_a_checkpoint_is_known_by_its_files(tmp_path):
    path = tmp_path / "last.ckpt"
    path.write_bytes(b"one")
    before = fingerprint(path)
    path.write_bytes(b"three")
    assert fingerprint(path) != before
    assert fingerprint(tmp_path) == fingerprint(tmp_path)
    assert fingerprint(None) is None
