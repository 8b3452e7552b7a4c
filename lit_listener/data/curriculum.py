"""A curriculum by agreement: the pairs that people agree on come first, the contested ones join them later.

Which pairs may come at a place is a window over the pairs sorted by agreement. It widens in a straight line with the
pairs that were shown, and every epoch still shows every pair once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lit_listener.data.records import PairSource


@dataclass(frozen=True)
class Curriculum:
    """Pairs of high agreement first.

    Args:
        start: share of the pairs, those of the highest agreement, that training begins with; above 0, at most 1.
        steps: training batches over which the window widens to all pairs; at least 1.
    """

    start: float = 0.25
    steps: int = 100

    def __post_init__(self) -> None:
        if not 0 < self.start <= 1:
            raise ValueError(f"data.curriculum.start: expected a share above 0 and at most 1, got {self.start}")
        if self.steps < 1:
            raise ValueError(f"data.curriculum.steps: expected at least 1 batch, got {self.steps}")

    def of(self, pairs: PairSource, batch_size: int, seed: int) -> "WideningWindow":
        """The curriculum over the pairs of a source; their images are not decoded, where the source can tell without.

        Args:
            pairs: the source.
            batch_size: pairs of a batch, over all processes together.
            seed: decides the order of pairs of the same agreement.
        """
        agreements = [pairs.agreement(index) for index in range(len(pairs))]
        return WideningWindow(agreements, self.start, self.steps * batch_size, seed)


class WideningWindow:
    """Orders epochs: at each place comes one of the pairs within the window that the epoch has not shown yet.

    Args:
        agreements: of each pair, in [0.5, 1].
        start: share of the pairs that the window holds at first.
        places: places, counted over all epochs, after which it holds all of them.
        seed: decides the order of pairs of the same agreement.
    """

    def __init__(self, agreements: Sequence[float], start: float, places: int, seed: int) -> None:
        size = len(agreements)
        ties = np.random.default_rng([seed, size]).permutation(size)
        self._easiest_first = np.lexsort((ties, -np.asarray(agreements)))
        self._start = start
        self._places = places

    @property
    def identity(self) -> dict[str, Any]:
        """What a position in an epoch depends on."""
        return {"curriculum": [self._start, self._places]}

    def width(self, place: int) -> int:
        """Pairs that the window holds at a place, counted over all epochs from 0."""
        size = len(self._easiest_first)
        share = self._start + (1.0 - self._start) * min(1.0, place / self._places)
        return min(size, max(1, round(share * size)))

    def order(self, rng: np.random.Generator, epoch: int) -> npt.NDArray[np.int64]:
        """The pairs of an epoch in order, each once.

        Where the window has been shown whole, the pair of the next highest agreement joins it.

        Args:
            rng: the epoch's.
            epoch: from 0.
        """
        size = len(self._easiest_first)
        draws = rng.random(size).tolist()
        order = np.empty(size, dtype=np.int64)
        waiting: list[int] = []
        joined = 0
        for at, draw in enumerate(draws):
            width = max(self.width(epoch * size + at), at + 1)
            waiting += self._easiest_first[joined:width].tolist()
            joined = max(joined, width)
            taken = int(draw * len(waiting))
            waiting[taken], waiting[-1] = waiting[-1], waiting[taken]
            order[at] = waiting.pop()
        return order
