"""What both workers measure in the same way: peak memory, waiting for a GPU, and a weight that must have moved."""

import resource
from typing import Any

import torch
from torch import Tensor, nn


def finished(device: torch.device | str) -> None:
    """Wait until a GPU has done all it was given; a CPU has."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


def peak(device: torch.device | str) -> dict[str, Any]:
    """This process's peak memory: ``peak_mib``, and what it is the peak of."""
    if torch.device(device).type == "cuda":
        return {"peak_mib": torch.cuda.max_memory_allocated() / 2**20, "peak_of": "cuda"}
    return {"peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10, "peak_of": "resident"}


class MovedWeight:
    """One trained weight as it was: a side whose steps change nothing would be timed for nothing."""

    def __init__(self, model: nn.Module) -> None:
        self._weight: Tensor = [p for p in model.parameters() if p.requires_grad][-1]
        self._start = self._weight.detach().clone().cpu()  # a trainer may move its model when it ends

    def distance(self) -> float:
        """Largest change of an entry since then."""
        return float((self._weight.detach().cpu() - self._start).abs().max())
