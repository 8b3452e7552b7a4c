"""Group advantages: how much better a completion was than the other completions of its own prompt.

Gambashidze et al. 2025, Eq. 1, with the population standard deviation. Two other scales are offered because dividing
by a group's own deviation makes unit advantages of differences however small: none at all (Dr. GRPO, Liu et al.
2025), and the deviation of the whole batch. Where a reward has several terms, each may be compared by itself before
they are added up (GDPO, Liu et al. 2026).
Left out: everything that produces rewards, and gathering them over ranks.

Letters in names: P prompts (groups), G completions a group, K terms of a reward.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

AdvantageScale = Literal["std", "none", "batch"]

_RESIDUE_STEPS = 8
"""Rounding steps of float32 within which two rewards count as equal: a sum of three terms errs by two or three."""


def zero_variance_groups(rewards_PG: Tensor) -> Tensor:
    """Tell which groups hold one reward only, up to floating-point residue, and so teach nothing.

    Equal means within 8 float32 rounding steps of the larger of 1 and the group's largest magnitude (about 1e-6 for
    the rewards of Eq. 5), in every dtype, because a float64 tensor may hold rewards that were computed in float32.

    Args:
        rewards_PG: Rewards, shape [P, G], G >= 2.

    Returns:
        Bool tensor of shape [P], True where the group is constant.

    Raises:
        ValueError: If the shape is not [P, G] with G >= 2, or a reward is not finite.

    Examples:
        >>> import torch
        >>> zero_variance_groups(torch.tensor([[0.1 + 0.2, 0.3], [0.0, 1.0]], dtype=torch.float64))
        tensor([ True, False])
    """
    rewards_PG = _checked(rewards_PG)
    low_P, high_P = rewards_PG.aminmax(dim=1)
    magnitude_P = torch.maximum(low_P.abs(), high_P.abs()).clamp(min=1.0)
    return high_P - low_P <= _RESIDUE_STEPS * torch.finfo(torch.float32).eps * magnitude_P


def group_advantages(rewards_PG: Tensor, *, epsilon: float = 1e-4, scale: AdvantageScale = "std") -> Tensor:
    """Compare each reward with its group's (Gambashidze et al. 2025, Eq. 1): A = (r - mean) / (deviation + epsilon).

    A constant group (see `zero_variance_groups`) gets exactly 0 in every scale, never its residue divided by epsilon.

    Args:
        rewards_PG: Rewards, shape [P, G], G >= 2. Half-precision and integer rewards are computed in float32.
        epsilon: Added to the deviation, in units of reward, >= 0.
        scale: What to divide by. `std`: the group's population standard deviation (Eq. 1). `batch`: the one of all P
            x G rewards about their common mean. `none`: nothing, epsilon unused.

    Returns:
        Advantages, shape [P, G], float32 (float64 for float64 rewards); every row sums to 0.

    Raises:
        ValueError: If the shape is not [P, G] with G >= 2, a reward is not finite, epsilon is negative or the scale
            is unknown.

    Examples:
        >>> import torch
        >>> group_advantages(torch.tensor([[0.0, 1.0], [0.3, 0.3]]), epsilon=0.0)
        tensor([[-1.,  1.],
                [ 0.,  0.]])
    """
    if scale not in _DIVISORS:
        raise ValueError(f"scale must be one of {sorted(_DIVISORS)}, got {scale!r}")
    if not epsilon >= 0:
        raise ValueError(f"epsilon must be >= 0, got {epsilon}")
    rewards_PG = _checked(rewards_PG)
    constant_P = zero_variance_groups(rewards_PG)
    centred_PG = rewards_PG - rewards_PG.mean(dim=1, keepdim=True)
    # Filled after the division: with epsilon 0 a constant group has just been divided by zero.
    return (centred_PG / _DIVISORS[scale](rewards_PG, epsilon)).masked_fill(constant_P[:, None], 0.0)


def decoupled_advantages(
    terms_KPG: Tensor, weights_K: Tensor, *, epsilon: float = 1e-4, scale: AdvantageScale = "std"
) -> Tensor:
    """Compare each term of the reward within its group by itself, then add up (GDPO, Liu et al. 2026, Eqs. 4 to 6).

    A_k = (r_k - mean of the group) / deviation; A = sum of w_k A_k; the result is A / (deviation of A over the batch +
    epsilon). The batch's mean, which Eq. 6 takes off, is 0: every group's A sums to 0. To the deviations of the terms
    nothing is added, as in the paper: terms that cancel out then do so exactly.

    Where terms are added up first, a term with a small deviation hardly counts beside one with a large deviation, and
    different combinations may come to one sum. Here a weight says how much a term counts, whatever its scale.

    Args:
        terms_KPG: The terms, unweighted, shape [K, P, G], G >= 2.
        weights_K: What each counts, shape [K].
        epsilon: Added to the deviation over the batch, >= 0.
        scale: What each term is divided by, as in `group_advantages`; GDPO is `std`.

    Returns:
        Advantages, shape [P, G], float32 (float64 for float64 terms); every row sums to 0. A group all of whose terms
        are constant, or in which they cancel out, gets exactly 0.

    Raises:
        ValueError: If the shapes disagree, or as for `group_advantages`.

    Examples:
        >>> import torch
        >>> terms = torch.tensor([[[0.0, 1.0]], [[0.0, 0.1]]])  # a tenth counts as much as a whole
        >>> decoupled_advantages(terms, torch.tensor([1.0, 1.0]), epsilon=0.0)
        tensor([[-1.,  1.]])
    """
    if terms_KPG.ndim != 3 or weights_K.shape != terms_KPG.shape[:1] or not len(weights_K):
        raise ValueError(
            "terms must have shape [terms, prompts, completions] and weights [terms], with at least one term, got "
            f"{list(terms_KPG.shape)} and {list(weights_K.shape)}"
        )
    advantages_KPG = torch.stack([group_advantages(terms_PG, epsilon=0.0, scale=scale) for terms_PG in terms_KPG])
    sum_PG = (weights_K.to(advantages_KPG)[:, None, None] * advantages_KPG).sum(0)
    cancel_P = zero_variance_groups(sum_PG)
    sum_PG = sum_PG.masked_fill(cancel_P[:, None], 0.0)
    if not epsilon >= 0:
        raise ValueError(f"epsilon must be >= 0, got {epsilon}")
    return (sum_PG / (sum_PG.std(correction=0) + epsilon)).masked_fill(cancel_P[:, None], 0.0)


def _group_divisor(rewards_PG: Tensor, epsilon: float) -> Tensor:
    return rewards_PG.std(dim=1, keepdim=True, correction=0) + epsilon


def _batch_divisor(rewards_PG: Tensor, epsilon: float) -> Tensor:
    return rewards_PG.std(correction=0) + epsilon


def _unit_divisor(rewards_PG: Tensor, epsilon: float) -> Tensor:
    del epsilon
    return rewards_PG.new_ones(())


_DIVISORS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "std": _group_divisor,
    "batch": _batch_divisor,
    "none": _unit_divisor,
}


def _checked(rewards_PG: Tensor) -> Tensor:
    """Return the rewards in float32 or float64 after checking that they make groups of finite numbers."""
    if rewards_PG.ndim != 2:
        raise ValueError(f"rewards must have shape [prompts, completions], got {list(rewards_PG.shape)}")
    if rewards_PG.shape[1] < 2:
        raise ValueError(
            f"rewards have {rewards_PG.shape[1]} completion(s) a prompt, but an advantage compares the completions of "
            "one prompt with each other: sample at least 2"
        )
    finite_PG = rewards_PG.isfinite()
    if not finite_PG.all():
        prompt, completion = (~finite_PG).nonzero()[0].tolist()
        value = rewards_PG[prompt, completion].item()
        raise ValueError(f"rewards must be finite, got {value} for prompt {prompt}, completion {completion}")
    return rewards_PG.to(torch.float64 if rewards_PG.dtype == torch.float64 else torch.float32)
