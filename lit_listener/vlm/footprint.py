"""What a model holds in memory: its weights, the keys and values of a token, and the tensors of its passes.

Passes are measured, on a model of the same architecture on the meta device, which takes seconds and no memory whatever
its size (``live_bytes``). Left out: automatic mixed precision, which the meta device does not have; a pass under it is
measured in the weights' own number formats.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from lit_listener.vlm.backbone import _LOGITS_PER_CHUNK, Backbone, LabelIds
from lit_listener.vlm.encoding import PromptBatch
from lit_listener.vlm.live_bytes import DeviceType, LiveBytes, attention_of
from lit_listener.vlm.packing import PackedBatch
from lit_listener.vlm.rollout.engine import Sampler

FOUR_BIT_BYTES = 0.516
"""Bytes of a weight in NF4: half a byte, a byte for each 64 weights' scale, and those scales' own scales (1 / 64 / 256
of 4 bytes)."""

_SHALLOW = 2
"""Layers by which the shallow models differ that a deep one's passes are measured on."""


@dataclass(frozen=True)
class Rows:
    """The packed rows of one pass: each a prompt and some completions of one length."""

    rows: int
    prompt_tokens: int
    completions: int
    """Completions of each row."""
    completion_tokens: int

    @property
    def row_tokens(self) -> int:
        """K, tokens of a row."""
        return self.prompt_tokens + self.completions * self.completion_tokens

    @property
    def tokens(self) -> int:
        """Packed tokens of the pass."""
        return self.rows * self.row_tokens


def tensor_bytes(tensor: Tensor) -> int:
    """Bytes of a tensor's elements (of a sharded one: of the whole)."""
    return tensor.numel() * tensor.element_size()


def weight_bytes(module: nn.Module, *, four_bits: bool = False, counted: set[int] | None = None) -> float:
    """Bytes of a module's weights.

    Args:
        module: the module, maybe on the meta device; a weight that occurs twice counts once.
        four_bits: count the language model's linear layers as NF4, whatever they are here.
        counted: ``id`` of weights that are left out; those that are counted are added.
    """
    counted = set() if counted is None else counted
    quantized = _four_bit_weights(module) if four_bits else set()
    total = 0.0
    for parameter in module.parameters():
        if id(parameter) in counted:
            continue
        counted.add(id(parameter))
        total += FOUR_BIT_BYTES * parameter.numel() if id(parameter) in quantized else tensor_bytes(parameter)
    return total


def key_value_bytes(backbone: Backbone) -> int:
    """Bytes of one token's keys and values over all layers, in the number format of the hidden states."""
    config: Any = backbone.model.config.get_text_config()
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    embeddings: Tensor = backbone.model.get_input_embeddings().weight
    return int(2 * config.num_hidden_layers * config.num_key_value_heads * head_dim * embeddings.element_size())


def packed_rows(rows: Rows, device: str = "meta") -> PackedBatch:
    """Packed rows of a given shape, all zeros: no image slots, and a token costs what any other costs.

    Read as on the meta device, where no mask is true, their prompts are padded and padding is squeezed out: what costs
    most.
    """
    count = rows.rows * rows.completions

    def zeros(*shape: int, dtype: torch.dtype = torch.long) -> Tensor:
        return torch.zeros(*shape, dtype=dtype, device=device)

    return PackedBatch(
        input_ids_PK=zeros(rows.rows, rows.row_tokens),
        position_ids_3PK=zeros(3, rows.rows, rows.row_tokens),
        segments_PK=zeros(rows.rows, rows.row_tokens),
        order_PK=zeros(rows.rows, rows.row_tokens),
        prompt_mask_PS=zeros(rows.rows, rows.prompt_tokens, dtype=torch.bool),
        source_NT=zeros(count, rows.completion_tokens),
        targets_NT=zeros(count, rows.completion_tokens),
        mask_NT=zeros(count, rows.completion_tokens, dtype=torch.bool),
    )


def scoring_bytes(backbone: Backbone, rows: Rows, device_type: DeviceType, *, label_ids: LabelIds = ()) -> float:
    """Most bytes that a packed pass without gradients holds beside the weights, its input included."""
    return _over_layers(backbone, lambda: _scoring_bytes(backbone, rows, device_type, label_ids))


def _scoring_bytes(backbone: Backbone, rows: Rows, device_type: DeviceType, label_ids: LabelIds) -> int:
    with torch.no_grad(), _measured(device_type) as bytes_held:
        packed = packed_rows(rows)
        places_N = torch.zeros(len(packed.targets_NT), dtype=torch.long, device="meta") if label_ids else None
        backbone.score(packed, _no_features(backbone), answer_place_N=places_N, label_ids=label_ids)
    return bytes_held.peak


def update_bytes(backbone: Backbone, rows: Rows, device_type: DeviceType, images: PromptBatch | None = None) -> float:
    """Most bytes that a packed pass and its backward pass hold beside weights and gradients.

    Args:
        backbone: on the meta device, in training mode; gradients are left behind in it.
        rows: what is packed.
        device_type: whose attention kernel.
        images: the images of one row, where the vision tower trains and is part of the pass.
    """
    for parameter in backbone.parameters():  # there from another pass, to be added to
        if parameter.requires_grad and parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    return _over_layers(backbone, lambda: _update_bytes(backbone, rows, device_type, images))


def _update_bytes(backbone: Backbone, rows: Rows, device_type: DeviceType, images: PromptBatch | None) -> int:
    with torch.enable_grad(), _measured(device_type) as bytes_held:
        features = [backbone.image_features(images) for _ in range(rows.rows)] if images is not None else []
        scores = backbone.score(packed_rows(rows), _no_features(backbone))
        loss = scores.log_probs_NT.sum() + sum(encoded.float().sum() for encoded in features)
        loss.backward()
    return bytes_held.peak


def encoding_bytes(backbone: Backbone, images: PromptBatch, device_type: DeviceType) -> tuple[int, int]:
    """Bytes that the features of some images take, and most bytes held while encoding them without gradients."""
    with torch.no_grad(), _measured(device_type) as bytes_held:
        features = backbone.image_features(images)
    return tensor_bytes(features), bytes_held.peak


def sampling_bytes(backbone: Backbone) -> float:
    """Most bytes that one completion's logits take while its next token is drawn, copies included.

    Measured on real logits of fewer columns: ``sample`` looks whether they are finite.
    """
    rows, columns = 4, 1024
    dtype = backbone.model.get_input_embeddings().weight.dtype
    few = replace(
        backbone.vocabulary, size=columns, pad_id=0, end_ids=(0,), suppressed_ids=torch.zeros(1, dtype=torch.long)
    )
    with torch.no_grad(), LiveBytes() as bytes_held:
        logits = torch.zeros(rows, columns, dtype=dtype)
        Sampler(few, 1.0)(logits, torch.zeros(rows))
    vocabulary: int = backbone.model.lm_head.weight.shape[0]
    a_logit: float = bytes_held.peak / (rows * columns)
    return a_logit * vocabulary


def logits_chunk_bytes(backbone: Backbone, tokens: int) -> float:
    """Bytes of the float32 logits that a pass over so many tokens makes at once."""
    vocabulary: int = backbone.model.lm_head.weight.shape[0]
    return 4.0 * min(tokens, max(1, _LOGITS_PER_CHUNK // vocabulary)) * vocabulary


def _over_layers(backbone: Backbone, measure: Callable[[], int]) -> float:
    """What a deep model's pass holds, from that of two shallow ones: its layers are all alike, and measuring is slow.

    Qwen3-VL's first layers, which take image features, are among those that both have.
    """
    decoder: Any = backbone.language_model
    layers = decoder.layers
    if len(layers) <= 3 * _SHALLOW:
        return measure()
    sizes = []
    try:
        for count in (2 * _SHALLOW, 3 * _SHALLOW):
            decoder.layers = layers[:count]
            sizes.append(measure())
    finally:
        decoder.layers = layers
    steps: float = len(layers) / _SHALLOW - 2
    return sizes[0] + steps * (sizes[1] - sizes[0])


@contextlib.contextmanager
def _measured(device_type: DeviceType) -> Iterator[LiveBytes]:
    with attention_of(device_type), LiveBytes() as bytes_held:
        yield bytes_held


def _no_features(backbone: Backbone) -> Tensor:
    config = backbone.model.config
    levels = 1 + len(getattr(config.vision_config, "deepstack_visual_indexes", ()))
    return torch.zeros(0, config.get_text_config().hidden_size * levels, device=backbone.device)


def _four_bit_weights(module: nn.Module) -> set[int]:
    """The weights read into 4 bits: the language model's linear layers, neither adapters nor output matrix."""
    found = set()
    for backbone in (part for part in module.modules() if isinstance(part, Backbone)):
        for name, layer in backbone.language_model.named_modules():
            if isinstance(layer, nn.Linear) and "lora_" not in name:
                found.add(id(layer.weight))
    return found
