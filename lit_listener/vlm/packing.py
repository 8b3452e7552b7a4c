"""Packed rows: a prompt once, then all completions of its group, in one sequence.

``[prompt, c1, c2, ..., cG]``, where a completion sees the prompt and itself, never its siblings (``packed_attention``),
with mrope positions that start anew after the prompt for every completion. Log-probabilities and gradients equal those
of one row a completion, and the prompt with its images is read once instead of G times. Unlike a cached prefix, which
calls each layer twice before the backward pass, a packed row is one plain forward: it works under FSDP2 and
checkpointing.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from lit_listener.vlm.completions import Completions
from lit_listener.vlm.encoding import PromptBatch, TensorRecord


@dataclass(frozen=True)
class PackedBatch(TensorRecord):
    """P packed rows of K tokens that hold N = P x G completions of at most T tokens."""

    input_ids_PK: Tensor
    position_ids_3PK: Tensor
    segments_PK: Tensor
    """0 in the prompt, 1 … G in the completions, -1 in padding: a token sees what comes before it in the prompt and in
    its own segment."""
    order_PK: Tensor
    """Where each packed token stands in ``[prompt, padded to S | c1, padded to T | ... | cG, padded to T]``."""
    prompt_mask_PS: Tensor
    """True at real tokens of the padded prompts."""
    source_NT: Tensor
    """Place in the packed row whose hidden state predicts this completion token (the logit at t predicts t + 1)."""
    targets_NT: Tensor
    mask_NT: Tensor


def pack(prompts: PromptBatch, completions: Completions) -> PackedBatch:
    """Pack each prompt with its group of completions.

    Padding is squeezed out, so a row is as long as its real tokens; rows are padded on the right to the longest.
    """
    groups = len(prompts)
    if len(completions) % groups:
        raise ValueError(f"{len(completions)} completions cannot be groups of equal size for {groups} prompts")
    group_size = len(completions) // groups
    tokens = completions.ids_NT.shape[1]
    device = prompts.input_ids_PS.device

    steps_T = torch.arange(tokens, device=device)
    loose_positions = (prompts.next_position_P[:, None, None] + steps_T).expand(groups, group_size, tokens)
    ids = torch.cat([prompts.input_ids_PS, completions.ids_NT.reshape(groups, -1)], 1)
    valid = torch.cat([prompts.mask_PS, completions.mask_NT.reshape(groups, -1)], 1)
    positions = torch.cat([prompts.position_ids_3PS, loose_positions.reshape(groups, -1).expand(3, -1, -1)], 2)
    segment_S = torch.zeros(prompts.input_ids_PS.shape[1], dtype=torch.long, device=device)
    segment_GT = torch.arange(1, group_size + 1, device=device).repeat_interleave(tokens)
    segments = torch.cat([segment_S, segment_GT]).expand(groups, -1)

    kept = int(valid.sum(1).max())
    order = torch.argsort(~valid, dim=1, stable=True)[:, :kept]
    segments_PK = segments.gather(1, order).masked_fill(~valid.gather(1, order), -1)
    packed_ids = ids.gather(1, order)
    packed_positions = positions.gather(2, order.expand(3, -1, -1))

    # a completion token's own place, minus one; its first token is predicted from the prompt's last
    places = valid.long().cumsum(1) - 1
    own_PGT = places[:, prompts.input_ids_PS.shape[1] :].view(groups, group_size, tokens)
    last_prompt = (prompts.lengths_P - 1)[:, None].expand(groups, group_size)
    source = torch.where(steps_T == 0, last_prompt[..., None], own_PGT - 1)
    return PackedBatch(
        input_ids_PK=packed_ids,
        position_ids_3PK=packed_positions,
        segments_PK=segments_PK,
        order_PK=order,
        prompt_mask_PS=prompts.mask_PS,
        source_NT=source.reshape(-1, tokens),
        targets_NT=completions.ids_NT,
        mask_NT=completions.mask_NT,
    )
