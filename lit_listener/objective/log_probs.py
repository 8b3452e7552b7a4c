"""Log-probabilities, entropies and label logits from hidden states, without ever holding the logits of a whole batch.

Two readings of one forward pass. `completion_log_probs` gives the distribution that tokens were *sampled* from:
temperature-scaled, with the suppressed ids taken out; these enter the ratio and the KL of Gambashidze et al. 2025,
Eq. 2. `label_logits` gives what the soft scores of Eq. 3 and 4 are read from: temperature 1, nothing suppressed.
Left out: shifting. The hidden state at [n, t] must be the one that predicts the target at [n, t], i.e. that of the
token before it.

Letters in names: N sequences, T tokens, D hidden width, V vocabulary rows, C tokens of a chunk, L labels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

SUPPRESSED_LOGIT = -1e9
"""Logit of a suppressed id: its probability is exactly 0, and unlike -inf it makes no NaN in entropies or gradients."""


def suppression_mask(
    rows: int, suppressed_ids: Tensor | None, *, vocabulary_size: int | None = None, device: torch.device | None = None
) -> Tensor:
    """Mark the ids that may never be sampled; sampling and training both call this, so that they agree.

    Args:
        rows: Rows of the output matrix V, padding included.
        suppressed_ids: Ids to suppress, int64 of shape [any], on `device`; or None.
        vocabulary_size: Number of real ids; rows from there on are padding and are suppressed as well. None: all rows
            are real.
        device: Where the mask is made.

    Returns:
        Bool tensor of shape [V], True where suppressed.

    Raises:
        ValueError: If an id lies outside [0, V), the vocabulary size outside [1, V], or if nothing would be left to
            sample.
    """
    mask_V = torch.zeros(rows, dtype=torch.bool, device=device)
    if vocabulary_size is not None:
        if not 1 <= vocabulary_size <= rows:
            raise ValueError(f"vocabulary_size must lie in [1, {rows}], the matrix's rows, got {vocabulary_size}")
        mask_V[vocabulary_size:] = True
    if suppressed_ids is not None and suppressed_ids.numel():
        lowest, highest = suppressed_ids.min().item(), suppressed_ids.max().item()
        if lowest < 0 or highest >= rows:
            raise ValueError(f"suppressed_ids must lie in [0, {rows}), got ids from {lowest} to {highest}")
        mask_V[suppressed_ids] = True
        if mask_V.all():
            raise ValueError(f"suppressed_ids and vocabulary_size={vocabulary_size} leave none of {rows} ids to sample")
    return mask_V


def completion_log_probs(
    hidden_NTD: Tensor,
    weight_VD: Tensor,
    targets_NT: Tensor,
    *,
    temperature: float,
    suppressed_ids: Tensor | None,
    chunk_tokens: int,
    vocabulary_size: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Compute each target's log-probability, and the entropy of the distribution it was drawn from.

    Works through the N x T tokens in chunks; with gradients on and more than one chunk, each chunk's logits are
    recomputed in the backward pass (activation checkpointing), so that at no time the logits of more than one chunk
    exist.

    Args:
        hidden_NTD: Last hidden states, shape [N, T, D], any float dtype; [n, t] predicts `targets_NT[n, t]`.
        weight_VD: Output matrix, shape [V, D], same dtype and device.
        targets_NT: Token ids, int64, shape [N, T]; padded places may hold any id in [0, V).
        temperature: Sampling temperature the logits are divided by, > 0.
        suppressed_ids: Ids that sampling never draws, int64 of shape [any], or None. Their logits become
            `SUPPRESSED_LOGIT` after the division, as in sampling. A target that is itself suppressed gets a
            log-probability near -1e9, finite and without gradient through its own logit: mask such places.
        chunk_tokens: Tokens a chunk, >= 1; memory grows with chunk_tokens x V.
        vocabulary_size: Number of real ids; later rows of the matrix are padding and are suppressed too. None: all
            rows are real.

    Returns:
        Log-probabilities and entropies in nats, both float32 of shape [N, T] whatever the input dtype, both
        differentiable.

    Raises:
        ValueError: If shapes disagree, the temperature or chunk size is not positive, or ids lie outside the matrix.

    Examples:
        >>> import torch
        >>> hidden, weight = torch.zeros(1, 2, 3), torch.zeros(4, 3)
        >>> targets = torch.tensor([[0, 1]])
        >>> completion_log_probs(
        ...     hidden, weight, targets, temperature=1.0, suppressed_ids=torch.tensor([2, 3]), chunk_tokens=8
        ... )  # two ids left, equally likely: log 0.5, and log 2 nats of entropy
        (tensor([[-0.6931, -0.6931]]), tensor([[0.6931, 0.6931]]))
    """
    _check_widths(hidden_NTD, weight_VD, "[N, T, D]")
    if targets_NT.shape != hidden_NTD.shape[:2]:
        raise ValueError(f"targets must have shape {list(hidden_NTD.shape[:2])}, got {list(targets_NT.shape)}")
    if not temperature > 0:
        raise ValueError(f"temperature must be > 0, got {temperature}")
    if chunk_tokens < 1:
        raise ValueError(f"chunk_tokens must be >= 1, got {chunk_tokens}")
    mask_V = suppression_mask(
        weight_VD.shape[0], suppressed_ids, vocabulary_size=vocabulary_size, device=weight_VD.device
    )
    hidden_chunks = hidden_NTD.flatten(0, 1).split(chunk_tokens)
    target_chunks = targets_NT.flatten().split(chunk_tokens)
    recompute = torch.is_grad_enabled() and len(hidden_chunks) > 1
    outputs: list[tuple[Tensor, Tensor]] = []
    for hidden_CD, targets_C in zip(hidden_chunks, target_chunks, strict=True):
        inputs = (hidden_CD, weight_VD, targets_C, mask_V, temperature)
        # Nothing random happens inside, so there is no generator state to save.
        outputs.append(
            checkpoint(_chunk_log_probs, *inputs, use_reentrant=False, preserve_rng_state=False)
            if recompute
            else _chunk_log_probs(*inputs)
        )
    log_probs, entropies = (torch.cat(parts).view(targets_NT.shape) for parts in zip(*outputs, strict=True))
    return log_probs, entropies


def _chunk_log_probs(
    hidden_CD: Tensor, weight_VD: Tensor, targets_C: Tensor, mask_V: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    # The product stays in the model's dtype, as in sampling: upcasting first would copy the whole matrix.
    logits_CV = functional.linear(hidden_CD, weight_VD).float() / temperature
    log_probs_CV = logits_CV.masked_fill(mask_V, SUPPRESSED_LOGIT).log_softmax(dim=-1)
    entropy_C = -(log_probs_CV.exp() * log_probs_CV).sum(dim=-1)
    return log_probs_CV.gather(-1, targets_C[:, None]).squeeze(-1), entropy_C


def label_logits(hidden_ND: Tensor, weight_VD: Tensor, label_ids: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Read the logits f(label | C) of Gambashidze et al. 2025, Eq. 3 and 4, and the mass outside the labels.

    A label may be written by several tokens ("1" and " 1"): its logit is the logsumexp over them, so that a softmax
    over the labels adds up the probabilities of all its writings.

    Args:
        hidden_ND: Hidden states that predict the answer token, shape [N, D].
        weight_VD: Output matrix, shape [V, D], same dtype and device.
        label_ids: For each of the L labels, the token ids that write it; no id twice.

    Returns:
        Unscaled float32 logits of shape [N, L] (temperature 1, nothing suppressed), and the discarded mass of shape
        [N]: 1 minus the full-vocabulary probability of all label tokens together, in [0, 1].

    Raises:
        ValueError: If shapes disagree, there is no label, a label has no token, or an id is outside the matrix or
            used twice.

    Examples:
        >>> import torch
        >>> logits, discarded = label_logits(torch.zeros(1, 2), torch.zeros(8, 2), [[0], [1]])
        >>> logits, discarded  # eight equal tokens, two of which are labels
        (tensor([[0., 0.]]), tensor([0.7500]))
    """
    _check_widths(hidden_ND, weight_VD, "[N, D]")
    if not label_ids or not all(label_ids):
        raise ValueError(f"every label needs at least one token id, got {[list(ids) for ids in label_ids]}")
    flat = [token for ids in label_ids for token in ids]
    if len(set(flat)) < len(flat) or min(flat) < 0 or max(flat) >= weight_VD.shape[0]:
        listed = [list(ids) for ids in label_ids]
        raise ValueError(f"label_ids must be different ids in [0, {weight_VD.shape[0]}), got {listed}")
    logits_NV = functional.linear(hidden_ND, weight_VD).float()
    logits_NL = torch.stack([logits_NV[:, list(ids)].logsumexp(dim=-1) for ids in label_ids], dim=-1)
    kept_N = (logits_NL.logsumexp(dim=-1) - logits_NV.logsumexp(dim=-1)).exp()
    return logits_NL, (1.0 - kept_N).clamp(0.0, 1.0)


def _check_widths(hidden: Tensor, weight_VD: Tensor, expected: str) -> None:
    if hidden.ndim != expected.count(",") + 1 or weight_VD.ndim != 2 or hidden.shape[-1] != weight_VD.shape[1]:
        got = f"{list(hidden.shape)} and {list(weight_VD.shape)}"
        raise ValueError(f"expected hidden {expected} and weight [V, D] with one D, got {got}")
