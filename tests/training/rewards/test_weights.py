"""Weights that change, and what they do to a reward."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lit_listener.training.grpo_options import RewardWeights
from lit_listener.training.rewards import Annealed, LengthPenalty, total_reward
from tests.training.rewards.judging import judged, transcript


def test_a_straight_line_by_hand():
    weight = Annealed(1.0, 0.0, steps=4)
    assert [weight.at(step) for step in (0, 1, 2, 3, 4, 5, 100)] == [1.0, 0.75, 0.5, 0.25, 0.0, 0.0, 0.0]
    assert [Annealed(-2.0, 2.0, 4).at(step) for step in (0, 1, 4)] == [-2.0, -1.0, 2.0]
    assert (weight.least, Annealed(0.1, 0.7, 3).least) == (0.0, 0.1)


@given(start=st.floats(-9, 9), end=st.floats(-9, 9), steps=st.integers(1, 50), step=st.integers(0, 99))
def test_it_stays_between_its_ends(start, end, steps, step):
    assert min(start, end) - 1e-9 <= Annealed(start, end, steps).at(step) <= max(start, end) + 1e-9


def test_a_reward_is_weighted_by_the_step_that_it_is_given_in():
    terms = RewardWeights(accuracy=0.0, listener=Annealed(1.0, 0.0, 2)).terms({"length": LengthPenalty(2, 0.5)})
    # format 1; the listener gives 0.9 - 0.5 = 0.4, times 1, 0.5 and 0; five tokens are three too many: -1.5
    for step, total in ((0, 1.0 + 0.4 - 1.5), (1, 1.0 + 0.2 - 1.5), (2, 1.0 - 1.5), (9, 1.0 - 1.5)):
        rewards = total_reward(terms, judged([transcript()], p_second=[0.1], step=step))
        assert float(rewards.total_N[0]) == pytest.approx(total, abs=1e-6)
        assert float(rewards["listener"][0]) == pytest.approx(0.4, abs=1e-6)  # unweighted, whatever the step
        assert float(rewards.weights_K[2]) == max(0.0, 1.0 - step / 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Annealed(1.0, 0.0, 0), "Annealed: steps: expected at least 1 optimizer step, got 0"),
        (lambda: Annealed(float("nan"), 0.0, 2), "Annealed: start: expected a finite weight, got nan"),
        (lambda: Annealed(0.0, float("inf"), 2), "Annealed: end: expected a finite weight, got inf"),
        (
            lambda: RewardWeights(listener=Annealed(0.5, -0.1, 5)),
            r"model\.reward\.listener: expected a weight of at least 0, got -0\.1",
        ),
        (lambda: LengthPenalty(3, float("nan")), "LengthPenalty: weight: expected a finite number, got nan"),
    ],
)
def test_weights_out_of_range_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
