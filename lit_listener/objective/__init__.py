"""The objective: advantages, policy loss, log-probabilities, soft scores and rewards as pure tensor functions."""

from lit_listener.objective.advantages import (
    AdvantageScale,
    decoupled_advantages,
    group_advantages,
    zero_variance_groups,
)
from lit_listener.objective.bradley_terry import bradley_terry_loss
from lit_listener.objective.expected_likelihood import expected_nll
from lit_listener.objective.log_probs import SUPPRESSED_LOGIT, completion_log_probs, label_logits, suppression_mask
from lit_listener.objective.policy_loss import (
    ImportanceLevel,
    LossNormalizer,
    PolicyLoss,
    loss_denominator,
    policy_loss,
)
from lit_listener.objective.rewards import listener_reward, shaped_reward
from lit_listener.objective.soft_scores import both_orders_preference, expected_rating, preference_probability

__all__ = [
    "SUPPRESSED_LOGIT",
    "AdvantageScale",
    "ImportanceLevel",
    "LossNormalizer",
    "PolicyLoss",
    "both_orders_preference",
    "bradley_terry_loss",
    "completion_log_probs",
    "decoupled_advantages",
    "expected_nll",
    "expected_rating",
    "group_advantages",
    "label_logits",
    "listener_reward",
    "loss_denominator",
    "policy_loss",
    "preference_probability",
    "shaped_reward",
    "suppression_mask",
    "zero_variance_groups",
]
