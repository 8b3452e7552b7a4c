"""Whether probabilities come true as often as they say: calibration error, Brier score, reliability bins.

Pure functions over rows of numbers; ``calibration`` takes those of judged pairs. Letters: N probabilities, B bins, C
clusters, R resamples.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lit_listener.evaluation.statistics import Interval

BINS = 15
"""Bins of equal width over [0, 1]."""

_MAX_DRAWN = 2_000_000  # cluster indices held in memory at once (16 MB)
_Floats = NDArray[np.float64]


def bin_of(p_N: _Floats, bins: int = BINS) -> NDArray[np.intp]:
    """The bin of each probability, from 0; a bin holds its lower edge, and the last one its upper edge too."""
    return np.minimum(np.searchsorted(_edges(bins), p_N, side="right") - 1, bins - 1)


@dataclass(frozen=True)
class ReliabilityBin:
    """What falls into one bin of probability."""

    low: float
    """Lower edge, inside."""
    high: float
    """Upper edge, outside but for the last bin."""
    count: int
    mean_p: float | None
    """Mean probability; None where the bin is empty."""
    share_right: float | None


def reliability_bins(p: ArrayLike, right: ArrayLike, bins: int = BINS) -> list[ReliabilityBin]:
    """Count probabilities and what came true into bins of equal width.

    Args:
        p: [N] Probabilities that something is so, in [0, 1].
        right: [N] Whether it was so: 1 or 0, or a number between for "partly".
        bins: Number of bins over [0, 1], at least 1.

    Raises:
        ValueError: lengths that differ, a number outside [0, 1], or no bins.
    """
    p_N, right_N = _checked(p, right, bins)
    bin_N = bin_of(p_N, bins)
    count_B, p_B, right_B = (np.bincount(bin_N, weights, bins) for weights in (None, p_N, right_N))
    edges = _edges(bins)
    return [
        ReliabilityBin(
            float(edges[b]),
            float(edges[b + 1]),
            int(count_B[b]),
            float(p_B[b] / count_B[b]) if count_B[b] else None,
            float(right_B[b] / count_B[b]) if count_B[b] else None,
        )
        for b in range(bins)
    ]


def expected_calibration_error(p: ArrayLike, right: ArrayLike, bins: int = BINS) -> float:
    """Mean distance between probability and frequency over bins: sum_b (n_b / N) |share right_b - mean p_b|.

    Guo et al. 2017, "On Calibration of Modern Neural Networks", Equation 3. Given (confidence, right) it is the
    multiclass form, given (probability of one label, whether it is that label) the binary form of torchmetrics; but a
    probability of exactly 1 is counted into the last bin.

    Args:
        p: [N] Probabilities that something is so, in [0, 1]; at least one.
        right: [N] Whether it was so: 1 or 0, or a number between.
        bins: Number of bins of equal width.

    Raises:
        ValueError: nothing to average, lengths that differ, a number outside [0, 1], or no bins.

    Examples:
        >>> expected_calibration_error([0.75, 0.75], [1.0, 0.0])
        0.25
    """
    p_N, right_N = _checked(p, right, bins)
    if not len(p_N):
        raise ValueError("the calibration error needs at least one probability, got none")
    gap_B = np.bincount(bin_of(p_N, bins), right_N - p_N, bins)
    return float(np.abs(gap_B).sum() / len(p_N))


def brier_score(p: ArrayLike, outcome: ArrayLike) -> float:
    """Mean squared distance of probabilities from what came true (Brier 1950, for one of two outcomes).

    Args:
        p: [N] Probabilities, in [0, 1]; at least one.
        outcome: [N] 1 or 0, or the share of the cases in which it was so.

    Raises:
        ValueError: nothing to average, lengths that differ, or a number outside [0, 1].
    """
    p_N, outcome_N = _checked(p, outcome, 1)
    if not len(p_N):
        raise ValueError("the Brier score needs at least one probability, got none")
    return float(np.mean((p_N - outcome_N) ** 2))


def calibration_error_interval(
    p: ArrayLike, right: ArrayLike, clusters: Sequence[str], *, resamples: int = 2000, seed: int = 0
) -> Interval:
    """The expected calibration error with a 95% bootstrap interval that resamples whole clusters.

    The error is a sum of absolute values, so noise only ever adds to it: draws lie higher than the estimate by about as
    much as the estimate lies above the truth. The bounds are therefore those of the basic bootstrap, twice the estimate
    minus the percentiles (Davison and Hinkley 1997, Section 5.2), cut off at 0 and never below the estimate itself at
    the upper end. For a judge that is calibrated almost perfectly they still cover less often than they say.

    Args:
        p: [N] Probabilities; at least one.
        right: [N] Whether it was so.
        clusters: The cluster (prompt) of each.
        resamples: Bootstrap draws.
        seed: Seed of the draws.

    Returns:
        NaN bounds where all are of one cluster.

    Raises:
        ValueError: as ``expected_calibration_error``, or a cluster missing.
    """
    p_N, right_N = _checked(p, right, BINS)
    if len(clusters) != len(p_N):
        raise ValueError(f"expected a cluster a probability, got {len(clusters)} for {len(p_N)}")
    estimate = expected_calibration_error(p_N, right_N)
    names, cluster_N = np.unique(np.asarray(clusters), return_inverse=True)
    if len(names) < 2:
        return Interval(estimate, np.nan, np.nan)
    place_N = cluster_N * BINS + bin_of(p_N, BINS)
    gap_CB = np.bincount(place_N, right_N - p_N, len(names) * BINS).reshape(-1, BINS)
    count_C = np.bincount(cluster_N, minlength=len(names)).astype(np.float64)
    draws = [
        np.abs(times_RC @ gap_CB).sum(axis=1) / (times_RC @ count_C)
        for times_RC in _times_drawn(len(names), resamples, np.random.default_rng(seed))
    ]
    low, high = np.quantile(np.concatenate(draws), [0.025, 0.975])
    return Interval(estimate, max(0.0, float(2 * estimate - high)), max(estimate, float(2 * estimate - low)))


def _edges(bins: int) -> _Floats:
    return np.arange(bins + 1) / bins  # linspace would put 3/5 a hair above the number 0.6


def _checked(p: ArrayLike, right: ArrayLike, bins: int) -> tuple[_Floats, _Floats]:
    p_N, right_N = np.asarray(p, dtype=np.float64), np.asarray(right, dtype=np.float64)
    if p_N.ndim != 1 or p_N.shape != right_N.shape:
        raise ValueError(f"expected two flat rows of one length, got shapes {p_N.shape} and {right_N.shape}")
    for name, numbers in (("probability", p_N), ("outcome", right_N)):
        outside = ~((numbers >= 0.0) & (numbers <= 1.0))  # also true of NaN
        if outside.any():
            raise ValueError(f"each {name} must lie in [0, 1], got {numbers[outside][0]}")
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    return p_N, right_N


def _times_drawn(clusters: int, resamples: int, rng: np.random.Generator) -> Iterator[_Floats]:
    """How often each cluster is drawn in each resample, in blocks of [R, C] that fit into memory."""
    at_once = max(1, _MAX_DRAWN // clusters)
    for start in range(0, resamples, at_once):
        count = min(at_once, resamples - start)
        drawn_RC = rng.integers(0, clusters, size=(count, clusters)) + np.arange(count)[:, None] * clusters
        yield np.bincount(drawn_RC.ravel(), minlength=count * clusters).reshape(count, clusters).astype(np.float64)
