"""What an evaluation judges in one piece: a pair in its display orders, or a ranked list.

The pairs of a list, and both orders of a pair, stay together: their pictures are then encoded once, and an evaluation
that is broken off has judged each unit whole or not at all. Ranks are dealt units, in turn.

Ranked lists are judged either by all their pairs, or by anchors (Gambashidze et al. 2025, section 4.2): each other
image is compared with one anchor, or with each of several, which takes N - 1 comparisons for N images and an anchor.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from itertools import groupby
from typing import Literal

import numpy as np
from torch.utils.data import Dataset
from torch.utils.data.distributed import DistributedSampler

from lit_listener.data.order import EpochOrder, Orders, first_shown
from lit_listener.data.records import ListSource, PairSource, RankedList, Side
from lit_listener.data.shown import ShownPair

ListProtocol = Literal["pairs", "anchor"]
"""How ranked lists are judged: every pair of a list, or every image against anchors."""


class Units(ABC):
    """The units of one source; "place" is what ``ShownPair.index`` tells of all pairs of a unit."""

    largest: int
    """Shown pairs of the largest unit."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of units."""

    @abstractmethod
    def show(self, unit: int) -> list[ShownPair]:
        """The shown pairs of a unit; images are decoded only now."""

    @abstractmethod
    def place(self, unit: int) -> int:
        """The place in the source of a unit's first pair, or of its list."""


class PairUnits(Units):
    """The pairs of a source in a seeded and balanced display order, or in both; pairs of one list stay together.

    Args:
        pairs: the source.
        seed: seed of the display order.
        orders: balanced shows each pair once, both in both display orders.
    """

    def __init__(self, pairs: PairSource, seed: int, orders: Orders = "balanced") -> None:
        self._pairs = pairs
        indices, labels = EpochOrder(len(pairs), seed, shuffle=False, orders=orders).begin(0)
        shown = sorted(zip(indices.tolist(), labels.tolist(), strict=True), key=lambda place: place[0])
        self._units: list[list[tuple[int, int]]] = [
            list(unit) for _, unit in groupby(shown, key=lambda place: self._group(place[0]))
        ]
        self.largest = max(map(len, self._units))

    def __len__(self) -> int:
        return len(self._units)

    def show(self, unit: int) -> list[ShownPair]:
        """The pairs of a unit, each fetched once."""
        found = []
        for index, of_pair in groupby(self._units[unit], key=lambda place: place[0]):
            pair = self._pairs[index]
            found += [ShownPair(pair, first_shown(pair, label), index) for _, label in of_pair]
        return found

    def place(self, unit: int) -> int:
        """The place of the unit's first pair."""
        return self._units[unit][0][0]

    def _group(self, index: int) -> tuple[str, int]:
        of_list = self._pairs.list_of(index)
        return ("pair", index) if of_list is None else ("list", of_list)


class AnchorUnits(Units):
    """Ranked lists, each image but the anchor compared with it; lists of one image have nothing to compare.

    Args:
        lists: the source's lists.
        seed: seed of the anchors and of the display order.
        orders: balanced shows each comparison once, which image first by seed; both in both display orders.
        anchors: how many anchors each list has, each compared with all others; all of a list's images at most.
        anchor: the anchor by its place in the list (from 0) or by its generator's name; None draws anchors by seed.

    Raises:
        ValueError: no list has two images, or ``anchor`` is named and ``anchors`` is not 1.
    """

    def __init__(
        self,
        lists: ListSource,
        seed: int,
        orders: Orders = "balanced",
        anchors: int = 1,
        anchor: int | str | None = None,
    ) -> None:
        if anchors < 1 or (anchor is not None and anchors != 1):
            raise ValueError(
                f"data.anchors: expected 1 or more anchors drawn by seed, or a single named one, got {anchors} with "
                f"anchor {anchor!r}"
            )
        self._lists, self._seed, self._orders = lists, seed, orders
        self._anchors, self._anchor = anchors, anchor
        self._kept = [place for place in range(len(lists)) if lists.size(place) > 1]
        if not self._kept:
            raise ValueError(f"none of {len(lists)} lists has two images to compare")
        self.largest = max(map(self._comparisons, self._kept)) * (2 if orders == "both" else 1)

    def __len__(self) -> int:
        return len(self._kept)

    def show(self, unit: int) -> list[ShownPair]:
        """The comparisons of a list with its anchors, in the order of the list."""
        place = self._kept[unit]
        ranked = self._lists[place]
        rng = np.random.default_rng([self._seed, place])
        anchors = self._chosen(ranked, rng)
        wanted = {(min(pair), max(pair)) for anchor in anchors for pair in _with_others(ranked, anchor)}
        sides: tuple[Side, Side] = ("a", "b")
        shown = []
        for item_a, item_b in sorted(wanted):
            pair = ranked.pair(item_a, item_b)
            first = sides[int(rng.integers(2))]
            orders = sides if self._orders == "both" else (first,)
            shown += [ShownPair(pair, order, place) for order in orders]
        return shown

    def place(self, unit: int) -> int:
        """The list's place in the source."""
        return self._kept[unit]

    def _comparisons(self, place: int) -> int:
        size = self._lists.size(place)
        anchors = min(self._anchors, size)
        return anchors * (size - 1) - anchors * (anchors - 1) // 2

    def _chosen(self, ranked: RankedList, rng: np.random.Generator) -> Sequence[int]:
        size = len(ranked.images)
        if self._anchor is None:
            chosen: list[int] = rng.permutation(size)[: self._anchors].tolist()
            return chosen
        if isinstance(self._anchor, int) and 0 <= self._anchor < size:
            return [self._anchor]
        if self._anchor in ranked.generators:
            return [ranked.generators.index(str(self._anchor))]
        raise ValueError(
            f"data.anchor: list {ranked.list_id} has no image {self._anchor!r}: expected a place from 0 to {size - 1}, "
            f"or one of the generators {sorted(set(ranked.generators) - {''})}"
        )


class UnitOrder(DistributedSampler[int]):
    """Units that are still to be judged, dealt to the ranks in turn.

    All ranks are given the same number, one at least: where they do not divide, or nothing is left, some are repeated,
    marked as ~unit, and do not count.

    Args:
        pending: the units that are left.
        rank: which process this is, from 0.
        ranks: processes that share them.
    """

    def __init__(self, pending: Sequence[int], rank: int = 0, ranks: int = 1) -> None:
        super().__init__(Pending(pending), num_replicas=ranks, rank=rank, shuffle=False)
        each = max(1, -(-len(pending) // ranks))
        missing = each * ranks - len(pending)
        repeated = [~int(unit) for unit in np.resize(np.asarray(pending or [0]), missing)]
        self._own = [*pending, *repeated][rank::ranks]

    def __len__(self) -> int:
        return len(self._own)

    def __iter__(self) -> Iterator[int]:
        return iter(self._own)


class Pending(Dataset[int]):
    """All that a ``DistributedSampler`` asks of its data.

    Args:
        units: what is left.
    """

    def __init__(self, units: Collection[int]) -> None:
        self._size = max(1, len(units))

    def __len__(self) -> int:
        return self._size


class ShownUnits(Dataset[list[ShownPair]]):
    """Units by their numbers, those of ~unit marked so that they do not count.

    Args:
        units: the units.
    """

    def __init__(self, units: Units) -> None:
        self._units = units

    def __len__(self) -> int:
        return len(self._units)

    def __getitem__(self, unit: int) -> list[ShownPair]:
        shown = self._units.show(unit if unit >= 0 else ~unit)
        return [ShownPair(each.pair, each.first, each.index, each.epoch, counted=unit >= 0) for each in shown]


def pending_units(units: Units, judged: Collection[int]) -> list[int]:
    """The units that are not among those judged before, which are known by their places."""
    known = frozenset(judged)
    return [unit for unit in range(len(units)) if units.place(unit) not in known]


def _with_others(ranked: RankedList, anchor: int) -> list[tuple[int, int]]:
    return [(anchor, item) for item in range(len(ranked.images)) if item != anchor]
