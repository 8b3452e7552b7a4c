"""A rollout between its updates: what they need, how far they have come, and how that is kept in a checkpoint.

Where several optimizer steps follow one rollout, a run that stops between them goes on from there: sampling again would
sample from other weights.
"""

from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from lit_listener.training.step_report import StepOutcome, UpdateTotals
from lit_listener.vlm import ranks
from lit_listener.vlm.completions import Completions, padded_tokens
from lit_listener.vlm.encoding import TensorRecord
from lit_listener.vlm.streams import ItemKey


@dataclass(frozen=True)
class RolledOut:
    """A rollout of N = P x G completions, and all that was made of it before the first update."""

    keys: list[ItemKey]
    completions: Completions
    reference_NT: Tensor
    old_NT: Tensor | None
    """Log-probabilities under the weights that sampled; None where the one update is made with these."""
    advantages_N: Tensor
    outcome: StepOutcome

    def to(self, device: torch.device | str) -> "RolledOut":
        """The same with what is computed with on ``device``."""
        return replace(
            self,
            completions=self.completions.to(device),
            reference_NT=self.reference_NT.to(device),
            old_NT=None if self.old_NT is None else self.old_NT.to(device),
            advantages_N=self.advantages_N.to(device),
        )


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
            "reference_NT": ranks.gathered(padded_tokens(rolled.reference_NT, longest)).cpu(),
            "old_NT": None if rolled.old_NT is None else ranks.gathered(padded_tokens(rolled.old_NT, longest)).cpu(),
            "advantages_N": ranks.gathered(rolled.advantages_N).cpu(),
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
            reference_NT=_own(state["reference_NT"]),
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


def _own(tensor: Tensor) -> Tensor:
    """This rank's rows."""
    return tensor.chunk(ranks.world_size())[ranks.rank()]
