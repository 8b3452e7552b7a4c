"""Terms that look at the answer: the listener's word for right answers alone, and what share of the people gave it."""

import torch
from torch import Tensor

from lit_listener.data.shown import ShownPair, a_pair
from lit_listener.objective import listener_reward
from lit_listener.training.rewards.term import Judged, RewardTerm


class GatedListener(RewardTerm):
    """max(0, p_corr - 0.5) where the answer is right, and 0 where it is wrong.

    Eq. 5 of Gambashidze et al. 2025 pays for thoughts that convince the listener of the right image even where the
    answer then names the other one. This term pays for the two together. It stands in for Eq. 5's own where
    ``model.reward.listener`` is 0.
    """

    def __call__(self, judged: Judged) -> Tensor:
        """In [0, 0.5], shape [N]."""
        right_N = torch.tensor(judged.task.accuracy_reward(judged.transcripts, judged.shown)) >= 1.0
        return listener_reward(judged.p_correct_N, judged.heard.readable_N) * right_N


class VoteShare(RewardTerm):
    """The share of the people who voted for the image that was answered; 0 without an answer. Of pairs alone.

    A soft label: where 6 of 10 preferred an image, the other one is no plain mistake. It stands in for accuracy where
    ``model.reward.accuracy`` is 0.
    """

    def __call__(self, judged: Judged) -> Tensor:
        """In [0, 1], shape [N].

        Raises:
            TypeError: what is shown is no pair.
        """
        pairs = [a_pair(shown, "VoteShare") for shown in judged.shown]
        answers = [transcript.answer for transcript in judged.transcripts]
        return torch.tensor([_share(pair, answer) for pair, answer in zip(pairs, answers, strict=True)])


def _share(pair: ShownPair, answer: int | None) -> float:
    if answer is None:
        return 0.0
    answered_a = (pair.first == "a") == (answer == 0)
    return pair.pair.share_a if answered_a else 1.0 - pair.pair.share_a
