import copy
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchdata.stateful_dataloader import StatefulDataLoader

from lit_listener.data.order import EpochOrder, ShownPairs, shown_items
from lit_listener.data.records import RatedImage, RatedSource
from lit_listener.data.shapes import ShapesPairs
from lit_listener.data.shown import ShownImage
from tests.data.test_units import Lists

DOT = Image.new("RGB", (1, 1))


@pytest.mark.parametrize("size", [1, 2, 7, 64, 101])
@pytest.mark.parametrize("shuffle", [True, False])
def test_an_epoch_shows_every_pair_once_and_the_preferred_image_first_in_half(size, shuffle):
    order = EpochOrder(size, seed=3, shuffle=shuffle)
    assert len(order) == size
    for epoch in range(3):
        places = list(order)
        assert sorted(index for index, _, _ in places) == list(range(size))
        assert abs(sum(1 - 2 * label for _, label, _ in places)) == size % 2
        assert {e for *_, e in places} == {epoch if shuffle else 0}


def test_labels_belong_to_pairs_and_are_no_pattern_of_the_order():
    places = list(EpochOrder(200, seed=0, shuffle=True))
    # 200 places, 100 of each label in random order: neighbours are equal in 99.5 cases on average, sigma 7.
    equal = sum(a[1] == b[1] for a, b in pairwise(places))
    assert 70 < equal < 130
    even = sum(label for index, label, _ in places if index % 2 == 0)  # 50 on average, sigma 3.5
    assert 32 < even < 68


def test_seed_and_epoch_decide():
    first, again, other = (EpochOrder(50, seed=seed, shuffle=True) for seed in (0, 0, 1))
    epochs = [list(first) for _ in range(3)]
    assert [list(again) for _ in range(3)] == epochs
    assert list(other) != epochs[0]
    assert [p[:2] for p in epochs[0]] != [p[:2] for p in epochs[1]]


def test_evaluation_shows_the_same_places_every_time():
    order = EpochOrder(9, seed=0, shuffle=False)
    places = list(order)
    assert [index for index, _, _ in places] == list(range(9))
    assert list(order) == places


@pytest.mark.parametrize("shuffle", [True, False])
def test_a_pass_that_was_broken_off_leaves_no_trace(shuffle):
    """Lightning's sanity check reads two batches of the validation loader, then starts it anew."""
    order = EpochOrder(6, seed=0, shuffle=shuffle)
    undisturbed = EpochOrder(6, seed=0, shuffle=shuffle)
    broken = iter(order)
    next(broken)
    next(broken)
    iter(order)  # opened and never read
    list(undisturbed)
    assert list(order) == list(undisturbed)


@pytest.mark.parametrize("read", [0, 1, 4, 6])
def test_a_saved_pass_goes_on_in_a_fresh_order(read):
    order, fresh = (EpochOrder(6, seed=5, shuffle=True) for _ in range(2))
    list(order)
    saved = iter(order)
    for _ in range(read):
        next(saved)
    resumed = iter(fresh)
    resumed.load_state_dict(copy.deepcopy(saved.state_dict()))
    assert resumed.state_dict() == saved.state_dict()
    assert list(resumed) == list(saved)
    assert list(fresh) == list(order)


@pytest.mark.parametrize(("size", "seed", "shuffle"), [(7, 0, True), (6, 1, True), (6, 0, False)])
def test_a_position_in_other_data_is_refused(size, seed, shuffle):
    saved = iter(EpochOrder(6, seed=0, shuffle=True)).state_dict()
    other = iter(EpochOrder(size, seed=seed, shuffle=shuffle))
    message = rf"the checkpoint's data has .*'size': 6.*, this run's has .*'size': {size}, 'seed': {seed}.*resume with"
    with pytest.raises(ValueError, match=message):
        other.load_state_dict(saved)


def test_no_pairs():
    with pytest.raises(ValueError, match="the data set is empty: need at least 1 pair, got 0; check path, split"):
        EpochOrder(0, seed=0, shuffle=True)


def test_a_pair_is_shown_as_its_place_asks(make_pair):
    shown_pairs = ShownPairs([make_pair(0.8), make_pair(0.2), make_pair(0.5)])
    assert len(shown_pairs) == 3
    for index in (0, 1):
        for label in (0, 1):
            shown = shown_pairs[index, label, 4]
            assert (shown.label, shown.index, shown.epoch) == (label, index, 4)
    assert [shown_pairs[2, label, 0].first for label in (0, 1)] == ["a", "b"]  # ties are displayed both ways too
    assert shown_pairs[2, 0, 0].label is None


class Places:
    """A data set that gives back what it is asked for."""

    def __len__(self):
        return 10

    def __getitem__(self, place):
        return place


def loader(workers: int, *, batch_size: int = 3, shuffle: bool = True) -> StatefulDataLoader:
    return StatefulDataLoader(
        Places(),
        batch_size=batch_size,
        sampler=EpochOrder(10, seed=0, shuffle=shuffle),
        num_workers=workers,
        drop_last=shuffle,
        collate_fn=tuple,
    )


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("batch_size", [3, 5], ids=["uneven", "even"])
@pytest.mark.parametrize("shuffle", [True, False])
def test_a_loader_resumes_exactly(workers, batch_size, shuffle):
    """After k batches of the second epoch, all of them, and with the end seen: a fresh loader gives the same rest."""
    kind = {"batch_size": batch_size, "shuffle": shuffle}
    undisturbed = loader(0, **kind)
    epochs = [list(undisturbed) for _ in range(4)]
    assert len(set(epochs[0]) & set(epochs[1])) == (0 if shuffle else len(epochs[0]))
    count = len(epochs[1])
    for read in (0, 1, count, count + 1):
        saved = loader(workers, **kind)
        assert list(saved) == epochs[0]
        batches = iter(saved)
        assert [next(batches, None) for _ in range(read)] == [*epochs[1], None][:read]
        state = saved.state_dict()
        resumed = loader(workers, **kind)
        resumed.load_state_dict(state)
        if read <= count:  # the end of the epoch was not asked for, so it is still to come
            assert list(resumed) == epochs[1][read:]
        assert list(resumed) == epochs[2]
        assert list(resumed) == epochs[3]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_that_was_broken_off_starts_its_next_epoch_whole(workers):
    undisturbed, broken = loader(0), loader(workers)
    epochs = [list(undisturbed) for _ in range(3)]
    assert next(iter(broken)) == epochs[0][0]  # workers have fetched ahead by now
    assert list(broken) == epochs[1]
    assert list(broken) == epochs[2]


def test_over_many_epochs_the_preferred_image_stands_first_in_half():
    order = EpochOrder(31, seed=0, shuffle=True)
    labels = Counter((index, label) for _ in range(200) for index, label, _ in order)
    # Each pair: 200 draws with probability 16/31 or 15/31, sigma 7.
    assert all(65 < labels[index, 0] < 140 for index in range(31))


@given(size=st.integers(4, 40), ranks=st.integers(1, 4), batches=st.integers(1, 3))
def test_ranks_share_the_steps_of_one_process(size, ranks, batches):
    """A step of ranks x batches places is the same whoever draws them, and every rank has as many."""
    alone = list(EpochOrder(size, seed=1, shuffle=True))
    shares = [list(EpochOrder(size, seed=1, shuffle=True, rank=rank, ranks=ranks)) for rank in range(ranks)]
    assert {len(share) for share in shares} == {size // ranks}
    step = ranks * batches
    for at in range(size // step):
        together = [place for share in shares for place in share[at * batches : (at + 1) * batches]]
        assert sorted(together) == sorted(alone[at * step : (at + 1) * step])


@given(size=st.integers(1, 20), ranks=st.integers(1, 6))
def test_in_evaluation_every_pair_counts_once_and_ranks_keep_step(size, ranks):
    shares = [list(EpochOrder(size, seed=1, shuffle=False, rank=rank, ranks=ranks)) for rank in range(ranks)]
    assert len({len(share) for share in shares}) == 1
    counted = [place for share in shares for place in share if place[0] >= 0]
    assert sorted(counted) == sorted(EpochOrder(size, seed=1, shuffle=False))
    repeated = [~place[0] for share in shares for place in share if place[0] < 0]
    assert set(repeated) <= set(range(size))
    assert len(repeated) < ranks


def test_a_repeated_pair_is_marked():
    world = ShapesPairs(["flat"], size=3)
    shown = ShownPairs(world)
    first, again = shown[(1, 0, 0)], shown[(~1, 0, 0)]
    assert (first.counted, again.counted) == (True, False)
    assert (first.index, first.first) == (again.index, again.first) == (1, first.first)


def test_a_position_is_that_of_all_ranks():
    share = iter(EpochOrder(12, seed=5, shuffle=True, rank=1, ranks=2))
    for _ in range(3):
        next(share)
    saved = share.state_dict()
    assert saved["position"] == 6
    alone = iter(EpochOrder(12, seed=5, shuffle=True))
    alone.load_state_dict(saved)
    left = list(alone)
    assert len(left) == 6
    three = [iter(EpochOrder(12, seed=5, shuffle=True, rank=rank, ranks=3)) for rank in range(3)]
    for one in three:
        one.load_state_dict(saved)
    assert sorted(place for one in three for place in one) == sorted(left)
    four = iter(EpochOrder(12, seed=5, shuffle=True, ranks=4))
    with pytest.raises(ValueError, match="6 pairs were used, which 4 processes cannot share evenly"):
        four.load_state_dict(saved)


def test_fewer_pairs_than_processes_cannot_be_trained_on():
    with pytest.raises(ValueError, match=r"fewer pairs \(2\) than there are processes to share them \(3\)"):
        EpochOrder(2, seed=0, shuffle=True, ranks=3)


@given(size=st.integers(1, 20), ranks=st.integers(1, 7))
def test_both_orders_count_once_each_and_ranks_keep_step(size, ranks):
    shares = [list(EpochOrder(size, 1, shuffle=False, rank=rank, ranks=ranks, orders="both")) for rank in range(ranks)]
    assert {len(share) for share in shares} == {-(-2 * size // ranks)}
    counted = [place for share in shares for place in share if place[0] >= 0]
    assert sorted(counted) == [(index, label, 0) for index in range(size) for label in (0, 1)]
    repeated = [place for share in shares for place in share if place[0] < 0]
    assert len(repeated) == -2 * size % ranks
    assert {~index for index, *_ in repeated} <= set(range(size))


def test_both_orders_stand_together_the_balanced_one_first():
    places = list(EpochOrder(9, seed=4, shuffle=False, orders="both"))
    assert places[::2] == list(EpochOrder(9, seed=4, shuffle=False))
    assert places[1::2] == [(index, 1 - label, epoch) for index, label, epoch in places[::2]]


def test_both_orders_of_a_pair_are_shown(make_pair):
    pairs = ShownPairs([make_pair(0.8), make_pair(0.5)])
    shown = [pairs[place] for place in EpochOrder(2, seed=0, shuffle=False, orders="both")]
    assert sorted(one.first for one in shown[:2]) == sorted(one.first for one in shown[2:]) == ["a", "b"]
    assert sorted(one.label for one in shown[:2]) == [0, 1]
    assert [one.label for one in shown[2:]] == [None, None]


def test_a_position_among_both_orders_is_one_among_both_orders():
    both, again, balanced = (
        EpochOrder(6, seed=0, shuffle=False, orders=orders) for orders in ("both", "both", "balanced")
    )
    saved = iter(both)
    for _ in range(5):
        next(saved)
    resumed = iter(again)
    resumed.load_state_dict(saved.state_dict())
    rest = list(resumed)
    assert len(rest) == 7
    assert rest == list(saved)
    with pytest.raises(ValueError, match=r"the checkpoint's data has .*'both_orders': True.*, this run's has"):
        iter(balanced).load_state_dict(iter(both).state_dict())
    with pytest.raises(ValueError, match=r"this run's has .*'both_orders': True"):
        iter(both).load_state_dict(iter(balanced).state_dict())


def test_orders_that_do_not_go():
    with pytest.raises(ValueError, match="both display orders are for evaluation"):
        EpochOrder(2, seed=0, shuffle=True, orders="both")
    with pytest.raises(ValueError, match=r"orders: expected one of \['balanced', 'both'\], got 'all'"):
        EpochOrder(2, seed=0, shuffle=False, orders="all")


class Ratings(RatedSource):
    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> RatedImage:
        return RatedImage("p", DOT, 1.0 + index, 1.0, 5.0, f"r{index}", "p", columns={"taste": "warm"})


def test_a_rated_image_is_shown_with_its_place_on_the_scale():
    shown = shown_items(Ratings())[2, 1, 4]
    assert isinstance(shown, ShownImage)
    assert (shown.share, shown.name, shown.index, shown.epoch) == (0.5, "rating r2", 2, 4)
    assert (shown.columns, shown.images) == ({"taste": "warm"}, (DOT,))


def test_a_list_is_shown_in_an_order_of_its_place_alone():
    lists = shown_items(Lists([6]))
    orders = {lists[0, label, epoch].order for label in (0, 1) for epoch in range(4)}
    assert len(orders) > 4
    assert lists[0, 1, 2].order == lists[0, 1, 2].order
    shown = lists[0, 1, 2]
    assert sorted(shown.order) == list(range(6))
    assert shown.ranks == tuple(shown.ranked.ranks[place] for place in shown.order)
