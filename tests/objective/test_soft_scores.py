"""Soft scores against hand-worked numbers and plain loops."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lit_listener.objective import both_orders_preference, expected_rating, preference_probability

LOGITS = st.floats(-50.0, 50.0)


def test_expected_rating_by_hand() -> None:
    # exp of the logits: 1, 2, 5 -> p = 1/8, 2/8, 5/8; rating 0 x 1/8 + 0.5 x 2/8 + 1 x 5/8 = 0.75.
    logits = torch.tensor([[0.0, math.log(2.0), math.log(5.0)]])
    assert expected_rating(logits, torch.tensor([0.0, 0.5, 1.0])).item() == pytest.approx(0.75, abs=1e-6)


@given(logits=st.lists(LOGITS, min_size=2, max_size=6), shift=LOGITS)
@settings(max_examples=60, deadline=None)
def test_expected_rating_matches_plain_loop(logits: list[float], shift: float) -> None:
    ratings = [index / (len(logits) - 1) for index in range(len(logits))]
    weights = [math.exp(logit - max(logits)) for logit in logits]
    expected = sum(r * w for r, w in zip(ratings, weights, strict=True)) / sum(weights)
    # Adding one number to every logit changes nothing.
    result = expected_rating(torch.tensor([logits], dtype=torch.float64) + shift, torch.tensor(ratings))
    assert result.item() == pytest.approx(expected, abs=1e-6)
    assert 0.0 <= result.item() <= 1.0 + 1e-12


def test_preference_by_hand() -> None:
    # f(1) - f(0) = log 3 -> 1 / (1 + 1/3) = 0.75, whatever is added to both.
    logits = torch.tensor([[0.0, math.log(3.0)], [10.0, 10.0 + math.log(3.0)], [math.log(3.0), 0.0], [0.0, 0.0]])
    expected = torch.tensor([0.75, 0.75, 0.25, 0.5])
    torch.testing.assert_close(preference_probability(logits), expected, atol=1e-6, rtol=0)


@given(first=LOGITS, second=LOGITS)
@settings(max_examples=60, deadline=None)
def test_preference_is_the_two_label_expected_rating(first: float, second: float) -> None:
    logits = torch.tensor([[first, second]], dtype=torch.float64)
    rating = expected_rating(logits, torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(preference_probability(logits), rating, atol=1e-9, rtol=0)


def test_extreme_logits_stay_probabilities() -> None:
    logits = torch.tensor([[-1e30, 1e30], [1e30, -1e30]])
    assert preference_probability(logits).tolist() == [1.0, 0.0]


def test_half_precision_is_upcast_before_subtracting() -> None:
    logits = torch.tensor([[20.0, 20.125]], dtype=torch.bfloat16)
    expected = 1.0 / (1.0 + math.exp(-0.125))
    assert preference_probability(logits).item() == pytest.approx(expected, abs=1e-6)
    assert expected_rating(logits, torch.tensor([0.0, 1.0])).item() == pytest.approx(expected, abs=1e-6)


def test_both_orders_by_hand() -> None:
    # Sure of a in both orders: p(1|a,b) = 0, p(1|b,a) = 1 -> 1. Always the second: 1 and 1 -> 0.5.
    # 0.2 and 0.9 -> (0.8 + 0.9) / 2 = 0.85.
    p1_ab, p1_ba = torch.tensor([0.0, 1.0, 0.2]), torch.tensor([1.0, 1.0, 0.9])
    torch.testing.assert_close(both_orders_preference(p1_ab, p1_ba), torch.tensor([1.0, 0.5, 0.85]), atol=1e-6, rtol=0)


@given(p1_ab=st.floats(0, 1), p1_ba=st.floats(0, 1))
def test_both_orders_is_antisymmetric(p1_ab: float, p1_ba: float) -> None:
    first, second = torch.tensor([p1_ab]), torch.tensor([p1_ba])
    total = both_orders_preference(first, second) + both_orders_preference(second, first)
    torch.testing.assert_close(total, torch.ones(1), atol=1e-6, rtol=0)


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match=r"got \[4, 3\] and \[2\]"):
        expected_rating(torch.zeros(4, 3), torch.zeros(2))
    with pytest.raises(ValueError, match=r"labels 0 and 1.*got \[4, 3\]"):
        preference_probability(torch.zeros(4, 3))
    with pytest.raises(ValueError, match=r"got \[4\] and \[1\]"):
        both_orders_preference(torch.zeros(4), torch.zeros(1))
