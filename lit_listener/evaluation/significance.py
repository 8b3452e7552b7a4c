"""Whether two judges of the same pairs differ by more than chance, and how many pairs it takes to tell.

McNemar's test looks only at the pairs on which one judge is right and the other wrong. It takes all pairs as
independent of each other; pairs that share a prompt are not, and its p-value is then too small. The bootstrap of
``statistics`` draws whole prompts and does not have that fault: where the two disagree, trust the bootstrap.
``design_effect`` tells how much the sharing of prompts costs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lit_listener.evaluation.statistics import Clusters, Values

_EXACT_BELOW = 25
"""Discordant pairs under which chi-squared is too rough and the binomial distribution is summed."""


@dataclass(frozen=True)
class McNemar:
    """Counts of pairs by who is right, and the test of whether both judges are right equally often."""

    both: int
    only_a: int
    only_b: int
    neither: int
    statistic: float | None
    """Chi-squared with one degree of freedom and continuity correction; None for the exact test, which has none."""
    p_value: float
    """Two-sided; 1 where the judges never differ."""
    exact: bool

    @property
    def pairs(self) -> int:
        """All pairs judged."""
        return self.both + self.only_a + self.only_b + self.neither

    @property
    def discordant_share(self) -> float:
        """Share of the pairs on which just one judge is right."""
        return (self.only_a + self.only_b) / self.pairs


def mcnemar(right_a: Sequence[float] | NDArray[Any], right_b: Sequence[float] | NDArray[Any]) -> McNemar:
    """McNemar's test (1947) of two judges on the same pairs.

    With fewer than 25 discordant pairs the p-value is the exact binomial one, 2 P(X <= min(b, c)) with X of the
    binomial distribution Bin(b + c, ½); otherwise that of (|b - c| - 1)² / (b + c), with Edwards' correction (1948).
    Pairs are taken as independent of each other, which pairs of one prompt are not; see the module's docstring.

    Args:
        right_a: Whether judge a is right on each pair: 1 or 0.
        right_b: The same of judge b, in the same order.

    Raises:
        ValueError: No pairs, lengths that differ, or numbers other than 0 and 1.

    Examples:
        >>> mcnemar([1, 1, 1, 1, 0], [1, 0, 0, 0, 0]).p_value
        0.25
    """
    a_N, b_N = np.asarray(right_a, dtype=np.float64), np.asarray(right_b, dtype=np.float64)
    if a_N.ndim != 1 or a_N.shape != b_N.shape or not len(a_N):
        raise ValueError(f"expected one number a pair of each judge, got shapes {a_N.shape} and {b_N.shape}")
    for numbers in (a_N, b_N):
        other = (numbers != 0) & (numbers != 1)
        if other.any():
            raise ValueError(f"a judge must be right (1) or wrong (0), got {numbers[other][0]}; choose a rule for ties")
    both, only_a, only_b, neither = (
        int(np.count_nonzero((a_N == a) & (b_N == b))) for a, b in ((1, 1), (1, 0), (0, 1), (0, 0))
    )
    discordant = only_a + only_b
    if discordant < _EXACT_BELOW:
        tail = sum(math.comb(discordant, k) for k in range(min(only_a, only_b) + 1))
        return McNemar(both, only_a, only_b, neither, None, min(1.0, 2 * tail / 2**discordant), exact=True)
    # |b - c| - 1 is negative for b = c, where there is no difference at all: its square must not count as one.
    statistic = max(0, abs(only_a - only_b) - 1) ** 2 / discordant
    # The upper tail of chi-squared with one degree of freedom is that of a squared normal.
    return McNemar(both, only_a, only_b, neither, statistic, math.erfc(math.sqrt(statistic / 2)), exact=False)


def pairs_needed(
    difference: float = 0.01,
    *,
    discordant_share: float,
    power: float = 0.8,
    level: float = 0.05,
    design_effect: float = 1.0,
) -> int:
    """How many pairs both judges must judge for McNemar's test to find a difference between them.

    With d the difference and s the discordant share, n = (z_(1 - level/2) sqrt(s) + z_power sqrt(s - d²))² / d², times
    the design effect: Connor 1987, "Sample size for testing differences in proportions for the paired-sample design",
    Biometrics 43. A normal approximation without continuity correction; the corrected test has a little less power.

    Args:
        difference: Difference of the accuracies to find, as a share: 0.01 is one point.
        discordant_share: Share of the pairs on which just one judge is right, at least the difference.
        power: Probability to find it, in (0, 1).
        level: Two-sided level of the test, in (0, 1).
        design_effect: How many times the variance is that of independent pairs (``design_effect``).

    Raises:
        ValueError: An argument out of its range.
    """
    if not 0.0 < abs(difference) <= discordant_share <= 1.0:
        raise ValueError(
            "accuracies cannot differ by more than the share of the pairs on which just one judge is right: expected "
            f"0 < difference <= discordant_share <= 1, got {difference} and {discordant_share}"
        )
    for name, value in (("power", power), ("level", level)):
        if not 0.0 < value < 1.0:
            raise ValueError(f"{name} must lie strictly between 0 and 1, got {value}")
    if not (math.isfinite(design_effect) and design_effect > 0.0):
        raise ValueError(f"design_effect must be a number above 0, got {design_effect}")
    normal = NormalDist()
    noise_if_equal = normal.inv_cdf(1 - level / 2) * math.sqrt(discordant_share)
    noise_if_different = normal.inv_cdf(power) * math.sqrt(discordant_share - difference**2)
    return math.ceil(design_effect * ((noise_if_equal + noise_if_different) / difference) ** 2)


def design_effect(values: Values, clusters: Clusters) -> float:
    """How many times the variance of a mean over clustered rows is that over as many independent rows.

    The clustered variance is the linearised one of a ratio, C/(C-1) sum_c (sum_c - n_c mean)² / N² (Kish 1965), which
    the bootstrap of clusters has in the limit of many clusters and draws; here it costs no draws and has no noise.

    Args:
        values: One number a row; NaN rows are left out.
        clusters: The cluster (prompt) of each row.

    Returns:
        1 where each row is its own cluster; above 1 where the rows of a cluster are alike.

    Raises:
        ValueError: Lengths that differ, fewer than two clusters, or values that are all equal.
    """
    values_N, clusters_N = np.asarray(values, dtype=np.float64), np.asarray(clusters)
    if values_N.ndim != 1 or values_N.shape != clusters_N.shape:
        raise ValueError(f"expected a cluster a value, got shapes {values_N.shape} and {clusters_N.shape}")
    defined = ~np.isnan(values_N)
    values_N = values_N[defined]
    names, place_N = np.unique(clusters_N[defined], return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"a design effect needs at least two clusters, got {len(names)}")
    independent = float(values_N.var(ddof=1)) / len(values_N)
    if independent == 0.0:
        raise ValueError(f"a design effect needs values that differ, got {values_N[0]} alone")
    deviations_C = np.bincount(place_N, values_N - values_N.mean())
    clustered = len(names) / (len(names) - 1) * float((deviations_C**2).sum()) / len(values_N) ** 2
    return clustered / independent
