"""Full fine-tuning over several GPUs: weights, gradients and optimizer sharded by FSDP2 (``fully_shard``).

Each decoder layer and each block of the vision tower is gathered when it is used; the rest (embeddings, head, norms)
belongs to the wrapper module, whose passes are all forwards to FSDP2. What is left out: tensor parallelism, and
offloading to the host's memory.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method

from lit_listener.vlm import ranks
from lit_listener.vlm.backbone import Backbone


@dataclass(frozen=True)
class Sharding:
    """How sharded weights are computed with (under ``ModelParallelStrategy`` only).

    Args:
        compute_dtype: number format in which layers are gathered and computed; ``policy.dtype`` is what shards are
            kept and updated in.
        reduce_dtype: number format in which gradients are summed over ranks.
        gather_for_rollout: gather all weights once a rollout instead of once a token: much faster, and takes the
            memory of one whole copy in ``compute_dtype`` for that time.
    """

    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    reduce_dtype: Literal["float32", "bfloat16"] = "float32"
    gather_for_rollout: bool = True


def shard(backbone: Backbone, mesh: DeviceMesh, sharding: Sharding) -> None:
    """Shard a backbone's weights over the ranks of a one-dimensional mesh, in place.

    The weights are those of rank 0; other ranks may hold the backbone on the meta device, without any. Each rank only
    ever receives one whole tensor at a time.
    """
    weights = backbone.state_dict() if ranks.rank() == 0 else {}
    buffers = dict(backbone.named_buffers())
    device = torch.device(mesh.device_type, torch.cuda.current_device() if mesh.device_type == "cuda" else 0)
    backbone.to("meta")
    backbone.model.tie_weights()
    options: dict[str, Any] = {
        "mesh": mesh,
        "mp_policy": MixedPrecisionPolicy(
            param_dtype=getattr(torch, sharding.compute_dtype),
            reduce_dtype=getattr(torch, sharding.reduce_dtype),
        ),
    }
    for layer in backbone.layers():
        fully_shard(layer, **options, reshard_after_forward=True)
    fully_shard(backbone, **options, reshard_after_forward=False)
    for name in backbone.passes:
        register_fsdp_forward_method(backbone, name)
    backbone.to_empty(device=device)
    backbone.model.tie_weights()
    from_rank_0 = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
    set_model_state_dict(backbone, weights, options=from_rank_0)
    for name, buffer in backbone.named_buffers():  # those that are no part of the state as well
        ranks.receive(buffer, buffers[name])


def is_sharded(backbone: Backbone) -> bool:
    """Whether a backbone's weights are sharded."""
    return isinstance(backbone, FSDPModule)


def only_shards(backbone: Backbone) -> None:
    """Let go of weights that a forward pass left gathered, so that all parameters are shards again."""
    module: Any = backbone
    if is_sharded(backbone):
        module.reshard()


@contextlib.contextmanager
def gathered_weights(backbone: Backbone) -> Iterator[None]:
    """Keep each layer's weights once they are gathered, until the end of the block."""
    layers: list[Any] = backbone.layers() if is_sharded(backbone) else []
    for layer in layers:
        layer.set_reshard_after_forward(False, recurse=False)
    try:
        yield
    finally:
        for layer in layers:
            layer.set_reshard_after_forward(True, recurse=False)
            layer.reshard()
