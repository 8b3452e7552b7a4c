"""Intervals of means over seeds and prompts: what would come out with other seeds, and with other prompts.

Every seed's judge was asked about the same prompts, so seeds and prompts are crossed: neither lies within the other.
The pigeonhole bootstrap (Owen 2007, "The pigeonhole bootstrap", Annals of Applied Statistics 1) draws seeds with
replacement and, independently of them, prompts with replacement. A row counts u_s v_c times, where its seed s was drawn
u_s times and its prompt c v_c times; each draw gives the ratio of the weighted sums of values and of rows. It counts
the noise that is neither a seed's nor a prompt's up to three times (Owen 2007), and with what follows
``noise_counted(S)`` times, so it errs on the wide side.

Few seeds make its seeds' part too narrow: drawn seeds vary by (S - 1)/S of what seeds do, and percentiles take five
seeds for many. What a draw of seeds moves, by itself, is therefore expanded by

    k_S = sqrt(S / (S - 1)) t(0.975, S - 1) / z(0.975),       1.58 for five seeds, 2.69 for three, 9.17 for two,

as Hesterberg 2015 ("What Teachers Should Know About the Bootstrap", The American Statistician 69) expands percentiles
of a single sample. A draw is then theta(u, v) + (k_S - 1) (theta(u, 1) - theta), cut to what the mean can be.

With a single seed prompts alone are drawn (``clustered_interval``): nothing is then known of other seeds.

Letters: S seeds, C prompts, R resamples.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from lit_listener.evaluation.results import Measured, Unit
from lit_listener.evaluation.statistics import Interval, clustered_difference, clustered_interval

_Floats = NDArray[np.float64]
RESAMPLES = 2000
_BOUNDS = (0.025, 0.975)
_Z = 1.959964
_T = np.array(
    [
        *(12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281),
        *(2.2010, 2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860),
        *(2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423),
    ]
)
"""97.5% points of Student's t for 1 to 30 degrees of freedom; beyond, ``_Z`` is less than 4% too small."""


@dataclass(frozen=True)
class Crossed:
    """One number a row, by seed, and the prompt of each row."""

    values: tuple[_Floats, ...]
    """An array a seed; NaN where a row has no number."""
    prompts: tuple[tuple[str, ...], ...]
    bounds: tuple[float, float] = (0.0, 1.0)
    """The least and the most that a number can be; for shares 0 and 1."""

    def __post_init__(self) -> None:
        """Refuse numbers whose prompt is unknown."""
        sizes = [len(of_seed) for of_seed in self.values], [len(of_seed) for of_seed in self.prompts]
        if sizes[0] != sizes[1] or not sizes[0]:
            raise ValueError(
                f"expected one or more seeds and a prompt a value, got rows {sizes[0]}, prompts {sizes[1]}"
            )
        if any(np.isinf(of_seed).any() for of_seed in self.values):
            raise ValueError("values must be finite, or NaN where not defined, got an infinite one")
        least, most = self.bounds
        for of_seed in self.values:
            if (outside := of_seed[(of_seed < least) | (of_seed > most)]).size:
                raise ValueError(f"values must lie within their bounds, {least:g} to {most:g}, got {outside[0]:g}")

    @property
    def seeds(self) -> int:
        """How many seeds there are, with or without numbers."""
        return len(self.values)

    @property
    def means(self) -> tuple[float, ...]:
        """The mean of each seed; NaN where a seed has no number."""
        return tuple(math.nan if np.isnan(row).all() else float(np.nanmean(row)) for row in self.values)

    @property
    def rows(self) -> int:
        """How many numbers there are."""
        return int(sum((~np.isnan(of_seed)).sum() for of_seed in self.values))

    @cached_property
    def defined_prompts(self) -> set[str]:
        """The prompts with a number."""
        return {
            prompt
            for values, prompts in zip(self.values, self.prompts, strict=True)
            for value, prompt in zip(values, prompts, strict=True)
            if not math.isnan(value)
        }

    def less(self, other: "Crossed") -> "Crossed":
        """Row by row, this number less the other; NaN where either has none.

        Raises:
            ValueError: The rows are not of the same prompts.
        """
        if self.prompts != other.prompts:
            raise ValueError("a difference row by row needs both sides on the same rows, and their prompts differ")
        differences = tuple(a - b for a, b in zip(self.values, other.values, strict=True))
        return Crossed(differences, self.prompts, _bounds_of_difference(self, other))


@dataclass(frozen=True)
class Parts:
    """The interval if only seeds, or only prompts, were drawn."""

    seeds: Interval
    prompts: Interval


def crossed(
    values: Sequence[Sequence[float | None]],
    prompts: Sequence[Sequence[str]],
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Crossed:
    """Values by seed as arrays; None becomes NaN."""
    arrays = (np.array([math.nan if v is None else float(v) for v in of_seed], np.float64) for of_seed in values)
    return Crossed(tuple(arrays), tuple(tuple(of_seed) for of_seed in prompts), bounds)


def crossed_interval(sample: Crossed, *, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """The mean over all rows of all seeds, with a 95% interval over seeds and prompts.

    Args:
        sample: The numbers.
        resamples: Bootstrap draws, at least 1.
        seed: Seed of the draws; the order of rows and of seeds makes no difference.

    Returns:
        The mean and its bounds; all NaN where there is no number, NaN bounds where they are all of one prompt.
    """
    if sample.seeds == 1:
        return clustered_interval(sample.values[0], sample.prompts[0], resamples=resamples, seed=seed)
    if not sample.rows:
        return _UNDEFINED
    found = _bootstrap((_totals(sample, sorted(sample.defined_prompts)),), True, resamples, seed)
    return _cut(found, sample.bounds)


def crossed_difference(a: Crossed, b: Crossed, *, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """The difference of two means, a - b, with a 95% interval over seeds and prompts.

    Each draw takes the same prompts on both sides, and the same seeds where both have equally many: what a prompt, or a
    seed's order of data, does to both sides alike then cancels. Otherwise the sides' seeds are drawn independently.

    Args:
        a: The numbers of one side, seed by seed.
        b: Those of the other side, in the same order of seeds.
        resamples: Bootstrap draws, at least 1.
        seed: Seed of the draws.

    Returns:
        The difference and its bounds; all NaN where a side has no number, NaN bounds where one has a single prompt.

    Raises:
        ValueError: The sides share no prompt.
    """
    if not (a.rows and b.rows):
        return _UNDEFINED
    if not a.defined_prompts & b.defined_prompts:
        raise ValueError("a paired difference needs both sides on the same prompts, but none is shared")
    if a.seeds == b.seeds == 1:
        sides = (a.values[0], a.prompts[0], b.values[0], b.prompts[0])
        return clustered_difference(*sides, paired=True, resamples=resamples, seed=seed)
    names = sorted(a.defined_prompts | b.defined_prompts)
    totals = _totals(a, names), _totals(b, names)
    if min(len(a.defined_prompts), len(b.defined_prompts)) < 2:
        return Interval(_mean(totals[0]) - _mean(totals[1]), math.nan, math.nan)
    return _cut(_bootstrap(totals, a.seeds == b.seeds, resamples, seed), _bounds_of_difference(a, b))


def crossed_measured(sample: Crossed, *, unit: Unit = "share", none: str = "no pair counts here") -> Measured:
    """``crossed_interval`` as tables and plots take it.

    Args:
        sample: The numbers.
        unit: What is measured.
        none: Why there may be no number.
    """
    return _as_measured(crossed_interval(sample), sample.rows, len(sample.defined_prompts), unit, none)


def crossed_measured_difference(a: Crossed, b: Crossed, *, none: str = "no pair counts on both sides") -> Measured:
    """``crossed_difference`` in points, as tables and plots take it; ``none`` where the sides share no prompt."""
    shared = a.defined_prompts & b.defined_prompts
    interval = crossed_difference(a, b) if shared else _UNDEFINED
    return _as_measured(interval, min(a.rows, b.rows), len(shared), "points", none)


def crossed_parts(a: Crossed, b: Crossed, *, resamples: int = RESAMPLES, seed: int = 0) -> Parts:
    """The interval of a - b if only seeds were drawn (expanded as above), and if only prompts were.

    Raises:
        ValueError: One seed alone, numbers of seeds that differ, or a side without numbers.
    """
    if a.seeds != b.seeds or a.seeds < 2 or not (a.rows and b.rows):
        raise ValueError(
            f"parts need two seeds or more, equally many on both sides, and numbers; got {a.seeds} and {b.seeds} seeds "
            f"with {a.rows} and {b.rows} numbers"
        )
    names = sorted(a.defined_prompts | b.defined_prompts)
    totals = _sorted_seeds((_totals(a, names), _totals(b, names)), shared=True)
    u_RS, v_RC = _drawn(a.seeds, resamples, seed, 1), _drawn(len(names), resamples, seed, 0)
    mean = _mean(totals[0]) - _mean(totals[1])
    all_C, all_S = np.ones((1, len(names))), np.ones((1, a.seeds))
    by_seeds, by_prompts = (
        np.subtract(*(_ratio(side, u, v) for side in totals)) for u, v in ((u_RS, all_C), (all_S, v_RC))
    )
    return Parts(_percentiles(mean, mean + expansion(a.seeds) * (by_seeds - mean)), _percentiles(mean, by_prompts))


def expansion(seeds: int) -> float:
    """k_S of the module's docstring, of at least two seeds."""
    if seeds < 2:
        raise ValueError(f"a spread over seeds takes two or more, got {seeds}")
    return math.sqrt(seeds / (seeds - 1)) * (float(_T[seeds - 2]) / _Z if seeds - 2 < len(_T) else 1.0)


def noise_counted(seeds: int) -> float:
    """How often noise of single rows counts in the variance of draws, 1 + (t/z)^2 + (S - 1)/S; of two seeds or more.

    Once as if it were the prompts', once, expanded, as if it were the seeds', and once as what the two share: 3.8 times
    for five seeds. Without effects of seeds and prompts an interval is the root of that times too wide.
    """
    return 1.0 + expansion(seeds) ** 2 * (seeds - 1) / seeds + (seeds - 1) / seeds


_UNDEFINED = Interval(math.nan, math.nan, math.nan)
_Totals = tuple[_Floats, _Floats]  # sums and numbers of the values of each seed and prompt, both [S, C]


def _mean(totals: _Totals) -> float:
    return float(totals[0].sum() / totals[1].sum())


def _totals(sample: Crossed, names: Sequence[str]) -> _Totals:
    places = {name: place for place, name in enumerate(names)}
    sums_SC, counts_SC = np.zeros((2, sample.seeds, len(names)))
    for seed, (values, prompts) in enumerate(zip(sample.values, sample.prompts, strict=True)):
        defined = ~np.isnan(values)
        rows = [places[prompt] for prompt, kept in zip(prompts, defined, strict=True) if kept]
        sums_SC[seed] = np.bincount(rows, weights=values[defined], minlength=len(names))
        counts_SC[seed] = np.bincount(rows, minlength=len(names))
    return sums_SC, counts_SC


def _bounds_of_difference(a: Crossed, b: Crossed) -> tuple[float, float]:
    return a.bounds[0] - b.bounds[1], a.bounds[1] - b.bounds[0]


def _cut(interval: Interval, bounds: tuple[float, float]) -> Interval:
    """No mean lies outside of what its values can be; expanded draws may."""
    return Interval(interval.mean, max(interval.low, bounds[0]), min(interval.high, bounds[1]))


def _sorted_seeds(sides: Sequence[_Totals], shared: bool) -> list[_Totals]:
    """The seeds in an order that follows from their numbers alone: results do not hang on how seeds are named."""
    if not shared:
        return [side for each in sides for side in _sorted_seeds((each,), shared=True)]
    keys = np.concatenate([part for side in sides for part in side], axis=1)
    order = np.lexsort(keys.T[::-1])
    return [(sums[order], counts[order]) for sums, counts in sides]


@lru_cache(maxsize=16)
def _drawn(size: int, resamples: int, *stream: int) -> _Floats:
    """How often each of some things is drawn, [R, size]; the same numbers whenever the same are asked for."""
    rng = np.random.default_rng(stream)
    drawn_RN: _Floats = rng.multinomial(size, np.full(size, 1 / size), size=resamples).astype(np.float64)
    drawn_RN.setflags(write=False)
    return drawn_RN


def _ratio(totals: _Totals, u_RS: _Floats, v_RC: _Floats) -> _Floats:
    """Weighted means [R]; NaN for a draw of no rows."""
    sums_R, counts_R = (((u_RS @ part_SC) * v_RC).sum(axis=1) for part_SC in totals)
    means_R: _Floats = np.full_like(sums_R, np.nan)
    np.divide(sums_R, counts_R, out=means_R, where=counts_R > 0)
    return means_R


def _bootstrap(sides: Sequence[_Totals], shared_seeds: bool, resamples: int, seed: int) -> Interval:
    """The interval of one side's mean, or of the first's less the second's."""
    sides = _sorted_seeds(sides, shared_seeds)
    prompts = sides[0][0].shape[1]
    means = [_mean(side) for side in sides]
    mean = means[0] - sum(means[1:])
    if prompts < 2:
        return Interval(mean, math.nan, math.nan)
    v_RC, all_C = _drawn(prompts, resamples, seed, 0), np.ones((1, prompts))
    draws = []
    for side, ((sums, counts), of_side) in enumerate(zip(sides, means, strict=True)):
        seeds = len(sums)
        u_RS = _drawn(seeds, resamples, seed, 1 if shared_seeds else 1 + side)
        moved_R = _ratio((sums, counts), u_RS, all_C) - of_side if seeds > 1 else np.zeros(resamples)
        # NaN where the drawn seeds have no number: such a draw is left out.
        draws.append(_ratio((sums, counts), u_RS, v_RC) + ((expansion(seeds) - 1) * moved_R if seeds > 1 else 0.0))
    return _percentiles(mean, draws[0] - sum(draws[1:]))


def _percentiles(mean: float, draws_R: _Floats) -> Interval:
    kept_R = draws_R[~np.isnan(draws_R)]
    if not len(kept_R):
        return Interval(mean, math.nan, math.nan)
    low, high = np.quantile(kept_R, _BOUNDS)
    return Interval(mean, float(low), float(high))


def _as_measured(interval: Interval, rows: int, prompts: int, unit: Unit, none: str) -> Measured:
    if math.isnan(interval.mean):
        return Measured(interval, 0, 0, unit, none)
    reason = "a single prompt has no interval" if math.isnan(interval.low) else ""
    return Measured(interval, rows, prompts, unit, reason)
