"""What the bundled world must show, with all its seeds; run by hand (``make accept``), about an hour on two cores."""

from pathlib import Path

import pytest

from lit_listener.data.records import ShownPair
from lit_listener.data.shapes import ShapesPairs, attribute_accuracy, displayed_scenes
from lit_listener.evaluation.prediction import Prediction
from lit_listener.evaluation.predictions_file import read_predictions
from tests.acceptance import study

pytestmark = pytest.mark.accept
PLAIN, LISTENER, RANDOM, LONGER = study.ARMS
ROOT = Path("runs/study")
RECORD = Path("docs/results/shapes.md")


@pytest.fixture(scope="module")
def root() -> Path:
    study.run_study(ROOT)
    RECORD.parent.mkdir(parents=True, exist_ok=True)
    RECORD.write_text(study.table(ROOT))
    return ROOT


def contradictions(root: Path, arm: study.Arm, source: str) -> float:
    return study.pooled(study.read_arm(root, arm, source, "after"))["contradiction_share"].mean


@pytest.mark.parametrize("seed", range(len(study.SEEDS)))
def test_held_in_accuracy_rises_by_ten_points_with_every_seed(root: Path, seed: int) -> None:
    before, after = (study.read_arm(root, LISTENER, "held_in", moment)[seed] for moment in ("before", "after"))
    gain = study.summary_difference(before, after)["accuracy"]
    assert len(after) >= 1000
    assert gain.mean >= 0.10
    assert gain.low > 0


def test_contradictions_do_not_fall_under_plain_grpo(root: Path) -> None:
    before = study.pooled(study.read_arm(root, PLAIN, "held_in", "before")[:1])["contradiction_share"]
    assert contradictions(root, PLAIN, "held_in") >= before.low


def test_listener_leaves_at_most_a_third_of_the_contradictions(root: Path) -> None:
    assert contradictions(root, LISTENER, "held_in") <= contradictions(root, PLAIN, "held_in") / 3


def test_listener_costs_no_accuracy(root: Path) -> None:
    gap = study.difference(root, LISTENER, PLAIN, "held_in")["accuracy"]
    assert gap.high >= 0


def test_random_listener_keeps_most_contradictions(root: Path) -> None:
    assert contradictions(root, RANDOM, "held_in") >= 0.6 * contradictions(root, PLAIN, "held_in")


def test_held_out_contradictions_at_most_half_and_accuracy_above_the_start(root: Path) -> None:
    assert contradictions(root, LISTENER, "held_out") <= contradictions(root, PLAIN, "held_out") / 2
    for seed in range(len(study.SEEDS)):
        before, after = (study.read_arm(root, LISTENER, "held_out", moment)[seed] for moment in ("before", "after"))
        assert study.summary(after)["accuracy"].mean >= study.summary(before)["accuracy"].mean


def test_twice_as_long_does_not_collapse(root: Path) -> None:
    for seed in study.SEEDS:
        end, later = (study.last_metrics(root, arm, seed) for arm in (LISTENER, LONGER))
        assert later["reward/format"] >= end["reward/format"] - 0.02
        assert later["reward/accuracy"] >= end["reward/accuracy"] - 0.05
        assert later["policy/kl"] < 1.0
    assert contradictions(root, LONGER, "held_in") <= contradictions(root, PLAIN, "held_in") / 3


def test_instruct_model_reads_the_held_out_renderer_as_well_as_the_others(tmp_path: Path) -> None:
    study.run_command(
        "test",
        "--config=configs/shapes/instruct.yaml",
        "--model.init_args.policy.base=shapes-instruct",
        f"--run_dir={tmp_path}",
    )
    predictions = read_predictions(tmp_path / "predictions.parquet")
    held_in = _attribute_accuracy(predictions, "held_in", ["flat", "paper"])
    held_out = _attribute_accuracy(predictions, "held_out", ["night"])
    print(f"attribute accuracy of the instruct model: held-in {held_in:.4f}, held-out {held_out:.4f}")
    assert abs(held_in - held_out) <= 0.05


def _attribute_accuracy(predictions: list[Prediction], source: str, renderers: list[str]) -> float:
    pairs = ShapesPairs(renderers, size=1000, split="test")
    scores = []
    for prediction in (p for p in predictions if p.source == source):
        index = int(prediction.pair_id.rsplit("-", 1)[1])
        shown = ShownPair(pairs[index], prediction.first, index)  # type: ignore[arg-type]
        scores.append(attribute_accuracy(prediction.trace, displayed_scenes(shown)))
    assert len(scores) == len(pairs)
    return sum(scores) / len(scores)
