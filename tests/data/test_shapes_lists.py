"""Ranked lists of the Shapes world: known truth, ranks by utility, demonstrations that can be trusted."""

import numpy as np
import pytest

from lit_listener.data.order import ShownPairs
from lit_listener.data.records import ListSource
from lit_listener.data.shapes import RENDERERS, ShapesLists, ShapesListTraces, ShapesPairs, Voters
from lit_listener.data.shown import ShownList
from lit_listener.tasks import Listwise


@pytest.fixture(scope="module")
def lists() -> ShapesLists:
    return ShapesLists(["flat", "paper"], 60, images=4)


def test_a_list_is_a_pure_function_of_its_place(lists):
    assert isinstance(lists, ListSource)
    again = ShapesLists(["flat", "paper"], 7)
    for index in (0, 3, 6):
        one, other = lists[index], again[index]
        assert (one.prompt, one.scenes, one.ranks, one.generators) == (
            other.prompt, other.scenes, other.ranks, other.generators,
        )  # fmt: skip
        assert all(np.array_equal(a, b) for a, b in zip(one.images, other.images, strict=True))
    assert lists[-1].list_id == lists[59].list_id
    assert len({lists[index].list_id for index in range(60)}) == 60
    with pytest.raises(IndexError):
        lists[60]


def test_splits_seeds_and_lengths_are_other_lists():
    first = ShapesLists(["flat"], 1)[0]
    others = [ShapesLists(["flat"], 1, split="test")[0], ShapesLists(["flat"], 1, seed=1)[0]]
    others.append(ShapesLists(["flat"], 1, images=5)[0])
    assert all(other.scenes[:4] != first.scenes for other in others)
    assert len({first.list_id, *(other.list_id for other in others)}) == 4


def test_lists_may_have_unequal_numbers_of_pictures():
    lists = ShapesLists(["flat"], 90, images=4, fewest=2)
    sizes = [len(lists[index].images) for index in range(90)]
    assert [lists.size(index) for index in range(90)] == sizes
    assert {size: sizes.count(size) > 15 for size in sizes} == {2: True, 3: True, 4: True}


def test_ranks_are_those_of_the_voters_utility(lists):
    ties = 0
    for index in range(len(lists)):
        one = lists[index]
        assert len(one.images) == lists.size(index) == 4
        assert {generator for generator in one.generators} <= {"flat", "paper"}
        worths = [Voters().utility(scene, one.wanted) for scene in one.scenes]
        for a in range(4):
            for b in range(4):
                assert (one.ranks[a] < one.ranks[b]) == (worths[a] > worths[b])
        assert min(one.ranks) == 1.0
        assert len(set(one.ranks)) > 1
        ties += len(set(one.ranks)) < 4
    assert ties > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"renderers": ["oil"]}, r"renderers: expected one or more of .*, got \['oil'\]"),
        ({"size": 0}, "size: a data set needs at least 1 list, got size=0"),
        ({"images": 1}, "images: a list needs at least 2 pictures, .*, got images=1"),
        ({"images": 3, "fewest": 4}, "got images=3 and fewest=4"),
        ({"split": "dev"}, "split: expected one of .*, got 'dev'"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        ShapesLists(**{"renderers": sorted(RENDERERS), "size": 2, **options})


def test_a_demonstration_is_right_consistent_and_in_displayed_order(lists):
    task = Listwise()
    for index in range(20):
        one = lists[index]
        shown = ShownList(one, (2, 0, 3, 1), index)
        demonstration = ShapesListTraces()(shown)
        transcript = task.parse([task.write(demonstration).encode()], truncated=False)
        assert transcript.well_formed
        assert task.accuracy_reward([transcript], [shown]) == [1.0]
        assert task.stated_verdict(demonstration.trace) == demonstration.answer
        third = one.scenes[3]
        assert f"image 3: {third.caption.split()[0]} " in demonstration.trace
        assert task.strip_verdicts(demonstration.trace) == demonstration.trace.rpartition(" image ")[0]


def test_a_demonstration_of_something_else_is_refused():
    pair = ShownPairs(ShapesPairs(["flat"], 1))[0, 0, 0]
    with pytest.raises(ValueError, match=r"ShapesListTraces tells of Shapes lists only, got pair .* \(ShownPair\)"):
        ShapesListTraces()(pair)
