"""A curriculum by agreement: what may come when, worked by hand, and what stays as it was."""

import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lit_listener.data.curriculum import Curriculum, WideningWindow
from lit_listener.data.order import EpochOrder
from lit_listener.data.shapes import ShapesPairs
from lit_listener.training import PreferenceData

EASY_TO_HARD = [0.5 + 0.5 * (1 - n / 99) for n in range(100)]  # pair n is the n-th easiest


def window(start: float = 0.2, places: int = 100) -> WideningWindow:
    return WideningWindow(EASY_TO_HARD, start, places, seed=0)


def test_the_window_widens_in_a_straight_line():
    # from 20 of 100 pairs to all of them over 160 places: 80 more over 160, one every second place
    widths = [window(places=160).width(place) for place in (0, 2, 40, 80, 160, 161, 1000)]
    assert widths == [20, 21, 40, 60, 100, 100, 100]
    assert WideningWindow([0.9, 0.6], 0.01, 10, seed=0).width(0) == 1  # one pair at least


def test_a_place_holds_one_of_the_easiest_pairs_of_its_width():
    order = window().order(np.random.default_rng(0), 0)
    assert all(pair < max(window().width(at), at + 1) for at, pair in enumerate(order))
    assert order[:10].max() < 20 + 8
    assert order[:20].mean() < 25
    assert order[-20:].mean() > 70


def test_where_the_window_is_used_up_the_next_easiest_pair_joins():
    order = window(0.05, places=10**6).order(np.random.default_rng(1), 0)
    # five pairs at first; from the sixth place on each place brings one new pair, and the five are shown by then
    assert sorted(order[:5].tolist()) == [0, 1, 2, 3, 4]
    assert order[5:].tolist() == list(range(5, 100))


def test_once_it_is_wide_any_pair_may_come_first():
    firsts = {int(window(places=100).order(np.random.default_rng(seed), 1)[0]) for seed in range(60)}
    assert max(firsts) > 80
    assert len(firsts) > 30
    early = {int(window(places=100).order(np.random.default_rng(seed), 0)[0]) for seed in range(60)}
    assert max(early) < 20


@given(
    agreements=st.lists(st.sampled_from([0.5, 0.6, 0.8, 1.0]), min_size=1, max_size=30),
    start=st.floats(0.01, 1.0),
    places=st.integers(1, 90),
    epoch=st.integers(0, 3),
)
def test_every_epoch_shows_every_pair_once_and_labels_stay_balanced(agreements, start, places, epoch):
    size = len(agreements)
    curriculum = WideningWindow(agreements, start, places, seed=3)
    order = EpochOrder(size, seed=3, shuffle=True, curriculum=curriculum)
    indices, labels = order.begin(epoch)
    assert sorted(indices.tolist()) == list(range(size))
    assert abs(sum(1 - 2 * int(label) for label in labels)) == size % 2
    again = EpochOrder(size, seed=3, shuffle=True, curriculum=WideningWindow(agreements, start, places, seed=3))
    assert [part.tolist() for part in again.begin(epoch)] == [indices.tolist(), labels.tolist()]


def test_pairs_of_the_same_agreement_come_in_an_order_that_the_seed_decides():
    orders = [WideningWindow([1.0] * 50, 0.02, 10**6, seed).order(np.random.default_rng(0), 0) for seed in (0, 0, 1)]
    assert orders[0].tolist() == orders[1].tolist()
    assert orders[0].tolist() != orders[2].tolist()
    assert orders[0].tolist() != sorted(orders[0].tolist())


@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_share_the_steps_of_one_process(ranks):
    alone = list(EpochOrder(100, seed=1, shuffle=True, curriculum=window()))
    shares = [
        list(EpochOrder(100, seed=1, shuffle=True, rank=rank, ranks=ranks, curriculum=window()))
        for rank in range(ranks)
    ]
    dealt = [place for together in zip(*shares, strict=True) for place in together]
    assert dealt == alone


@pytest.mark.parametrize("read", [0, 3, 100])
def test_a_saved_pass_goes_on_in_a_fresh_order(read):
    order, fresh = (EpochOrder(100, seed=5, shuffle=True, curriculum=window()) for _ in range(2))
    saved = iter(order)
    for _ in range(read):
        next(saved)
    resumed = iter(fresh)
    resumed.load_state_dict(copy.deepcopy(saved.state_dict()))
    assert list(resumed) == list(saved)


def test_a_position_under_another_curriculum_is_refused():
    saved = iter(EpochOrder(100, seed=0, shuffle=True, curriculum=window())).state_dict()
    for other in (None, window(places=50)):
        with pytest.raises(ValueError, match=r"the checkpoint's data has .*'curriculum': \[0\.2, 100\]"):
            iter(EpochOrder(100, seed=0, shuffle=True, curriculum=other)).load_state_dict(saved)


def test_agreement_is_told_without_drawing(monkeypatch):
    pairs = ShapesPairs(["flat"], size=12, drop_ties=False)
    known = [max(pair.share_a, 1 - pair.share_a) for pair in (pairs[n] for n in range(12))]
    monkeypatch.setattr(ShapesPairs, "_images", lambda *args: pytest.fail("a picture was drawn"))
    assert [pairs.agreement(n) for n in range(12)] == known
    assert len(set(known)) > 3


def test_a_training_goes_from_agreement_to_contest():
    pairs = ShapesPairs(["flat", "paper"], size=60)
    data = PreferenceData(pairs, batch_size=10, curriculum=Curriculum(start=0.1, steps=6))
    batches = list(data.train_dataloader())
    means = [sum(pairs.agreement(shown.index) for shown in batch) / 10 for batch in batches]
    assert means[0] > means[-1] + 0.1
    assert sorted(shown.index for batch in batches for shown in batch) == list(range(60))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Curriculum(start=0.0), r"data\.curriculum\.start: expected a share above 0 and at most 1, got 0\.0"),
        (lambda: Curriculum(start=1.5), r"data\.curriculum\.start: .*, got 1\.5"),
        (lambda: Curriculum(steps=0), r"data\.curriculum\.steps: expected at least 1 batch, got 0"),
    ],
)
def test_options_out_of_range_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
