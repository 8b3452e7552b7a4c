"""Each detector by numbers worked by hand: when it speaks, when it is silent, and what it says."""

import math
import re

import pytest
import torch

from lit_listener.training.step_report import Rewards, StepTrail
from lit_listener.training.watch.detectors import (
    ConstantRewards,
    EvenGroups,
    Explosion,
    RolloutFacts,
    TinySpreads,
    UnreadableRise,
)


def facts(lowest: float = 0.0, highest: float = 1.0, **metrics: float) -> RolloutFacts:
    return RolloutFacts(lowest, highest, {name.replace("__", "/"): value for name, value in metrics.items()})


def constant(reward: float, share: float = 1.0) -> RolloutFacts:
    return facts(reward, reward, group__zero_variance_share=share)


def groups(share: float, deviation: float = 0.2) -> RolloutFacts:
    return facts(group__zero_variance_share=share, group__reward_std=deviation)


def kl(value: float) -> RolloutFacts:
    return facts(policy__kl=value)


def unreadable(share: float) -> RolloutFacts:
    return facts(completion__unparsable_share=share)


def spoke(detector, *seen: RolloutFacts) -> list[bool]:
    return [detector.see(one) is not None for one in seen]


def test_a_reward_that_never_changes_is_noticed_after_as_many_rollouts():
    assert spoke(ConstantRewards(3), *[constant(0.2)] * 5) == [False, False, True, True, True]


@pytest.mark.parametrize(
    "other",
    [
        constant(0.3),  # another number: it depends on something
        facts(0.2, 0.4, group__zero_variance_share=1.0),  # even groups, but not the same in all of them
        constant(0.2, share=0.9),  # the same here, but not on another rank
    ],
)
def test_one_rollout_that_differs_ends_a_constant_reward(other):
    seen = [constant(0.2), constant(0.2), other, constant(0.2), constant(0.2), constant(0.2)]
    assert spoke(ConstantRewards(3), *seen) == [False, False, False, False, False, True]


def test_residue_of_floats_is_no_difference():
    assert spoke(ConstantRewards(2), constant(0.2), facts(0.2, 0.2 + 1e-8, group__zero_variance_share=1.0))[1]


def test_even_groups_count_by_the_mean_of_their_share():
    # (1 + 0.9 + 0.95) / 3 = 0.95; then (0.9 + 0.95 + 0.97) / 3 = 0.94
    seen = [groups(share) for share in (1.0, 0.9, 0.951, 0.97)]
    assert spoke(EvenGroups(3, 0.95), *seen) == [False, False, True, False]


def test_spread_is_that_of_the_uneven_groups():
    # 0.01 over all groups, of which half are even: 0.02 within the others. Half of them uneven at 0.03: 0.06
    detector = TinySpreads(2, 0.02)
    assert spoke(detector, groups(0.5, 0.01), groups(0.5, 0.01), groups(0.5, 0.03)) == [False, True, False]
    assert detector.recent == pytest.approx([0.02, 0.06])


def test_rollouts_of_even_groups_alone_say_nothing_of_spread():
    detector = TinySpreads(2, 0.02)
    assert spoke(detector, groups(0.5, 0.005), groups(1.0, 0.0), groups(0.75, 0.0025)) == [False, False, True]
    assert detector.recent == pytest.approx([0.01, 0.01])


def test_an_explosion_is_many_times_the_start():
    # start: median(0.2, 0.3, 9) = 0.3; alarm above 10 x 0.3 = 3 by the median of three
    detector = Explosion("policy/kl", 3, 3, 10.0, 0.1)
    start = [kl(value) for value in (0.2, 9.0, 0.3)]
    assert spoke(detector, *start, kl(50.0), kl(0.3), kl(2.9)) == [False] * 6  # one outlier of three
    assert spoke(detector, kl(3.1), kl(3.2)) == [False, True]  # medians of (0.3, 2.9, 3.1) and (2.9, 3.1, 3.2)


def test_a_start_of_nothing_counts_as_the_floor():
    detector = Explosion("policy/kl", 1, 2, 10.0, 0.1)
    assert spoke(detector, kl(0.0), kl(0.0), kl(0.9), kl(1.1)) == [False, False, False, True]


def test_a_number_that_does_not_exist_does_not_explode():
    """Without a reference there is no KL: rollouts without one are passed over."""
    detector = Explosion("policy/kl", 2, 1, 10, 0.1)
    assert spoke(detector, *[kl(math.nan)] * 4, kl(0.3), kl(math.nan), kl(5), kl(5)) == [False] * 7 + [True]


def test_unreadable_completions_are_compared_with_their_start():
    # start: mean(0.5, 0.3) = 0.4; means of two: 0.45, 0.55
    detector = UnreadableRise(2, 2, 0.1)
    seen = [unreadable(share) for share in (0.5, 0.3, 0.4, 0.5, 0.6)]
    assert spoke(detector, *seen) == [False, False, False, False, True]


@pytest.mark.parametrize(
    ("detector", "seen", "told"),
    [
        (ConstantRewards(1), [constant(0.2)], r"reward 0\.2 over the last 1 rollouts.*scorer is broken.*samples\.csv"),
        (EvenGroups(1, 0.9), [groups(0.96)], r"zero_variance_share was 0\.96.*too easy or all too hard.*temperature"),
        (TinySpreads(1, 0.02), [groups(0.0, 0.004)], r"deviated by 0\.004.*saturated.*advantage_scale to none"),
        (Explosion("policy/kl", 1, 1, 10, 0.1), [kl(0.3), kl(5)], r"policy/kl was 5 .*and 0\.3 over the.*kl_weight"),
        (UnreadableRise(1, 1, 0.1), [unreadable(0.05), unreadable(0.7)], r"was 0\.70 .*and 0\.05 over.*max_new_tokens"),
    ],
)
def test_an_alarm_tells_what_was_seen_and_what_to_do(detector, seen, told):
    said = [detector.see(one) for one in seen][-1]
    assert re.search(told, said)


def test_facts_are_those_of_the_finished_step():
    total_N = torch.tensor([0.5, 1.75, 1.0])
    rewards = Rewards(("format",), total_N[:, None], torch.ones(1), total_N, total_N)
    read = RolloutFacts.of(StepTrail(rewards=rewards, metrics={"policy/kl": 0.5}))
    assert (read.lowest_reward, read.highest_reward, read.metrics) == (0.5, 1.75, {"policy/kl": 0.5})
    with pytest.raises(RuntimeError, match="finished steps"):
        RolloutFacts.of(StepTrail(rewards=rewards))


def test_a_constant_reward_of_one_rollout_is_a_number_or_none():
    assert ConstantRewards(1).value(constant(0.2)) == 0.2
    assert math.isnan(ConstantRewards(1).value(facts(0.0, 1.0, group__zero_variance_share=0.0)))
