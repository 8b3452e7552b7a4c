"""What the machine could do at best, against what our side did: two shares between 0 and 1.

``decode_bandwidth_share``: a decode step must read the language model's weights, its output matrix, and the keys and
values so far; the time that takes at the measured copy bandwidth, over the time of the rollout. Keys and values of a
prompt are counted once a group, and prefill and images not at all, so the share is told too low rather than too high.

``update_matmul_share``: multiplications that the update cannot do without, forward and backward, at the measured
matmul peak, over the time of the update. Recomputation by gradient checkpointing is no such work and is not counted.
"""

from time import perf_counter
from typing import Any

import torch
from torch import nn

from benchmarks.measure import finished
from benchmarks.shapes import Shape, Vision


def measured_bounds(model: Any, shape: Shape, vision: Vision) -> dict[str, float]:
    """The machine's two peaks, and the work of a step that they are held against.

    Args:
        model: the policy's transformers model, adapters included.
        shape: what was timed.
        vision: whether the vision tower was trained.

    Returns:
        ``copy_bytes_per_s``, ``matmul_flops_per_s``, ``decode_bytes`` (of a whole rollout), ``update_flops``.
    """
    device = torch.device(shape.device)  # the model may have been moved away when its trainer ended
    text = model.config.get_text_config()
    tokens = (shape.image_side // 28) ** 2 * 2  # the words besides are few
    return {
        "copy_bytes_per_s": copy_bandwidth(device, 2**28 if device.type == "cuda" else 2**22),
        "matmul_flops_per_s": matmul_peak(device, 8192 if device.type == "cuda" else 256, getattr(torch, shape.dtype)),
        "decode_bytes": decode_bytes(language_bytes(model), text, shape, tokens),
        "update_flops": update_flops(model, text, shape, tokens, vision),
    }


def shares(bounds: dict[str, float], rollout_s: float, update_s: float) -> dict[str, float]:
    """The two shares.

    Args:
        bounds: what ``measured_bounds`` returned.
        rollout_s: seconds of a rollout.
        update_s: seconds of an update.
    """
    return {
        "decode_bandwidth_share": bounds["decode_bytes"] / bounds["copy_bytes_per_s"] / rollout_s,
        "update_matmul_share": bounds["update_flops"] / bounds["matmul_flops_per_s"] / update_s,
    }


def copy_bandwidth(device: torch.device, elements: int, repeats: int = 20) -> float:
    """Bytes a second that a copy of float32 reads and writes, each counted."""
    source = torch.ones(elements, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / _fastest(lambda: target.copy_(source), device, repeats)


def matmul_peak(device: torch.device, side: int, dtype: torch.dtype, repeats: int = 20) -> float:
    """Floating-point operations a second of a product of two square matrices."""
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    return 2 * side**3 / _fastest(lambda: left @ right, device, repeats)


def language_bytes(model: Any) -> int:
    """Bytes of weights that one decode step reads: all but the vision tower and the rows of an embedding table.

    An embedding that is the output matrix as well is read whole, once.
    """
    output = model.get_output_embeddings().weight
    table = model.get_input_embeddings().weight
    visual = {id(parameter) for parameter in model.model.visual.parameters()}
    others = {id(p): p.nbytes for p in model.parameters() if id(p) not in visual and p is not table}
    return sum(others.values()) + (output.nbytes if output is table else 0)


def decode_bytes(weights: int, text: Any, shape: Shape, prompt_tokens: int) -> float:
    """Bytes that the decode steps of a rollout must read: weights each time, and the keys and values so far.

    Args:
        weights: bytes of weights a step.
        text: the language model's configuration.
        shape: what was timed.
        prompt_tokens: S.
    """
    head = text.hidden_size // text.num_attention_heads
    per_token = 2 * text.num_hidden_layers * text.num_key_value_heads * head * getattr(torch, shape.dtype).itemsize
    steps = shape.new_tokens - 1  # the first token comes of the prefill
    own = shape.completions * steps * shape.new_tokens / 2  # completions' own tokens, half of them there on average
    return steps * (weights + shape.prompts * prompt_tokens * per_token) + own * per_token


def update_flops(model: Any, text: Any, shape: Shape, prompt_tokens: int, vision: Vision) -> float:
    """Multiplications and additions of one update, forward and backward, on packed rows.

    A linear layer costs 2 operations a weight and token forward, as many for the gradient of its input, and as many
    again for that of its weight if that is trained.
    """
    full = shape.lora_rank is None
    backward = 2 if full else 1
    tokens = shape.prompts * (prompt_tokens + shape.group_size * shape.new_tokens)
    linear = 2.0 * _linear_weights(model.model.language_model) * tokens
    attended = prompt_tokens**2 / 2 + shape.group_size * shape.new_tokens * (prompt_tokens + shape.new_tokens / 2)
    attention = 4.0 * shape.prompts * attended * text.hidden_size * text.num_hidden_layers
    output = model.get_output_embeddings().weight
    head = 2.0 * output.shape[0] * output.shape[1] * shape.completions * shape.new_tokens
    total = linear * (1 + backward) + attention * 3 + head * (1 + backward)
    if vision == "trained":
        patches = shape.prompts * 2 * (shape.image_side // 28) ** 2 * 4
        total += 2.0 * _linear_weights(model.model.visual) * patches * (1 + backward)
    return total


def _linear_weights(module: nn.Module) -> int:
    """Weights of all linear layers, 4-bit ones counted unpacked, adapters included."""
    return sum(layer.in_features * layer.out_features for layer in module.modules() if isinstance(layer, nn.Linear))


def _fastest(work: Any, device: torch.device, repeats: int) -> float:
    """Seconds of the fastest of some runs, after one to warm up."""
    seconds = []
    for _ in range(repeats + 1):
        finished(device)
        start = perf_counter()
        work()
        finished(device)
        seconds.append(perf_counter() - start)
    return min(seconds[1:])
