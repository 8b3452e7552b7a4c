"""The terms of Eq. 5 of Gambashidze et al. 2025: r = r_fmt + 0.5 r_acc + 0.5 max(0, p_corr - 0.5)."""

import torch
from torch import Tensor

from lit_listener.objective import listener_reward
from lit_listener.training.rewards.term import Judged, RewardTerm


class Format(RewardTerm):
    """1 where a completion keeps the task's form, else 0."""

    def __call__(self, judged: Judged) -> Tensor:
        """Shape [N]."""
        return torch.tensor(judged.task.format_reward(judged.transcripts))


class Accuracy(RewardTerm):
    """1 where the answer is right, else 0; what else a task rewards lies between (near ratings, pairs of a list)."""

    def __call__(self, judged: Judged) -> Tensor:
        """Shape [N]."""
        return torch.tensor(judged.task.accuracy_reward(judged.transcripts, judged.shown))


class Listened(RewardTerm):
    """max(0, p_corr - 0.5): how far a completion's thoughts convince the listener; 0 where it had nothing to hear."""

    def __call__(self, judged: Judged) -> Tensor:
        """Shape [N]."""
        return listener_reward(judged.p_correct_N, judged.heard.readable_N)
