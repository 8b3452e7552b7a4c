"""The attention of packed rows, in two ways that give the same: PyTorch's fused attention, and FlexAttention.

In a packed row of K = S + G x T tokens a completion's token sees S + T of them at most, not K.

``FusedGroups`` calls fused attention twice a layer: once for the prompts, once for all completions, each beside its
prompt's keys. It works everywhere, and what it computes grows with G as the completions do. ``FlexGroups`` hands the
row as it is to FlexAttention, which leaves out the blocks that nobody sees: made for CUDA, where it is compiled.
"""

from collections.abc import Callable
from functools import cache, cached_property
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from lit_listener.vlm.attention import Pattern, grouped_attention
from lit_listener.vlm.packing import PackedBatch

AttentionName = Literal["sdpa", "flex"]


def packed_pattern(name: AttentionName, packed: PackedBatch, heads_per_key: int) -> Pattern:
    """The pattern of packed rows.

    Args:
        name: sdpa or flex.
        packed: the packed rows.
        heads_per_key: R, query heads that share a key/value head.

    Raises:
        ValueError: flex is asked for gradients on a CPU, where it has none.
    """
    if name == "sdpa":
        return FusedGroups(packed, heads_per_key)
    if torch.is_grad_enabled() and not packed.segments_PK.is_cuda:
        raise ValueError("policy.attention: flex computes no gradients on a CPU; use sdpa there, which gives the same")
    return FlexGroups(packed)


class FusedGroups:
    """Attention of packed rows by two calls of fused attention a layer.

    Args:
        packed: the packed rows.
        heads_per_key: R, query heads that share a key/value head.
    """

    def __init__(self, packed: PackedBatch, heads_per_key: int) -> None:
        self.groups, self.prompt_tokens = packed.prompt_mask_PS.shape
        self.group_size = len(packed.source_NT) // self.groups
        self.tokens = packed.source_NT.shape[1]
        self.heads_per_key = heads_per_key
        loose = self.prompt_tokens + self.group_size * self.tokens
        self.squeezed = packed.order_PK.shape[1] < loose or not bool((packed.segments_PK >= 0).all())
        self.padded = not bool(packed.prompt_mask_PS.all())
        self._prompt_mask_PS = packed.prompt_mask_PS
        if self.squeezed:
            rows_P1 = torch.arange(self.groups, device=packed.order_PK.device)[:, None]
            # what is nobody's (padding) is taken from the row's first place, and its outcome is never read
            place_PX = torch.zeros(self.groups, loose, dtype=torch.long, device=packed.order_PK.device)
            own_PK = torch.arange(packed.order_PK.shape[1], device=packed.order_PK.device).expand_as(packed.order_PK)
            real_PK = packed.segments_PK >= 0
            place_PX[rows_P1.expand_as(own_PK)[real_PK], packed.order_PK[real_PK]] = own_PK[real_PK]
            self._to_loose = (place_PX + rows_P1 * packed.order_PK.shape[1]).flatten()
            self._to_packed = (packed.order_PK + rows_P1 * loose).flatten()

    def attend(self, layer: int, query_BHQE: Tensor, key_BJQE: Tensor, value_BJQE: Tensor, scaling: float) -> Tensor:
        """Attention of one decoder layer over the packed rows. Returns ``[P, K, H, E]``."""
        query, key, value = (self._loose(packed) for packed in (query_BHQE, key_BJQE, value_BJQE))
        asked = slice(0, self.prompt_tokens)
        # padding comes after a prompt's tokens, so that it is seen by none of them
        prompt_PHSE = grouped_attention(query[:, :, asked], key[:, :, asked], value[:, :, asked], scaling, None)
        own_NHTE = grouped_attention(
            self._by_completion(query), self._beside_prompt(key), self._beside_prompt(value), scaling, self._own_mask
        )
        own_PHXE = own_NHTE.reshape(self.groups, self.group_size, *own_NHTE.shape[1:]).transpose(1, 2).flatten(2, 3)
        loose_PXHE = torch.cat([prompt_PHSE, own_PHXE], 2).transpose(1, 2)
        if not self.squeezed:
            return loose_PXHE
        rows = loose_PXHE.flatten(2).flatten(0, 1).index_select(0, self._to_packed)
        return rows.view(self.groups, -1, *loose_PXHE.shape[2:])

    @cached_property
    def _own_mask(self) -> Tensor:
        """``[N or 1, 1, R x T, S + T]``."""
        causal_TT = torch.ones(self.tokens, self.tokens, dtype=torch.bool, device=self._prompt_mask_PS.device).tril()
        asked_PS = self._prompt_mask_PS if self.padded else self._prompt_mask_PS[:1]
        seen = torch.cat(
            [
                asked_PS[:, None, :].expand(-1, self.tokens, -1),
                causal_TT.expand(len(asked_PS), -1, -1),
            ],
            2,
        ).repeat(1, self.heads_per_key, 1)
        return (seen.repeat_interleave(self.group_size, 0) if self.padded else seen)[:, None]

    def _loose(self, packed_BHKE: Tensor) -> Tensor:
        """Prompts padded to S and completions padded to T, side by side: ``[P, H, S + G x T, E]``."""
        if not self.squeezed:
            return packed_BHKE
        heads, width = packed_BHKE.shape[1], packed_BHKE.shape[3]
        rows = packed_BHKE.transpose(1, 2).reshape(-1, heads * width).index_select(0, self._to_loose)
        return rows.view(self.groups, -1, heads, width).transpose(1, 2)

    def _by_completion(self, loose_PHXE: Tensor) -> Tensor:
        """The completions' tokens: ``[N, H, T, E]``."""
        own: Tensor = loose_PHXE[:, :, self.prompt_tokens :].unflatten(2, (self.group_size, self.tokens))
        return own.transpose(1, 2).flatten(0, 1)

    def _beside_prompt(self, loose_PJXE: Tensor) -> Tensor:
        """Each completion's keys or values after its prompt's: ``[N, J, S + T, E]``."""
        asked = loose_PJXE[:, None, :, : self.prompt_tokens].expand(-1, self.group_size, -1, -1, -1)
        own = loose_PJXE[:, :, self.prompt_tokens :].unflatten(2, (self.group_size, self.tokens)).transpose(1, 2)
        return torch.cat([asked, own], 3).flatten(0, 1)


class FlexGroups:
    """Attention of packed rows by FlexAttention and a block mask.

    Args:
        packed: the packed rows.
    """

    def __init__(self, packed: PackedBatch) -> None:
        segments_PK = packed.segments_PK

        def sees(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
            own, other = segments_PK[row, query], segments_PK[row, key]
            return ((own == other) | (other == 0)) & (query >= key)

        rows, tokens = segments_PK.shape
        device = segments_PK.device
        make: Any = _compiled(create_block_mask) if device.type == "cuda" else create_block_mask
        self._mask: BlockMask = make(sees, rows, None, tokens, tokens, device=device)

    def attend(self, layer: int, query_BHQE: Tensor, key_BJQE: Tensor, value_BJQE: Tensor, scaling: float) -> Tensor:
        """Attention of one decoder layer over the packed rows. Returns ``[P, K, H, E]``."""
        attention: Any = _compiled(flex_attention) if query_BHQE.is_cuda else flex_attention
        seen: Tensor = attention(
            query_BHQE, key_BJQE, value_BJQE, block_mask=self._mask, scale=scaling, enable_gqa=True
        )
        return seen.transpose(1, 2)


@cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """One kernel, in which a mask of all pairs or the scores of all pairs never exist; lengths differ by the step."""
    return torch.compile(function, dynamic=True)
