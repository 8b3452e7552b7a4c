import numpy as np
import pytest

from lit_listener.evaluation.diagnoses.thinking import p_a_without_thinking, table_5
from lit_listener.evaluation.judged_pairs import judged_pairs
from lit_listener.evaluation.statistics import clustered_difference
from tests.evaluation.reading import cell, means


def both_orders(predict, pair, p_a, without, prompt="x", rollouts=1, **changes):
    """A pair in both orders; ``without`` holds the probability of image a with a first, and with b first."""
    return [
        predict(
            pair_id=pair,
            prompt_id=prompt,
            first=first,
            rollout=rollout,
            label=int(first == "a"),  # people prefer b
            answer=int(first == "a"),
            p_second=1 - p_a if first == "a" else p_a,
            p_second_without_thinking=None if p is None else (1 - p if first == "a" else p),
            **changes,
        )
        for first, p in zip("ab", without, strict=True)
        for rollout in range(rollouts)
    ]


def test_orders_are_averaged_so_that_a_bias_cancels(predict):
    (pair,) = judged_pairs(both_orders(predict, "1", 0.25, (0.75, 0.125), rollouts=3))
    assert p_a_without_thinking(pair) == pytest.approx((0.75 + 0.125) / 2)
    (half_asked,) = judged_pairs(both_orders(predict, "1", 0.25, (0.75, None)))
    assert p_a_without_thinking(half_asked) is None


def test_table_by_hand(predict):
    rows = [
        *both_orders(predict, "1", 0.25, (0.75, 0.125)),  # with: right; without: p_a = 0.4375, right
        *both_orders(predict, "2", 0.25, (0.75, 0.75), prompt="y"),  # right; wrong
        *both_orders(predict, "3", 0.75, (0.25, 0.25), prompt="z"),  # wrong; right
        *both_orders(predict, "4", 0.25, (0.75, 0.75), prompt="z"),  # right; wrong
        *both_orders(predict, "5", 0.25, (0.5, 0.5), prompt="z"),  # right; exactly level, so wrong
        *both_orders(predict, "6", 0.75, (0.75, None), prompt="z"),  # not asked in both orders
    ]
    tie = [predict(pair_id="7", label=None, share_a=0.5, p_second_without_thinking=0.0)]
    table = table_5({"mine": rows + tie})
    assert means(table) == pytest.approx(
        {"thinking/with": 4 / 5, "thinking/without": 2 / 5, "thinking/difference": 2 / 5}, abs=1e-12
    )
    assert cell(table, "thinking/difference").unit == "points"
    assert cell(table, "thinking/with").rows == 5
    assert "Pairs on which people are tied are left out: 1 (mine)." in table.notes


def test_unreadable_thoughts_are_wrong_and_the_answer_without_them_counts(predict):
    rows = both_orders(predict, "1", 0.25, (0.25, 0.25))
    unread = [predict(**{**row.__dict__, "answer": None, "p_second": None}) for row in rows]
    assert means(table_5({"mine": unread}))["thinking/difference"] == -1.0


def test_difference_is_the_paired_bootstrap(predict):
    rng = np.random.default_rng(0)
    rows = [
        row
        for n in range(60)
        for row in both_orders(predict, str(n), rng.random(), (rng.random(), rng.random()), prompt=str(n // 3))
    ]
    pairs = judged_pairs(rows)
    names = [pair.prompt_id for pair in pairs]
    having, lacking = [pair.correct() for pair in pairs], [pair.worth(p_a_without_thinking(pair)) for pair in pairs]
    expected = clustered_difference(having, names, lacking, names, paired=True)
    ours = cell(table_5({"mine": rows}), "thinking/difference").interval
    assert [ours.mean, ours.low, ours.high] == pytest.approx([expected.mean, expected.low, expected.high], abs=1e-9)


def test_reasons(predict):
    table = table_5({"unasked": [predict()], "tied": [predict(label=None, share_a=0.5)], "empty": []})
    reasons = [cell(table, "thinking/difference", column).reason for column in range(3)]
    assert reasons[0] == "no answer without thoughts was asked for: set model.evaluation.without_thinking"
    assert reasons[1] == reasons[2] == "no pair has an image that people prefer"
