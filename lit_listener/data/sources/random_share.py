"""A random share of another source's pairs, for training on less than all there is."""

import numpy as np

from lit_listener.data.records import PairSource, PreferencePair


class RandomShare(PairSource):
    """A share of another source's pairs, drawn at random by a seed, in the other source's order.

    The same seed draws the same pairs from as many, and a larger share of them holds the smaller one's. There is always
    one pair at least.

    Args:
        pairs: the pairs to draw from.
        share: how many of them to keep, in (0, 1]; rounded to whole pairs.
        seed: seed of the draw.

    Raises:
        ValueError: a share outside (0, 1], or nothing to draw from.
    """

    def __init__(self, pairs: PairSource, share: float, seed: int = 0) -> None:
        if not 0 < share <= 1:
            raise ValueError(f"share: expected a share in (0, 1], got {share}")
        if len(pairs) == 0:
            raise ValueError("pairs: the source is empty; a share of it would be empty too")
        self._pairs = pairs
        kept = max(1, round(share * len(pairs)))
        self._indices_N = np.sort(np.random.default_rng(seed).permutation(len(pairs))[:kept])

    def __len__(self) -> int:
        return len(self._indices_N)

    def __getitem__(self, index: int) -> PreferencePair:
        return self._pairs[int(self._indices_N[index])]
