"""Which of Lightning's strategies training runs under, and what is said to those it does not."""

from typing import Any

from lightning.pytorch.strategies import FSDPStrategy, ModelParallelStrategy
from torch.distributed.device_mesh import DeviceMesh

from lit_listener.vlm.specs import PolicySpec


def data_parallel_mesh(trainer: Any, spec: PolicySpec) -> DeviceMesh | None:
    """The ranks that weights are sharded over; None where each process holds all of them.

    Raises:
        ValueError: the strategy does not go with this training, or with these weights.
    """
    strategy = getattr(trainer, "strategy", None)
    if isinstance(strategy, FSDPStrategy):
        raise ValueError(  # noqa: TRY004  # an option is wrong, not an argument's type
            "trainer.strategy: FSDPStrategy is FSDP1, which cannot clip gradients by norm; use "
            "lightning.pytorch.strategies.ModelParallelStrategy with data_parallel_size: <GPUs> and "
            "tensor_parallel_size: 1"
        )
    if not isinstance(strategy, ModelParallelStrategy):
        return None
    if spec.quantization is not None:
        raise ValueError(
            f"policy.quantization: {spec.quantization} weights cannot be sharded; on several GPUs train adapters with "
            "trainer.strategy: ddp, or drop quantization"
        )
    if trainer.precision != "32-true":
        raise ValueError(
            f"trainer.precision: {trainer.precision} would gather float32 weights and cast them again and again; use "
            "32-true, and model.sharding.compute_dtype: bfloat16 to compute in bfloat16"
        )
    mesh = strategy.device_mesh
    if mesh["tensor_parallel"].size() > 1:
        raise ValueError(
            f"trainer.strategy.tensor_parallel_size: {mesh['tensor_parallel'].size()} is not supported; set it to 1 "
            "and data_parallel_size to the number of GPUs"
        )
    return mesh["data_parallel"]
