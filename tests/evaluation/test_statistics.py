import math

import numpy as np
import pytest
from scipy import stats

from lit_listener.evaluation import statistics
from lit_listener.evaluation.statistics import Interval, clustered_difference, clustered_interval

NAN = float("nan")


def clustered_world(rng: np.random.Generator, clusters: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """1 to 9 rows a cluster with mean 0; a cluster's rows share a part as large as their own noise."""
    names = np.repeat(np.arange(clusters), rng.integers(1, 10, clusters))
    return rng.normal(size=clusters)[names] + rng.normal(size=len(names)), names


def totals(values: np.ndarray, names: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums and counts by a plain loop."""
    keys = sorted(set(names))
    return np.array([values[names == k].sum() for k in keys]), np.array([(names == k).sum() for k in keys])


def ratio(sums: np.ndarray, counts: np.ndarray, axis: int) -> np.ndarray:
    return sums.sum(axis=axis) / counts.sum(axis=axis)


def test_half_width():
    assert Interval(0.5, 0.25, 0.875).half_width == 0.3125


def test_two_clusters_by_hand():
    # Draws: AA (1/4) gives 1.0, AB (1/2) gives (3·1 + 1·0)/4 = 0.75, BB (1/4) gives 0. Only rows, not clusters, weigh:
    # the mean of the two cluster means would be 0.5. The 2.5% and 97.5% points are BB and AA, 30% and 70% are AB.
    values, names = [1.0, 1.0, 1.0, 0.0], ["A", "A", "A", "B"]
    assert clustered_interval(values, names) == Interval(0.75, 0.0, 1.0)
    assert clustered_interval(values, names, level=0.4) == Interval(0.75, 0.75, 0.75)


def test_matches_scipys_bootstrap_over_clusters():
    values, names = clustered_world(np.random.default_rng(1))
    ours = clustered_interval(values, names, level=0.9, resamples=40_000)
    reference = stats.bootstrap(
        totals(values, names),
        ratio,
        paired=True,
        vectorized=True,
        confidence_level=0.9,
        n_resamples=40_000,
        method="percentile",
        rng=np.random.default_rng(5),
    )
    assert ours.mean == pytest.approx(values.mean(), abs=1e-12)
    # Both bounds are random: over seeds they differ by about 1% of the half width.
    bounds = reference.confidence_interval
    assert [ours.low, ours.high] == pytest.approx([bounds.low, bounds.high], abs=0.03 * ours.half_width)


def test_coverage_of_clustered_data_and_undercoverage_of_rows_taken_singly():
    rng = np.random.default_rng(0)
    covered = np.zeros(2)
    worlds = 500
    for seed in range(worlds):
        values, names = clustered_world(rng)
        for way, clusters in enumerate((names, np.arange(len(names)))):
            interval = clustered_interval(values, clusters, resamples=400, seed=seed)
            covered[way] += interval.low <= 0.0 <= interval.high
    clustered, single = covered / worlds
    assert 0.90 <= clustered <= 0.98
    assert single < 0.80


def test_paired_coverage_and_overcoverage_when_the_pairing_is_ignored():
    rng = np.random.default_rng(3)
    covered = np.zeros(2)
    worlds = 300
    for seed in range(worlds):
        before, names = clustered_world(rng)
        # The same prompts judged again: what a prompt adds stays, the noise of a row is new. True difference: 0.25.
        after = before + 0.25 + rng.normal(scale=0.5, size=len(names))
        for way, paired in enumerate((True, False)):
            interval = clustered_difference(after, names, before, names, paired=paired, resamples=300, seed=seed)
            covered[way] += interval.low <= 0.25 <= interval.high
    paired_share, independent_share = covered / worlds
    assert 0.90 <= paired_share <= 0.98
    assert independent_share > 0.995


def test_undefined_rows_are_left_out():
    with_gaps = clustered_interval([1.0, NAN, 0.0, NAN, 1.0], ["A", "A", "B", "C", "D"], seed=4)
    assert with_gaps == clustered_interval([1.0, 0.0, 1.0], ["A", "B", "D"], seed=4)
    assert with_gaps.mean == pytest.approx(2 / 3)


@pytest.mark.parametrize(("values", "names"), [([], []), ([NAN, NAN], ["A", "B"])])
def test_nothing_left_is_an_interval_of_nan(values, names):
    for interval in (
        clustered_interval(values, names),
        clustered_difference(values, names, [1.0], ["A"], paired=True),
        clustered_difference([1.0], ["A"], values, names, paired=False),
    ):
        assert all(math.isnan(part) for part in (interval.mean, interval.low, interval.high))


def test_one_cluster_has_a_mean_but_no_bounds():
    interval = clustered_interval([1.0, 0.0, NAN], ["A", "A", "B"])
    assert interval.mean == 0.5
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)
    for paired in (True, False):
        difference = clustered_difference([1.0, 0.0], ["A", "B"], [0.25, NAN], ["A", "B"], paired=paired)
        assert difference.mean == 0.25
        assert math.isnan(difference.half_width)


def test_paired_difference_of_two_clusters_by_hand():
    # a: A 1, B 0. b: A 0, B 0. AA gives 1 - 0, AB 0.5 - 0, BB 0 - 0.
    assert clustered_difference([1.0, 0.0], ["A", "B"], [0.0, 0.0], ["B", "A"], paired=True) == Interval(0.5, 0.0, 1.0)


def test_paired_draws_take_the_same_clusters_on_both_sides():
    values, names = clustered_world(np.random.default_rng(2))
    order = np.random.default_rng(0).permutation(len(values))
    shifted = clustered_difference(values[order] + 0.25, names[order], values, names, paired=True)
    assert [shifted.mean, shifted.low, shifted.high] == pytest.approx([0.25] * 3, abs=1e-12)
    assert clustered_difference(values, names, values, names, paired=False).half_width > 0.2


def test_paired_difference_matches_scipy_where_rows_are_missing():
    rng = np.random.default_rng(6)
    values, names = clustered_world(rng)
    after = values + rng.normal(scale=0.5, size=len(values))
    after[names == 7] = NAN  # a whole cluster of one side
    after[rng.random(len(after)) < 0.1] = NAN
    ours = clustered_difference(after, names, values, names, paired=True, resamples=40_000)
    kept = ~np.isnan(after)
    sums_after = np.bincount(names[kept], after[kept], minlength=60)
    counts_after = np.bincount(names[kept], minlength=60)
    reference = stats.bootstrap(
        (sums_after, counts_after, *totals(values, names)),
        lambda s, n, t, m, axis: ratio(s, n, axis) - ratio(t, m, axis),
        paired=True,
        vectorized=True,
        n_resamples=40_000,
        method="percentile",
        rng=rng,
    ).confidence_interval
    assert ours.mean == pytest.approx(after[kept].mean() - values.mean(), abs=1e-12)
    assert [ours.low, ours.high] == pytest.approx([reference.low, reference.high], abs=0.03 * ours.half_width)


def test_independent_difference_matches_scipy():
    rng = np.random.default_rng(8)
    (values_a, names_a), (values_b, names_b) = clustered_world(rng, 40), clustered_world(rng, 25)
    ours = clustered_difference(values_a, names_a, values_b, names_b, paired=False, resamples=40_000)
    (sums_a, counts_a), (sums_b, counts_b) = totals(values_a, names_a), totals(values_b, names_b)
    reference = stats.bootstrap(
        (np.arange(40), np.arange(25)),
        lambda i, j, axis: ratio(sums_a[i], counts_a[i], axis) - ratio(sums_b[j], counts_b[j], axis),
        vectorized=True,
        n_resamples=40_000,
        method="percentile",
        rng=rng,
    ).confidence_interval
    assert [ours.low, ours.high] == pytest.approx([reference.low, reference.high], abs=0.03 * ours.half_width)


def test_a_paired_draw_without_rows_of_one_side_is_left_out():
    # Side a is defined in A and B of A..D only, so that some draws (CD, CC, …) hold nothing of it.
    names = ["A", "B", "C", "D"]
    interval = clustered_difference([1.0, 1.0, NAN, NAN], names, [0.0] * 4, names, paired=True)
    assert interval == Interval(1.0, 1.0, 1.0)


def test_same_seed_same_interval_and_names_do_not_matter(monkeypatch):
    values, names = clustered_world(np.random.default_rng(3))
    first = clustered_interval(values, names, seed=9)
    assert first == clustered_interval(list(values), [f"prompt {name:03d}" for name in names], seed=9)
    assert first != clustered_interval(values, names, seed=10)
    # Nor does it matter how many draws are held in memory at once.
    monkeypatch.setattr(statistics, "_MAX_DRAWN", 1000)
    assert first == clustered_interval(values, names, seed=9)


def test_errors_name_what_arrived():
    with pytest.raises(ValueError, match=r"equally long, got shapes \(2,\) and \(1,\)"):
        clustered_interval([1.0, 0.0], ["A"])
    with pytest.raises(ValueError, match="values_b and clusters_b"):
        clustered_difference([1.0], ["A"], [1.0], [], paired=False)
    with pytest.raises(ValueError, match=r"must be finite.*got inf"):
        clustered_interval([1.0, math.inf], ["A", "B"])
    with pytest.raises(ValueError, match="level must lie strictly between 0 and 1, got 95"):
        clustered_interval([1.0], ["A"], level=95)
    with pytest.raises(ValueError, match="resamples must be at least 1, got 0"):
        clustered_difference([1.0], ["A"], [1.0], ["A"], paired=True, resamples=0)
    with pytest.raises(ValueError, match=r"none is shared .*'A'.*'B'"):
        clustered_difference([1.0], ["A"], [1.0], ["B"], paired=True)
