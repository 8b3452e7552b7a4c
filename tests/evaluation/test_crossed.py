import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lit_listener.evaluation.crossed import (
    Crossed,
    crossed,
    crossed_difference,
    crossed_interval,
    crossed_measured,
    crossed_measured_difference,
    crossed_parts,
    expansion,
    noise_counted,
)
from lit_listener.evaluation.statistics import Interval, clustered_difference, clustered_interval

ANY = (-math.inf, math.inf)


def world(rng, *, seeds=5, prompts=40, of_seed=0.0, of_prompt=0.0, noise=1.0, rows=4):
    """Numbers around 0: a part of each seed, a part of each prompt, and noise; some rows a prompt."""
    names = tuple(f"p{prompt}" for prompt in range(prompts) for _ in range(rows))
    shared = np.repeat(of_prompt * rng.normal(size=prompts), rows)
    values = tuple(of_seed * rng.normal() + shared + noise * rng.normal(size=prompts * rows) for _ in range(seeds))
    return Crossed(values, (names,) * seeds, ANY)


def looped(sample, resamples, rng):
    """The draws one by one, row by row."""
    names = sorted(set(sample.prompts[0]))
    theta = np.concatenate(sample.values).mean()
    k = math.sqrt(sample.seeds / (sample.seeds - 1)) * stats.t.ppf(0.975, sample.seeds - 1) / stats.norm.ppf(0.975)
    draws = []
    for _ in range(resamples):
        drawn_seeds = [int(s) for s in rng.integers(sample.seeds, size=sample.seeds)]
        drawn_prompts = [names[int(c)] for c in rng.integers(len(names), size=len(names))]
        both, seeds_alone = [], []
        for s in drawn_seeds:
            by_prompt = {}
            for value, prompt in zip(sample.values[s], sample.prompts[s], strict=True):
                by_prompt.setdefault(prompt, []).append(value)
                seeds_alone.append(value)
            for c in drawn_prompts:
                both += by_prompt[c]
        draws.append(np.mean(both) + (k - 1) * (np.mean(seeds_alone) - theta))
    return np.quantile(draws, [0.025, 0.975])


def test_two_seeds_and_two_prompts_by_hand():
    # Both seeds are right on x and wrong on y: drawing seeds moves nothing. Prompts: xx (1/4) gives 1, xy ½, yy 0.
    sample = crossed([[1, 0], [1, 0]], [["x", "y"], ["x", "y"]])
    assert crossed_interval(sample) == Interval(0.5, 0.0, 1.0)
    # One seed is right and the other wrong whatever the prompt: u is (2, 0), (1, 1) or (0, 2), so that a draw of seeds
    # moves by +½, 0 or -½, expanded by k_2 = sqrt(2) · 12.706 / 1.960 = 9.17; cut to [0, 1], in which all values lie.
    assert crossed_interval(crossed([[1, 1], [0, 0]], [["x", "y"], ["x", "y"]])) == Interval(0.5, 0.0, 1.0)
    # As differences: a is 1, 0 by seed and b ½ throughout but for rows of ±9; the mean is 0 and the bounds
    # ±9.17 · ½ = ±4.58, where b can be anything.
    a = crossed([[1, 1], [0, 0]], [["x", "y"]] * 2)
    b = crossed([[9.5, -8.5, 9.5, -8.5]] * 2, [["x", "x", "y", "y"]] * 2, ANY)
    difference = crossed_difference(a, b)
    assert difference.mean == 0.0
    assert [difference.low, difference.high] == pytest.approx([-4.584, 4.584], abs=1e-3)
    # Differences of shares lie within ±100 points.
    a, b = crossed([[1, 1], [0, 0]], [["x", "y"]] * 2), crossed([[0, 0], [1, 1]], [["x", "y"]] * 2)
    assert (crossed_difference(a, b).low, crossed_difference(a, b).high) == (-1.0, 1.0)


def test_rows_weigh_alike():
    # Seed 0 has three rows (1, 1, 0), seed 1 one row (0): 2 of 4 are right; the mean of seeds' means would be 1/3.
    sample = crossed([[1, 1, 0], [0]], [["x", "x", "y"], ["y"]])
    assert crossed_interval(sample).mean == 0.5
    assert sample.means == pytest.approx((2 / 3, 0.0))


def test_one_seed_is_the_bootstrap_of_prompts():
    rng = np.random.default_rng(0)
    a, b = (world(rng, seeds=1, of_prompt=1.0) for _ in range(2))
    assert crossed_interval(a) == clustered_interval(a.values[0], a.prompts[0])
    sides = (a.values[0], a.prompts[0], b.values[0], b.prompts[0])
    assert crossed_difference(a, b) == clustered_difference(*sides, paired=True)


def test_equal_seeds_add_nothing_to_what_prompts_do():
    one = world(np.random.default_rng(1), seeds=1, of_prompt=1.0)
    five = Crossed(one.values * 5, one.prompts * 5, ANY)
    alone, together = crossed_interval(one, resamples=20_000), crossed_interval(five, resamples=20_000)
    assert [together.low, together.high] == pytest.approx([alone.low, alone.high], abs=0.03 * alone.half_width)


def test_matches_a_plain_loop():
    sample = world(np.random.default_rng(2), seeds=3, prompts=8, rows=2, of_seed=0.5, of_prompt=0.5)
    ours = crossed_interval(sample, resamples=100_000)
    reference = looped(sample, 6_000, np.random.default_rng(3))
    assert ours.mean == pytest.approx(np.concatenate(sample.values).mean(), abs=1e-12)
    assert [ours.low, ours.high] == pytest.approx(list(reference), abs=0.06 * ours.half_width)


@pytest.mark.parametrize("seeds", [2, 3, 5, 10, 31])
def test_expansion_makes_students_interval_of_seed_means(seeds):
    factor = math.sqrt(seeds / (seeds - 1)) * stats.t.ppf(0.975, seeds - 1) / stats.norm.ppf(0.975)
    assert expansion(seeds) == pytest.approx(factor, rel=1e-4)
    assert expansion(40) == pytest.approx(math.sqrt(40 / 39))


def test_five_seeds_without_prompt_effects_are_as_wide_as_a_t_test():
    rng = np.random.default_rng(4)
    ratios = []
    for _ in range(20):
        sample = world(rng, of_seed=1.0, noise=0.0, rows=1)
        means = np.array(sample.means)
        students = stats.t.ppf(0.975, 4) * means.std(ddof=1) / math.sqrt(5)
        ratios.append(crossed_interval(sample).half_width / students)
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_noise_alone_counts_as_often_as_is_told(seeds):
    rng = np.random.default_rng(9)
    counted = []
    for _ in range(40):
        sample = world(rng, seeds=seeds, prompts=60, rows=1)
        needed = stats.norm.ppf(0.975) * np.std(np.concatenate(sample.values)) / math.sqrt(60 * seeds)
        counted.append((crossed_interval(sample, resamples=500).half_width / needed) ** 2)
    assert np.mean(counted) == pytest.approx(noise_counted(seeds), rel=0.25)


def test_noise_counted_by_hand():
    # t(0.975, 4) / z(0.975) = 1.4166 and its square 2.0068: 1 + 2.0068 + 4/5.
    assert noise_counted(5) == pytest.approx(3.8068, abs=1e-3)


def test_values_that_are_alike_within_a_seed_leave_room_for_other_seeds():
    # Two seeds at 0.4 and 0.6: what a third would have may lie outside of what these have.
    found = crossed_interval(crossed([[0.4] * 4, [0.6] * 4], [list("wxyz")] * 2))
    assert (found.low, found.high) == (0.0, 1.0)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), seeds=st.integers(1, 4), prompts=st.integers(2, 6))
def test_the_order_of_rows_and_of_seeds_makes_no_difference(seed, seeds, prompts):
    rng = np.random.default_rng(seed)
    a, b = (world(rng, seeds=seeds, prompts=prompts, of_seed=1.0, rows=2) for _ in range(2))
    order, rows = rng.permutation(seeds), rng.permutation(2 * prompts)

    def mixed(sample):
        names = tuple(np.array(sample.prompts[0])[rows].tolist())
        return Crossed(tuple(sample.values[s][rows] for s in order), (names,) * seeds, ANY)

    for before, after in (
        (crossed_interval(a, resamples=50), crossed_interval(mixed(a), resamples=50)),
        (crossed_difference(a, b, resamples=50), crossed_difference(mixed(a), mixed(b), resamples=50)),
    ):
        assert [after.mean, after.low, after.high] == pytest.approx([before.mean, before.low, before.high], abs=1e-9)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), seeds=st.integers(1, 4))
def test_a_difference_turned_round_has_the_other_sign(seed, seeds):
    rng = np.random.default_rng(seed)
    a, b = (world(rng, seeds=seeds, prompts=5, of_seed=1.0) for _ in range(2))
    ahead, back = crossed_difference(a, b, resamples=8000), crossed_difference(b, a, resamples=8000)
    assert back.mean == pytest.approx(-ahead.mean, abs=1e-12)
    assert back.half_width == pytest.approx(ahead.half_width, rel=0.25)
    assert crossed_difference(a, a, resamples=20) == Interval(0.0, 0.0, 0.0)


def test_what_seeds_and_prompts_do_to_both_sides_cancels():
    rng = np.random.default_rng(5)
    b = world(rng, of_seed=1.0, of_prompt=1.0, noise=0.1)
    a = Crossed(tuple(v + 0.2 + 0.1 * rng.normal(size=len(v)) for v in b.values), b.prompts, ANY)
    paired = crossed_difference(a, b)
    assert paired.low > 0.15
    assert paired.half_width < 0.1 * crossed_interval(a).half_width
    # With another number of seeds they are not the same seeds, and nothing of the seeds cancels.
    fewer = Crossed(b.values[:4], b.prompts[:4], ANY)
    assert crossed_difference(a, fewer).half_width > 5 * paired.half_width


def test_coverage_of_seed_and_prompt_effects():
    rng = np.random.default_rng(6)
    held = np.zeros(3)
    worlds = 150
    for _ in range(worlds):
        both = world(rng, of_seed=0.3, of_prompt=1.0, rows=2)
        seeds = world(rng, of_seed=0.3, of_prompt=0.0, rows=2)
        other = Crossed(tuple(v + 0.2 * rng.normal() + rng.normal(size=len(v)) for v in both.values), both.prompts, ANY)
        bounds = (
            crossed_interval(both, resamples=400),
            crossed_interval(seeds, resamples=400),
            crossed_difference(other, both, resamples=400),
        )
        held += [each.low <= 0.0 <= each.high for each in bounds]
    assert all(0.90 <= share <= 0.99 for share in held / worlds)


def test_drawing_prompts_alone_would_miss_the_truth():
    rng = np.random.default_rng(7)
    held = 0
    for _ in range(100):
        sample = world(rng, of_seed=0.3, rows=2)
        alone = clustered_interval(np.concatenate(sample.values), np.concatenate(sample.prompts), resamples=300)
        held += alone.low <= 0.0 <= alone.high
    assert held < 70


def test_parts_tell_seeds_from_prompts():
    rng = np.random.default_rng(8)
    a = world(rng, of_seed=1.0, of_prompt=0.1, noise=0.1)
    b = Crossed(tuple(np.zeros(len(v)) for v in a.values), a.prompts, ANY)
    parts = crossed_parts(a, b)
    assert parts.seeds.half_width > 10 * parts.prompts.half_width
    students = stats.t.ppf(0.975, 4) * np.std(a.means, ddof=1) / math.sqrt(5)
    assert parts.seeds.half_width == pytest.approx(students, rel=0.25)
    with pytest.raises(ValueError, match="parts need two seeds or more"):
        crossed_parts(Crossed(a.values[:1], a.prompts[:1], ANY), Crossed(b.values[:1], b.prompts[:1], ANY))


def test_rows_without_a_number_are_left_out():
    sample = crossed([[1, None, 0], [None, None, None]], [["x", "x", "y"], ["x", "x", "y"]])
    found = crossed_measured(sample)
    assert (found.interval.mean, found.rows, found.clusters) == (0.5, 2, 2)
    nothing = crossed_measured(crossed([[None], [None]], [["x"], ["x"]]), none="nobody was asked")
    assert math.isnan(nothing.interval.mean)
    assert nothing.reason == "nobody was asked"


def test_one_prompt_has_no_interval():
    a, b = crossed([[1, 0], [1, 1]], [["x", "x"]] * 2), crossed([[0, 0], [0, 0]], [["x", "x"]] * 2)
    for found in (crossed_measured(a), crossed_measured_difference(a, b)):
        assert found.interval.mean == 0.75
        assert math.isnan(found.interval.low)
        assert found.reason == "a single prompt has no interval"


def test_sides_that_share_no_prompt():
    a, b = crossed([[1], [0]], [["x"], ["x"]]), crossed([[1], [0]], [["y"], ["y"]])
    with pytest.raises(ValueError, match="none is shared"):
        crossed_difference(a, b)
    found = crossed_measured_difference(a, b, none="no pair of both")
    assert math.isnan(found.interval.mean)
    assert (found.unit, found.reason) == ("points", "no pair of both")


@pytest.mark.parametrize(
    ("values", "prompts", "told"),
    [
        ([[1.0]], [["x", "y"]], "a prompt a value"),
        ([], [], "one or more seeds"),
        ([[math.inf]], [["x"]], "finite"),
        ([[0, 1.2]], [["x", "y"]], "within their bounds, 0 to 1, got 1.2"),
    ],
)
def test_refused(values, prompts, told):
    with pytest.raises(ValueError, match=told):
        crossed(values, prompts)


def test_row_by_row():
    a, b = crossed([[1, 1], [0, None]], [["x", "y"]] * 2), crossed([[0, 1], [1, 1]], [["x", "y"]] * 2)
    less = a.less(b)
    assert less.means == (0.5, -1.0)
    assert less.bounds == (-1.0, 1.0)
    assert less.less(less).bounds == (-2.0, 2.0)
    assert less.rows == 3
    with pytest.raises(ValueError, match="prompts differ"):
        a.less(crossed([[0, 1], [1, 1]], [["x", "z"]] * 2))
