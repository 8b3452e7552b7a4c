"""Keys and values of a rollout: a prompt's once for all its completions, and each completion's own beside them.

Where a cache is repeated for every completion, G copies of a prompt of some hundred image tokens are kept, and read for
every token. Here a decoding step multiplies the queries of a whole group with the one copy, as a matrix. Completions'
keys and values are written into space that is taken once, so that nothing is copied as they grow, and a step's shapes
stay the same, which a CUDA graph needs.

Letters in names: P prompts (groups), B completions that are decoded, S prompt tokens, T tokens of a completion, J
key/value heads (R = H / J query heads share one), E head width.
"""

import torch
from torch import Tensor
from torch.nn import functional

from lit_listener.vlm.attention import grouped_attention


class GroupCache:
    """The keys and values of P groups, to be filled by one pass over the prompts and one a token.

    Args:
        mask_PS: True at the prompts' real tokens.
        group_size: completions of each group at first; they stand one group after another.
        room: longest completion in tokens.
    """

    def __init__(self, mask_PS: Tensor, group_size: int, room: int) -> None:
        self.room = room
        self.written_1 = torch.zeros(1, dtype=torch.long, device=mask_PS.device)
        """Tokens of each completion in the cache."""
        self._mask_PS = mask_PS
        self._sight = 0
        self._sight_is_exact = True
        self._alone = group_size == 1
        """Groups of one share nothing: a prompt's keys and values stand before its completion's, in one piece."""
        self._prompts: dict[int, tuple[Tensor, Tensor]] = {}
        self._own: dict[int, tuple[Tensor, Tensor]] = {}
        self._arrange(torch.arange(len(mask_PS), device=mask_PS.device).repeat_interleave(group_size))

    def look_at(self, places: int, *, exactly: bool) -> None:
        """Set how many places of the completions' space a step looks at.

        Args:
            places: at least the tokens written and the step's own, at most the room.
            exactly: there are no more than those; else what is not written yet is hidden.
        """
        self._sight, self._sight_is_exact = places, exactly

    def select(self, kept_b: Tensor) -> None:
        """Go on with some of the completions.

        Args:
            kept_b: their places among those that are decoded now, in order.
        """
        prompts_p, group_b = self._group_B[kept_b].unique(return_inverse=True)
        if len(prompts_p) < len(self._mask_PS):
            self._mask_PS = self._mask_PS[prompts_p]
            self._prompts = {n: (keys[prompts_p], values[prompts_p]) for n, (keys, values) in self._prompts.items()}
        self._own = {n: (keys[kept_b], values[kept_b]) for n, (keys, values) in self._own.items()}
        self._arrange(group_b)

    def prompts(self) -> "_Prompts":
        """The pattern of the pass over the prompts."""
        return _Prompts(self)

    def step(self) -> "_Step":
        """The pattern of the pass over one more token of every completion."""
        return _Step(self)

    # ---- for the patterns ------------------------------------------------------------------------------------------

    def _arrange(self, group_B: Tensor) -> None:
        """Lay out the completions as a grid of P groups; where they differ in size, some of its places are nobody's."""
        self._group_B = group_B
        self._padded = not bool(self._mask_PS.all())
        counts_P = group_B.bincount()
        self._width = int(counts_P.max())
        self._unequal = self._width * len(counts_P) > len(group_B)
        if self._unequal:
            row_B = torch.arange(len(group_B), device=group_B.device)
            starts_P = counts_P.cumsum(0) - counts_P
            self._place_B = group_B * self._width + row_B - starts_P[group_B]
            self._row_X = torch.zeros(self._width * len(counts_P), dtype=torch.long, device=group_B.device)
            self._row_X[self._place_B] = row_B

    def _to_grid(self, rows_B: Tensor) -> Tensor:
        """``[B, …]`` as ``[P, width, …]``."""
        rows_X = rows_B.index_select(0, self._row_X) if self._unequal else rows_B
        return rows_X.reshape(-1, self._width, *rows_X.shape[1:])

    def _to_rows(self, grid_PG: Tensor) -> Tensor:
        """``[P, width, …]`` as ``[B, …]``."""
        rows_X = grid_PG.flatten(0, 1)
        return rows_X.index_select(0, self._place_B) if self._unequal else rows_X

    def _keep_prompt(self, layer: int, key_BJSE: Tensor, value_BJSE: Tensor) -> None:
        if not self._alone:
            self._prompts[layer] = (key_BJSE.contiguous(), value_BJSE.contiguous())
            return
        rows, heads, tokens, width = key_BJSE.shape
        whole = [given.new_zeros(rows, heads, tokens + self.room, width) for given in (key_BJSE, value_BJSE)]
        for kept, given in zip(whole, (key_BJSE, value_BJSE), strict=True):
            kept[:, :, :tokens] = given
        self._own[layer] = (whole[0], whole[1])

    def _keep_own(self, layer: int, key_BJ1E: Tensor, value_BJ1E: Tensor) -> tuple[Tensor, Tensor]:
        """Write one token of every completion; returns all that is in sight, ``[B, J, T', E]``."""
        if layer not in self._own:
            rows, heads, _, width = key_BJ1E.shape
            shape = (rows, heads, self.room, width)
            self._own[layer] = (key_BJ1E.new_zeros(shape), value_BJ1E.new_zeros(shape))
        keys, values = self._own[layer]
        before = self._mask_PS.shape[1] if self._alone else 0
        keys.index_copy_(2, self.written_1 + before, key_BJ1E)
        values.index_copy_(2, self.written_1 + before, value_BJ1E)
        return keys[:, :, : before + self._sight], values[:, :, : before + self._sight]

    def _hidden(self) -> Tensor | None:
        """True where a completion may not look, ``[B, 1, 1, S + T']``; None where it may everywhere."""
        if self._sight_is_exact and not self._padded:
            return None
        later_T = torch.arange(self._sight, device=self._mask_PS.device) >= self.written_1 + 1
        asked_BS = ~self._mask_PS[self._group_B]
        return torch.cat([asked_BS, later_T.expand(len(asked_BS), -1)], 1)[:, None, None, :]


class _Prompts:
    """Prompts are padded on the right: what comes later is not seen, so padding is not either."""

    def __init__(self, cache: GroupCache) -> None:
        self.cache = cache

    def attend(self, layer: int, query_BHQE: Tensor, key_BJQE: Tensor, value_BJQE: Tensor, scaling: float) -> Tensor:
        self.cache._keep_prompt(layer, key_BJQE, value_BJQE)
        return grouped_attention(query_BHQE, key_BJQE, value_BJQE, scaling, None).transpose(1, 2)


class _Step:
    """A token sees its prompt, and its own completion so far."""

    def __init__(self, cache: GroupCache) -> None:
        self.cache = cache
        self.hidden = cache._hidden()

    def attend(self, layer: int, query_BHQE: Tensor, key_BJQE: Tensor, value_BJQE: Tensor, scaling: float) -> Tensor:
        cache = self.cache
        own_keys, own_values = cache._keep_own(layer, key_BJQE, value_BJQE)
        if cache._alone:
            seen = None if self.hidden is None else ~self.hidden
            folded = query_BHQE.reshape(len(query_BHQE), own_keys.shape[1], -1, query_BHQE.shape[-1])
            alone_BJRE = functional.scaled_dot_product_attention(
                folded, own_keys, own_values, attn_mask=seen, scale=scaling
            )
            return alone_BJRE.reshape(len(query_BHQE), 1, -1, query_BHQE.shape[-1])
        asked_keys, asked_values = cache._prompts[layer]
        tokens, shared = asked_keys.shape[2], asked_keys.shape[1]
        query_BJRE = (query_BHQE * scaling).reshape(len(query_BHQE), shared, -1, query_BHQE.shape[-1])
        query_PJGRE = cache._to_grid(query_BJRE).transpose(1, 2)
        of_prompt = _products(query_PJGRE.flatten(2, 3), asked_keys.mT).unflatten(2, query_PJGRE.shape[2:4])
        of_own = _products(query_BJRE, own_keys.mT)
        scores = torch.cat([cache._to_rows(of_prompt.transpose(1, 2)), of_own], -1)
        if self.hidden is not None:
            scores = scores.masked_fill(self.hidden, float("-inf"))
        weights = scores.softmax(-1).to(asked_values.dtype)
        weights_PJGRS = cache._to_grid(weights[..., :tokens]).transpose(1, 2)
        seen_PJGRE = (weights_PJGRS.flatten(2, 3) @ asked_values).unflatten(2, weights_PJGRS.shape[2:4])
        seen_BJRE = cache._to_rows(seen_PJGRE.transpose(1, 2)) + weights[..., tokens:] @ own_values
        return seen_BJRE.reshape(len(seen_BJRE), 1, -1, seen_BJRE.shape[-1])


def _products(query: Tensor, keys: Tensor) -> Tensor:
    """Scores in float32: in 16 bits they would be rounded before the softmax, which fused kernels do not do."""
    if query.dtype == torch.float32:
        return query @ keys
    if not query.is_cuda:
        return query.float() @ keys.float()
    flat: Tensor = torch.bmm(query.flatten(0, -3), keys.flatten(0, -3), out_dtype=torch.float32)
    return flat.view(*query.shape[:-2], *flat.shape[1:])
