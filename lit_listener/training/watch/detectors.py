"""Detectors of what goes wrong in GRPO without stopping it: plain arithmetic over one number a rollout.

Whatever is not finite is none of their concern: it stops the run.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean, median

from lit_listener.training.step_report import StepTrail

_ROUNDING = 1e-6
"""Rewards that differ by less are the same."""


@dataclass(frozen=True)
class RolloutFacts:
    """What the detectors look at of one rollout."""

    lowest_reward: float
    highest_reward: float
    metrics: Mapping[str, float]

    @classmethod
    def of(cls, trail: StepTrail) -> "RolloutFacts":
        """Read them off a finished step.

        Raises:
            RuntimeError: the step is not finished.
        """
        if trail.rewards is None or trail.metrics is None:
            raise RuntimeError("alarms look at finished steps: expected a trail with rewards and metrics, got none yet")
        total_N = trail.rewards.total_N
        return cls(float(total_N.min()), float(total_N.max()), trail.metrics)


class Detector(ABC):
    """Looks at one number of every rollout, over the last few of them.

    Args:
        window: rollouts that are looked back over; before as many were seen there is no verdict.
        start: first rollouts, with which later ones are compared, and which are themselves no cause for alarm.
    """

    def __init__(self, window: int, start: int = 0) -> None:
        self.window = window
        self.start = start
        self.first: list[float] = []
        self.recent: list[float] = []

    def see(self, facts: RolloutFacts) -> str | None:
        """Take a rollout in. Returns what is wrong, what it usually means and what to do; None if nothing is."""
        value = self.value(facts)
        if value is None:
            return None
        if len(self.first) < self.start:
            self.first.append(value)
            return None
        self.recent = [*self.recent, value][-self.window :]
        return self.verdict() if len(self.recent) == self.window else None

    @abstractmethod
    def value(self, facts: RolloutFacts) -> float | None:
        """The number of a rollout; None where it has none, and is passed over."""

    @abstractmethod
    def verdict(self) -> str | None:
        """What is wrong with ``recent``."""


class ConstantRewards(Detector):
    """Every completion of every group has the same reward, rollout after rollout."""

    def value(self, facts: RolloutFacts) -> float:
        """The one reward; NaN where there are several."""
        even = facts.highest_reward - facts.lowest_reward < _ROUNDING
        even &= facts.metrics["group/zero_variance_share"] >= 1  # on the other ranks too
        return facts.highest_reward if even else math.nan

    def verdict(self) -> str | None:
        """Whether it was the same all along."""
        if math.isnan(sum(self.recent)) or max(self.recent) - min(self.recent) >= _ROUNDING:
            return None
        return (
            f"every completion had the reward {self.recent[-1]:.4g} over the last {self.window} rollouts: nothing is "
            "learnt. Usually the scorer is broken, or no answer can be read, or everything is solved: look at the "
            "outcomes and rewards in samples.csv"
        )


class EvenGroups(Detector):
    """Nearly no group has completions of different rewards, so that nearly nothing is learnt.

    Args:
        window: rollouts that are looked back over.
        share: mean share of even groups from which there is alarm.
    """

    def __init__(self, window: int, share: float) -> None:
        super().__init__(window)
        self.share = share

    def value(self, facts: RolloutFacts) -> float:
        """The share of groups whose rewards are all the same."""
        return facts.metrics["group/zero_variance_share"]

    def verdict(self) -> str | None:
        """Whether it is near 1 on average."""
        mean = fmean(self.recent)
        if mean < self.share:
            return None
        return (
            f"group/zero_variance_share was {mean:.2f} on average over the last {self.window} rollouts: only groups "
            "with different rewards teach. Usually the pairs are all too easy or all too hard: raise "
            "model.sampling.temperature or model.group_size, choose other pairs, or end the run"
        )


class TinySpreads(Detector):
    """Groups that are not even differ by next to nothing, which dividing by their deviation makes large.

    Args:
        window: rollouts, among those with uneven groups, that are looked back over.
        spread: mean deviation of the rewards within uneven groups up to which there is alarm.
    """

    def __init__(self, window: int, spread: float) -> None:
        super().__init__(window)
        self.spread = spread

    def value(self, facts: RolloutFacts) -> float | None:
        """The deviation of rewards within uneven groups; even ones add nothing to the mean over all groups."""
        uneven = 1 - facts.metrics["group/zero_variance_share"]
        return facts.metrics["group/reward_std"] / uneven if uneven > _ROUNDING else None

    def verdict(self) -> str | None:
        """Whether it is near 0 on average."""
        mean = fmean(self.recent)
        if mean > self.spread:
            return None
        return (
            f"rewards within groups that are not even deviated by {mean:.2g} on average over the last {self.window} "
            "rollouts that had such groups: they are saturated, and what is left of differences is blown up to "
            "full-size advantages. Set model.objective.advantage_scale to none, or end the run"
        )


class Explosion(Detector):
    """A number has grown to many times what it was at the start.

    Args:
        metric: its key.
        window: rollouts whose median counts; a single outlier is no explosion.
        start: first rollouts, whose median is the start.
        factor: times the start from which there is alarm.
        floor: a start below it counts as this.
    """

    def __init__(self, metric: str, window: int, start: int, factor: float, floor: float) -> None:
        super().__init__(window, start)
        self.metric = metric
        self.factor = factor
        self.floor = floor

    def value(self, facts: RolloutFacts) -> float | None:
        """The metric; None where it has no value (a KL without a reference, say)."""
        value = facts.metrics[self.metric]
        return None if math.isnan(value) else value

    def verdict(self) -> str | None:
        """Compare medians."""
        now, before = median(self.recent), median(self.first)
        if now <= self.factor * max(before, self.floor):
            return None
        return (
            f"{self.metric} was {now:.3g} (median) over the last {self.window} rollouts, and {before:.3g} over the "
            f"first {self.start}: training is running away. Go back to an earlier checkpoint with a lower learning "
            "rate (model.optimizer), more warm-up (model.schedule.warmup_steps) or a higher model.objective.kl_weight"
        )


class UnreadableRise(Detector):
    """More and more completions cannot be read to an answer.

    Args:
        window: rollouts that are looked back over.
        start: first rollouts, with whose mean is compared.
        rise: how far the mean share may rise above that of the start.
    """

    def __init__(self, window: int, start: int, rise: float) -> None:
        super().__init__(window, start)
        self.rise = rise

    def value(self, facts: RolloutFacts) -> float:
        """The share of completions without an answer."""
        return facts.metrics["completion/unparsable_share"]

    def verdict(self) -> str | None:
        """Compare means."""
        now, before = fmean(self.recent), fmean(self.first)
        if now - before <= self.rise:
            return None
        return (
            f"completion/unparsable_share was {now:.2f} over the last {self.window} rollouts, and {before:.2f} over "
            f"the first {self.start}. Usually completions outgrow model.sampling.max_new_tokens (see "
            "completion/truncated_share), or the policy falls apart: read samples.csv, and lower the learning rate"
        )
