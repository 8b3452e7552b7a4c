from itertools import combinations
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lit_listener.evaluation.judged_pairs import judged_pairs
from lit_listener.evaluation.protocols.accuracy import accuracy_table
from lit_listener.evaluation.protocols.lists import (
    anchor_accuracy,
    anchor_scores,
    anchor_worths,
    by_list,
    direct_worths,
    list_table,
    mean_worths,
)
from tests.evaluation.protocols.judging import cell, list_row, mean, planted_lists, row, rows_of_scores

RANKS = (1, 2, 2, 3)
# Image 0 was compared with all others: p(0 beats 1) 0.8, p(0 beats 2) 0.4, p(0 beats 3) 0.7.
ANCHOR_ROWS = [list_row(0, 1, RANKS, p_a=0.8), list_row(0, 2, RANKS, p_a=0.4), list_row(0, 3, RANKS, p_a=0.7)]
# The rest: 1 beats 2 with 0.5, 1 beats 3 with 0.5, 2 beats 3 cannot be read.
REST = [list_row(1, 2, RANKS, p_a=0.5), list_row(1, 3, RANKS, p_a=0.5), list_row(2, 3, RANKS, p_a=None)]


def the_list(rows):
    (judged,) = by_list(judged_pairs(rows))
    return judged


def test_anchor_scores_by_hand():
    judged = the_list(ANCHOR_ROWS)
    assert judged.ranks == {0: 1, 1: 2, 2: 2, 3: 3}
    assert judged.anchors == (0,)
    assert anchor_scores(judged, 0) == pytest.approx({0: 0.5, 1: 0.2, 2: 0.6, 3: 0.3})
    assert anchor_scores(judged, 1) is None
    # Pairs of different rank: 0>1 yes, 0>2 no, 0>3 yes, 1>3 no (0.2 < 0.3), 2>3 yes; 1 and 2 are tied.
    assert anchor_worths(judged) == [1, 0, 1, 0, 1]
    assert anchor_accuracy(judged, 0) == pytest.approx(3 / 5)
    assert anchor_accuracy(judged, 1) is None
    assert anchor_worths(judged, 2) is None
    assert direct_worths(judged) is None


def test_both_orders_are_averaged():
    rows = [list_row(0, 1, (1, 2), p_a=0.9), list_row(0, 1, (1, 2), first="b", p_a=0.5)]
    judged = the_list(rows)
    assert anchor_scores(judged, 0) == pytest.approx({0: 0.5, 1: 0.3})
    assert anchor_scores(judged, 1) == pytest.approx({0: 0.7, 1: 0.5})


def test_an_unreadable_comparison_has_no_score_and_its_pairs_are_wrong():
    judged = the_list([*ANCHOR_ROWS[:2], list_row(0, 3, RANKS, p_a=None)])
    assert anchor_scores(judged, 0) == pytest.approx({0: 0.5, 1: 0.2, 2: 0.6, 3: None})
    # 0>1 yes, 0>2 no, and 3 has no score: 0>3, 1>3, 2>3 are wrong, whatever a tie is worth.
    assert anchor_worths(judged, ties="right") == [1, 0, 0, 0, 0]


def test_all_pairs_and_mean_over_anchors_by_hand():
    judged = the_list(ANCHOR_ROWS + REST)
    assert judged.anchors == (0, 1, 2, 3)
    # 0>1 yes, 0>2 no, 0>3 yes, 1>3 level, 2>3 unreadable.
    assert direct_worths(judged) == [1, 0, 1, 0, 0]
    assert direct_worths(judged, "half") == [1, 0, 1, 0.5, 0]
    # Scores of the images by anchor 0: .5 .2 .6 .3, 1: .8 .5 .5 .5, 2: .4 .5 .5 -, 3: .7 .5 - .5.
    # 0>1: yes yes no yes; 0>2: no yes no -; 0>3: yes yes - yes; 1>3: no level - level; 2>3: yes level - -.
    assert anchor_worths(judged) == pytest.approx([3 / 4, 1 / 4, 3 / 4, 0, 1 / 4])
    assert anchor_worths(judged, ties="half") == pytest.approx([3 / 4, 1 / 4, 3 / 4, 1 / 4, 1.5 / 4])
    # All four: images 0 .6, 1 .425, 2 (.6+.5+.5)/3 = .533, 3 (.3+.5+.5)/3 = .433: 1>3 is wrong.
    assert anchor_worths(judged, 4) == [1, 1, 1, 0, 1]


def plain_anchor_worths(rows, ranks, anchors, ties):
    """The mean over all sets of anchors of a plain loop; every pair of images was compared."""
    read = {}
    for item, other in combinations(range(len(ranks)), 2):
        scores = [r.p_a for r in rows if (r.item_a, r.item_b) == (item, other) and r.p_a is not None]
        read[item, other] = fmean(scores) if scores else None
        read[other, item] = 1 - read[item, other] if scores else None
    of_sets = []
    for chosen in combinations(range(len(ranks)), anchors):
        scores = []
        for item in range(len(ranks)):
            told = [0.5 if item == anchor else read[item, anchor] for anchor in chosen]
            told = [score for score in told if score is not None]
            scores.append(sum(told) / len(told) if told else None)
        worths = []
        for one, other in combinations(range(len(ranks)), 2):
            if ranks[one] == ranks[other]:
                continue
            if scores[one] is None or scores[other] is None:
                worths.append(0.0)
            elif scores[one] == scores[other]:
                worths.append({"wrong": 0.0, "half": 0.5, "right": 1.0}[ties])
            else:
                worths.append(float((scores[one] > scores[other]) == (ranks[one] < ranks[other])))
        of_sets.append(worths)
    return [fmean(column) for column in zip(*of_sets, strict=True)]


@given(st.data(), st.integers(2, 6), st.integers(1, 3), st.sampled_from(["wrong", "half", "right"]))
def test_a_plain_loop_gives_the_same(data, size, anchors, ties):
    ranks = data.draw(st.lists(st.integers(1, size), min_size=size, max_size=size))
    scores = st.sampled_from([None, 0.0, 0.25, 0.5, 0.625, 0.75])  # exact in binary, so that ties are ties everywhere
    rows = [list_row(one, other, ranks, p_a=data.draw(scores)) for one, other in combinations(range(size), 2)]
    worths = anchor_worths(the_list(rows), anchors, ties)
    if anchors > size:
        assert worths is None
    else:
        # Means of three scores are compared by both; rounding could part them, but the same sums are taken.
        assert worths == pytest.approx(plain_anchor_worths(rows, ranks, anchors, ties), abs=1e-12)


def test_a_consistent_scorer_needs_one_anchor():
    # With a score an image, comparisons with any anchor order the images as all pairs do.
    planted = planted_lists()
    table = list_table({"scorer": rows_of_scores(planted, "a")})
    accuracy = accuracy_table({"scorer": rows_of_scores(planted, "a")})
    micro = mean(accuracy, "accuracy/micro")
    assert mean(table, "lists/all_pairs_micro") == pytest.approx(micro, abs=1e-12)
    assert mean(table, "lists/all_pairs_macro") == pytest.approx(mean(accuracy, "accuracy/macro"), abs=1e-12)
    assert mean(table, "lists/anchor_micro") == pytest.approx(micro, abs=0.02)  # rounding parts a few ties
    sizes = [len(ranks) for ranks, _ in planted]
    assert mean(table, "lists/comparisons_anchor") == pytest.approx(fmean(size - 1 for size in sizes))
    assert mean(table, "lists/comparisons_all_pairs") == pytest.approx(fmean(size * (size - 1) / 2 for size in sizes))
    assert cell(table, "lists/comparisons_anchor").unit == "number"


def test_micro_and_macro_of_two_lists():
    second = [list_row(0, 1, (2, 1), list_id="second", p_a=0.9)]  # one pair, wrong
    table = list_table({"run": ANCHOR_ROWS + REST + second})
    assert mean(table, "lists/all_pairs_micro") == pytest.approx((2 + 0) / 6)
    assert mean(table, "lists/all_pairs_macro") == pytest.approx((2 / 5 + 0) / 2)
    assert mean(table, "lists/anchor_micro") == pytest.approx((3 / 4 + 1 / 4 + 3 / 4 + 0 + 1 / 4 + 0) / 6)
    assert mean(table, "lists/anchor_macro") == pytest.approx(((2 / 5) + 0) / 2)
    assert cell(table, "lists/anchor_k3_micro").rows == 5  # the second list has two anchors only
    assert cell(table, "lists/anchor_macro").rows == 2
    assert any("0 lists of the lines with one, 0 with two, 1 with three" in note for note in table.notes)


def test_macro_is_over_lists_where_lists_share_a_prompt():
    rows = [list_row(0, 1, (1, 2), list_id="x", prompt="p"), list_row(0, 1, (2, 1), list_id="y", prompt="p")]
    rows += [list_row(0, 1, (1, 2), list_id="z", prompt="q")]
    macro = cell(list_table({"run": rows}), "lists/all_pairs_macro")
    assert macro.interval.mean == pytest.approx(2 / 3)
    assert (macro.rows, macro.clusters) == (3, 2)


def test_only_anchors_asked_and_no_anchor_at_all():
    table = list_table({"anchors": ANCHOR_ROWS, "some": REST[:1] + ANCHOR_ROWS[:1], "pairs": [row()]})
    assert cell(table, "lists/all_pairs_micro").reason == "not all pairs of images were compared"
    assert mean(table, "lists/anchor_micro") == pytest.approx(3 / 5)
    assert cell(table, "lists/anchor_k2_micro").reason == "no list has 2 images compared with every other one"
    assert mean(table, "lists/anchor_micro", 1) == 1  # image 1 is the anchor of 0, 1, 2: 0.8, 0.5, 0.5
    for line in table.lines:
        assert line.cells[2].reason == "no pair is of a ranked list"
    no_anchor = list_table({"run": [list_row(0, 1, RANKS), list_row(2, 3, RANKS)]})
    assert cell(no_anchor, "lists/anchor_micro").reason == "no list has an image compared with every other one"


def test_dropped_ties_do_not_hide_all_pairs():
    rows = [r for r in ANCHOR_ROWS + REST if r.share_a != 0.5]
    assert direct_worths(the_list(rows)) == [1, 0, 1, 0, 0]
    assert the_list(rows).anchors == (0, 3)


def test_all_ranks_equal():
    table = list_table({"run": [list_row(0, 1, (1, 1))]})
    assert cell(table, "lists/anchor_macro").reason == "every pair of the lists is of equal rank"
    assert cell(table, "lists/all_pairs_micro").reason == "every pair of the lists is of equal rank"
    assert anchor_accuracy(the_list([list_row(0, 1, (1, 1))]), 0) is None


def test_no_lists_no_table():
    assert list_table({"run": [row()], "empty": []}) is None
    assert list_table({}) is None


def test_scores_without_a_number_are_wrong_and_ties_follow_the_rule():
    nan = float("nan")
    assert mean_worths(np.array([[0.5, 0.5, nan]]), [1, 2, 3], "half") == [0.5, 0, 0]
    assert mean_worths(np.array([[nan, nan]]), [1, 2], "right") == [0]
    # Two sets: the first in order, the second the other way round.
    assert mean_worths(np.array([[0.9, 0.1], [0.1, 0.9]]), [1, 2], "wrong") == [0.5]


def test_errors():
    with pytest.raises(ValueError, match=r"'pair': expected list_id, item_a.*judge it again from a source"):
        by_list(judged_pairs([row(list_id="list", item_a=0, item_b=1)]))
    twice = [list_row(0, 1, (1, 2)), list_row(0, 2, (2, 1, 3))]
    with pytest.raises(ValueError, match=r"image 0 of list 'list' has the ranks 1.0 and 2.0"):
        list_table({"run": twice})
