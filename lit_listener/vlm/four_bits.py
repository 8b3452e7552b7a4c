"""Weights in 4 bits (NF4 of bitsandbytes): how transformers is told to read them, and what has them compute rightly."""

import os
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from transformers import BitsAndBytesConfig

from lit_listener.vlm.specs import PolicySpec


def in_four_bits(spec: PolicySpec, place: torch.device | str | None = None) -> dict[str, Any]:
    """What has the language model's linear layers read into 4 bits, on the device where they are to stay.

    Args:
        spec: whether, and how they are computed with.
        place: that device; by default the process's GPU, else the CPU.
    """
    if spec.quantization is None:
        return {}
    if place is not None:
        place = str(place)
    elif not torch.cuda.is_available():
        place = "cpu"
    else:  # a launcher may have named the process's place without setting it
        local_rank = int(os.environ.get("LOCAL_RANK", "0"))
        place = f"cuda:{torch.cuda.current_device() or local_rank % torch.cuda.device_count()}"
    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=spec.quantization,
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, spec.dtype),
        llm_int8_skip_modules=["model.visual", "lm_head"],  # named for 8 bits, heeded for 4 as well
    )
    return {"quantization_config": config, "device_map": {"": place}}


def settle_four_bits(model: nn.Module) -> None:
    """See to it that 4-bit weights are computed with rightly on every device.

    bitsandbytes' CPU kernels read rows that are not whole blocks wrongly, without a word. And on some CPUs it repacks
    weights in eval mode, for good, after which no gradient passes through them to the layers below.
    """
    modules: Iterator[tuple[str, Any]] = model.named_modules()
    for name, module in modules:
        if (state := getattr(getattr(module, "weight", None), "quant_state", None)) is None:
            continue
        if state.shape[-1] % state.blocksize:
            raise ValueError(
                f"policy.quantization: 4-bit weights come in rows of whole blocks of {state.blocksize}, but {name} has "
                f"rows of {state.shape[-1]}; drop quantization, or name another base"
            )
        module.support_avx512bf16_for_cpu = False
