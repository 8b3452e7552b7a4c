"""What the updates of a step are made on: the groups that were chosen, each rank an even share of them.

Chosen groups may lie unevenly among the ranks that sampled them. They are dealt out anew, so that all ranks make as
many passes, and so that a minibatch holds the same groups however many ranks share it. Prompts, image features and
completions travel; images do not.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional

from lit_listener.training.grpo_options import Objective
from lit_listener.training.rollout_state import RolledOut
from lit_listener.vlm import ranks
from lit_listener.vlm.asked import Asked
from lit_listener.vlm.completions import Completions, padded_tokens
from lit_listener.vlm.encoding import PromptBatch
from lit_listener.vlm.passes import Done, InPasses, Pass


@dataclass(frozen=True)
class Lesson:
    """N completions of P prompts that are learnt from, on this rank."""

    asked: Asked
    completions: Completions
    mask_NT: Tensor
    """True at the tokens that add to the loss."""
    reference_NT: Tensor | None
    """None where there is no KL penalty."""
    old_NT: Tensor | None
    """None where the one update is made with the weights that sampled."""
    advantages_N: Tensor

    def rows(self, prompts: slice) -> slice:
        """The completions of some prompts."""
        group_size = len(self.completions) // len(self.asked.prompts)
        return slice(prompts.start * group_size, prompts.stop * group_size)

    def shares(self, minibatches: int) -> list[slice]:
        """The prompts of each minibatch."""
        return even_shares(len(self.asked.prompts), minibatches)

    def in_passes(self, budget: InPasses, work: Callable[[Sequence[Pass]], Done], share: slice) -> Done:
        """Do work on the completions of some prompts in passes that fit."""
        rows = self.rows(share)
        return budget(
            lambda passes: work([each.moved(share.start, rows.start) for each in passes]),
            self.asked.prompts.lengths_P[share].tolist(),
            self.completions.lengths_N[rows].tolist(),
        )


def even_shares(count: int, parts: int) -> list[slice]:
    """0 … count - 1 dealt out among ``parts`` slices whose sizes differ by one at most."""
    return [slice(count * part // parts, count * (part + 1) // parts) for part in range(parts)]


def lesson_of(asked: Asked, rolled: RolledOut, objective: Objective, max_new_tokens: int) -> Lesson:
    """The share of a step's chosen groups that this rank learns from. All ranks must call it.

    Args:
        asked: the batch's questions, of which the first were sampled for.
        rolled: what was sampled.
        objective: says which tokens add to the loss.
        max_new_tokens: the length limit.
    """
    completions, reference_NT, advantages_N = rolled.completions, rolled.reference_NT, rolled.advantages_N
    sampled = len(rolled.keys)
    if rolled.places != tuple(range(len(asked.prompts) * ranks.world_size())):
        group_size = len(completions) // sampled
        dealing = _Dealing(rolled.places)
        rows = [n for place in dealing.own for n in range(place * group_size, (place + 1) * group_size)]
        asked = dealing.questions(asked)
        completions = Completions(**{name: dealing.rows(name, t, rows) for name, t in vars(completions).items()})
        reference_NT = None if reference_NT is None else dealing.rows("_NT", reference_NT, rows)
        advantages_N = dealing.rows("_N", advantages_N, rows)
    mask_NT = objective.learnt_tokens(completions, max_new_tokens)
    return Lesson(asked, completions, mask_NT, reference_NT, rolled.old_NT, advantages_N)


class _Dealing:
    """How chosen groups get from the ranks that sampled them to those that learn from them.

    Args:
        places: of the chosen groups, in the order of one process.
    """

    def __init__(self, places: Sequence[int]) -> None:
        world, rank = ranks.world_size(), ranks.rank()
        held = [[place for place in places if place % world == other] for other in range(world)]
        self.own = [place // world for place in held[rank]]
        """Among this rank's groups, those that were chosen."""
        gathered = {place: number for number, place in enumerate(place for each in held for place in each)}
        self.wanted = [gathered[place] for place in places[rank::world]]
        """Among the chosen groups of all ranks, in the order of ranks, those that this rank learns from."""
        self._chosen = len(places)

    def rows(self, name: str, tensor: Tensor, own: Sequence[int]) -> Tensor:
        """What this rank is dealt of a tensor with a row, or several, a group.

        Args:
            name: ends in the letters of its dimensions.
            tensor: this rank's.
            own: rows of the groups that were chosen.
        """
        if "_NT" in name:
            tensor = padded_tokens(tensor, ranks.longest(tensor.shape[1]))
        together = ranks.gathered_rows(tensor[torch.tensor(own, dtype=torch.long, device=tensor.device)])
        dealt: Tensor = together.unflatten(0, (self._chosen, -1))[self.wanted].flatten(0, 1)
        return dealt

    def questions(self, asked: Asked) -> Asked:
        """The questions that this rank is dealt, as models see them; what they are about stays where it is."""
        mine = asked.picked(self.own) if self.own else asked.select(slice(0, 0))
        longest = ranks.longest(mine.prompts.input_ids_PS.shape[1])
        tensors = {}
        for field in fields(PromptBatch):
            tensor = getattr(mine.prompts, field.name)
            if field.name.endswith("PS"):
                tensor = functional.pad(tensor, [0, longest - tensor.shape[-1]])
            along = 1 if field.name == "position_ids_3PS" else 0
            tensors[field.name] = ranks.gathered_rows(tensor.transpose(0, along)).transpose(0, along)
        everyone = Asked((), [], (), PromptBatch(**tensors), ranks.gathered_rows(mine.features_MD))
        places = [slice(place, place + 1) for place in self.wanted]
        features = [everyone.prompts.features_of(place, everyone.features_MD) for place in places]
        return Asked((), [], (), everyone.prompts.picked(self.wanted), torch.cat(features))
