"""The soft scalar reward: how far the reasoner's own probabilities agree with people, not its sampled answer alone.

Gambashidze et al. 2025, section 4.2: "the scalar s serves as a dense reward during RL". It pays for the answer that was
likely, so that a lucky sample earns little; as all rewards it is a number, and no gradient flows through it.
"""

from torch import Tensor

from lit_listener.training.rewards.term import Judged, RewardTerm


class SoftScore(RewardTerm):
    """The task's agreement of the reasoner's own probabilities with people: of a pair p(y*), of a rating 1 − |s − s*|.

    0 where a completion has no answer's place to read them at.

    Args:
        weight: what it is multiplied by.
    """

    def __call__(self, judged: Judged) -> Tensor:
        """Shape [N], in [0, 1]."""
        agreement_N = judged.task.agreement(judged.own_p_label_NL.detach().float().cpu(), judged.shown)
        return agreement_N.where(judged.readable_N, agreement_N.new_zeros(()))
