"""The record of sampled completions, shared by rollout, packing and listeners."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from lit_listener.vlm.encoding import TensorRecord


@dataclass(frozen=True)
class Completions(TensorRecord):
    """N = P x G completions of at most T tokens; row n answers prompt n // G."""

    ids_NT: Tensor
    """Token ids, padded on the right; the end token is part of a completion."""
    mask_NT: Tensor
    """True up to and including the end token."""
    truncated_N: Tensor
    """True where the length limit came before an end token."""
    label_logits_NTL: Tensor
    """Unscaled logits of the answer labels at every step of sampling: the policy's own soft scores, for nothing."""

    def __len__(self) -> int:
        return self.ids_NT.shape[0]

    @property
    def lengths_N(self) -> Tensor:
        """Tokens of each completion, end token included."""
        return self.mask_NT.sum(1)

    @classmethod
    def joined(cls, parts: Sequence["Completions"], pad_id: int) -> "Completions":
        """Completions that were drawn one part after another, padded to the longest of all."""
        longest = max(part.ids_NT.shape[1] for part in parts)
        mask_NT = torch.cat([padded_tokens(part.mask_NT, longest) for part in parts])
        ids_NT = torch.cat([padded_tokens(part.ids_NT, longest) for part in parts])
        return cls(
            ids_NT=ids_NT.masked_fill(~mask_NT, pad_id),
            mask_NT=mask_NT,
            truncated_N=torch.cat([part.truncated_N for part in parts]),
            label_logits_NTL=torch.cat([padded_tokens(part.label_logits_NTL, longest) for part in parts]),
        )

    def select(self, rows: slice) -> "Completions":
        """Some of the completions, cut to the longest of them."""
        longest = max(1, int(self.mask_NT[rows].sum(1).max()))
        return Completions(
            ids_NT=self.ids_NT[rows, :longest],
            mask_NT=self.mask_NT[rows, :longest],
            truncated_N=self.truncated_N[rows],
            label_logits_NTL=self.label_logits_NTL[rows, :longest],
        )

    def p_label_at(self, places: Sequence[int | None]) -> Tensor:
        """The policy's own probability of each label at the answers' places, ``[N, L]`` on the CPU.

        Args:
            places: each completion's answer token; where it is None, the row means nothing.
        """
        at_N = torch.tensor([place or 0 for place in places], device=self.label_logits_NTL.device)
        logits_NL = self.label_logits_NTL[torch.arange(len(at_N), device=at_N.device), at_N]
        return logits_NL.cpu().float().softmax(1)

    def content_ids(self) -> list[list[int]]:
        """Each completion's ids as plain lists, without the end token."""
        lengths = (self.lengths_N - (~self.truncated_N).long()).tolist()
        return [row[:length] for row, length in zip(self.ids_NT.tolist(), lengths, strict=True)]

    @classmethod
    def from_ids(cls, rows: list[list[int]], pad_id: int, labels: int = 2) -> "Completions":
        """Given (not sampled) completions, end tokens included, padded to the longest."""
        longest = max(map(len, rows))
        return cls(
            ids_NT=torch.tensor([row + [pad_id] * (longest - len(row)) for row in rows]),
            mask_NT=torch.tensor([[True] * len(row) + [False] * (longest - len(row)) for row in rows]),
            truncated_N=torch.zeros(len(rows), dtype=torch.bool),
            label_logits_NTL=torch.zeros(len(rows), longest, labels),
        )


def padded_tokens(tensor_NT: Tensor, longest: int) -> Tensor:
    """Zeros (False) added along the second dimension, tokens, until it is as long as the longest completion."""
    missing = longest - tensor_NT.shape[1]
    return functional.pad(tensor_NT, [0, 0] * (tensor_NT.ndim - 2) + [0, missing])
