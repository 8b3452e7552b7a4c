import math
from dataclasses import replace
from itertools import combinations
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lit_listener.evaluation.judged_pairs import judged_pairs
from lit_listener.evaluation.protocols.accuracy import (
    accuracy_table,
    flip,
    hard_side,
    not_opposed,
    protocol_numbers,
    soft_side,
)
from tests.evaluation.protocols.judging import cell, mean, planted_lists, row, rows_of_scores, runs_of_rows


def image_reward_test(planted):
    """Right pairs over all pairs of different rank; equal scores are wrong."""
    right = total = 0
    for ranks, scores in planted:
        for i, j in combinations(range(len(ranks)), 2):
            if ranks[i] == ranks[j]:
                continue
            total += 1
            if (ranks[i] < ranks[j] and scores[i] > scores[j]) or (ranks[i] > ranks[j] and scores[i] < scores[j]):
                right += 1
    return right / total


def hpsv2_on_image_reward(planted):
    """The same a list, then the mean over lists that have a pair."""
    of_lists = []
    for ranks, scores in planted:
        if len(set(ranks)) > 1:
            of_lists.append(image_reward_test([(ranks, scores)]))
    return sum(of_lists) / len(of_lists)


def hpsv2_on_hpdv2(planted):
    """1 - inversions / pairs a list, where only strictly opposed pairs are inversions; the mean over lists."""
    of_lists = []
    for ranks, scores in planted:
        inversions = 0
        for i, j in combinations(range(len(ranks)), 2):
            if (ranks[i] - ranks[j]) * (scores[i] - scores[j]) > 0:  # a better rank is a lower number
                inversions += 1
        of_lists.append(1 - inversions / (len(ranks) * (len(ranks) - 1) / 2))
    return sum(of_lists) / len(of_lists)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("first", ["a", "b", "ab"])
def test_the_authors_scripts_give_the_same_figures(seed, first):
    planted = planted_lists(seed=seed)
    rows = rows_of_scores(planted, first)
    table = accuracy_table({"scorer": rows})
    micro, macro, hpdv2 = (script(planted) for script in (image_reward_test, hpsv2_on_image_reward, hpsv2_on_hpdv2))
    assert mean(table, "accuracy/micro") == pytest.approx(micro, abs=1e-12)
    assert mean(table, "accuracy/macro") == pytest.approx(macro, abs=1e-12)
    assert mean(table, "accuracy/macro_not_opposed") == pytest.approx(hpdv2, abs=1e-12)
    numbers = protocol_numbers(judged_pairs(rows))
    assert numbers.image_reward == pytest.approx(micro, abs=1e-12)
    assert numbers.hpsv2_on_image_reward == pytest.approx(macro, abs=1e-12)
    assert numbers.hpdv2 == pytest.approx(hpdv2, abs=1e-12)
    assert len({round(micro, 3), round(macro, 3), round(hpdv2, 3)}) == 3  # the scripts do not agree with each other


def test_without_tied_ranks_hpdv2_is_macro_with_ties_right():
    planted = planted_lists(tied_ranks=False)
    table = accuracy_table({"scorer": rows_of_scores(planted)})
    assert mean(table, "accuracy/macro_ties_right") == pytest.approx(hpsv2_on_hpdv2(planted), abs=1e-12)


def both(pair, p_first_a, p_first_b, **changes):
    return [row(pair, first="a", p_a=p_first_a, **changes), row(pair, first="b", p_a=p_first_b, **changes)]


ROWS = [
    *both("right", 0.9, 0.8, prompt="x"),  # mean 0.85, both orders right
    *both("flips", 0.9, 0.3, prompt="x"),  # mean 0.6, right, but wrong with b first
    *both("level", 0.75, 0.25, prompt="x"),  # mean 0.5
    *both("half read", None, 0.25, prompt="y"),  # mean 0.25, wrong
    *both("unread", None, None, prompt="y"),
    *both("tied", 0.9, 0.1, prompt="y", share_a=0.5),
]


def test_accuracy_by_hand():
    table = accuracy_table({"run": ROWS})
    # Worth 1, 1, tie, 0, 0, and the pair that people are tied on is left out.
    assert mean(table, "accuracy/micro") == pytest.approx(2 / 5)
    assert mean(table, "accuracy/micro_ties_half") == pytest.approx(2.5 / 5)
    assert mean(table, "accuracy/micro_ties_right") == pytest.approx(3 / 5)
    assert mean(table, "accuracy/macro") == pytest.approx((2 / 3 + 0 / 2) / 2)  # prompts x and y
    assert mean(table, "accuracy/macro_ties_right") == pytest.approx((3 / 3 + 0 / 2) / 2)
    # Not opposed: 1, 1, level 1 | 0, 0, people tied 1.
    assert mean(table, "accuracy/macro_not_opposed") == pytest.approx((3 / 3 + 1 / 3) / 2)
    # Answers right: 1+1, 1+0, 1+0, 0+0, 0+0 of 10 completions.
    assert mean(table, "accuracy/answer") == pytest.approx(4 / 10)
    # An order alone, a and b: 1 1, 1 0, 1 0, 0 0, 0 0.
    assert mean(table, "accuracy/first_order") == pytest.approx((1 + 0.5 + 0.5 + 0 + 0) / 5)
    # Both orders name an image in: right (no flip), flips, level and tied (all flips).
    assert mean(table, "order/flip_share") == pytest.approx(3 / 4)
    assert mean(table, "order/hard_flip_share") == pytest.approx(3 / 4)
    # Readable answers naming the first image: (a, b first) right 1 0, flips 1 1, level 1 1, half read - 1, tied 1 1.
    assert mean(table, "order/first_chosen_share") == pytest.approx(8 / 9)
    assert mean(table, "pairs/unreadable_share") == pytest.approx(1 / 6)
    assert mean(table, "completions/unparsable_share") == pytest.approx(3 / 12)
    assert mean(table, "pairs/predicted_tie_share") == pytest.approx(2 / 6)  # level, and the one people are tied on
    micro = cell(table, "accuracy/micro")
    assert (micro.rows, micro.clusters) == (5, 2)
    assert cell(table, "accuracy/answer").rows == 10
    assert "the 1 that people are tied on" in " ".join(table.notes)


@pytest.mark.parametrize(
    ("ties", "worth", "told"), [("wrong", 0, "wrong"), ("half", 0.5, "half"), ("right", 1, "right")]
)
def test_the_tie_rule_asked_for_is_used_and_named(ties, worth, told):
    table = accuracy_table({"run": ROWS}, ties)
    assert mean(table, "accuracy/micro") == pytest.approx((2 + worth) / 5)
    assert mean(table, "accuracy/macro") == pytest.approx((2 + worth) / 3 / 2)
    assert mean(table, "accuracy/micro_ties_half") == pytest.approx(2.5 / 5)
    assert mean(table, "accuracy/first_order") == pytest.approx(2 / 5)  # no order alone is level
    assert told in table.notes[0]


def test_one_order_has_no_flips():
    table = accuracy_table({"run": [row("x", p_a=0.9), row("y", prompt="other", p_a=0.2)], "both": ROWS})
    for key in ("order/flip_share", "order/hard_flip_share"):
        assert cell(table, key).reason == "each pair was shown in one order"
        assert cell(table, key, 1).reason == ""
    assert mean(table, "accuracy/first_order") == mean(table, "accuracy/micro") == 0.5
    assert any(note.startswith("run: Shown in one order only") for note in table.notes)


def test_a_flip_needs_both_orders_to_prefer_an_image():
    pair = judged_pairs(both("x", 0.5, 0.9))[0]
    assert soft_side(pair, "a") is None
    assert soft_side(pair, "b") == "a"
    assert flip([None, "a"]) is None
    assert flip(["a"]) is None
    assert (flip(["a", "a"]), flip(["a", "b"])) == (0.0, 1.0)
    table = accuracy_table({"run": both("x", 0.5, None)})
    assert cell(table, "order/flip_share").reason == "in no pair do both orders prefer an image"


def test_soft_and_hard_sides_can_differ():
    # Three answers for a with p 0.55, 0.55 and one for b with 0.1: the mean 0.4 is b's, the majority a's.
    rows = [row("x", rollout=rollout, p_a=p_a) for rollout, p_a in enumerate((0.55, 0.55, 0.1))]
    pair = judged_pairs(rows)[0]
    assert soft_side(pair, "a") == "b"
    assert hard_side(pair, "a") == "a"
    assert hard_side(judged_pairs([row(), row(rollout=1, p_a=0.1)])[0], "a") is None  # split
    assert hard_side(judged_pairs([row(p_a=None)])[0], "a") is None


def test_nothing_to_count():
    table = accuracy_table(
        {"empty": [], "tied": [row(share_a=0.5)], "unread": [row(p_a=None), row("y", prompt="q", p_a=None)]}
    )
    assert cell(table, "accuracy/micro").reason == "there is no pair of which people prefer one image"
    assert cell(table, "accuracy/micro", 1).reason == "there is no pair of which people prefer one image"
    assert cell(table, "pairs/unreadable_share").reason == "there is no pair"
    assert mean(table, "accuracy/micro", 2) == 0.0
    assert mean(table, "accuracy/micro_ties_right", 2) == 0.0
    assert mean(table, "pairs/unreadable_share", 2) == 1.0
    assert cell(table, "order/first_chosen_share", 2).reason == "no answer can be read"
    assert accuracy_table({}).columns == ()
    assert protocol_numbers([]).image_reward is None
    assert not_opposed(judged_pairs([row(share_a=0.5, p_a=None)])[0]) == 0.0


def test_a_single_prompt_has_a_mean_and_no_interval():
    micro = cell(accuracy_table({"run": both("x", 0.9, 0.9)}), "accuracy/micro")
    assert micro.interval.mean == 1.0
    assert math.isnan(micro.interval.low)
    assert micro.reason == "a single prompt has no interval"


def test_lists_are_counted():
    notes = " ".join(accuracy_table({"scorer": rows_of_scores(planted_lists(7))}).notes)
    assert "of 7 ranked lists" in notes


def test_a_completion_given_twice_is_refused():
    with pytest.raises(ValueError, match="twice: pass the predictions of one run and one source"):
        accuracy_table({"run": [row(), row()]})


def means(rows):
    return {line.key: line.cells[0].interval.mean for line in accuracy_table({"run": rows}).lines}


def swapped(prediction):
    """The same judgement with the names of the two sides exchanged."""
    return replace(prediction, first="b" if prediction.first == "a" else "a", share_a=1.0 - prediction.share_a)


@settings(max_examples=40, deadline=None)  # a bootstrap a cell
@given(runs_of_rows(), st.randoms(use_true_random=False))
def test_names_and_order_of_rows_do_not_matter(rows, random):
    expected = means(rows)
    shuffled = random.sample(rows, len(rows))
    for changed in (
        [swapped(prediction) for prediction in rows],
        shuffled,
        [replace(prediction, prompt_id=f"other {prediction.prompt_id[::-1]}") for prediction in rows],
    ):
        assert means(changed) == pytest.approx(expected, abs=1e-12, nan_ok=True)


@settings(max_examples=40, deadline=None)  # a bootstrap a cell
@given(runs_of_rows())
def test_tie_rules_are_ordered_and_half_is_between(rows):
    wrong, half, right = (
        mean(accuracy_table({"run": rows}, ties), "accuracy/micro") for ties in ("wrong", "half", "right")
    )
    if not math.isnan(wrong):
        assert wrong <= half <= right
        assert half == pytest.approx(fmean([wrong, right]), abs=1e-12)
