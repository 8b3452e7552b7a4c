"""What the bundled world must show, over all seeds of the study; run by hand (``make accept``), hours on two cores."""

from pathlib import Path

import pytest

from lit_listener.__main__ import main
from lit_listener.evaluation.learning_curves import read_metrics
from lit_listener.evaluation.prediction import Prediction
from lit_listener.study.design import read_design
from lit_listener.study.reading import read_study
from lit_listener.study.record import Study
from lit_listener.study.truth import stated_rightly

pytestmark = pytest.mark.accept
ROOT = Path("runs/study")


@pytest.fixture(scope="module")
def study() -> Study:
    """Trained and tested, or gone on with; ``docs/reproduction.md`` is written on the way."""
    assert main(["study", "--run_dir", str(ROOT)]) == 0
    return read_study(read_design(Path("configs/shapes/study/study.yaml")), ROOT)


def accuracy(rows: list[Prediction]) -> float:
    return sum(row.correct or 0 for row in rows) / len(rows)


def contradictions(rows: list[Prediction]) -> float:
    told = [row.contradiction for row in rows if row.contradiction is not None]
    return sum(told) / len(told)


def pooled(study: Study, arm: str, source: str) -> list[Prediction]:
    return [row for rows in study.arms[arm].on(source) for row in rows]


def test_held_in_accuracy_rises_by_ten_points_with_every_seed(study: Study) -> None:
    start = accuracy(pooled(study, "start", "held_in"))
    for rows in study.arms["grpo_listener"].on("held_in"):
        assert accuracy(list(rows)) >= start + 0.10


def test_contradictions_do_not_fall_under_plain_grpo(study: Study) -> None:
    before, after = (contradictions(pooled(study, arm, "held_in")) for arm in ("start", "grpo"))
    assert after >= before - 0.02


@pytest.mark.parametrize(("source", "share"), [("held_in", 1 / 3), ("held_out", 1 / 2)])
def test_the_listener_leaves_few_of_the_contradictions(study: Study, source: str, share: float) -> None:
    plain, heard = (contradictions(pooled(study, arm, source)) for arm in ("grpo", "grpo_listener"))
    assert heard <= plain * share


@pytest.mark.parametrize("arm", ["random_listener", "shuffled_listener"])
def test_a_listener_that_tells_nothing_keeps_most_contradictions(study: Study, arm: str) -> None:
    plain, control = (contradictions(pooled(study, which, "held_in")) for which in ("grpo", arm))
    assert control >= 0.6 * plain


def test_held_out_accuracy_is_above_the_start(study: Study) -> None:
    start = accuracy(pooled(study, "start", "held_out"))
    for rows in study.arms["grpo_listener"].on("held_out"):
        assert accuracy(list(rows)) > start


def test_twice_as_long_does_not_collapse(study: Study, tmp_path: Path) -> None:
    longer = tmp_path / "longer"
    config = ["--config", "configs/shapes/grpo_listener.yaml", "--seed_everything", "0", "--data.seed", "0"]
    assert main(["fit", *config, "--trainer.max_steps", "240", "--run_dir", str(longer)]) == 0
    once = read_metrics(ROOT / "arms" / "grpo_listener" / "seed0" / "fit" / "metrics.csv")
    twice = read_metrics(longer / "metrics.csv")
    end, later = ({name: float(series.values[-10:].mean()) for name, series in run.items()} for run in (once, twice))
    assert later["reward/format"] >= end["reward/format"] - 0.02
    assert later["reward/accuracy"] >= end["reward/accuracy"] - 0.05
    assert later["policy/kl"] < 1.0


def test_the_instruct_model_reads_the_held_out_renderer_as_well_as_the_others(study: Study) -> None:
    held_in, held_out = (attributes(study, source) for source in ("held_in", "held_out"))
    print(f"attribute accuracy of the instruct model: held-in {held_in:.4f}, held-out {held_out:.4f}")
    assert abs(held_in - held_out) <= 0.05


def attributes(study: Study, source: str) -> float:
    scores = [stated_rightly(row) for row in pooled(study, "instruct", source)]
    known = [score for score in scores if score is not None]
    assert len(known) == len(scores)
    return sum(known) / len(known)
