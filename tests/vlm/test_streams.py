"""Every completion's random numbers are its own, whatever else is drawn beside it."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lit_listener.vlm.streams import uniforms

KEY = st.tuples(st.integers(), st.text()) | st.tuples(st.text(), st.integers())


@settings(max_examples=30, deadline=None)
@given(keys=st.lists(KEY, min_size=1, max_size=5), seed=st.integers(0, 9), data=st.data())
def test_independent_of_the_batch(keys, seed, data):
    chosen = data.draw(st.integers(0, len(keys) - 1))
    batch = uniforms(seed, keys, group_size=3, length=7)
    alone = uniforms(seed, [keys[chosen]], group_size=2, length=4)
    assert torch.equal(batch[3 * chosen : 3 * chosen + 2, :4], alone)


def test_differ_by_seed_key_and_rollout():
    drawn = torch.cat([uniforms(seed, [(0, 1), (1, 0), (0, "1"), ("0", 1)], 3, 1) for seed in (0, 1)])
    assert len(drawn.unique()) == 24


def test_stay_what_they_are():
    # A change of these numbers changes every result that was ever published with a seed.
    drawn = uniforms(0, [(0, 5)], 2, 2)
    assert drawn.dtype == torch.float64
    expected = [[0.6019823223999012, 0.3573265850965568], [0.12957520300887482, 0.3910376593283239]]
    np.testing.assert_array_equal(drawn, expected)


@pytest.mark.parametrize("axis", ["one long stream", "first numbers of many streams"])
def test_uniform(axis):
    if axis == "one long stream":
        drawn = uniforms(3, [(0, 0)], 1, 20_000)[0]
    else:
        drawn = uniforms(3, [(0, index) for index in range(1_000)], 4, 1)[:, 0]
    assert float(drawn.min()) >= 0.0
    assert float(drawn.max()) < 1.0
    assert stats.kstest(drawn.numpy(), "uniform").pvalue > 0.01
    pairs = drawn.view(-1, 2)
    assert abs(float(torch.corrcoef(pairs.T)[0, 1])) < 0.05  # neighbours know nothing of each other
