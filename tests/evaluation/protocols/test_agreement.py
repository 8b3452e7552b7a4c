import math

import numpy as np
import pytest

from lit_listener.evaluation.judged_pairs import judged_pairs
from lit_listener.evaluation.protocols.agreement import agreement_bin, agreement_table, figure_3, is_binarised
from tests.evaluation.protocols.judging import cell, curve, mean, row

# Agreement: 0.6 (14 of 20 is 0.7, …); the odd ones are judged right.
ROWS = [
    row("0", prompt="p0", share_a=0.55, votes=20, p_a=0.9),  # right
    row("1", prompt="p1", share_a=0.45, votes=20, p_a=0.9),  # wrong
    row("2", prompt="p2", share_a=0.6, votes=20, p_a=0.9),  # right
    row("3", prompt="p3", share_a=0.2, votes=20, p_a=0.1),  # right, agreement 0.8
    row("4", prompt="p4", share_a=0.8, votes=15, p_a=0.1),  # wrong, too few votes
    row("5", prompt="p5", share_a=1.0, votes=16, p_a=0.1),  # wrong
    row("6", prompt="p6", share_a=0.5, votes=20, p_a=0.9),  # people are tied
]


def means(points):
    return [point.y.interval.mean for point in points]


def test_figure_3_by_hand():
    plot = figure_3({"run": ROWS})
    bins, at_least = curve(plot, "run"), curve(plot, "run, at least")
    assert [point.label for point in bins.points] == ["50%–60%", "60%–70%", "70%–80%", "80%–90%", "90%–100%"]
    assert [point.x for point in bins.points] == pytest.approx([0.55, 0.65, 0.75, 0.85, 0.95])
    assert means(bins.points) == pytest.approx([1 / 2, 1, math.nan, 1 / 2, 0], nan_ok=True)
    assert [point.y.rows for point in bins.points] == [2, 1, 0, 2, 1]
    assert bins.points[2].y.reason == "no pair has such agreement"
    assert [point.x for point in at_least.points] == [0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    assert means(at_least.points) == pytest.approx([3 / 6, 2 / 4, 1 / 3, 1 / 3, 0, 0])


def test_bins_are_whole_whatever_the_rounding():
    # The edges, from both sides of the share, in double and single precision.
    for number, edge in enumerate((0.5, 0.6, 0.7, 0.8, 0.9)):
        for share in (edge, 1 - (1 - edge), float(np.float32(edge)), 1.0 - float(np.float32(1.0 - edge))):
            assert agreement_bin(share) == number, share
    assert agreement_bin(1.0) == 4
    assert [agreement_bin(share) for share in (0.55, 0.599, 0.65, 0.75, 0.85, 0.95)] == [0, 0, 1, 2, 3, 4]


def test_bins_are_those_of_numpy():
    shares = np.random.default_rng(0).uniform(0.5, 1.0, 500)
    counts = np.bincount([agreement_bin(share) for share in shares], minlength=5)
    assert counts.tolist() == np.histogram(shares, bins=[0.5, 0.6, 0.7, 0.8, 0.9, 1.0])[0].tolist()


def test_the_binarised_set():
    table = agreement_table({"run": ROWS})
    assert [is_binarised(pair) for pair in judged_pairs(ROWS)] == [False, False, False, True, False, True, False]
    binarised = cell(table, "accuracy/binarised")
    assert binarised.interval.mean == pytest.approx(1 / 2)
    assert binarised.rows == 2
    for key, count in (("binarised", 2), ("preferred", 6), ("tied", 1), ("votes_known", 7)):
        assert mean(table, f"pairs/{key}") == count
        assert cell(table, f"pairs/{key}").unit == "count"
    assert is_binarised(judged_pairs([row(share_a=float(np.float32(0.2)), votes=20)])[0])


def test_a_source_without_votes_has_no_agreement():
    ranked = [row("x", share_a=1.0), row("y", prompt="q", share_a=0.0)]
    plot = figure_3({"run": ranked})
    for drawn in plot.curves:
        assert {point.y.reason for point in drawn.points} == {"the source tells no shares of votes"}
    table = agreement_table({"run": ranked})
    assert cell(table, "accuracy/binarised").reason == "the source tells no numbers of votes"
    assert "Agreement is unknown: the source tells no shares of votes." in table.notes


def test_shares_without_numbers_of_votes_can_be_binned():
    shares = [row("x", share_a=0.7), row("y", prompt="q", share_a=0.9)]
    assert curve(figure_3({"run": shares}), "run").points[2].y.rows == 1
    assert cell(agreement_table({"run": shares}), "accuracy/binarised").reason == "the source tells no numbers of votes"


def test_nothing_to_count():
    table = agreement_table({"empty": [], "few": [row(share_a=0.9, votes=10)]})
    assert cell(table, "accuracy/binarised").reason == "no pair has 80% of 16 votes or more on one side"
    assert cell(table, "accuracy/binarised", 1).reason == "no pair has 80% of 16 votes or more on one side"
    assert mean(table, "pairs/preferred") == 0
    assert {point.y.rows for drawn in figure_3({"empty": []}).curves for point in drawn.points} == {0}
    assert figure_3({}).curves == ()


def test_the_tie_rule_is_used():
    level = [row("x", share_a=0.9, votes=20, p_a=0.5)]
    assert mean(agreement_table({"run": level}, "half"), "accuracy/binarised") == 0.5
    assert curve(figure_3({"run": level}, "half"), "run").points[4].y.interval.mean == 0.5
