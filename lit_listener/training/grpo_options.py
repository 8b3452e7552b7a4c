"""The options of GRPO with a listener: reward weights, the objective and how a rollout is used; and what it refuses."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lit_listener.data.shown import Demonstration, Shown
from lit_listener.objective import decoupled_advantages, group_advantages
from lit_listener.objective.advantages import AdvantageScale
from lit_listener.objective.policy_loss import ImportanceLevel, LossNormalizer
from lit_listener.training.rewards import Accuracy, Format, Listened, Rewards, RewardTerm
from lit_listener.training.rewards.weights import Weight, least_weight
from lit_listener.vlm import ranks
from lit_listener.vlm.completions import Completions


@dataclass(frozen=True)
class RewardWeights:
    """Weights of Eq. 5's terms; the format term has weight 1.

    Args:
        accuracy: weight of the right answer; at least 0, or one that changes
            (lit_listener.training.rewards.Annealed).
        listener: weight of max(0, p_corr - 0.5), likewise; 0 is plain GRPO.
    """

    accuracy: float | Weight = 0.5
    listener: float | Weight = 0.5

    def __post_init__(self) -> None:
        for name in ("accuracy", "listener"):
            if not (least := least_weight(getattr(self, name))) >= 0:
                raise ValueError(f"model.reward.{name}: expected a weight of at least 0, got {least}")

    def terms(self, further: Mapping[str, RewardTerm]) -> dict[str, RewardTerm]:
        """The terms of Eq. 5 with these weights, and further ones, by name.

        Raises:
            ValueError: a further term has a name that is taken.
        """
        own: dict[str, RewardTerm] = {
            "format": Format(),
            "accuracy": Accuracy(self.accuracy),
            "listener": Listened(self.listener),
        }
        if taken := sorted(further.keys() & {*own, "total"}):
            raise ValueError(f"model.reward_terms: there is a term {taken[0]!r} already; choose another name")
        return own | dict(further)


Comparing = Literal["total", "per_term"]


@dataclass(frozen=True)
class Objective:
    """The options of Eqs. 1 and 2.

    Args:
        kl_weight: weight of the KL penalty towards the reference (lambda); at least 0. At 0 the reference is neither
            loaded nor asked, unless a listener reads it.
        entropy_weight: weight of the policy's entropy, taken off the loss token by token; at least 0.
        clip_low: the ratio is clipped below at 1 - clip_low; at least 0.
        clip_high: the ratio is clipped above at 1 + clip_high; at least 0.
        normalizer: sequence (GRPO), token (DAPO, over the whole optimizer step) or constant (Dr. GRPO).
        importance: ratio a token, or a sequence (GSPO).
        advantages: compare completions by their whole reward (total), or by each of its terms before these are added
            up (per_term, GDPO).
        advantage_scale: divide advantages by the group's deviation (std), the batch's (batch) or nothing (none).
        epsilon: added to the deviation, in units of reward; at least 0.
        mask_truncated: leave completions that the length limit cut off out of the loss (DAPO's overlong filtering);
            they still count among a group's rewards, and among its sequences.
    """

    kl_weight: float = 0.04
    entropy_weight: float = 0.0
    clip_low: float = 0.2
    clip_high: float = 0.2
    normalizer: LossNormalizer = "sequence"
    importance: ImportanceLevel = "token"
    advantages: Comparing = "total"
    advantage_scale: AdvantageScale = "std"
    epsilon: float = 1e-4
    mask_truncated: bool = False

    def __post_init__(self) -> None:
        for name in ("kl_weight", "entropy_weight", "clip_low", "clip_high", "epsilon"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"model.objective.{name}: expected at least 0, got {getattr(self, name)}")
        if self.advantages not in _COMPARISONS:
            raise ValueError(
                f"model.objective.advantages: expected one of {sorted(_COMPARISONS)}, got {self.advantages!r}"
            )

    def compared(self, rewards: Rewards, group_size: int) -> Tensor:
        """Eq. 1 (or GDPO's Eqs. 4 to 6) on groups that stand side by side: advantages, shape [P, G]."""
        return _COMPARISONS[self.advantages](rewards, group_size, self)

    def learnt_tokens(self, completions: Completions, max_new_tokens: int) -> Tensor:
        """True at the tokens that add to the loss, shape [N, T].

        Args:
            completions: N completions.
            max_new_tokens: the length limit. One that was given up before it, as hopeless, is learnt from.
        """
        if not self.mask_truncated:
            return completions.mask_NT
        cut_off_N = completions.truncated_N & torch.ge(completions.lengths_N, max_new_tokens)
        return completions.mask_NT & ~cut_off_N[:, None]


def _by_total(rewards: Rewards, group_size: int, objective: Objective) -> Tensor:
    total_PG = rewards.total_N.view(-1, group_size)
    return group_advantages(total_PG, epsilon=objective.epsilon, scale=objective.advantage_scale)


def _by_each_term(rewards: Rewards, group_size: int, objective: Objective) -> Tensor:
    terms_KPG = rewards.terms_NK.T.reshape(len(rewards.names), -1, group_size)
    return decoupled_advantages(
        terms_KPG, rewards.weights_K, epsilon=objective.epsilon, scale=objective.advantage_scale
    )


_COMPARISONS: dict[str, Callable[[Rewards, int, Objective], Tensor]] = {"total": _by_total, "per_term": _by_each_term}


@dataclass(frozen=True)
class Updates:
    """How a rollout is used.

    Args:
        epochs: times that the policy is updated on one rollout.
        minibatches: optimizer steps an epoch; a rollout's prompts are dealt out among them.
    """

    epochs: int = 1
    minibatches: int = 1

    def __post_init__(self) -> None:
        for name in ("epochs", "minibatches"):
            if getattr(self, name) < 1:
                raise ValueError(f"model.updates.{name}: expected at least 1, got {getattr(self, name)}")

    @property
    def on_policy(self) -> bool:
        """Whether the one update's policy is the one that sampled: then old log-probs are the new ones, detached."""
        return self.epochs == 1 and self.minibatches == 1


def check_batch(batch: Sequence[Shown], updates: Updates, prompts: int) -> None:
    """Refuse what GRPO cannot learn from, before any time is spent on it.

    Args:
        batch: what is shown on this process.
        updates: how a rollout is used.
        prompts: how many of the batch are learnt from.

    Raises:
        ValueError: too few prompts for the optimizer steps, or demonstrations.
    """
    if prompts < updates.minibatches:
        raise ValueError(
            f"model.updates.minibatches: {updates.minibatches} optimizer steps an epoch need as many prompts, "
            f"got a batch of {prompts} (on this process); lower it, or raise data.batch_size"
        )
    if ranks.world_size() > 1 and prompts % updates.minibatches:
        raise ValueError(
            f"model.updates.minibatches: {prompts} prompts a process cannot be dealt out evenly among "
            f"{updates.minibatches} optimizer steps; choose data.batch_size accordingly"
        )
    if any(isinstance(shown, Demonstration) for shown in batch):
        raise ValueError("data.traces: GRPO learns from its own thoughts, not from given ones; remove it")
