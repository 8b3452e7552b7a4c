"""Two processes train as one does: the same losses, gradients, metrics and weights, under DDP and under FSDP2."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lit_listener.evaluation.predictions_file import read_predictions
from tests.training.several_ranks import CASES, JUDGED, Left, by_two_ranks, run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every case, by two processes over gloo; one start for all, since a start takes longer than a case."""
    folder = tmp_path_factory.mktemp("two")
    by_two_ranks("tests.training.several_ranks", str(folder), *CASES)
    return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Left, Path]]:
    """A case by one process, and its folder; cases that differ in the strategy alone are one case there."""
    made: dict[tuple[Any, bool], tuple[Left, Path]] = {}

    def of(case: str) -> tuple[Left, Path]:
        options = {name: id(value) for name, value in CASES[case][1].items()}  # shared by cases that are alike
        asked = (tuple(options.items()), case in JUDGED)
        if asked not in made:
            folder = tmp_path_factory.mktemp("alone")
            made[asked] = run(case, folder, several=False), folder
        return made[asked]

    return of


def left(folder: Path, case: str, rank: int) -> Left:
    return Left(**torch.load(folder / f"{case}.{rank}.pt", weights_only=True))


def timeless(metrics: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if not name.startswith(("time/", "throughput/"))}


@pytest.mark.parametrize("case", CASES)
def test_two_processes_train_as_one(two_ranks, alone, case):
    one, together = alone(case)[0], left(two_ranks, case, 0)
    assert len(together.metrics) == len(one.metrics) > 3
    for step, (ours, theirs) in enumerate(zip(one.metrics, together.metrics, strict=True)):
        assert timeless(theirs) == pytest.approx(timeless(ours), abs=1e-5, rel=1e-5, nan_ok=True), step
    assert_close(together.gradients, one.gradients)
    assert_close([together.weights], [one.weights])
    assert max(float(grad.abs().max()) for grad in one.gradients[0].values()) > 1e-3
    if case.endswith("unreadable"):
        assert one.metrics[0]["completion/unparsable_share"] >= 0.5
    assert_close([left(two_ranks, case, 1).weights], [together.weights])


@pytest.mark.parametrize("case", JUDGED)
def test_every_pair_is_judged_once(two_ranks, alone, case):
    one, folder = alone(case)
    parts = [left(two_ranks, case, rank).judged for rank in (0, 1)]
    assert len(one.judged) == 5
    assert sorted(map(len, parts)) == [2, 3]
    assert sorted(map(tuple, [*parts[0], *parts[1]]), key=str) == sorted(map(tuple, one.judged), key=str)
    ours, theirs = (
        [(row.pair_id, row.trace, row.answer) for row in read_predictions(run_folder / "predictions.parquet")]
        for run_folder in (folder, two_ranks / case)
    )
    assert ours == theirs == one.judged
    assert not list((two_ranks / case).glob(".predictions*"))


def assert_close(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.keys() == other.keys()
        for name in mine:
            torch.testing.assert_close(mine[name], other[name], atol=1e-5, rtol=0, msg=name)
