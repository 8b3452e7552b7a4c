"""Approximate match: the third reward of the papers' rating judges, beside form and exact match."""

import torch
from torch import Tensor

from lit_listener.tasks import NearMisses
from lit_listener.training.rewards.term import Judged, RewardTerm


class ApproximateMatch(RewardTerm):
    """1, 0.75 and 0.5 where the rating is 0, 1 and 2 from people's, then 0 (the task's option ``approximate``).

    Gambashidze et al. 2025, section 5, and the soft-rewards paper, section 4.

    Args:
        weight: what it is multiplied by; the papers' rewards have weight 1 each.
    """

    def __call__(self, judged: Judged) -> Tensor:
        """Shape [N], in [0, 1].

        Raises:
            ValueError: the task's answers are right or wrong, and never nearly right.
        """
        if not isinstance(judged.task, NearMisses):
            raise ValueError(  # noqa: TRY004  # two options do not go together
                "model.reward_terms: ApproximateMatch is for ratings (AbsoluteRating), got "
                f"{type(judged.task).__name__} as model.task, whose answers are never nearly right; remove the term"
            )
        return torch.tensor(judged.task.approximate_reward(judged.transcripts, judged.shown))
