"""Two processes of which one is asked to stop: both stop, in the middle of a rollout, and go on exactly."""

import csv
from pathlib import Path

import pytest
import torch

from lit_listener.training.run.folder import find_run
from tests.training.several_ranks import STRATEGIES, by_two_ranks

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stopped")
    said = by_two_ranks("tests.training.stopped_ranks", str(root))
    assert said.count("Stopped after 2 rollouts (5 optimizer steps)") == len(STRATEGIES)
    return root


def metrics(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{k: v for k, v in row.items() if not k.startswith(("time/", "throughput/"))} for row in rows]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_they_go_on_exactly(folder, strategy):
    for rank in (0, 1):
        ends = torch.load(folder / f"{strategy}.{rank}.pt", weights_only=True)
        assert ends["straight"].keys() == ends["resumed"].keys()
        assert all(torch.equal(ends["resumed"][name], value) for name, value in ends["straight"].items())
    assert metrics(folder / strategy / "run") == metrics(folder / strategy / "straight")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_they_leave_is_whole(folder, strategy):
    checkpoints = folder / strategy / "run" / "checkpoints"
    assert (checkpoints / "last.ckpt").is_dir() == (strategy == "fsdp")
    seen = [path.name for path in checkpoints.iterdir() if not path.name.startswith(".")]
    assert sorted(seen) == ["best-step=8.ckpt", "last.ckpt"]
    assert not list(checkpoints.glob(".*.part"))
    (folder / strategy / "run" / "config.yaml").write_text("{}")
    found = find_run(folder / strategy / "run")
    assert (found.rollouts, found.steps, found.ended) == (5, 10, True)
