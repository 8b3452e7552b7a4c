from itertools import combinations
from math import comb
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lit_listener.evaluation.judged_pairs import judged_pairs
from lit_listener.evaluation.protocols.accuracy import accuracy_table
from lit_listener.evaluation.protocols.rollouts import (
    JudgedRollouts,
    figure_4,
    majority_at,
    mean_at,
    rollout_sets,
    table_2,
)
from tests.evaluation.protocols.judging import cell, curve, mean, row, runs_of_rows


def judged(rows):
    return JudgedRollouts(judged_pairs(rows))


def rollouts(pair, scores, **changes):
    return [row(pair, rollout=number, p_a=p_a, **changes) for number, p_a in enumerate(scores)]


# Scores for the right image of two pairs; None is unreadable.
THREE = rollouts("x", (0.6, 0.7, 0.2)) + rollouts("y", (None, 0.4, 0.9), prompt="q")


def test_mean_at_k_by_hand():
    pairs = judged(THREE)
    assert mean_at(pairs, 1) == pytest.approx([2 / 3, 1 / 3])
    # x: 0.65, 0.4, 0.45 -> 1 of 3; y: 0.4 alone, 0.9 alone, 0.65 -> 2 of 3.
    assert mean_at(pairs, 2) == pytest.approx([1 / 3, 2 / 3])
    # x: 1.5 / 3 is level; y: 0.65.
    assert mean_at(pairs, 3) == [0.0, 1.0]
    assert mean_at(pairs, 3, "half") == [0.5, 1.0]
    assert mean_at(pairs, 4) is None


def test_majority_at_k_by_hand():
    pairs = judged(THREE)
    assert majority_at(pairs, 1) == pytest.approx([2 / 3, 1 / 3])
    # x: answers right, right, wrong: 1, 1/2, 1/2. y: unreadable, wrong, right: 0, 1, 1/2.
    assert majority_at(pairs, 2) == pytest.approx([2 / 3, 1.5 / 3])
    assert majority_at(pairs, 3) == [1.0, 0.5]  # y: one against one
    assert majority_at(pairs, 4) is None


def test_a_vote_is_held_in_each_order_alone():
    # All three right with a first, all three wrong with b first: 1 and 0, not a split of six.
    rows = rollouts("x", (0.9, 0.9, 0.9)) + rollouts("x", (0.4, None, 0.4), first="b")
    assert majority_at(judged(rows), 3) == [0.5]
    assert majority_at(judged(rows), 1) == pytest.approx([0.5])
    # The mean takes both orders together: (0.9 + 0.4) / 2.
    assert mean_at(judged(rows), 3) == mean_at(judged(rows), 2) == [1.0]


def test_unreadable_and_tied_pairs():
    pairs = judged(rollouts("x", (None, None)) + rollouts("tied", (0.9, 0.9), share_a=0.5))
    for k in (1, 2):
        assert mean_at(pairs, k, "right") == majority_at(pairs, k) == [0.0, None]


def plain_mean_at(rows, k, ties):
    """The definition, a loop a step."""
    values = {}
    for pair_id in dict.fromkeys(prediction.pair_id for prediction in rows):
        of_pair = [prediction for prediction in rows if prediction.pair_id == pair_id]
        if of_pair[0].share_a == 0.5:
            continue
        worths = []
        for chosen in combinations(sorted({prediction.rollout for prediction in of_pair}), k):
            means = []
            for first in ("a", "b"):
                read = []
                for prediction in of_pair:
                    if prediction.first == first and prediction.rollout in chosen and prediction.p_second is not None:
                        read.append(prediction.p_second if first == "b" else 1 - prediction.p_second)
                if read:
                    means.append(sum(read) / len(read))
            if not means:
                worths.append(0.0)
            elif abs(sum(means) / len(means) - 0.5) < 1e-9:
                worths.append({"wrong": 0.0, "half": 0.5, "right": 1.0}[ties])
            else:
                worths.append(float((sum(means) / len(means) > 0.5) == (of_pair[0].share_a > 0.5)))
        values[pair_id] = fmean(worths)
    return list(values.values())


def plain_majority_at(rows, k):
    values = {}
    for pair_id in dict.fromkeys(prediction.pair_id for prediction in rows):
        of_pair = [prediction for prediction in rows if prediction.pair_id == pair_id]
        if of_pair[0].share_a == 0.5:
            continue
        of_orders = []
        for first in dict.fromkeys(prediction.first for prediction in of_pair):
            answers = {p.rollout: p.answer for p in of_pair if p.first == first}
            label = next(p.label for p in of_pair if p.first == first)
            worths = []
            for chosen in combinations(sorted(answers), k):
                read = [answers[rollout] for rollout in chosen if answers[rollout] is not None]
                right = sum(answer == label for answer in read)
                worths.append(0.0 if not read else (0.5 if 2 * right == len(read) else float(2 * right > len(read))))
            of_orders.append(fmean(worths))
        values[pair_id] = fmean(of_orders)
    return list(values.values())


@settings(max_examples=40, deadline=None)  # a bootstrap a cell
@given(runs_of_rows(), st.sampled_from(["wrong", "half", "right"]))
def test_a_plain_loop_gives_the_same(rows, ties):
    pairs = judged(rows)
    for k in range(1, len(pairs.common) + 1):
        assert [v for v in mean_at(pairs, k, ties) if v is not None] == pytest.approx(
            plain_mean_at(rows, k, ties), abs=1e-12
        )
        assert [v for v in majority_at(pairs, k) if v is not None] == pytest.approx(
            plain_majority_at(rows, k), abs=1e-12
        )


@settings(max_examples=40, deadline=None)  # a bootstrap a cell
@given(runs_of_rows())
def test_all_rollouts_are_the_accuracy_and_one_vote_is_the_answer(rows):
    # The identity holds where every pair has as many completions.
    rows = [prediction for prediction in rows if prediction.first == rows[0].first]
    accuracy = accuracy_table({"run": rows})
    most = len(judged(rows).common)
    assert mean(table_2({"run": rows}), f"mean_at/{most}") == pytest.approx(
        mean(accuracy, "accuracy/micro"), abs=1e-12, nan_ok=True
    )
    votes = curve(figure_4({"run": rows}), "run, majority vote")
    assert votes.points[0].y.interval.mean == pytest.approx(mean(accuracy, "accuracy/answer"), abs=1e-12, nan_ok=True)


def test_sets_are_all_or_different_ones_drawn_by_seed():
    assert rollout_sets(3, 2) == [[0, 1], [0, 2], [1, 2]]
    assert len(rollout_sets(10, 3)) == comb(10, 3) == 120
    drawn = rollout_sets(12, 5)  # 792 sets
    assert len(drawn) == len({tuple(chosen) for chosen in drawn}) == 200
    assert all(len(set(chosen)) == 5 and set(chosen) <= set(range(12)) for chosen in drawn)
    assert drawn == rollout_sets(12, 5)
    assert drawn != rollout_sets(12, 5, seed=1)
    # Every rollout is drawn about equally often: 200 · 5 / 12 = 83, with a standard deviation of 7.
    counts = np.bincount(np.concatenate(drawn), minlength=12)
    assert (np.abs(counts - 83) < 30).all()


def test_table_2_has_a_line_a_k_and_tells_what_a_run_lacks():
    one = [row("x", p_a=0.9), row("y", prompt="q", p_a=0.2)]
    table = table_2({"three": THREE, "one": one})
    assert [line.key for line in table.lines] == ["mean_at/1", "mean_at/2", "mean_at/3"]
    assert mean(table, "mean_at/2") == pytest.approx((1 / 3 + 2 / 3) / 2)
    assert mean(table, "mean_at/1", 1) == 0.5
    assert cell(table, "mean_at/2", 1).reason == "every pair has one rollout only"
    assert "one: One rollout a pair in one display order: only k = 1." in table.notes
    assert table.paper == "Listener paper, Table 2; soft-rewards paper, Table 1"


def test_figure_4_curves():
    plot = figure_4({"run": THREE})
    votes, means = curve(plot, "run, majority vote"), curve(plot, "run, Mean@k")
    assert [point.x for point in votes.points] == [point.x for point in means.points] == [1, 2, 3]
    assert [point.y.interval.mean for point in votes.points] == pytest.approx([0.5, 3.5 / 6, 0.75])
    assert [point.y.interval.mean for point in means.points] == pytest.approx([0.5, 0.5, 0.5])
    assert any("3 rollouts a pair in one display order" in note for note in plot.notes)


def test_rollouts_that_some_pair_lacks_are_left_out():
    rows = THREE + rollouts("z", (0.9, 0.9))
    assert judged(rows).common == (0, 1)
    table = table_2({"run": rows})
    assert [line.key for line in table.lines] == ["mean_at/1", "mean_at/2"]
    assert mean(table, "mean_at/2") == pytest.approx((1 + 0 + 1) / 3)  # 0.65, 0.4, 0.9
    assert any("Rollouts that some pair lacks are left out." in note for note in table.notes)
    apart = table_2({"run": [row("x", rollout=0), row("y", rollout=1)]})
    assert cell(apart, "mean_at/1").reason == "no rollout was drawn for every pair"


def test_nothing_to_count():
    table = table_2({"empty": [], "tied": rollouts("x", (0.9,), share_a=0.5)})
    for column in (0, 1):
        assert cell(table, "mean_at/1", column).reason == "there is no pair of which people prefer one image"
    assert figure_4({"empty": []}).curves[0].points[0].y.rows == 0
    assert table_2({}).columns == ()
