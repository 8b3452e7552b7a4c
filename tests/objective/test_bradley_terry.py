import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from lit_listener.objective import bradley_terry_loss

scores = st.floats(-30, 30, allow_nan=False, width=32)
shares = st.floats(0, 1, allow_nan=False, width=32)


def loss(first: float, second: float, share: float) -> float:
    return float(bradley_terry_loss(torch.tensor([[first, second]]), torch.tensor([share])))


def test_hand_worked():
    # second preferred by all: -log(e^2 / (e^0 + e^2)) = log(1 + e^-2) = log 1.1353353 = 0.1269280
    assert loss(0.0, 2.0, 1.0) == pytest.approx(0.1269280, abs=1e-6)
    # first preferred by all, and scored lower by 2: log(1 + e^2) = log 8.3890561 = 2.1269280
    assert loss(0.0, 2.0, 0.0) == pytest.approx(2.1269280, abs=1e-6)
    # three of four for the second: 0.75 x 0.1269280 + 0.25 x 2.1269280 = 0.6269280
    assert loss(0.0, 2.0, 0.75) == pytest.approx(0.6269280, abs=1e-6)
    assert loss(5.0, 5.0, 0.3) == pytest.approx(math.log(2), abs=1e-6)


@given(scores, scores, shares)
def test_it_is_torchs_binary_cross_entropy_of_the_difference(first, second, share):
    expected = functional.binary_cross_entropy_with_logits(
        torch.tensor(second) - torch.tensor(first), torch.tensor(share), reduction="none"
    )
    assert loss(first, second, share) == pytest.approx(float(expected), abs=1e-5, rel=1e-5)


@given(scores, scores)
def test_a_certain_winner_gives_the_usual_form(winner, loser):
    usual = float(-functional.logsigmoid(torch.tensor(winner) - torch.tensor(loser)))
    assert loss(loser, winner, 1.0) == pytest.approx(usual, abs=1e-6)
    assert loss(winner, loser, 0.0) == pytest.approx(usual, abs=1e-6)


@given(st.integers(-100, 100), st.integers(-100, 100), st.integers(-1000, 1000), shares)
def test_a_constant_added_to_both_scores_changes_nothing(first, second, constant, share):
    # whole numbers, so that the sums are exact
    assert loss(first + constant, second + constant, share) == loss(first, second, share)


@given(scores, scores, st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]))
def test_images_that_change_places_take_their_votes_along(first, second, share):
    assert loss(second, first, 1 - share) == pytest.approx(loss(first, second, share), abs=1e-6)


@given(scores, scores, st.floats(0.01, 0.99, allow_nan=False))
def test_it_is_least_where_the_probability_is_the_share(first, second, share):
    entropy = -share * math.log(share) - (1 - share) * math.log(1 - share)
    assert loss(first, second, share) >= entropy - 1e-5
    assert loss(0.0, math.log(share / (1 - share)), share) == pytest.approx(entropy, abs=1e-5)


def test_the_gradient_is_the_probability_less_the_share():
    given = torch.tensor([[1.0, 3.0], [0.5, -1.5]], requires_grad=True)
    share = torch.tensor([1.0, 0.75])
    bradley_terry_loss(given, share).sum().backward()
    # d loss / d s_second = sigmoid(d) - q: sigmoid(2) - 1 = -0.1192029, sigmoid(-2) - 0.75 = -0.6307971
    torch.testing.assert_close(given.grad, torch.tensor([[0.1192029, -0.1192029], [0.6307971, -0.6307971]]))


def test_far_scores_stay_finite_with_a_gradient():
    given = torch.tensor([[1e4, -1e4]], requires_grad=True)
    value = bradley_terry_loss(given, torch.tensor([1.0]))
    value.sum().backward()
    assert float(value) == 2e4
    assert given.grad.tolist() == [[1.0, -1.0]]


def test_half_precision_is_computed_in_float32():
    value = bradley_terry_loss(torch.tensor([[0.0, 2.0]], dtype=torch.bfloat16), torch.tensor([1.0]))
    assert value.dtype == torch.float32
    assert float(value) == pytest.approx(0.1269280, abs=1e-6)


@pytest.mark.parametrize(
    ("given", "share", "message"),
    [
        (torch.zeros(3), torch.zeros(3), r"scores_N2 must have shape \[N, 2\], two images a pair, got \[3\]"),
        (torch.zeros(3, 3), torch.zeros(3), r"got \[3, 3\]"),
        (torch.zeros(3, 2), torch.zeros(2), r"share_second_N must have shape \[3\], one share a pair, got \[2\]"),
        (torch.zeros(1, 2), torch.tensor([1.5]), r"must lie in \[0, 1\], got \[1.5\]"),
        (torch.zeros(1, 2), torch.tensor([math.nan]), r"must lie in \[0, 1\], got \[nan\]"),
    ],
)
def test_what_is_refused(given, share, message):
    with pytest.raises(ValueError, match=message):
        bradley_terry_loss(given, share)
