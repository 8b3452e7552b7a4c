"""How batches are cut, what is thought about once, and what happens without memory. Thinking here is arithmetic."""

import threading

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lit_listener.data.shown import ShownImage
from lit_listener.judging.batches import Batches
from lit_listener.judging.pictures import picture
from lit_listener.judging.thoughts import Showing

PICTURE = picture(Image.new("RGB", (1, 1)))


def showing(number: int, rollouts: int = 1, listen: bool = False) -> Showing:
    shown = ShownImage(f"prompt {number}", PICTURE.image, "image", index=0)
    return Showing(shown, (PICTURE,), rollouts, 0, listen)


class Counting:
    """Thinks by saying what it was asked, and remembers the batches."""

    def __init__(self, memory: int = 10**9) -> None:
        self.memory = memory
        self.batches: list[int] = []
        self.lock = threading.Lock()

    def __call__(self, showings, rollouts, listen):
        completions = len(showings) * rollouts
        with self.lock:
            self.batches.append(completions)
        if completions > self.memory:
            raise torch.OutOfMemoryError("too many")
        return [[(each.prompt, rollout, listen) for rollout in range(rollouts)] for each in showings]


def all_of(batches: Batches, showings) -> list[list[object]]:
    return [each for some in batches.thoughts(showings) for each in some]


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(1, 4), st.booleans()), max_size=40),
    st.integers(1, 9),
    st.integers(1, 3),
    st.booleans(),
)
def test_every_showing_has_its_own_thoughts_however_it_is_cut(asked, size, at_once, in_a_list):
    showings = [showing(*each) for each in asked]
    thinks = Counting()
    found = all_of(Batches(thinks, size, at_once=at_once), showings if in_a_list else iter(showings))
    assert found == [[(f"prompt {n}", rollout, listen) for rollout in range(k)] for n, k, listen in asked]
    assert all(batch <= max(size, 4) for batch in thinks.batches)


def test_what_is_shown_twice_is_thought_about_once():
    thinks = Counting()
    all_of(Batches(thinks, 8), [showing(1), showing(2), showing(1), showing(1, rollouts=2), showing(2, listen=True)])
    assert sorted(thinks.batches) == [1, 2, 2]


def test_all_workers_have_a_share_of_what_is_known_beforehand():
    thinks = Counting()
    all_of(Batches(thinks, 64, at_once=2), [showing(n) for n in range(50)])
    assert thinks.batches == [25, 25]
    few = Counting()
    all_of(Batches(few, 64, at_once=2), [showing(n) for n in range(16)])
    assert few.batches == [16]


def test_a_batch_that_does_not_fit_is_halved():
    thinks = Counting(memory=5)
    batches = Batches(thinks, 16)
    with pytest.warns(UserWarning, match="batch_size is lowered from 16 to 8"):
        found = all_of(batches, [showing(n) for n in range(20)])
    assert [said[0][0] for said in found] == [f"prompt {n}" for n in range(20)]
    assert batches.size <= 5


def test_one_showing_that_does_not_fit_is_an_error():
    with pytest.raises(torch.OutOfMemoryError):
        all_of(Batches(Counting(memory=1), 8), [showing(1, rollouts=2)])


def test_showings_are_taken_as_they_are_needed():
    taken = []

    def one_by_one():
        for number in range(100):
            taken.append(number)
            yield showing(number)

    next(iter(Batches(Counting(), 4).thoughts(one_by_one())))
    assert len(taken) <= 13


def test_an_error_ends_the_work():
    def fails(*asked):
        raise FloatingPointError("no number")

    with pytest.raises(FloatingPointError, match="no number"):
        all_of(Batches(fails, 4), [showing(1)])


@pytest.mark.parametrize("size", [0, -1])
def test_batches_hold_something(size):
    with pytest.raises(ValueError, match=f"batch_size: expected at least 1, got {size}"):
        Batches(Counting(), size)


def test_threads_share_the_cores():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        batches = Batches(lambda *asked: [[torch.get_num_threads()]], 1, at_once=2)
        torch.ones(1000, 1000).sum()
        assert all_of(batches, [showing(n) for n in range(4)]) == [[2]] * 4
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)
