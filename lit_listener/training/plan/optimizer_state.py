"""What an optimizer keeps for every weight, and what a step of it takes beside that: asked of the optimizer itself."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lit_listener.vlm.footprint import tensor_bytes
from lit_listener.vlm.live_bytes import DeviceType, LiveBytes

_SIDE = 128
"""Of the weight that is tried: large enough that optimizers with states of fewer bits do not take it for a bias."""


@dataclass(frozen=True)
class OptimizerBytes:
    """Bytes for each element of a trainable weight."""

    state: float
    scratch: float
    """Held during a step only."""


def optimizer_bytes(
    make_optimizer: Callable[[Sequence[Tensor]], torch.optim.Optimizer], dtype: torch.dtype, device_type: DeviceType
) -> OptimizerBytes:
    """Take two steps with an optimizer on one small weight, and count what it keeps and what the second one takes.

    Args:
        make_optimizer: as for the whole model.
        dtype: number format of the weight and its gradient.
        device_type: on CUDA, steps go over all weights at once (``foreach``) unless it is told otherwise.
    """
    weight = nn.Parameter(torch.ones(_SIDE, _SIDE, dtype=dtype))
    weight.grad = torch.ones_like(weight)
    optimizer = make_optimizer([weight])
    for group in optimizer.param_groups:
        if device_type == "cuda" and group.get("foreach", False) is None and not group.get("fused"):
            group["foreach"] = True
    optimizer.step()
    with LiveBytes() as bytes_held:
        optimizer.step()
    kept = sum(tensor_bytes(value) for value in optimizer.state[weight].values() if isinstance(value, Tensor))
    single = sum(value.numel() == 1 for value in optimizer.state[weight].values() if isinstance(value, Tensor))
    return OptimizerBytes((kept - 4 * single) / weight.numel(), bytes_held.peak / weight.numel())
