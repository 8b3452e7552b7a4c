"""Which groups a step learns from: all of a batch, or only such as have something to teach (dynamic sampling).

A group whose completions are rewarded alike has no advantages and adds nothing but KL. DAPO (Yu et al. 2025, section
3.2) samples on until a batch holds none of these. Here that is bounded: a step's batch is all that it may ask about.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lit_listener.tasks import Transcript
from lit_listener.training.rewards import Rewards
from lit_listener.vlm import ranks
from lit_listener.vlm.asked import Asked
from lit_listener.vlm.backbone import Scores
from lit_listener.vlm.completions import Completions
from lit_listener.vlm.listeners import Heard


@dataclass(frozen=True, eq=False)
class Sampled:
    """The groups of some questions: what was sampled, and how it was rewarded."""

    completions: Completions
    transcripts: Sequence[Transcript]
    reference: Scores | None
    """None where nothing reads the reference."""
    heard: Heard
    rewards: Rewards

    @classmethod
    def joined(cls, parts: Sequence["Sampled"], pad_id: int) -> "Sampled":
        """Groups that were sampled one part after another."""
        if len(parts) == 1:
            return parts[0]
        completions = Completions.joined([part.completions for part in parts], pad_id)
        scores = [part.reference for part in parts if part.reference is not None]
        return cls(
            completions=completions,
            transcripts=[transcript for part in parts for transcript in part.transcripts],
            reference=Scores.joined(scores, completions.ids_NT.shape[1]) if scores else None,
            heard=Heard.joined([part.heard for part in parts]),
            rewards=Rewards.joined([part.rewards for part in parts]),
        )


@dataclass(frozen=True, eq=False)
class Found:
    """What a step sampled, and which groups of it are learnt from."""

    sampled: Sampled
    """All that this rank sampled, those included that nothing is learnt from."""
    advantages_N: Tensor
    """Of this rank's completions; 0 where nothing is learnt from them."""
    places: tuple[int, ...]
    """Of the groups that are learnt from, among those that all ranks sampled, in the order of one process."""
    rounds: int


Sample = Callable[[Asked], Sampled]
"""Samples and rewards a group for each of some questions."""
Compare = Callable[[Rewards], Tensor]
"""Advantages [P, G] of P groups' rewards, those of all ranks."""


class Groups(ABC):
    """How the groups of a step come about."""

    @abstractmethod
    def find(self, asked: Asked, sample: Sample, compare: Compare, pad_id: int) -> Found:
        """Sample groups for the questions of a batch, and choose among them.

        Args:
            asked: this rank's questions.
            sample: called as often on every rank.
            compare: makes advantages.
            pad_id: fills short completions up.
        """

    @abstractmethod
    def learnt(self, prompts: int) -> int:
        """How many groups of a batch of so many prompts are learnt from, on this rank."""


class AllGroups(Groups):
    """Every prompt of the batch, in one rollout."""

    def find(self, asked: Asked, sample: Sample, compare: Compare, pad_id: int) -> Found:
        """Sample them all."""
        sampled, count = sample(asked), len(asked.prompts)
        advantages_PG = compare(sampled.rewards.of_all_ranks(count))
        own_N = ranks.own_share(advantages_PG.flatten(), count)
        return Found(sampled, own_N, tuple(range(len(advantages_PG))), rounds=1)

    def learnt(self, prompts: int) -> int:
        """All of them."""
        return prompts


class DynamicSampling(Groups):
    """Groups with something to teach alone, as far as a batch has them (DAPO, Yu et al. 2025, section 3.2).

    The batch of ``data.batch_size`` candidates is sampled in rounds of ``prompts``, until so many groups have
    advantages that are not all 0, or the batch is used up; then groups without any fill the number up. Where more are
    found than are wanted, the first are taken. The next step goes on with the next batch, however much of this one was
    sampled.

    Args:
        prompts: groups that a step learns from, over all processes together; ``data.batch_size`` is a multiple of it.
    """

    def __init__(self, prompts: int) -> None:
        if prompts < 1:
            raise ValueError(f"model.groups.prompts: expected at least 1 group a step, got {prompts}")
        self.prompts = prompts

    def find(self, asked: Asked, sample: Sample, compare: Compare, pad_id: int) -> Found:
        """Sample in rounds. All ranks go on or stop together, since they look at the same rewards.

        Raises:
            ValueError: the batch is no multiple of ``prompts``, or the processes cannot share these evenly.
        """
        share = self.learnt(len(asked.prompts))
        rounds: list[Sampled] = []
        while True:
            start = len(rounds) * share
            rounds.append(sample(asked.select(slice(start, start + share))))
            sampled = Sampled.joined(rounds, pad_id)
            count = start + share
            rewards = sampled.rewards.of_all_ranks(count)
            advantages_PG = compare(rewards)
            telling_P = (advantages_PG != 0).any(1)
            if int(telling_P.sum()) >= self.prompts or count == len(asked.prompts):
                break
        places = _first(telling_P, self.prompts)
        group_size = advantages_PG.shape[1]
        rows = (places[:, None] * group_size + torch.arange(group_size)).flatten()
        chosen_PG = torch.zeros_like(advantages_PG)
        chosen_PG[places] = compare(rewards.picked(rows))  # a scale or a sum over the batch is over these alone
        return Found(sampled, ranks.own_share(chosen_PG.flatten(), count), tuple(places.tolist()), len(rounds))

    def learnt(self, prompts: int) -> int:
        """``prompts``, shared evenly.

        Raises:
            ValueError: that cannot be.
        """
        world = ranks.world_size()
        if self.prompts % world or (prompts * world) % self.prompts:
            raise ValueError(
                f"model.groups.prompts: {self.prompts} groups a step must be a multiple of the number of processes "
                f"({world}) and divide data.batch_size, of which {prompts * world} candidates came; choose both so"
            )
        return self.prompts // world


def _first(telling_P: Tensor, count: int) -> Tensor:
    """Places of the first groups that teach something, filled up with the first that do not, in their order."""
    order = torch.cat([telling_P.nonzero().flatten(), (~telling_P).nonzero().flatten()])
    return order[:count].sort().values
