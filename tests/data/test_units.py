from collections.abc import Sequence
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lit_listener.data.order import EpochOrder, ShownPairs
from lit_listener.data.records import ListSource, PairSource, PreferencePair, RankedList
from lit_listener.data.shapes import ShapesPairs
from lit_listener.data.units import AnchorUnits, PairUnits, ShownUnits, UnitOrder, pending_units

DOT = Image.new("RGB", (2, 2))


class Lists(ListSource):
    def __init__(self, sizes: Sequence[int]) -> None:
        self.sizes = list(sizes)

    def __len__(self) -> int:
        return len(self.sizes)

    def size(self, index: int) -> int:
        return self.sizes[index]

    def __getitem__(self, index: int) -> RankedList:
        size = self.sizes[index]
        ranks = tuple(float(1 + item // 2) for item in range(size))  # 1, 1, 2, 2, 3, …
        makers = tuple("xyz"[item % 3] for item in range(size))
        return RankedList("a dog", (DOT,) * size, ranks, f"list-{index}", f"prompt-{index}", makers)


class PairsOfLists(PairSource):
    """All pairs of lists, list by list."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self.lists = Lists(sizes)
        self.pairs = [(place, *pair) for place, size in enumerate(sizes) for pair in combinations(range(size), 2)]

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> PreferencePair:
        place, item_a, item_b = self.pairs[index]
        return self.lists[place].pair(item_a, item_b)

    def list_of(self, index: int) -> int:
        return self.pairs[index][0]


def test_pairs_are_shown_as_an_epoch_shows_them():
    source = ShapesPairs(["flat"], size=9)
    places = list(EpochOrder(9, seed=5, shuffle=False))
    epoch = [(shown.index, shown.first) for shown in map(ShownPairs(source).__getitem__, places)]
    units = PairUnits(source, seed=5)
    assert [(shown.index, shown.first) for unit in range(9) for shown in units.show(unit)] == epoch
    assert units.largest == 1


def test_both_orders_of_a_pair_are_one_unit_and_the_pair_is_fetched_once():
    units = PairUnits(ShapesPairs(["flat"], size=4), seed=0, orders="both")
    assert (len(units), units.largest) == (4, 2)
    for unit in range(4):
        one, other = units.show(unit)
        assert {one.first, other.first} == {"a", "b"}
        assert one.pair is other.pair
        assert units.place(unit) == unit


def test_the_pairs_of_a_list_are_one_unit():
    units = PairUnits(PairsOfLists([3, 2, 4]), seed=0)
    # 3 + 1 + 6 pairs
    assert [len(units.show(unit)) for unit in range(3)] == [3, 1, 6]
    assert [units.place(unit) for unit in range(3)] == [0, 3, 4]
    assert units.largest == 6


@given(st.lists(st.integers(1, 7), min_size=1, max_size=6).filter(lambda sizes: max(sizes) > 1), st.integers(1, 4))
def test_anchors_take_so_many_comparisons(sizes, anchors):
    units = AnchorUnits(Lists(sizes), seed=3, anchors=anchors)
    kept = [place for place, size in enumerate(sizes) if size > 1]
    assert [units.place(unit) for unit in range(len(units))] == kept
    for unit, place in enumerate(kept):
        shown, size = units.show(unit), sizes[place]
        k = min(anchors, size)
        assert len(shown) == k * (size - 1) - k * (k - 1) // 2  # pairs of two anchors are compared once
        pairs = {(one.pair.listed.item_a, one.pair.listed.item_b) for one in shown}
        assert len(pairs) == len(shown)
        whole = [item for item in range(size) if sum(item in pair for pair in pairs) == size - 1]
        assert len(whole) >= k
        assert len(shown) <= units.largest


def test_a_named_anchor_is_in_every_comparison():
    by_place = AnchorUnits(Lists([4]), seed=0, anchor=2).show(0)
    assert [(one.pair.listed.item_a, one.pair.listed.item_b) for one in by_place] == [(0, 2), (1, 2), (2, 3)]
    by_maker = AnchorUnits(Lists([4]), seed=0, anchor="y").show(0)
    assert all(1 in (one.pair.listed.item_a, one.pair.listed.item_b) for one in by_maker)
    with pytest.raises(ValueError, match=r"data\.anchor: list list-0 has no image 'w'.*generators \['x', 'y', 'z'\]"):
        AnchorUnits(Lists([4]), seed=0, anchor="w").show(0)
    with pytest.raises(ValueError, match="has no image 4: expected a place from 0 to 3"):
        AnchorUnits(Lists([4]), seed=0, anchor=4).show(0)
    with pytest.raises(ValueError, match="a single named one, got 2"):
        AnchorUnits(Lists([4]), seed=0, anchors=2, anchor=0)
    with pytest.raises(ValueError, match="none of 2 lists has two images"):
        AnchorUnits(Lists([1, 1]), seed=0)


def test_anchors_follow_from_the_seed_and_differ_between_lists():
    def anchors(seed: int) -> list[int]:
        units = AnchorUnits(Lists([6] * 20), seed=seed)
        shown = [units.show(unit) for unit in range(20)]
        return [
            next(item for item in range(6) if all(item in (s.pair.listed.item_a, s.pair.listed.item_b) for s in unit))
            for unit in shown
        ]

    assert anchors(0) == anchors(0)
    assert anchors(0) != anchors(1)
    assert len(set(anchors(0))) > 3


def test_both_orders_of_an_anchors_comparisons():
    shown = AnchorUnits(Lists([3]), seed=0, orders="both").show(0)
    assert len(shown) == 4
    assert [one.first for one in shown] == ["a", "b"] * 2


@given(st.integers(0, 20), st.integers(1, 5))
def test_units_are_dealt_to_ranks_once_each_and_evenly(count, ranks):
    pending = [3 * unit for unit in range(count)]
    dealt = [list(UnitOrder(pending, rank, ranks)) for rank in range(ranks)]
    assert len({len(own) for own in dealt}) == 1
    assert len(dealt[0]) >= 1
    assert sorted(unit for own in dealt for unit in own if unit >= 0) == pending
    assert all(~unit in pending or (not pending and unit == ~0) for own in dealt for unit in own if unit < 0)


def test_repeated_units_do_not_count():
    units = ShownUnits(PairUnits(ShapesPairs(["flat"], size=2), seed=0))
    assert [shown.counted for shown in units[1]] == [True]
    assert [(shown.counted, shown.index) for shown in units[~1]] == [(False, 1)]


def test_what_was_judged_is_left_out():
    assert pending_units(PairUnits(PairsOfLists([3, 2, 4]), seed=0), {3, 4, 5}) == [0]
    assert pending_units(AnchorUnits(Lists([1, 3, 2]), seed=0), {1}) == [1]  # the list at place 2
