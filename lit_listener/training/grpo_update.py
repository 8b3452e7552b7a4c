"""What a pass of a GRPO update adds to its step: Eq. 2 of Gambashidze et al. 2025 on some of the completions."""

from torch import Tensor

from lit_listener.objective import PolicyLoss, policy_loss
from lit_listener.training.grpo_options import Objective
from lit_listener.training.lesson import Lesson
from lit_listener.vlm.backbone import Scores
from lit_listener.vlm.passes import Pass


def pass_loss(
    scores: Scores, lesson: Lesson, each: Pass, objective: Objective, denominator: Tensor
) -> tuple[PolicyLoss, Tensor]:
    """Eq. 2 on the completions of a pass, and their mean entropy over tokens; other rows' padding is cut off.

    Args:
        scores: the policy's, of this pass.
        lesson: all that is learnt from.
        each: which completions of it.
        objective: the options of the loss.
        denominator: what the loss of the whole optimizer step is divided by.
    """
    rows, longest = each.rows, scores.log_probs_NT.shape[1]
    mask_NT, old_NT, reference_NT = lesson.mask_NT[rows, :longest], lesson.old_NT, lesson.reference_NT
    result = policy_loss(
        scores.log_probs_NT,
        scores.log_probs_NT.detach() if old_NT is None else old_NT[rows, :longest],
        None if reference_NT is None else reference_NT[rows, :longest],
        lesson.advantages_N[rows],
        mask_NT,
        clip_low=objective.clip_low,
        clip_high=objective.clip_high,
        kl_weight=objective.kl_weight,
        entropy_weight=objective.entropy_weight,
        entropy_NT=scores.entropy_NT,
        normalizer=objective.normalizer,
        importance=objective.importance,
        denominator=denominator,
    )
    return result, scores.entropy_NT.detach()[mask_NT].sum() / result.tokens.clamp(min=1)
