"""GDPO's advantages against hand-worked numbers, a plain loop and identities."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lit_listener.objective import decoupled_advantages, group_advantages

ROW = st.lists(st.floats(-4.0, 4.0, width=32), min_size=4, max_size=4)
TERMS = st.lists(st.lists(ROW, min_size=3, max_size=3), min_size=1, max_size=3)


def test_by_hand():
    # Term 1: (0, 2): mean 1, sigma 1 -> (-1, 1). (0, 0): constant -> (0, 0).
    # Term 2: (0, 1): mean 1/2, sigma 1/2 -> (-1, 1). (1, 0) -> (1, -1).
    # Weights 1 and 1/2: (-1.5, 1.5) and (0.5, -0.5). Over the batch: mean 0, variance (2.25 x 2 + 0.25 x 2) / 4 = 1.25,
    # sigma 1.1180340: divided by it (-1.3416408, 1.3416408) and (0.4472136, -0.4472136).
    terms = torch.tensor([[[0.0, 2.0], [0.0, 0.0]], [[0.0, 1.0], [1.0, 0.0]]])
    expected = torch.tensor([[-1.3416408, 1.3416408], [0.4472136, -0.4472136]])
    result = decoupled_advantages(terms, torch.tensor([1.0, 0.5]), epsilon=0.0)
    torch.testing.assert_close(result, expected, atol=1e-6, rtol=0)


def test_epsilon_is_added_to_the_batchs_deviation_alone():
    # sigma 0.5: 0.5 / 0.5 = 1; the sum's own sigma is 1: 1 / 1.1 = 0.9090909
    result = decoupled_advantages(torch.tensor([[[0.0, 1.0]]]), torch.ones(1), epsilon=0.1)
    torch.testing.assert_close(result, torch.tensor([[-0.9090909, 0.9090909]]), atol=1e-6, rtol=0)


def test_what_adds_up_to_one_reward_is_told_apart():
    """The paper's point: two rights are more than one, where GRPO gives both groups the advantages (-1, 1)."""
    # Group 0: (0, 0) against (1, 0): sums 0 and 1. Group 1: (0, 0) against (1, 1): sums 0 and 2.
    terms = torch.tensor([[[0.0, 1.0], [0.0, 1.0]], [[0.0, 0.0], [0.0, 1.0]]])
    together = group_advantages(terms.sum(0), epsilon=0.0)
    assert together.tolist() == [[-1.0, 1.0], [-1.0, 1.0]]
    # decoupled: (-1, 1) and (-2, 2); sigma of the four sqrt(10 / 4) = 1.5811388
    apart = decoupled_advantages(terms, torch.ones(2), epsilon=0.0)
    torch.testing.assert_close(apart[:, 1], torch.tensor([0.6324555, 1.2649111]), atol=1e-6, rtol=0)


def plain(terms: list[list[list[float]]], weights: list[float], epsilon: float) -> list[list[float]]:
    def deviation(values: list[float]) -> float:
        mean = sum(values) / len(values)
        return math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))

    sums = [[0.0] * 4 for _ in terms[0]]
    for weight, groups in zip(weights, terms, strict=True):
        for group, row in zip(sums, groups, strict=True):
            mean = sum(row) / 4
            if max(row) - min(row) <= 8 * 2**-23 * max(1.0, *map(abs, row)):
                continue  # one number, but for rounding
            for at, value in enumerate(row):
                group[at] += weight * (value - mean) / deviation(row)
    whole = [value for group in sums for value in group]
    mean = sum(whole) / len(whole)  # Eq. 6 takes it off; it is 0
    return [[(value - mean) / (deviation(whole) + epsilon) for value in group] for group in sums]


@given(terms=TERMS)
@settings(max_examples=60, deadline=None)
def test_matches_plain_loops(terms):
    weights = [1.0, 0.5, 0.25][: len(terms)]
    given = torch.tensor(terms, dtype=torch.float64)
    result = decoupled_advantages(given, torch.tensor(weights, dtype=torch.float64), epsilon=0.01)
    expected = torch.tensor(plain(terms, weights, 0.01), dtype=torch.float64)
    torch.testing.assert_close(result, expected, atol=1e-3, rtol=0)  # what is taken for residue is left out
    torch.testing.assert_close(result.sum(1), torch.zeros(3, dtype=torch.float64), atol=1e-9, rtol=0)


def test_scale_none_is_the_whole_reward_centred_over_the_batchs_deviation():
    terms = torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weights = torch.tensor([1.0, 0.5, 2.0], dtype=torch.float64)
    centred = group_advantages((weights[:, None, None] * terms).sum(0), scale="none")
    expected = centred / centred.std(correction=0)
    result = decoupled_advantages(terms, weights, epsilon=0.0, scale="none")
    torch.testing.assert_close(result, expected, atol=1e-12, rtol=0)


def test_one_term_is_grpo_over_the_batchs_deviation():
    rewards = torch.rand(4, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    once = group_advantages(rewards, epsilon=0.0)  # its deviation is 1 already
    for weight in (0.3, 7.0):
        result = decoupled_advantages(rewards[None], torch.tensor([weight]), epsilon=0.0)
        torch.testing.assert_close(result, once, atol=1e-12, rtol=0)


def test_a_terms_own_scale_does_not_matter_but_its_weight_does():
    generator = torch.Generator().manual_seed(2)
    terms, weights = torch.rand(2, 4, 5, generator=generator, dtype=torch.float64), torch.tensor([1.0, 0.5])
    smaller = terms * torch.tensor([1.0, 0.01])[:, None, None]
    result = decoupled_advantages(terms, weights, epsilon=0.0)
    torch.testing.assert_close(decoupled_advantages(smaller, weights, epsilon=0.0), result, atol=1e-9, rtol=0)
    assert (decoupled_advantages(terms, torch.tensor([1.0, 0.1]), epsilon=0.0) - result).abs().max() > 0.01


@pytest.mark.parametrize("epsilon", [0.0, 1e-4])
def test_constant_groups_and_terms_that_cancel_are_exactly_zero(epsilon):
    # Group 0: both terms constant (up to residue). Group 1: (-1, 1) and (1, -1) cancel. Group 2: something.
    terms = torch.tensor([[[0.3, 0.1 + 0.2], [0.0, 1.0], [0.0, 1.0]], [[1.0, 1.0], [0.7, 0.2], [0.0, 0.0]]])
    result = decoupled_advantages(terms, torch.ones(2), epsilon=epsilon)
    assert result[:2].tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert result[2, 1] > 1
    nothing = decoupled_advantages(terms[:, :2], torch.ones(2), epsilon=epsilon)
    assert nothing.tolist() == [[0.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize(
    ("terms", "weights"),
    [(torch.zeros(2, 3), torch.ones(2)), (torch.zeros(2, 3, 4), torch.ones(3)), (torch.zeros(0, 3, 4), torch.ones(0))],
)
def test_shapes_that_disagree_are_refused(terms: Any, weights: Any):
    with pytest.raises(ValueError, match=r"terms must have shape \[terms, prompts, completions\] and weights"):
        decoupled_advantages(terms, weights)
