from pathlib import Path

import pytest
import yaml

from lit_listener.evaluation.predictions_file import read_predictions, write_predictions
from lit_listener.training.predictions import PredictionsFile
from lit_listener.training.reporting import about_runs, pictures_of, read_runs
from tests.training.tiny_runs import data, grpo, pairs, trainer


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "one"
    trainer(folder, -1, PredictionsFile()).test(grpo(), data(test={"held_in": pairs(3)}), verbose=False)
    return folder


def test_runs_are_named_by_their_folders(run, tmp_path):
    write_predictions(read_predictions(run / "predictions.parquet"), tmp_path / "two" / "predictions.parquet")
    write_predictions(read_predictions(run / "predictions.parquet"), tmp_path / "x" / "one" / "predictions.parquet")
    assert list(read_runs([run, tmp_path / "two"])) == ["one", "two"]
    same = [run, tmp_path / "x" / "one"]
    assert list(read_runs(same)) == [str(folder) for folder in same]
    with pytest.raises(ValueError, match="compared with others, not with itself"):
        read_runs([run, run])


def test_what_holds_no_evaluation_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no predictions at"):
        read_runs([tmp_path])
    (tmp_path / "predictions.parts").mkdir()
    with pytest.raises(FileNotFoundError, match=r"was broken off; finish it: .* test --resume"):
        read_runs([tmp_path])
    write_predictions([], tmp_path / "predictions.parquet")
    with pytest.raises(ValueError, match="holds no predictions: nothing to report"):
        read_runs([tmp_path])


def test_pictures_come_from_the_data_that_the_config_names(run):
    row = read_predictions(run / "predictions.parquet")[2]
    assert pictures_of([run])(row) is None  # no config
    source = {
        "class_path": "lit_listener.data.shapes.ShapesPairs",
        "init_args": {"renderers": ["flat", "paper"], "size": 3},
    }
    config = {"data": {"test": {"held_in": source}, "train": {"class_path": "gone.Away"}}, "model": {}}
    (run / "test_config.yaml").write_text(yaml.safe_dump(config))
    image_a, image_b = pictures_of([run])(row)
    assert image_a.tobytes() == pairs(3)[2].image_a.tobytes()
    assert image_b.tobytes() == pairs(3)[2].image_b.tobytes()
    source["init_args"]["seed"] = 1  # other pairs now
    (run / "test_config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(ValueError, match=r"data\.test\.held_in: pair 2 is shapes-.* now, and was shapes-"):
        pictures_of([run])(row)
    source["class_path"] = "gone.Away"
    (run / "test_config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(ValueError, match=r"the data of .*one cannot be opened: data.test: No module named 'gone'"):
        pictures_of([run])(row)


def test_a_report_says_what_it_is_of(run):
    about = about_runs(read_runs([run]), [run])
    assert about["rows"] == {"one": 3}
    assert about["configs"] == {"one": "none"}
    assert set(about) >= {"date", "lit_listener", "torch", "transformers", "intervals"}
