import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lit_listener.evaluation.judged_pairs import judged_pairs
from lit_listener.evaluation.protocols.accuracy import accuracy_table
from lit_listener.evaluation.protocols.soft_scores import (
    expected_and_greedy,
    greedy_correct,
    rating_accuracy,
    rating_worths,
    soft_table_2,
)
from tests.evaluation.protocols.judging import cell, mean, planted_lists, row, rows_of_scores, runs_of_rows

NAN = math.nan


def test_answers_and_scores_of_the_same_completions_by_hand():
    rows = [
        # The answer was sampled: b at p(a) = 0.9, and a at 0.4.
        row("x", prompt="p", rollout=0, p_a=0.9, answer="b"),
        row("x", prompt="p", rollout=1, p_a=0.4, answer="a"),
        row("y", prompt="q", rollout=0, p_a=0.5, answer="a"),
        row("y", prompt="q", rollout=1, p_a=None),
        row("t", prompt="q", rollout=0, p_a=0.9, share_a=0.5),
        row("t", prompt="q", rollout=1, p_a=0.9, share_a=0.5),
    ]
    table = soft_table_2({"run": rows})
    assert mean(table, "accuracy/answer") == pytest.approx((0 + 1 + 1 + 0) / 4)
    assert mean(table, "accuracy/greedy") == pytest.approx((1 + 0 + 0 + 0) / 4)
    assert mean(table, "accuracy/micro") == pytest.approx((1 + 0) / 2)  # x 0.65, y level
    assert mean(table, "accuracy/soft_gain") == pytest.approx(((1 - 0.5) + (0 - 0.5)) / 2)
    assert cell(table, "accuracy/soft_gain").unit == "points"
    assert cell(table, "accuracy/greedy").rows == 4
    half = soft_table_2({"run": rows}, "half")
    assert mean(half, "accuracy/greedy") == pytest.approx(1.5 / 4)
    assert mean(half, "accuracy/micro") == pytest.approx(1.5 / 2)
    assert greedy_correct(judged_pairs(rows)[2]) == [None, None]


@settings(max_examples=40, deadline=None)  # a bootstrap a cell
@given(runs_of_rows())
def test_lines_agree_with_the_accuracy_table(rows):
    rows = [prediction for prediction in rows if prediction.first == rows[0].first]
    table, accuracy = soft_table_2({"run": rows}), accuracy_table({"run": rows})
    for key in ("accuracy/answer", "accuracy/micro"):
        assert mean(table, key) == pytest.approx(mean(accuracy, key), nan_ok=True)
    gain = mean(table, "accuracy/micro") - mean(table, "accuracy/answer")
    assert mean(table, "accuracy/soft_gain") == pytest.approx(gain, abs=1e-12, nan_ok=True)


def test_nothing_to_count():
    table = soft_table_2({"empty": [], "tied": [row(share_a=0.5)]})
    for line in table.lines:
        for empty in line.cells:
            assert empty.reason == "there is no pair of which people prefer one image"


def test_expected_and_greedy_rating_by_hand():
    scores = expected_and_greedy([[0.1, 0.3, 0.6], [0.5, 0.5, 0.0], [NAN, NAN, NAN]], [1, 2, 3])
    # (0.1 + 0.6 + 1.8 - 1) / 2, (0.5 + 1.0 - 1) / 2; the likeliest are 3, 1 (the lowest of two), none.
    assert scores.expected_N == pytest.approx([0.75, 0.25, NAN], nan_ok=True)
    assert scores.greedy_N == pytest.approx([1.0, 0.0, NAN], nan_ok=True)
    # A scale with gaps: ratings 0, 1, 5 at 0, 0.2, 1.
    gaps = expected_and_greedy([[0.25, 0.5, 0.25]], [0, 1, 5])
    assert gaps.expected_N == pytest.approx([0.5 * 0.2 + 0.25 * 1])
    assert gaps.greedy_N == pytest.approx([0.2])


@given(st.lists(st.integers(1, 50), min_size=7, max_size=7), st.floats(-5, 5), st.floats(0.5, 3))
def test_the_expectation_is_that_of_a_loop_and_of_no_scale(weights, shift, stretch):
    p = [weight / sum(weights) for weight in weights]
    expected = 0.0
    for rating, probability in zip(range(1, 8), p, strict=True):
        expected += rating * probability
    told = expected_and_greedy([p], range(1, 8)).expected_N
    assert told == pytest.approx([(expected - 1) / 6], abs=1e-12)
    moved = expected_and_greedy([p], [shift + stretch * rating for rating in range(1, 8)]).expected_N
    assert moved == pytest.approx(told, abs=1e-9)


def test_no_image_is_no_score():
    assert expected_and_greedy(np.empty((0, 3)), [1, 2, 3]).expected_N.shape == (0,)


def test_images_of_one_list_are_compared():
    # List x: ranks 1, 2, 2 and scores 0.9, 0.9, 0.1: 0-1 level, 0-2 right, 1-2 tied by people. y: wrong. z: one image.
    scores, ranks = [0.9, 0.9, 0.1, 0.2, 0.8, 0.5], [1, 2, 2, 1, 2, 1]
    lists = ["x", "x", "x", "y", "y", "z"]
    assert rating_worths(scores, ranks, lists) == ([0, 1, 0], ["x", "x", "y"])
    assert rating_worths(scores, ranks, lists, "half") == ([0.5, 1, 0], ["x", "x", "y"])
    assert rating_accuracy(scores, ranks, lists).interval.mean == pytest.approx(1 / 3)
    assert rating_accuracy(scores, ranks, lists, macro=True).interval.mean == pytest.approx((1 / 2 + 0) / 2)
    assert rating_accuracy(scores, ranks, lists).clusters == 2
    unread = [None, 0.9, NAN, 0.2, 0.8, 0.5]
    assert rating_worths(unread, ranks, lists, "right") == ([0, 0, 0], ["x", "x", "y"])
    assert rating_accuracy([0.1], [1], ["x"]).reason == "no list has two images of different rank"


def test_ratings_are_judged_as_pairs_are():
    planted = planted_lists()
    scores = [score for _, of_list in planted for score in of_list]
    ranks = [rank for of_list, _ in planted for rank in of_list]
    lists = [f"list-{number}" for number, (of_list, _) in enumerate(planted) for _ in of_list]
    for ties, suffix in (("wrong", ""), ("half", "_ties_half"), ("right", "_ties_right")):
        pairs = accuracy_table({"run": rows_of_scores(planted, "a")})
        assert rating_accuracy(scores, ranks, lists, ties).interval.mean == pytest.approx(
            mean(pairs, f"accuracy/micro{suffix}"), abs=1e-12
        )


def test_errors():
    with pytest.raises(ValueError, match=r"ratings must be two or more rising numbers, got \[3.0, 1.0\]"):
        expected_and_greedy([[0.5, 0.5]], [3, 1])
    with pytest.raises(ValueError, match=r"shape \[images, 2\], got \[1, 3\]"):
        expected_and_greedy([[0.2, 0.3, 0.5]], [1, 2])
    for bad in ([0.5, 0.4], [1.5, -0.5], [NAN, 1.0]):
        with pytest.raises(ValueError, match="image 1: expected probabilities that sum to 1"):
            expected_and_greedy([[0.5, 0.5], bad], [1, 2])
    with pytest.raises(ValueError, match="a score, a rank and a list an image, got 1, 2 and 1"):
        rating_worths([0.1], [1, 2], ["x"])


def test_ratings_that_are_level_by_hand():
    rows = [
        # Of four pairs whose image a people prefer: answers b, level, level, unreadable; expected ratings near them.
        row("w", p_a=0.45, answer="b", likeliest_p_second=0.625),  # likeliest p(a) 0.375: wrong
        row("x", p_a=0.6, answer=None, level=True, likeliest_p_second=0.5),
        row("y", p_a=0.55, answer=None, level=True, likeliest_p_second=0.25),  # 0.75: right
        row("z", p_a=None),
        row("t", p_a=0.5, answer=None, level=True, share_a=0.5, likeliest_p_second=0.5),
    ]
    table = soft_table_2({"run": rows})
    assert mean(table, "accuracy/answer") == 0
    assert mean(table, "accuracy/greedy") == pytest.approx(1 / 4)
    assert mean(table, "accuracy/micro") == pytest.approx(2 / 4)  # x and y
    assert mean(table, "accuracy/soft_gain") == pytest.approx(2 / 4)
    assert mean(table, "completions/level_share") == pytest.approx(2 / 4)
    assert mean(table, "completions/likeliest_level_share") == pytest.approx(1 / 4)
    assert any("rates each image by itself" in note for note in table.notes)
    half = soft_table_2({"run": rows}, "half")
    assert mean(half, "accuracy/greedy") == pytest.approx(1.5 / 4)
    assert mean(half, "accuracy/answer") == 0
    accuracy = accuracy_table({"run": rows})
    assert mean(accuracy, "completions/unparsable_share") == pytest.approx(1 / 5)
    assert mean(accuracy, "pairs/unreadable_share") == pytest.approx(1 / 5)


def test_judges_of_pairs_have_no_lines_about_level_answers():
    table = soft_table_2({"run": [row("x", p_a=0.9)]})
    assert not any("level" in line.key for line in table.lines)
    assert not any("by itself" in note for note in table.notes)
