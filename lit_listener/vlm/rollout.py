"""Sampling: a group's prompt and images are read once, its cache is repeated, and G completions are drawn.

Nothing of a released generation config is used but its end tokens: no penalties, no top-k or top-p, which would bias
the policy ratio. Finished rows are dropped from the batch as they pile up.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lit_listener.objective import SUPPRESSED_LOGIT, suppression_mask
from lit_listener.vlm.backbone import Backbone, LabelIds
from lit_listener.vlm.completions import Completions
from lit_listener.vlm.encoding import PromptBatch, Vocabulary
from lit_listener.vlm.streams import ItemKey, uniforms

_DROP_SHARE = 0.25
"""Finished rows are dropped once they make up this share of the batch: each drop copies the cache."""


@dataclass(frozen=True)
class Sampling:
    """How completions are drawn.

    Args:
        max_new_tokens: longest completion in tokens, end token included; at least 1.
        temperature: logits are divided by it; above 0.
        seed: seed of the completions' random streams.
    """

    max_new_tokens: int = 512
    temperature: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise ValueError(f"sampling.max_new_tokens: expected at least 1 token, got {self.max_new_tokens}")
        if self.temperature <= 0:
            raise ValueError(f"sampling.temperature: expected a value above 0, got {self.temperature}")


@torch.no_grad()
def rollout(
    backbone: Backbone,
    prompts: PromptBatch,
    features_MD: Tensor,
    *,
    group_size: int,
    sampling: Sampling,
    keys: Sequence[ItemKey],
    label_ids: LabelIds = (),
    anywhere: Callable[[bool], bool] | None = None,
) -> Completions:
    """Draw ``group_size`` completions for each of P prompts.

    Args:
        backbone: the policy, in eval mode.
        prompts: P prompts.
        features_MD: their image features.
        group_size: G, completions a prompt.
        sampling: length, temperature and seed.
        keys: each prompt's item key (see ``streams``).
        label_ids: labels whose unscaled logits are kept at every step.
        anywhere: whether this rank's word holds on any rank. Given where every step needs all ranks: then one that has
            finished decodes on with the others, to no effect.

    Returns:
        N = P x G completions.
    """
    if backbone.training:
        raise RuntimeError("rollout needs the policy in eval mode: dropout would make its ratios meaningless")
    device = features_MD.device
    rows = len(prompts) * group_size
    uniforms_NT = uniforms(sampling.seed, keys, group_size, sampling.max_new_tokens).to(device)
    ids_NT = torch.full((rows, sampling.max_new_tokens), backbone.vocabulary.pad_id, device=device)
    labels_NTL = torch.zeros(rows, sampling.max_new_tokens, len(label_ids), device=device)
    ends = torch.tensor(backbone.vocabulary.end_ids, device=device)

    logits, cache = backbone.prefill(prompts, features_MD)
    logits = logits.repeat_interleave(group_size, 0)
    cache.batch_repeat_interleave(group_size)
    mask_NK = prompts.mask_PS.repeat_interleave(group_size, 0)
    positions = prompts.next_position_P.repeat_interleave(group_size)
    alive = torch.arange(rows, device=device)  # rows of the batch that are still in the cache
    ended = torch.zeros(rows, dtype=torch.bool, device=device)
    for step in range(sampling.max_new_tokens):
        tokens = sample(logits, uniforms_NT[alive, step], sampling.temperature, backbone.vocabulary)
        running = ~ended[alive]
        ids_NT[alive[running], step] = tokens[running]
        for label, spellings in enumerate(label_ids):
            labels_NTL[alive[running], step, label] = logits[running][:, list(spellings)].float().logsumexp(1)
        ended[alive] |= torch.isin(tokens, ends)
        keep = (~ended[alive]).nonzero().flatten()
        if step + 1 == sampling.max_new_tokens or not (anywhere or bool)(len(keep) > 0):
            break
        if len(keep) == 0:  # one row goes on with the other ranks
            keep = keep.new_zeros(1)
        if len(keep) <= len(alive) * (1 - _DROP_SHARE):
            alive, tokens, positions, mask_NK = alive[keep], tokens[keep], positions[keep], mask_NK[keep]
            cache.batch_select_indices(keep)
        mask_NK = torch.cat([mask_NK, mask_NK.new_ones(len(mask_NK), 1)], 1)
        logits = backbone.decode(tokens, positions, mask_NK, cache)
        positions = positions + 1
    mask_NT = _mask(ids_NT[:, : step + 1], ends)
    longest = int(mask_NT.sum(1).max())
    return Completions(ids_NT[:, :longest], mask_NT[:, :longest], ~ended, labels_NTL[:, :longest])


def sample(logits_NV: Tensor, uniform_N: Tensor, temperature: float, vocabulary: Vocabulary) -> Tensor:
    """One token a row by inversion of the cumulative distribution.

    Args:
        logits_NV: unscaled logits.
        uniform_N: a number in [0, 1) for each row.
        temperature: logits are divided by it.
        vocabulary: its suppressed ids and the ids beyond its size are never drawn.

    Returns:
        token ids ``[N]``.

    Raises:
        FloatingPointError: a logit is NaN or infinite.
    """
    if not bool(logits_NV.isfinite().all()):
        raise FloatingPointError("the policy's logits are NaN or infinite: its weights are no use any more")
    # the same mask and logit as in training's log-probs: one distribution is sampled and scored
    never_V = suppression_mask(logits_NV.shape[1], vocabulary.suppressed_ids, vocabulary_size=vocabulary.size)
    scaled = (logits_NV.float() / temperature).masked_fill(never_V.to(logits_NV.device), SUPPRESSED_LOGIT)
    cumulative = scaled.softmax(-1).double().cumsum(-1)
    return torch.searchsorted(cumulative, (uniform_N * cumulative[:, -1])[:, None], right=True).flatten()


def _mask(ids_NT: Tensor, ends: Tensor) -> Tensor:
    """True up to and including the first end token (padding may be an end token too)."""
    is_end = torch.isin(ids_NT, ends)
    return (is_end.long().cumsum(1) - is_end.long()) == 0
