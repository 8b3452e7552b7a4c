import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from lit_listener.objective import expected_nll


def test_hand_worked():
    # question 1: replies of 0.5 x 0.2 = 0.1 and 0.5 x 0.4 = 0.2, weights 0.25 and 0.75:
    #   0.25 x 2.3025851 + 0.75 x 1.6094379 = 1.7827247
    # question 2: replies of 0.8 (one token) and 0.1 x 0.1, weights 1 and 0: 0.2231436
    # mean: 1.0029341
    log_probs = torch.tensor([[0.5, 0.2], [0.5, 0.4], [0.8, 0.3], [0.1, 0.1]]).log()
    mask = torch.tensor([[True, True], [True, True], [True, False], [True, True]])
    loss = expected_nll(log_probs, mask, torch.tensor([0.25, 0.75, 1.0, 0.0]), 2)
    assert float(loss) == pytest.approx(1.0029341, abs=1e-6)


@given(st.lists(st.floats(-4, 4, allow_nan=False, width=32), min_size=2, max_size=5), st.data())
def test_over_one_token_it_is_torchs_cross_entropy_with_soft_labels(logits, data):
    raw = data.draw(st.lists(st.floats(0.05, 1), min_size=len(logits), max_size=len(logits)))
    weights = torch.tensor(raw) / sum(raw)
    expected = functional.cross_entropy(torch.tensor(logits)[None], weights[None])
    log_probs = torch.tensor(logits).log_softmax(0)[:, None]
    loss = expected_nll(log_probs, torch.ones_like(log_probs, dtype=torch.bool), weights, 1)
    assert float(loss) == pytest.approx(float(expected), abs=1e-5)


def test_padding_is_not_read_and_has_no_gradient():
    log_probs = torch.tensor([[-1.0, math.nan], [-2.0, -3.0]], requires_grad=True)
    mask = torch.tensor([[True, False], [True, True]])
    loss = expected_nll(log_probs, mask, torch.tensor([1.0, 1.0]), 2)
    loss.backward()
    assert float(loss.detach()) == pytest.approx((1 + 5) / 2)
    assert log_probs.grad.tolist() == [[-0.5, 0.0], [-0.5, -0.5]]


@pytest.mark.parametrize(
    ("weights", "questions", "message"),
    [
        ([0.5, 0.6], 1, r"weight_N must be at least 0 and sum to the 1 questions, got \[0.5, 0.6"),
        ([1.5, -0.5], 1, "must be at least 0"),
        ([1.0], 1, r"got \[2, 1\], \[2, 1\] and \[1\]"),
    ],
)
def test_what_is_refused(weights, questions, message):
    given = torch.zeros(2, 1)
    with pytest.raises(ValueError, match=message):
        expected_nll(given, torch.ones(2, 1, dtype=torch.bool), torch.tensor(weights), questions)
