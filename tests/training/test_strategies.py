"""Strategies that training runs under, and the refusals of those it does not."""

from types import SimpleNamespace
from typing import Any

import pytest
from lightning.pytorch.strategies import DDPStrategy, FSDPStrategy, ModelParallelStrategy

from lit_listener.training.strategies import data_parallel_mesh
from lit_listener.vlm.specs import LoraSpec, PolicySpec

PLAIN = PolicySpec("shapes-instruct")


class Dimension:
    """One dimension of a mesh."""

    def __init__(self, ranks: int) -> None:
        self.ranks = ranks

    def size(self) -> int:
        return self.ranks


def sharding(data: int = 2, tensor: int = 1, precision: str = "32-true") -> Any:
    strategy = ModelParallelStrategy(data, tensor)
    strategy._device_mesh = {"data_parallel": Dimension(data), "tensor_parallel": Dimension(tensor)}  # type: ignore
    return SimpleNamespace(strategy=strategy, precision=precision)


@pytest.mark.parametrize("trainer", [None, SimpleNamespace(strategy=DDPStrategy(), precision="bf16-mixed")])
def test_elsewhere_every_process_holds_all_weights(trainer):
    quantized = PolicySpec("shapes-instruct", lora=LoraSpec(), quantization="nf4")
    assert data_parallel_mesh(trainer, quantized) is None


def test_weights_are_sharded_over_the_data_parallel_ranks():
    trainer = sharding()
    assert data_parallel_mesh(trainer, PLAIN) is trainer.strategy.device_mesh["data_parallel"]


def test_4_bit_weights_are_not_sharded():
    quantized = PolicySpec("shapes-instruct", lora=LoraSpec(), quantization="nf4")
    with pytest.raises(
        ValueError, match=r"policy.quantization: nf4 weights cannot be sharded; .*trainer.strategy: ddp"
    ):
        data_parallel_mesh(sharding(), quantized)


def test_autocast_over_float32_gathers_is_refused():
    with pytest.raises(ValueError, match=r"trainer.precision: bf16-mixed .*model.sharding.compute_dtype: bfloat16"):
        data_parallel_mesh(sharding(precision="bf16-mixed"), PLAIN)


def test_tensor_parallelism_is_refused():
    with pytest.raises(ValueError, match=r"tensor_parallel_size: 2 is not supported; set it to 1"):
        data_parallel_mesh(sharding(1, 2), PLAIN)


def test_the_first_fsdp_is_refused():
    trainer = SimpleNamespace(strategy=FSDPStrategy(), precision="32-true")
    with pytest.raises(ValueError, match=r"FSDPStrategy is FSDP1.*ModelParallelStrategy"):
        data_parallel_mesh(trainer, PLAIN)
