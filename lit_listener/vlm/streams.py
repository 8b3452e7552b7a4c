"""A stream of random numbers for every completion.

The numbers that sample a completion depend on (seed, item key, rollout index, position) alone, never on rank, batch
position or batch make-up: results do not change with batch size, dropped rows or the number of processes.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

ItemKey = tuple[int | str, ...]


def uniforms(seed: int, keys: Sequence[ItemKey], group_size: int, length: int, *, first: int = 0) -> Tensor:
    """Uniform numbers in [0, 1) for P items of ``group_size`` rollouts each.

    Args:
        seed: seed of all streams.
        keys: the items' keys.
        group_size: G, rollouts an item.
        length: numbers a rollout.
        first: index of the first of the G rollouts.

    Returns:
        float64 ``[P * group_size, length]``; row n is rollout ``first + n % group_size`` of item ``n // group_size``.
    """
    rollouts = range(first, first + group_size)
    rows = [_stream(seed, key, rollout).random(length) for key in keys for rollout in rollouts]
    return torch.from_numpy(np.stack(rows))


def _stream(seed: int, key: ItemKey, rollout: int) -> np.random.Generator:
    digest = hashlib.blake2b(repr((seed, key, rollout)).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))
