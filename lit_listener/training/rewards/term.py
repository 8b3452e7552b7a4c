"""What a term of the reward is: a number for each completion, made of all that is known of it, times a weight.

A config names further terms under ``model.reward_terms``, by the name that their metric shall have.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from lit_listener.data.shown import Shown
from lit_listener.tasks import Task, Transcript
from lit_listener.training.rewards.weights import Weight, least_weight
from lit_listener.vlm import ranks
from lit_listener.vlm.listeners import Heard


@dataclass(frozen=True, eq=False)
class Judged:
    """N completions, a group's side by side, and all that is known of them before they are rewarded."""

    task: Task
    shown: Sequence[Shown]
    """What each of the N completions is about."""
    transcripts: Sequence[Transcript]
    heard: Heard
    """The listener's word on them."""
    own_p_label_NL: Tensor
    """The reasoner's own probability of each label, at temperature 1; meaningless where ``readable_N`` is False."""
    lengths_N: Tensor
    """Tokens, end token included."""
    truncated_N: Tensor
    """True where the length limit came before an end token."""
    max_new_tokens: int
    """The length limit."""
    step: int
    """Optimizer steps made before, for weights that change."""

    @cached_property
    def readable_N(self) -> Tensor:
        """True where a completion has an answer's place, whether or not a listener heard it."""
        return torch.tensor([transcript.answer_token is not None for transcript in self.transcripts])

    @cached_property
    def p_correct_N(self) -> Tensor:
        """How far the listener agrees with people (of a pair: p_corr of Eq. 5); meaningless where unreadable."""
        return self.task.agreement(self.heard.p_label_NL, self.shown)


class RewardTerm(ABC):
    """One term of the reward.

    Args:
        weight: what it is multiplied by: a finite number, or a weight that changes, such as
            lit_listener.training.rewards.Annealed. A penalty returns numbers below 0 and has a weight above 0.
    """

    def __init__(self, weight: float | Weight = 1.0) -> None:
        if not math.isfinite(least_weight(weight)):
            raise ValueError(f"{type(self).__name__}: weight: expected a finite number, got {weight}")
        self.weight = weight

    def weight_at(self, step: int) -> float:
        """The weight after so many optimizer steps.

        Args:
            step: optimizer steps made before.
        """
        return self.weight.at(step) if isinstance(self.weight, Weight) else self.weight

    @abstractmethod
    def __call__(self, judged: Judged) -> Tensor:
        """The term of each completion, unweighted: finite numbers, shape [N]."""


@dataclass(frozen=True, eq=False)
class Rewards:
    """The terms, unweighted, and their weighted sum; one a completion."""

    names: tuple[str, ...]
    terms_NK: Tensor
    weights_K: Tensor
    total_N: Tensor
    p_correct_N: Tensor
    """How far the listener agrees with people; meaningless where unreadable."""

    def __getitem__(self, name: str) -> Tensor:
        """One of the terms, ``[N]``."""
        return self.terms_NK[:, self.names.index(name)]

    @classmethod
    def joined(cls, parts: Sequence["Rewards"]) -> "Rewards":
        """Those of completions that were rewarded one part after another, under the same weights."""
        return replace(
            parts[0],
            terms_NK=torch.cat([part.terms_NK for part in parts]),
            total_N=torch.cat([part.total_N for part in parts]),
            p_correct_N=torch.cat([part.p_correct_N for part in parts]),
        )

    def of_all_ranks(self, groups: int) -> "Rewards":
        """Those of every rank, in the order of one process.

        Args:
            groups: of this rank; the same number on every rank.
        """
        return replace(
            self,
            terms_NK=ranks.dealt_together(self.terms_NK, groups),
            total_N=ranks.dealt_together(self.total_N, groups),
            p_correct_N=ranks.dealt_together(self.p_correct_N, groups),
        )

    def picked(self, rows: Tensor) -> "Rewards":
        """Those of some completions."""
        return replace(
            self, terms_NK=self.terms_NK[rows], total_N=self.total_N[rows], p_correct_N=self.p_correct_N[rows]
        )


def total_reward(terms: Mapping[str, RewardTerm], judged: Judged) -> Rewards:
    """Add up the reward of every completion (Eq. 5, where the terms are the papers').

    Args:
        terms: by name.
        judged: the completions.

    Raises:
        FloatingPointError: a term is NaN or infinite.
        ValueError: a term did not give one number a completion.
    """
    count = len(judged.transcripts)
    columns = {name: torch.as_tensor(term(judged), dtype=torch.float32).cpu() for name, term in terms.items()}
    for name, values_N in columns.items():
        if values_N.shape != (count,):
            raise ValueError(
                f"the reward term {name!r} must give one number for each of {count} completions, got the shape "
                f"{list(values_N.shape)}"
            )
        if not bool(values_N.isfinite().all()):
            raise FloatingPointError(
                f"the reward term {name!r} is NaN or infinite for {int((~values_N.isfinite()).sum())} of {count} "
                "completions: nothing was updated; a term must give a finite number whatever a completion holds"
            )
    weights = [term.weight_at(judged.step) for term in terms.values()]
    total_N = torch.zeros(count)
    for weight, values_N in zip(weights, columns.values(), strict=True):
        total_N = total_N + weight * values_N
    return Rewards(
        names=tuple(columns),
        terms_NK=torch.stack(list(columns.values()), 1),
        weights_K=torch.tensor(weights),
        total_N=total_N,
        p_correct_N=judged.p_correct_N,
    )
