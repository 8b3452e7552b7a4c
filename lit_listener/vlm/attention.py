"""Who sees whom in a pass of the decoder: one attention function, to which every pass brings its pattern.

A group shares its prompt, and no kernel of a library knows that: a dense mask over a packed row computes every pair of
siblings to throw it away, and a cache that is repeated for each completion is read G times a token. A pattern computes
what is seen and nothing else, out of PyTorch's own attention and matrix products. It is handed through the model as an
argument of its layers, so that hooks on them (sharding, adapters, checkpointing) work as ever.

Letters in names: B rows, H query heads, J key/value heads (R = H / J query heads share one), Q tokens, E head width.
"""

from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

_NAME = "lit_listener"


class Pattern(Protocol):
    """What the tokens of one pass see."""

    def attend(self, layer: int, query_BHQE: Tensor, key_BJQE: Tensor, value_BJQE: Tensor, scaling: float) -> Tensor:
        """Attention of one decoder layer. Returns ``[B, Q, H, E]``."""


def use_patterns(language_model: Any) -> None:
    """Have a decoder's attention follow the pattern of each pass.

    Raises:
        ValueError: it has layers that see a window of the past only, which patterns do not know.
    """
    config = language_model.config
    if set(getattr(config, "layer_types", None) or ()) - {"full_attention"}:
        raise ValueError(
            f"layer_types {sorted(set(config.layer_types))}: only layers of full attention are supported; set "
            "use_sliding_window to false in config.json if the model was trained so"
        )
    config._attn_implementation = _NAME


def grouped_attention(
    query_BHQE: Tensor, key_BJKE: Tensor, value_BJKE: Tensor, scaling: float, mask: Tensor | None
) -> Tensor:
    """Scaled dot-product attention with shared key/value heads; causal where there is no mask.

    Args:
        query_BHQE: queries.
        key_BJKE: keys; H is a multiple of J.
        value_BJKE: values.
        scaling: factor of the scores.
        mask: True where a query sees a key, ``[B or 1, 1, R x Q, K]``: the same Q rows R times. None: causal.

    Returns:
        ``[B, H, Q, E]``.
    """
    heads, shared = query_BHQE.shape[1], key_BJKE.shape[1]
    if mask is None:
        if query_BHQE.is_cuda and query_BHQE.dtype == torch.float32:  # no fused kernel shares keys in this format
            key_BJKE, value_BJKE = (given.repeat_interleave(heads // shared, 1) for given in (key_BJKE, value_BJKE))
        return functional.scaled_dot_product_attention(
            query_BHQE, key_BJKE, value_BJKE, is_causal=True, scale=scaling, enable_gqa=key_BJKE.shape[1] != heads
        )
    # the heads that share a key stand one after another as queries of it: nothing is repeated for them
    folded = query_BHQE.reshape(len(query_BHQE), shared, -1, query_BHQE.shape[-1])
    seen = functional.scaled_dot_product_attention(folded, key_BJKE, value_BJKE, attn_mask=mask, scale=scaling)
    return seen.reshape(query_BHQE.shape)


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    pattern: Pattern | None = None,
    scaling: float,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """What transformers calls in every decoder layer."""
    if pattern is None:  # a pass that is not ours: the model's own
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    layer: int = module.layer_idx  # type: ignore[assignment]
    device = query.device.type
    if not (torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)):
        return pattern.attend(layer, query, key, value, scaling), None
    # as it would fused attention itself: positions have made float32 of the keys
    query, key, value = (given.to(torch.get_autocast_dtype(device)) for given in (query, key, value))
    with torch.autocast(device, enabled=False):
        return pattern.attend(layer, query, key, value, scaling), None


AttentionInterface.register(_NAME, _attend)
AttentionMaskInterface.register(_NAME, sdpa_mask)
