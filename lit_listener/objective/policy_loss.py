"""The clipped policy loss with a KL penalty.

Gambashidze et al. 2025, Eq. 2, negated so that it is minimised; KL(policy || reference) by the k3 estimator (Schulman
2020), exp(d) - d - 1 with d = log reference - log policy, per token. Variants: three normalisers (GRPO's mean over
sequences, DAPO's mean over tokens, Dr. GRPO's constant length), the importance ratio per token or per sequence (GSPO,
Zheng et al. 2025), and a bonus for the policy's entropy (as in A3C, Mnih et al. 2016), off by default.
Left out: gathering counts over ranks. A caller that cuts a step into micro-batches passes the whole step's
`denominator`.

Letters in names: N sequences, T tokens.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from torch import Tensor

LossNormalizer = Literal["sequence", "token", "constant"]
ImportanceLevel = Literal["token", "sequence"]

_MAX_LOG_RATIO = 20.0
"""Log-ratios are cut here, at a ratio of 4.9e8: further on exp overflows, and 0 x inf in the backward pass is NaN."""


@dataclass(frozen=True, eq=False)
class PolicyLoss:
    """The loss to differentiate, and what to watch beside it; all scalars, all but `loss` detached."""

    loss: Tensor
    """Sum over this call / denominator; differentiable."""
    kl: Tensor
    """Mean over tokens of the k3 estimate of KL(policy || reference), nats; NaN where no reference was given."""
    clip_share: Tensor
    """Share of tokens, in [0, 1], where the clipped term was chosen and differs (in a clipped sequence, for GSPO)."""
    ratio: Tensor
    """Mean over tokens of the importance ratio (its sequence's, for GSPO)."""
    tokens: Tensor
    """Number of tokens in the mask: what to weight the means of several calls by. Where 0, the means are 0 too."""


def policy_loss(  # noqa: PLR0913 - five tensors and one keyword for each choice of the objective
    log_probs_NT: Tensor,
    old_log_probs_NT: Tensor,
    reference_log_probs_NT: Tensor | None,
    advantages_N: Tensor,
    mask_NT: Tensor,
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    kl_weight: float = 0.04,
    entropy_weight: float = 0.0,
    entropy_NT: Tensor | None = None,
    normalizer: LossNormalizer = "sequence",
    importance: ImportanceLevel = "token",
    denominator: float | Tensor | None = None,
    max_length: int | None = None,
) -> PolicyLoss:
    """Compute the clipped objective minus the KL penalty, negated (Gambashidze et al. 2025, Eq. 2).

    Gradients flow through `log_probs_NT` only, and through `entropy_NT` where it has a weight. Whatever stands at
    masked places, inf and NaN included, reaches neither value nor gradient.

    Args:
        log_probs_NT: Log-probabilities under the policy, nats, float32, shape [N, T].
        old_log_probs_NT: Under the policy that sampled, shape [N, T]; `log_probs_NT.detach()` for a single on-policy
            update.
        reference_log_probs_NT: Under the reference, shape [N, T], same temperature; None only with kl_weight 0.
        advantages_N: One advantage a sequence, shape [N].
        mask_NT: True (or 1) at the completion's tokens, shape [N, T]. A row without any adds 0.
        clip_low: The ratio is clipped below at 1 - clip_low; >= 0.
        clip_high: The ratio is clipped above at 1 + clip_high; >= 0.
        kl_weight: Weight of the KL estimate (lambda of Eq. 2), >= 0.
        entropy_weight: Weight of the entropy, >= 0; each token's, times it, is taken off the token's loss.
        entropy_NT: Entropy of the policy's distribution at each token, nats, shape [N, T]; None only with
            entropy_weight 0.
        normalizer: `sequence`: each sequence's mean over its tokens, summed, / number of sequences. `token`: sum over
            tokens / number of tokens. `constant`: sum over tokens / (number of sequences x max_length).
        importance: `token`: a ratio a token. `sequence`: exp of the mean log-ratio of the sequence (GSPO); the KL
            stays per token.
        denominator: Replaces the count above, > 0. None: this call's own count, `loss_denominator(mask_NT,
            normalizer, max_length)`. For micro-batches or ranks: the count of the whole step over all ranks, divided
            by the world size where gradients are averaged.
        max_length: Tokens a completion may have, >= 1; needed by the own count of `constant`.

    Returns:
        The loss and its diagnostics.

    Raises:
        ValueError: If shapes disagree, a number is out of range, a name is unknown, or the reference or max_length is
            missing.

    Examples:
        >>> import torch
        >>> logp = torch.tensor([[-1.0, -2.0]])
        >>> mask = torch.ones(1, 2, dtype=torch.bool)
        >>> policy_loss(logp, logp, logp, torch.tensor([3.0]), mask).loss  # ratio 1, KL 0: minus the advantage
        tensor(-3.)
    """
    numbers = {
        "clip_low": clip_low,
        "clip_high": clip_high,
        "kl_weight": kl_weight,
        "entropy_weight": entropy_weight,
    }
    for name, value in numbers.items():
        if not value >= 0:
            raise ValueError(f"{name} must be >= 0, got {value}")
    _check_shapes(log_probs_NT, old_log_probs_NT, reference_log_probs_NT, advantages_N, mask_NT, entropy_NT)
    level = _choose(_IMPORTANCE, "importance", importance)
    total = _choose(_NORMALIZERS, "normalizer", normalizer).total
    mask_NT = mask_NT.bool()
    if denominator is None:
        denominator = loss_denominator(mask_NT, normalizer, max_length)

    # Cleared on the way in too: masking only the result would let NaN into the backward pass and into sequence means.
    log_probs_NT = log_probs_NT.masked_fill(~mask_NT, 0.0)
    log_ratio_NT = log_probs_NT - old_log_probs_NT.detach().masked_fill(~mask_NT, 0.0)
    ratio_NT = level(log_ratio_NT, mask_NT).clamp(max=_MAX_LOG_RATIO).exp()
    advantages_N1 = advantages_N.detach()[:, None]
    plain_NT = ratio_NT * advantages_N1
    clipped_NT = ratio_NT.clamp(1.0 - clip_low, 1.0 + clip_high) * advantages_N1
    binds_NT = clipped_NT < plain_NT
    loss_NT = -torch.where(binds_NT, clipped_NT, plain_NT)

    kl = log_probs_NT.new_tensor(float("nan"))
    if reference_log_probs_NT is not None:
        kl_NT = _k3(log_probs_NT, reference_log_probs_NT.detach())
        kl = _token_mean(kl_NT, mask_NT)
        loss_NT = loss_NT + kl_weight * kl_NT
    elif kl_weight > 0:
        raise ValueError(
            f"kl_weight {kl_weight} needs reference_log_probs_NT, got None: pass them, or set kl_weight to 0"
        )
    if entropy_weight > 0:
        if entropy_NT is None:
            raise ValueError(f"entropy_weight {entropy_weight} needs entropy_NT, got None: pass it, or set it to 0")
        loss_NT = loss_NT - entropy_weight * entropy_NT.masked_fill(~mask_NT, 0.0)

    return PolicyLoss(
        loss=total(loss_NT.masked_fill(~mask_NT, 0.0), mask_NT) / _usable(denominator, mask_NT),
        kl=kl,
        clip_share=_token_mean(binds_NT.to(ratio_NT.dtype), mask_NT),
        ratio=_token_mean(ratio_NT, mask_NT),
        tokens=mask_NT.sum(),
    )


def loss_denominator(mask_NT: Tensor, normalizer: LossNormalizer, max_length: int | None = None) -> Tensor:
    """Count what a normaliser divides by: sequences, tokens, or sequences x max_length.

    Counts of micro-batches and ranks add up to the count of the step. Rows with an empty mask count as sequences.

    Args:
        mask_NT: True (or 1) at the completion's tokens, shape [N, T].
        normalizer: `sequence`, `token` or `constant`, as in `policy_loss`.
        max_length: Tokens a completion may have, >= 1; needed by `constant` only.

    Returns:
        The count, a float32 scalar on the mask's device; 0 for a mask without rows (or, for `token`, without tokens).

    Raises:
        ValueError: If the normaliser is unknown, or `constant` comes without a positive max_length.
    """
    count = _choose(_NORMALIZERS, "normalizer", normalizer).count(mask_NT.bool(), max_length)
    return torch.as_tensor(count, dtype=torch.float32, device=mask_NT.device)


def _k3(log_probs_NT: Tensor, reference_log_probs_NT: Tensor) -> Tensor:
    difference_NT = (reference_log_probs_NT - log_probs_NT).clamp(max=_MAX_LOG_RATIO)
    # expm1, because exp(d) - 1 cancels for the small d of a policy near its reference and comes out below d.
    return torch.expm1(difference_NT) - difference_NT


def _token_mean(values_NT: Tensor, mask_NT: Tensor) -> Tensor:
    return values_NT.detach().masked_fill(~mask_NT, 0.0).sum() / mask_NT.sum().clamp(min=1)


def _token_level(log_ratio_NT: Tensor, mask_NT: Tensor) -> Tensor:
    del mask_NT
    return log_ratio_NT


def _sequence_level(log_ratio_NT: Tensor, mask_NT: Tensor) -> Tensor:
    mean_N = log_ratio_NT.sum(dim=1) / mask_NT.sum(dim=1).clamp(min=1)
    return mean_N[:, None].expand_as(log_ratio_NT)


_IMPORTANCE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"token": _token_level, "sequence": _sequence_level}


@dataclass(frozen=True)
class _Normalizer:
    total: Callable[[Tensor, Tensor], Tensor]
    count: Callable[[Tensor, int | None], Tensor | int]


def _sum_of_sequence_means(loss_NT: Tensor, mask_NT: Tensor) -> Tensor:
    return (loss_NT.sum(dim=1) / mask_NT.sum(dim=1).clamp(min=1)).sum()


def _sum_of_tokens(loss_NT: Tensor, mask_NT: Tensor) -> Tensor:
    del mask_NT
    return loss_NT.sum()


def _count_sequences(mask_NT: Tensor, max_length: int | None) -> int:
    del max_length
    return mask_NT.shape[0]


def _count_tokens(mask_NT: Tensor, max_length: int | None) -> Tensor:
    del max_length
    return mask_NT.sum()


def _count_places(mask_NT: Tensor, max_length: int | None) -> int:
    if max_length is None or max_length < 1:
        raise ValueError(f"normalizer 'constant' divides by max_length: pass max_length >= 1, got {max_length}")
    return mask_NT.shape[0] * max_length


_NORMALIZERS: dict[str, _Normalizer] = {
    "sequence": _Normalizer(_sum_of_sequence_means, _count_sequences),
    "token": _Normalizer(_sum_of_tokens, _count_tokens),
    "constant": _Normalizer(_sum_of_tokens, _count_places),
}


_Choice = TypeVar("_Choice")


def _choose(table: dict[str, _Choice], option: str, name: str) -> _Choice:
    if name not in table:
        raise ValueError(f"{option} must be one of {sorted(table)}, got {name!r}")
    return table[name]


def _usable(denominator: float | Tensor, mask_NT: Tensor) -> float | Tensor:
    """Return the denominator; 1 in place of 0 where there is nothing to divide, so that the loss of no tokens is 0."""
    if denominator > 0:
        return denominator
    if mask_NT.any():
        raise ValueError(f"denominator must be > 0 for a batch with tokens, got {float(denominator)}")
    return 1.0


def _check_shapes(
    log_probs_NT: Tensor,
    old_NT: Tensor,
    reference_NT: Tensor | None,
    advantages_N: Tensor,
    mask_NT: Tensor,
    entropy_NT: Tensor | None,
) -> None:
    if log_probs_NT.ndim != 2:
        raise ValueError(f"log_probs_NT must have shape [sequences, tokens], got {list(log_probs_NT.shape)}")
    expected = {
        "old_log_probs_NT": (old_NT, log_probs_NT.shape),
        "reference_log_probs_NT": (reference_NT, log_probs_NT.shape),
        "mask_NT": (mask_NT, log_probs_NT.shape),
        "entropy_NT": (entropy_NT, log_probs_NT.shape),
        "advantages_N": (advantages_N, log_probs_NT.shape[:1]),
    }
    for name, (tensor, shape) in expected.items():
        if tensor is not None and tensor.shape != shape:
            raise ValueError(f"{name} must have shape {list(shape)} to go with log_probs_NT, got {list(tensor.shape)}")
