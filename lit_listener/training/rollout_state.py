"""A rollout between its updates: what they need, how far they have come, and how that is kept in a checkpoint.

Where several optimizer steps follow one rollout, a run that stops between them goes on from there: sampling again would
sample from other weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from lit_listener.tasks import Transcript
from lit_listener.training.rewards import Rewards
from lit_listener.training.step_report import StepOutcome, StepTrail, UpdateTotals
from lit_listener.vlm import ranks
from lit_listener.vlm.asked import Asked
from lit_listener.vlm.completions import Completions, padded_tokens
from lit_listener.vlm.encoding import TensorRecord
from lit_listener.vlm.listeners import Heard
from lit_listener.vlm.streams import ItemKey


@dataclass(frozen=True)
class RolledOut:
    """A rollout of N = P x G completions, and all that was made of it before the first update."""

    keys: list[ItemKey]
    """Of the prompts that were sampled for: the first of the batch's."""
    completions: Completions
    reference_NT: Tensor | None
    """None where nothing reads the reference."""
    advantages_N: Tensor
    outcome: StepOutcome
    places: tuple[int, ...]
    """Of the groups that are learnt from, among those of all ranks, in the order of one process."""
    rounds: int
    """Rollouts that it took to find them."""
    old_NT: Tensor | None = None
    """Log-probabilities of what is learnt from under the weights that sampled; None where the one update is made with
    these."""

    def to(self, device: torch.device | str) -> "RolledOut":
        """The same with what is computed with on ``device``."""
        return replace(
            self,
            completions=self.completions.to(device),
            reference_NT=None if self.reference_NT is None else self.reference_NT.to(device),
            old_NT=None if self.old_NT is None else self.old_NT.to(device),
            advantages_N=self.advantages_N.to(device),
        )

    def check_keys(self, keys: Sequence[ItemKey]) -> None:
        """Refuse a batch of other pairs.

        Raises:
            ValueError: the rollout was not on the batch's first pairs.
        """
        if self.keys != list(keys[: len(self.keys)]):
            raise ValueError(
                f"the run stopped in the middle of a rollout on the pairs (epoch, index) {self.keys}, but its data "
                f"now begins with {list(keys)}; resume with the same data and batch size"
            )

    def trail(
        self, asked: Asked, transcripts: Sequence[Transcript], names: tuple[str, ...], weights_K: Tensor
    ) -> StepTrail:
        """The trail of the step that it is of, but for the reference's scores.

        Args:
            asked: the batch's questions.
            transcripts: what is read from the completions.
            names: of the reward's terms.
            weights_K: their weights.
        """
        outcome, prompts = self.outcome, len(self.keys)
        return StepTrail(
            shown=asked.shown[:prompts],
            labels=asked.labels[:prompts],
            completions=self.completions,
            transcripts=transcripts,
            heard=Heard(outcome.p_label_NL, outcome.readable_N, outcome.discarded_mass_N),
            rewards=Rewards(names, outcome.terms_NK, weights_K, outcome.total_N, outcome.p_correct_N),
            advantages_N=self.advantages_N,
        )

    def metrics(self) -> dict[str, float]:
        """How the groups were found, over all ranks."""
        advantages_N = ranks.dealt_together(self.advantages_N, len(self.keys))
        group_size = len(self.completions) // len(self.keys)
        learnt_PG = advantages_N.view(-1, group_size)[list(self.places)]
        return {
            "group/rounds": float(self.rounds),
            "group/informative_share": float((learnt_PG != 0).any(1).float().mean()),
        }


@dataclass
class Unfinished:
    """A rollout some of whose updates are done: as many as ``totals.steps``."""

    rolled: RolledOut
    totals: UpdateTotals

    def state_dict(self) -> dict[str, Any]:
        """Every rank's part, as tensors and plain values. All ranks must call it."""
        rolled, longest = self.rolled, ranks.longest(self.rolled.completions.ids_NT.shape[1])
        return {
            "ranks": ranks.world_size(),
            "keys": ranks.gathered(torch.tensor(rolled.keys)).tolist(),
            "completions": _of_all_ranks(rolled.completions, longest),
            "outcome": _of_all_ranks(rolled.outcome, longest),
            "reference_NT": _tokens_of_all_ranks(rolled.reference_NT, longest),
            "old_NT": _tokens_of_all_ranks(rolled.old_NT, longest),
            "advantages_N": ranks.gathered(rolled.advantages_N).cpu(),
            "places": list(rolled.places),
            "rounds": rolled.rounds,
            "sums": ranks.gathered(self.totals.sums()[None]),
            "grad_norms": self.totals.grad_norms,
        }

    @classmethod
    def from_state_dict(cls, state: dict[str, Any]) -> Self:
        """This rank's part.

        Raises:
            ValueError: the run had another number of processes.
        """
        if state["ranks"] != ranks.world_size():
            raise ValueError(
                f"the run stopped in the middle of a rollout that {state['ranks']} processes shared; it goes on with "
                f"as many, not with {ranks.world_size()}"
            )
        totals = UpdateTotals.from_sums(_own(state["sums"])[0], state["grad_norms"])
        rolled = RolledOut(
            keys=[tuple(key) for key in _own(torch.tensor(state["keys"])).tolist()],
            completions=Completions(**{name: _own(tensor) for name, tensor in state["completions"].items()}),
            reference_NT=None if state["reference_NT"] is None else _own(state["reference_NT"]),
            places=tuple(state["places"]),
            rounds=state["rounds"],
            old_NT=None if state["old_NT"] is None else _own(state["old_NT"]),
            advantages_N=_own(state["advantages_N"]),
            outcome=StepOutcome(**{name: _own(tensor) for name, tensor in state["outcome"].items()}),
        )
        return cls(rolled, totals)


def _of_all_ranks(record: TensorRecord, longest: int) -> dict[str, Tensor]:
    tensors = vars(record)
    return {
        name: ranks.gathered(padded_tokens(tensor, longest) if "_NT" in name else tensor).cpu()
        for name, tensor in tensors.items()
    }


def _tokens_of_all_ranks(tensor_NT: Tensor | None, longest: int) -> Tensor | None:
    return None if tensor_NT is None else ranks.gathered(padded_tokens(tensor_NT, longest)).cpu()


def _own(tensor: Tensor) -> Tensor:
    """This rank's rows."""
    return tensor.chunk(ranks.world_size())[ranks.rank()]
