"""Rating runs: pairs judged by two ratings each, lists by one rating an image, and GRPO on ratings."""

import csv
from dataclasses import asdict, replace
from itertools import combinations
from typing import Any

import pytest
from lightning.pytorch.loggers import CSVLogger

from lit_listener.data.records import RankedList
from lit_listener.data.shapes import ShapesRatings
from lit_listener.data.shown import ShownPair
from lit_listener.evaluation.predictions_file import read_predictions, write_predictions
from lit_listener.tasks import AbsoluteRating
from lit_listener.training import ListenerGRPO
from lit_listener.training.grpo_options import RewardWeights
from lit_listener.training.rewards import ApproximateMatch, SoftScore
from lit_listener.vlm.rollout import Sampling
from lit_listener.vlm.specs import PolicySpec
from tests.training.tiny_runs import data, pairs, sgd, shown, trainer

TASK = AbsoluteRating(system=None, template="{prompt}. {image} How good is it, {{ lowest }} to {{ highest }}?")


def rater(**options: Any) -> ListenerGRPO:
    settings: dict[str, Any] = {
        "policy": PolicySpec("shapes-rater"),
        "task": TASK,
        "sampling": Sampling(max_new_tokens=40),
        "group_size": 4,
        "optimizer": sgd,
        "reward": RewardWeights(accuracy=1.0, listener=0.5),
        "reward_terms": {"approximate": ApproximateMatch(), "soft": SoftScore()},
    }
    return ListenerGRPO(**{**settings, **options})


@pytest.fixture(scope="module")
def judge() -> ListenerGRPO:
    module = rater()
    module.configure_model()
    return module


@pytest.fixture(scope="module")
def rows(judge) -> list[Any]:
    return judge.judge(shown(24))


def test_rows_tell_of_both_ratings(rows):
    assert {row.answer for row in rows} == {0, 1, None}
    level = [row for row in rows if row.level]
    assert level
    assert all(row.answer is None and not row.unparsable and row.correct == 0 for row in level)
    assert all(row.p_a is not None for row in level)
    for row in rows:
        assert row.trace.count("\n\n") >= 1
        assert row.likeliest_p_second in {0.5 + step / 8 for step in range(-4, 5)}  # a difference of whole ratings
        assert (row.listener_p_second is None) == (row.p_second is None)


def test_judgements_do_not_depend_on_the_batch(judge, rows):
    again = [row for start in range(0, 24, 5) for row in judge.judge(shown(24)[start : start + 5])]
    soft = ("p_second", "listener_p_second", "listener_p_correct")
    for one, other in zip(rows, again, strict=True):
        for name, value in asdict(one).items():
            assert getattr(other, name) == (pytest.approx(value, abs=1e-5) if name in soft else value)


def test_display_order_changes_no_rating(judge, rows):
    swapped = judge.judge([replace(pair, first="b" if pair.first == "a" else "a") for pair in shown(24)])
    for one, other in zip(rows, swapped, strict=True):
        assert other.p_second == pytest.approx(1 - one.p_second, abs=1e-5)
        assert other.answer == (None if one.answer is None else 1 - one.answer)
        assert other.length == one.length


def test_an_image_of_a_list_is_asked_about_once_for_all_its_pairs(judge, monkeypatch):
    source = pairs(2)
    images = (source[0].image_a, source[0].image_b, source[1].image_a, source[1].image_b)
    ranked = RankedList("four red squares", images, (1, 2, 3, 4), "list", "prompt", ("",) * 4)
    asked = [ShownPair(ranked.pair(a, b), first, n) for n, (a, b) in enumerate(combinations(range(4), 2))
             for first in ("a", "b")]  # fmt: skip
    counts = []
    roll_out = type(judge).roll_out

    def counting(self, given, group_size):
        counts.append(len(given.shown))
        return roll_out(self, given, group_size)

    monkeypatch.setattr(type(judge), "roll_out", counting)
    judged = judge.judge(asked)
    assert (len(judged), counts) == (12, [4])  # 6 pairs in both orders: 4 images, and not 24
    scores = {}
    for row in judged:  # p_second = ½ + ½(s₂ − s₁): differences of one score an image add up around a triangle
        scores[row.item_a, row.item_b, row.first] = row.p_a
    assert scores[0, 1, "a"] - 0.5 + scores[1, 2, "a"] - 0.5 == pytest.approx(scores[0, 2, "a"] - 0.5, abs=1e-5)
    assert scores[0, 3, "a"] == pytest.approx(scores[0, 3, "b"], abs=1e-6)


def test_rows_come_back_from_their_file_and_from_files_of_before(tmp_path, rows):
    import pyarrow.parquet as pq  # noqa: PLC0415

    path = tmp_path / "predictions.parquet"
    write_predictions(rows, path)
    assert read_predictions(path) == rows
    pq.write_table(pq.read_table(path).drop_columns(["level", "likeliest_p_second"]), path)
    before = read_predictions(path)
    assert all(not row.level and row.likeliest_p_a == row.p_a for row in before)


@pytest.mark.slow
def test_grpo_on_ratings_runs_and_pays_for_what_it_says(tmp_path):
    module = rater()
    ratings = ShapesRatings(["flat", "paper"], 40, seed=6)
    run = trainer(tmp_path, 20, logger=CSVLogger(tmp_path, name="", version=""))
    run.fit(module, data(ratings, batch_size=2))
    with (tmp_path / "metrics.csv").open() as file:
        steps = [row for row in csv.DictReader(file) if row["reward/total"]]
    assert len(steps) == 20
    for row in steps:
        terms = {
            name: float(row[f"reward/{name}"]) for name in ("format", "accuracy", "approximate", "soft", "listener")
        }
        total = terms["format"] + terms["accuracy"] + terms["approximate"] + terms["soft"] + 0.5 * terms["listener"]
        assert float(row["reward/total"]) == pytest.approx(total, abs=1e-5)
        assert 0 <= terms["accuracy"] <= terms["approximate"] <= 1
        assert terms["soft"] > 0.5
        assert float(row["listener/p_correct"]) > 0.5


def test_pairs_cannot_be_trained_on(tmp_path):
    with pytest.raises(TypeError, match="AbsoluteRating asks about one image at a time, got pair shapes-train"):
        trainer(tmp_path, 1).fit(rater(), data(8))
