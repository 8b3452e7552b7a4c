"""Group advantages against hand-worked numbers, plain loops, and the identities they must keep."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lit_listener.objective import group_advantages, zero_variance_groups

SCALES = ["std", "none", "batch"]
REWARD_ROWS = st.lists(
    st.lists(st.floats(-4.0, 4.0, width=32), min_size=4, max_size=4),
    min_size=1,
    max_size=5,
)


def reference_advantages(rewards: list[list[float]], epsilon: float, scale: str) -> list[list[float]]:
    def deviation(values: list[float]) -> float:
        mean = sum(values) / len(values)
        return math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))

    everything = [value for row in rewards for value in row]
    result = []
    for row in rewards:
        mean = sum(row) / len(row)
        divisor = {
            "std": deviation(row) + epsilon,
            "batch": deviation(everything) + epsilon,
            "none": 1.0,
        }[scale]
        result.append([(value - mean) / divisor if max(row) > min(row) else 0.0 for value in row])
    return result


def test_std_by_hand() -> None:
    # Group 0: mean 1, deviations -1 0 0 1 -> variance 2/4, sigma 0.70711, divisor 0.80711; 1 / 0.80711 = 1.23899.
    # Group 1: mean 0.5, deviations all 0.5 in size -> sigma 0.5, divisor 0.6; 0.5 / 0.6 = 0.83333.
    rewards = torch.tensor([[0.0, 1.0, 1.0, 2.0], [0.0, 1.0, 1.0, 0.0]])
    expected = torch.tensor([[-1.2389934, 0.0, 0.0, 1.2389934], [-0.8333333, 0.8333333, 0.8333333, -0.8333333]])
    torch.testing.assert_close(group_advantages(rewards, epsilon=0.1), expected, atol=1e-6, rtol=0)


def test_default_epsilon_by_hand() -> None:
    # sigma 0.5, so 0.5 / 0.5001 = 0.9998000; with the sample deviation it would be 0.5 / 0.7072 = 0.707.
    expected = torch.tensor([[-0.9998000, 0.9998000]])
    torch.testing.assert_close(group_advantages(torch.tensor([[0.0, 1.0]])), expected, atol=1e-6, rtol=0)


def test_none_only_centres() -> None:
    rewards = torch.tensor([[0.0, 1.0, 2.0], [1.5, 1.5, 0.0]])  # means 1 and 1
    expected = torch.tensor([[-1.0, 0.0, 1.0], [0.5, 0.5, -1.0]])
    torch.testing.assert_close(group_advantages(rewards, scale="none", epsilon=7.0), expected, atol=1e-6, rtol=0)


def test_batch_by_hand() -> None:
    # All four rewards 0 2 1 1: mean 1, variance (1 + 1 + 0 + 0) / 4 = 0.5, sigma 0.70711. Group means 1 and 1.
    # A nearly saturated group (1, 1.01) stays small: -0.005 / ~0.707, where its own sigma would make it -1.
    rewards = torch.tensor([[0.0, 2.0], [1.0, 1.0]])
    expected = torch.tensor([[-1.4142136, 1.4142136], [0.0, 0.0]])
    torch.testing.assert_close(group_advantages(rewards, scale="batch", epsilon=0.0), expected, atol=1e-6, rtol=0)
    saturated = torch.tensor([[0.0, 2.0], [1.0, 1.01]])
    assert group_advantages(saturated, scale="batch")[1].abs().max() < 0.01
    assert group_advantages(saturated, scale="std")[1].abs().max() > 0.9


@pytest.mark.parametrize("scale", SCALES)
@given(rows=REWARD_ROWS)
@settings(max_examples=40, deadline=None)
def test_matches_plain_loops(scale: str, rows: list[list[float]]) -> None:
    rewards = torch.tensor(rows, dtype=torch.float64)
    apart = ~zero_variance_groups(rewards)
    expected = torch.tensor(reference_advantages(rows, 1e-4, scale), dtype=torch.float64)
    result = group_advantages(rewards, scale=scale)  # type: ignore[arg-type]
    torch.testing.assert_close(result[apart], expected[apart], atol=1e-9, rtol=1e-9)
    assert (result[~apart] == 0).all()


@pytest.mark.parametrize("scale", SCALES)
@given(rows=REWARD_ROWS)
@settings(max_examples=40, deadline=None)
def test_rows_sum_to_zero(scale: str, rows: list[list[float]]) -> None:
    result = group_advantages(torch.tensor(rows, dtype=torch.float64), scale=scale)  # type: ignore[arg-type]
    torch.testing.assert_close(result.sum(dim=1), torch.zeros(len(rows), dtype=torch.float64), atol=1e-9, rtol=0)


@pytest.mark.parametrize("scale", SCALES)
def test_permutation_equivariant(scale: str) -> None:
    generator = torch.Generator().manual_seed(0)
    rewards = torch.rand(5, 7, generator=generator, dtype=torch.float64)
    groups, places = torch.randperm(5, generator=generator), torch.randperm(7, generator=generator)
    result = group_advantages(rewards, scale=scale)  # type: ignore[arg-type]
    permuted = group_advantages(rewards[groups][:, places], scale=scale)  # type: ignore[arg-type]
    torch.testing.assert_close(permuted, result[groups][:, places], atol=1e-12, rtol=0)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("epsilon", [0.0, 1e-4])
@pytest.mark.parametrize(
    "row",
    [
        pytest.param(torch.full((3,), 0.7), id="equal"),
        pytest.param(torch.tensor([0.1 + 0.2, 0.3, 0.3], dtype=torch.float64), id="float64 residue"),
        pytest.param(torch.tensor([1.7, 1.7000002, 1.6999998]), id="float32 residue"),
        pytest.param(torch.tensor([1.7, 1.7000002, 1.6999998]).double(), id="float32 residue in float64"),
        pytest.param(torch.tensor([1e-9, 0.0, -1e-9]), id="residue around zero"),
        pytest.param(torch.tensor([1000.0, 1000.0001, 1000.0]), id="residue of large rewards"),
    ],
)
def test_constant_group_is_exactly_zero(row: Tensor, epsilon: float, scale: str) -> None:
    rewards = torch.stack([row, torch.tensor([0.0, 1.0, 0.5], dtype=row.dtype)])
    assert zero_variance_groups(rewards).tolist() == [True, False]
    result = group_advantages(rewards, epsilon=epsilon, scale=scale)  # type: ignore[arg-type]
    assert result[0].tolist() == [0.0, 0.0, 0.0]
    assert result[1].abs().max() > 0


def test_small_true_differences_are_kept() -> None:
    rewards = torch.tensor([[1.5, 1.50001], [0.0, 1e-5]])  # a listener that moved by 1e-5 is no residue
    assert zero_variance_groups(rewards).tolist() == [False, False]
    assert (group_advantages(rewards).abs() > 0.01).all()


@pytest.mark.parametrize(("dtype", "result"), [(torch.int64, torch.float32), (torch.bfloat16, torch.float32)])
def test_other_dtypes_are_computed_in_float32(dtype: torch.dtype, result: torch.dtype) -> None:
    advantages = group_advantages(torch.tensor([[0, 1], [1, 1]], dtype=dtype), epsilon=0.0)
    assert advantages.dtype == result
    assert advantages.tolist() == [[-1.0, 1.0], [0.0, 0.0]]


def test_one_completion_is_refused() -> None:
    with pytest.raises(ValueError, match=r"1 completion\(s\) a prompt.*sample at least 2"):
        group_advantages(torch.zeros(3, 1))


def test_flat_rewards_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\[prompts, completions\], got \[6\]"):
        group_advantages(torch.zeros(6))


def test_not_finite_is_named() -> None:
    rewards = torch.zeros(2, 3)
    rewards[1, 2] = float("nan")
    with pytest.raises(ValueError, match="got nan for prompt 1, completion 2"):
        group_advantages(rewards)


def test_unknown_scale_is_named() -> None:
    with pytest.raises(ValueError, match="'sigma'"):
        group_advantages(torch.zeros(1, 2), scale="sigma")  # type: ignore[arg-type]


def test_negative_epsilon_is_refused() -> None:
    with pytest.raises(ValueError, match=r"epsilon must be >= 0, got -0\.1"):
        group_advantages(torch.zeros(1, 2), epsilon=-0.1)
