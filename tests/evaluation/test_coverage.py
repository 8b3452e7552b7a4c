"""How often the intervals of tables hold the truth, in made-up worlds whose truth is known."""

import numpy as np
import pytest

from lit_listener.evaluation.results import measured
from lit_listener.evaluation.statistics import clustered_difference

# A prompt's share p of right answers is 0.35 or 0.85, each half the time, so that the intra-cluster correlation is
# (0.25² = 0.0625) / (0.6 · 0.4 = 0.24) = 0.26. Hard prompts have 2 pairs, easy ones 8: the mean over pairs is
# (2 · 0.35 + 8 · 0.85) / 10 = 0.75, the mean over prompts 0.6.
SHARES, SIZES = np.array([0.35, 0.85]), np.array([2, 8])
MICRO, MACRO = 0.75, 0.6


def draw(rng, prompts):
    """Right or wrong on each pair of some prompts, and again for a judge who is right 0.1 more often on each."""
    kind = rng.integers(0, 2, prompts)
    names = np.repeat(np.arange(prompts), SIZES[kind])
    share = SHARES[kind][names]
    before = rng.random(len(names)) < share
    after = rng.random(len(names)) < share + 0.1
    return before.astype(float), after.astype(float), [str(name) for name in names]


def coverage(worlds, prompts):
    """Share of the worlds in which the intervals hold the mean over pairs, over prompts, and the difference."""
    rng = np.random.default_rng(prompts)
    held = np.zeros(3)
    for seed in range(worlds):
        before, after, names = draw(rng, prompts)
        micro = measured(before, names, seed=seed).interval
        macro = measured(before, names, macro=True, seed=seed).interval
        difference = clustered_difference(after, names, before, names, paired=True, seed=seed)
        held += [
            interval.low <= truth <= interval.high
            for interval, truth in ((micro, MICRO), (macro, MACRO), (difference, 0.1))
        ]
    return held / worlds


def test_the_worlds_are_as_described():
    rng = np.random.default_rng(0)
    before, after, names = draw(rng, 50_000)
    assert before.mean() == pytest.approx(MICRO, abs=0.01)
    assert np.mean(after - before) == pytest.approx(0.1, abs=0.01)
    of_prompt = np.array(names).astype(int)
    assert (np.bincount(of_prompt, before) / np.bincount(of_prompt)).mean() == pytest.approx(MACRO, abs=0.01)


def test_intervals_hold_the_truth():
    assert all(0.90 <= share <= 0.98 for share in coverage(worlds=200, prompts=50))


@pytest.mark.slow
@pytest.mark.parametrize("prompts", [40, pytest.param(150, marks=pytest.mark.accept)])
def test_intervals_hold_the_truth_in_many_worlds(prompts):
    assert all(0.90 <= share <= 0.98 for share in coverage(worlds=1000, prompts=prompts))
