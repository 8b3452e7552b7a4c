"""The order of an epoch: which pair comes when, and which of its images is displayed first.

Both follow from (seed, epoch) alone. The preferred image stands first in exactly half of an epoch's pairs (one more
or less where their number is odd), so that a position cannot be learned.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from torch.utils.data import Dataset, Sampler

from lit_listener.data.records import PreferencePair, ShownPair, Side

Place = tuple[int, int, int]
"""(index of the pair, label it shall have, epoch)."""


class EpochOrder(Sampler[Place]):
    """Places of one epoch after another, shuffled or in turn; remembers its position for a mid-epoch checkpoint.

    Args:
        size: number of pairs; at least 1.
        seed: seed of shuffle and display order.
        shuffle: a new permutation every epoch, or the pairs in turn.
    """

    def __init__(self, size: int, seed: int, *, shuffle: bool) -> None:
        if size < 1:
            raise ValueError("the data set is empty: expected at least 1 pair, got 0; check its path, split and filters")
        self._size = size
        self._seed = seed
        self._shuffle = shuffle
        self._epoch = 0
        self._position = 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Place]:
        rng = np.random.default_rng([self._seed, self._epoch])
        labels = rng.permutation(self._size) % 2
        indices = rng.permutation(self._size) if self._shuffle else np.arange(self._size)
        while self._position < self._size:
            index = int(indices[self._position])
            self._position += 1
            yield index, int(labels[index]), self._epoch
        self._epoch += self._shuffle  # pairs in turn are the same pairs every time: evaluation must not drift
        self._position = 0

    def state_dict(self) -> dict[str, Any]:
        """Epoch and position."""
        return {"epoch": self._epoch, "position": self._position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved epoch and position."""
        self._epoch, self._position = state["epoch"], state["position"]


class ShownPairs(Dataset[ShownPair]):
    """A source of pairs, each fetched in the display order that its place asks for."""

    def __init__(self, pairs: Sequence[PreferencePair]) -> None:
        self._pairs = pairs

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, place: Place) -> ShownPair:
        index, label, epoch = place
        pair = self._pairs[index]
        preferred: Side = pair.preferred or "a"
        other: Side = "b" if preferred == "a" else "a"
        return ShownPair(pair, preferred if label == 0 else other, index, epoch)
