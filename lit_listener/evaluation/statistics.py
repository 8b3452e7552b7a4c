"""Bootstrap intervals of means whose rows come in clusters: the rows of one prompt are not independent of each other.

Whole clusters are drawn with replacement, and each draw gives the ratio (sum of values) / (number of values) over the
clusters drawn, so that a prompt with many rows weighs as much as its rows do in the plain mean. The bounds are
percentiles of those ratios. Rows are never drawn singly: that would take ten completions of one prompt for ten pieces
of evidence, and the interval would be too narrow.

Left out: bias-corrected (BCa) intervals; a few dozen clusters or more make percentiles good enough for shares.

Letters: N rows, C clusters, S sides compared, R resamples.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = Sequence[float] | NDArray[Any]
Clusters = Sequence[str] | Sequence[int] | NDArray[Any]
_Floats = NDArray[np.float64]

_MAX_DRAWN = 2_000_000
"""Cluster indices held in memory at once (16 MB)."""


@dataclass(frozen=True)
class Interval:
    """A mean (or a difference of means) and the bounds of its interval; NaN where not defined."""

    mean: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half the distance between the bounds."""
        return (self.high - self.low) / 2


def clustered_interval(
    values_N: Values, clusters_N: Clusters, *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Mean of the values with a percentile bootstrap interval that resamples whole clusters.

    Args:
        values_N: One number a row; NaN means "not defined for this row", and the row is left out.
        clusters_N: The cluster (prompt) of each row.
        level: Probability the interval is to cover, in (0, 1).
        resamples: Bootstrap draws, at least 1.
        seed: Seed of the draws; the same input and seed give the same interval.

    Returns:
        The mean and its bounds. With no defined row all three are NaN. With one cluster the mean is given and the
        bounds are NaN: a single cluster says nothing about how clusters differ.

    Raises:
        ValueError: Lengths that differ, an infinite value, or a level or number of resamples out of range.

    Examples:
        >>> clustered_interval([1.0, 1.0, 0.0, 0.0], ["x", "x", "y", "y"])
        Interval(mean=0.5, low=0.0, high=1.0)
    """
    _check_settings(level, resamples)
    values_N, clusters_N = _defined_rows(values_N, clusters_N, "")
    if not len(values_N):
        return _UNDEFINED
    names_C, rows_N = np.unique(clusters_N, return_inverse=True)
    sums_SC, counts_SC = _totals(values_N, rows_N, len(names_C))
    mean = float(values_N.mean())
    if len(names_C) < 2:
        return Interval(mean, np.nan, np.nan)
    means_SR = _resampled_means(sums_SC, counts_SC, resamples, np.random.default_rng(seed))
    return _percentiles(mean, means_SR[0], level)


def clustered_difference(
    values_a: Values,
    clusters_a: Clusters,
    values_b: Values,
    clusters_b: Clusters,
    *,
    paired: bool,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Difference of two means, a - b, with a percentile bootstrap interval that resamples whole clusters.

    Args:
        values_a: One number a row of side a; NaN rows are left out.
        clusters_a: The cluster (prompt) of each row of side a.
        values_b: One number a row of side b.
        clusters_b: The cluster of each row of side b.
        paired: True where both sides were measured on the same clusters: each draw then takes the same clusters on
            both sides, so that what is common to them cancels. False draws the sides independently.
        level: Probability the interval is to cover, in (0, 1).
        resamples: Bootstrap draws, at least 1.
        seed: Seed of the draws.

    Returns:
        The difference and its bounds: all NaN where a side has no defined row, NaN bounds where a side has defined
        rows in one cluster only. A paired draw that holds no defined row of one side is left out.

    Raises:
        ValueError: Lengths that differ within a side, an infinite value, a setting out of range, or ``paired=True``
            for sides that share no cluster.
    """
    _check_settings(level, resamples)
    sides = (_defined_rows(values_a, clusters_a, "_a"), _defined_rows(values_b, clusters_b, "_b"))
    if not all(len(values) for values, _ in sides):
        return _UNDEFINED
    (defined_a, names_a), (defined_b, names_b) = sides
    if paired and not np.isin(names_a, names_b).any():
        raise ValueError(
            f"paired=True needs both sides on the same clusters, but none is shared (a begins with {names_a[0]!r}, "
            f"b with {names_b[0]!r}); compare the same prompts, or pass paired=False"
        )
    mean = float(defined_a.mean() - defined_b.mean())
    if min(len(np.unique(names)) for _, names in sides) < 2:
        return Interval(mean, np.nan, np.nan)

    rng = np.random.default_rng(seed)
    if paired:
        all_names_C, rows = np.unique(np.concatenate([names_a, names_b]), return_inverse=True)
        totals_a = _totals(defined_a, rows[: len(defined_a)], len(all_names_C))
        totals_b = _totals(defined_b, rows[len(defined_a) :], len(all_names_C))
        sums_SC, counts_SC = (np.concatenate(pair) for pair in zip(totals_a, totals_b, strict=True))
        a_R, b_R = _resampled_means(sums_SC, counts_SC, resamples, rng)
    else:
        draws = []
        for values_N, clusters_N in sides:
            names_C, rows_N = np.unique(clusters_N, return_inverse=True)
            draws.append(_resampled_means(*_totals(values_N, rows_N, len(names_C)), resamples, rng)[0])
        a_R, b_R = draws
    return _percentiles(mean, a_R - b_R, level)


_UNDEFINED = Interval(np.nan, np.nan, np.nan)


def _check_settings(level: float, resamples: int) -> None:
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie strictly between 0 and 1, got {level}")
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}")


def _defined_rows(values_N: Values, clusters_N: Clusters, side: str) -> tuple[_Floats, NDArray[Any]]:
    """The rows whose value is not NaN, as arrays."""
    values, clusters = np.asarray(values_N, dtype=np.float64), np.asarray(clusters_N)
    if values.ndim != 1 or values.shape != clusters.shape:
        raise ValueError(
            f"values{side} and clusters{side} must be flat and equally long, got shapes {values.shape} and "
            f"{clusters.shape}"
        )
    if np.isinf(values).any():
        raise ValueError(f"values{side} must be finite, or NaN where not defined, got {values[np.isinf(values)][0]}")
    defined = ~np.isnan(values)
    return values[defined], clusters[defined]


def _totals(values_N: _Floats, rows_N: NDArray[np.intp], clusters: int) -> tuple[_Floats, _Floats]:
    """Sum and number of the values of each cluster, each of shape [S=1, C]."""
    sums_C = np.bincount(rows_N, weights=values_N, minlength=clusters).astype(np.float64)
    counts_C = np.bincount(rows_N, minlength=clusters).astype(np.float64)
    return sums_C[None], counts_C[None]


def _resampled_means(sums_SC: _Floats, counts_SC: _Floats, resamples: int, rng: np.random.Generator) -> _Floats:
    """Means [S, R] over clusters drawn with replacement, the same clusters for all sides; NaN for a draw of no rows."""
    clusters = sums_SC.shape[1]
    rows_at_once = max(1, _MAX_DRAWN // clusters)
    parts = []
    for start in range(0, resamples, rows_at_once):
        drawn_RC = rng.integers(0, clusters, size=(min(rows_at_once, resamples - start), clusters))
        totals_SR = np.stack([side_C[drawn_RC].sum(axis=1) for side_C in sums_SC])
        counts_SR = np.stack([side_C[drawn_RC].sum(axis=1) for side_C in counts_SC])
        means_SR = np.full_like(totals_SR, np.nan)
        parts.append(np.divide(totals_SR, counts_SR, out=means_SR, where=counts_SR > 0))
    return np.concatenate(parts, axis=1)


def _percentiles(mean: float, draws_R: _Floats, level: float) -> Interval:
    draws_R = draws_R[~np.isnan(draws_R)]
    if not len(draws_R):
        return Interval(mean, np.nan, np.nan)
    low, high = np.quantile(draws_R, [(1 - level) / 2, (1 + level) / 2])
    return Interval(mean, float(low), float(high))
