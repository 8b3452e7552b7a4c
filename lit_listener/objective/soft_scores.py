"""Soft scores: what a model thinks of an image, read from the logits of its answer labels, not from a sample.

Gambashidze et al. 2025, Eq. 3 (expected rating) and Eq. 4 (pairwise preference), and the mean of the two display
orders. The logits must be unscaled (temperature 1, nothing suppressed), as `label_logits` gives them.
Left out: what the labels are, how ratings are rescaled, and the anchor to which images are compared.

Letters in names: N sequences, L answer labels.
"""

import torch
from torch import Tensor


def expected_rating(logits_NL: Tensor, ratings_L: Tensor) -> Tensor:
    """Average the ratings under the softmax over the labels (Gambashidze et al. 2025, Eq. 3): sum of r_i p(r_i | C).

    Args:
        logits_NL: Unscaled label logits, shape [N, L] (or [..., L]).
        ratings_L: The rating each label stands for, shape [L]; rescaled to [0, 1] for the score of the paper.

    Returns:
        Expected ratings, shape [N] (or [...]), between the lowest and the highest rating, at least float32.

    Raises:
        ValueError: If the shapes disagree.

    Examples:
        >>> import torch
        >>> expected_rating(torch.zeros(1, 3), torch.tensor([0.0, 0.5, 1.0]))
        tensor([0.5000])
    """
    if ratings_L.ndim != 1 or logits_NL.ndim < 1 or logits_NL.shape[-1] != ratings_L.shape[0]:
        raise ValueError(
            f"expected logits [N, L] and ratings [L], got {list(logits_NL.shape)} and {list(ratings_L.shape)}"
        )
    probabilities_NL = _at_least_float32(logits_NL).softmax(dim=-1)
    return (probabilities_NL * ratings_L.to(probabilities_NL.dtype)).sum(dim=-1)


def preference_probability(logits_N2: Tensor) -> Tensor:
    """Compute p(1 | C), how probably the second image shown is preferred (Gambashidze et al. 2025, Eq. 4).

    Args:
        logits_N2: Unscaled logits of the labels 0 and 1, shape [N, 2] (or [..., 2]).

    Returns:
        Probability of label 1, sigmoid(f(1) - f(0)), shape [N] (or [...]), in [0, 1], at least float32.

    Raises:
        ValueError: If there are not two labels.

    Examples:
        >>> import torch
        >>> preference_probability(torch.tensor([[0.0, 0.0], [1.0, 3.0]]))
        tensor([0.5000, 0.8808])
    """
    if logits_N2.ndim < 1 or logits_N2.shape[-1] != 2:
        raise ValueError(f"expected the logits of labels 0 and 1, shape [N, 2], got {list(logits_N2.shape)}")
    logits_N2 = _at_least_float32(logits_N2)
    return (logits_N2[..., 1] - logits_N2[..., 0]).sigmoid()


def both_orders_preference(p1_ab: Tensor, p1_ba: Tensor) -> Tensor:
    """Average out the position bias: p_a = ((1 - p(1 | a, b)) + p(1 | b, a)) / 2.

    Args:
        p1_ab: Probability of label 1 with image a shown first, shape [N].
        p1_ba: Probability of label 1 with image b shown first, shape [N].

    Returns:
        Probability that image a is preferred, shape [N], in [0, 1].

    Raises:
        ValueError: If the shapes disagree.

    Examples:
        >>> import torch
        >>> both_orders_preference(torch.tensor([0.25]), torch.tensor([0.5]))
        tensor([0.6250])
    """
    if p1_ab.shape != p1_ba.shape:
        raise ValueError(f"both orders must have one shape, got {list(p1_ab.shape)} and {list(p1_ba.shape)}")
    return 0.5 * ((1.0 - p1_ab) + p1_ba)


def _at_least_float32(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
