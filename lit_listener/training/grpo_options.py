"""The options of GRPO with a listener: reward weights, the objective, and how a rollout is used."""

from dataclasses import dataclass

from lit_listener.objective.advantages import AdvantageScale
from lit_listener.objective.policy_loss import ImportanceLevel, LossNormalizer


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
        micro_batch_prompts: prompts (each with its whole group) a packed pass of policy or reference; None takes a
            minibatch (the reference: a rollout) at once. Bounds memory and changes no result.
    """

    epochs: int = 1
    minibatches: int = 1
    micro_batch_prompts: int | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "minibatches", "micro_batch_prompts"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"model.updates.{name}: expected at least 1, got {value}")

    @property
    def on_policy(self) -> bool:
        """Whether the one update's policy is the one that sampled: then old log-probs are the new ones, detached."""
        return self.epochs == 1 and self.minibatches == 1
