"""The options of GRPO with a listener: reward weights, the objective and how a rollout is used; and what it refuses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lit_listener.data.records import Demonstration, Shown
from lit_listener.objective.advantages import AdvantageScale
from lit_listener.objective.policy_loss import ImportanceLevel, LossNormalizer
from lit_listener.training.rewards import Accuracy, Format, Listened, RewardTerm
from lit_listener.vlm import ranks


@dataclass(frozen=True)
class RewardWeights:
    """Weights of Eq. 5's terms; the format term has weight 1.

    Args:
        accuracy: weight of the right answer; at least 0.
        listener: weight of max(0, p_corr - 0.5); 0 is plain GRPO.
    """

    accuracy: float = 0.5
    listener: float = 0.5

    def __post_init__(self) -> None:
        for name in ("accuracy", "listener"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"model.reward.{name}: expected a weight of at least 0, got {getattr(self, name)}")

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


@dataclass(frozen=True)
class Objective:
    """The options of Eqs. 1 and 2.

    Args:
        kl_weight: weight of the KL penalty towards the reference (lambda); at least 0.
        clip_low: the ratio is clipped below at 1 - clip_low; at least 0.
        clip_high: the ratio is clipped above at 1 + clip_high; at least 0.
        normalizer: sequence (GRPO), token (DAPO, over the whole optimizer step) or constant (Dr. GRPO).
        importance: ratio a token, or a sequence (GSPO).
        advantage_scale: divide advantages by the group's deviation (std), the batch's (batch) or nothing (none).
        epsilon: added to the deviation, in units of reward; at least 0.
    """

    kl_weight: float = 0.04
    clip_low: float = 0.2
    clip_high: float = 0.2
    normalizer: LossNormalizer = "sequence"
    importance: ImportanceLevel = "token"
    advantage_scale: AdvantageScale = "std"
    epsilon: float = 1e-4

    def __post_init__(self) -> None:
        for name in ("kl_weight", "clip_low", "clip_high", "epsilon"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"model.objective.{name}: expected at least 0, got {getattr(self, name)}")


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


def check_batch(batch: Sequence[Shown], updates: Updates) -> None:
    """Refuse what GRPO cannot learn from, before any time is spent on it.

    Raises:
        ValueError: too few prompts for the optimizer steps, or demonstrations.
    """
    if len(batch) < updates.minibatches:
        raise ValueError(
            f"model.updates.minibatches: {updates.minibatches} optimizer steps an epoch need as many prompts, "
            f"got a batch of {len(batch)} (on this process); lower it, or raise data.batch_size"
        )
    if ranks.world_size() > 1 and len(batch) % updates.minibatches:
        raise ValueError(
            f"model.updates.minibatches: {len(batch)} prompts a process cannot be dealt out evenly among "
            f"{updates.minibatches} optimizer steps; choose data.batch_size accordingly"
        )
    if any(isinstance(shown, Demonstration) for shown in batch):
        raise ValueError("data.traces: GRPO learns from its own thoughts, not from given ones; remove it")


def check_labels(shown: Sequence[Shown], labels: Sequence[int | None]) -> None:
    """Refuse what has no right answer.

    Raises:
        ValueError: a pair is a tie, or people's word on something else is not known.
    """
    for each, label in zip(shown, labels, strict=True):
        if label is None:
            raise ValueError(f"{each.name} is a tie: it has no right image; drop ties from data.train")
