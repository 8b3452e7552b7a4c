"""The shipped baselines on Shapes, twenty steps each: what they learn falls as it did when the configs were written."""

import csv
from pathlib import Path
from typing import Any

import pytest
import yaml

from lit_listener.__main__ import main
from lit_listener.data.shapes import ShapesPairs
from tests.training.sampled import write_right_traces

pytestmark = pytest.mark.slow
CONFIGS = Path(__file__).parents[2] / "configs" / "shapes"


def losses(name: str, column: str, folder: Path) -> list[float]:
    """The losses of the first twenty steps of a shipped config."""
    config: dict[str, Any] = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
    config["trainer"] |= {"max_steps": 20, "val_check_interval": 20, "enable_progress_bar": False}
    config["data"]["validation"]["held_in"]["init_args"]["size"] = 4
    if "traces" in config["data"]:
        source = ShapesPairs(**config["data"]["train"]["init_args"])
        file = write_right_traces(source, range(64), folder / "predictions.parquet")
        config["data"]["traces"]["init_args"]["predictions"] = str(file)
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    assert main(["fit", "--config", str(path), "--run_dir", str(folder / "run")]) == 0
    with (folder / "run" / "metrics.csv").open(newline="") as file_:
        return [float(row[column]) for row in csv.DictReader(file_) if row[column]]


@pytest.mark.parametrize(
    ("name", "column", "first", "last"),
    [
        ("bradley_terry", "bradley_terry/loss", (0.69, 0.70), (0.5, 0.69)),  # a head of zeros: log 2 = 0.693
        ("answer_sft", "sft/loss", (10.0, 60.0), (0.5, 4.0)),  # a reply in a form never seen; a coin's toss is 0.69
        ("rejection_sampling", "sft/loss", (4.0, 20.0), (0.5, 3.5)),  # traces in words never seen
    ],
)
def test_twenty_steps(tmp_path, name, column, first, last):
    found = losses(name, column, tmp_path)
    assert len(found) == 20
    assert first[0] < found[0] < first[1]
    assert last[0] < sum(found[-3:]) / 3 < last[1]
