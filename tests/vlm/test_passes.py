"""The cut into passes: worked by hand, and what holds of every cut."""

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lit_listener.vlm.passes import Pass, at_once, cut_passes, tokens_of, up_to

Lengths = tuple[list[int], list[int]]


def cut(prompts: list[int], completions: list[int], max_tokens: int | None, **options: int) -> list[tuple[int, ...]]:
    """(first prompt, prompt after the last, first row, row after the last) of each pass."""
    passes = cut_passes(prompts, completions, max_tokens, **options)
    return [(each.prompts.start, each.prompts.stop, each.rows.start, each.rows.stop) for each in passes]


def test_whole_groups_by_hand():
    # rows of 5 + 2 + 3 = 10, 6 + 1 + 1 = 8, 10 + 5 + 5 = 20 and 4 + 1 + 1 = 6 tokens
    prompts, completions = [5, 6, 10, 4], [2, 3, 1, 1, 5, 5, 1, 1]
    assert cut(prompts, completions, None) == [(0, 4, 0, 8)]
    assert cut(prompts, completions, 80) == [(0, 4, 0, 8)]  # 4 x 20
    assert cut(prompts, completions, 79) == [(0, 3, 0, 6), (3, 4, 6, 8)]  # 3 x 20 and 6
    assert cut(prompts, completions, 20) == [(0, 2, 0, 4), (2, 3, 4, 6), (3, 4, 6, 8)]  # 2 x 10, 20, 6
    assert [tokens_of(each, prompts, completions) for each in cut_passes(prompts, completions, 20)] == [20, 20, 6]


def test_a_group_that_is_too_long_is_cut_into_near_equal_parts():
    # 10 + 4 x 5 = 30 tokens. Under 25 two parts are needed: 2 and 2 completions, not 3 and 1.
    assert cut([10], [5, 5, 5, 5], 25) == [(0, 1, 0, 2), (0, 1, 2, 4)]
    assert cut([10], [5, 5, 5, 5], 20) == [(0, 1, 0, 2), (0, 1, 2, 4)]  # they fit exactly
    assert cut([10], [5, 5, 5, 5], 19) == [(0, 1, 0, 1), (0, 1, 1, 2), (0, 1, 2, 3), (0, 1, 3, 4)]
    # beside a short group, which is not put together with a part of another one
    assert cut([10, 1], [5, 5, 5, 5, 1, 1, 1, 1], 25) == [(0, 1, 0, 2), (0, 1, 2, 4), (1, 2, 4, 8)]


def test_a_completion_that_is_too_long_goes_alone():
    assert cut([10], [2, 30, 2, 2], 15) == [(0, 1, 0, 1), (0, 1, 1, 2), (0, 1, 2, 4)]
    assert cut([10], [1, 1], 3) == [(0, 1, 0, 1), (0, 1, 1, 2)]  # the prompt alone is too long


def test_the_longest_pass_is_halved_until_there_are_enough():
    prompts, completions = [4, 4, 4], [1, 1, 6, 6, 1, 1]  # rows of 6, 16 and 6
    assert cut(prompts, completions, None, at_least=2) == [(0, 1, 0, 2), (1, 3, 2, 6)]  # 6 and 2 x 16
    assert cut(prompts, completions, None, at_least=3) == [(0, 1, 0, 2), (1, 2, 2, 4), (2, 3, 4, 6)]
    assert cut(prompts, completions, None, at_least=4)[1:3] == [(1, 2, 2, 3), (1, 2, 3, 4)]
    assert cut([4] * 4, [1] * 4, None, at_least=2) == [(0, 2, 0, 2), (2, 4, 2, 4)]
    assert len(cut(prompts, completions, None, at_least=9)) == 6  # one completion each


@st.composite
def lengths(draw: st.DrawFn, most_prompts: int = 5, largest_group: int = 5) -> Lengths:
    prompts = draw(st.lists(st.integers(1, 12), min_size=1, max_size=most_prompts))
    count = len(prompts) * draw(st.integers(1, largest_group))
    return prompts, draw(st.lists(st.integers(1, 9), min_size=count, max_size=count))


@settings(max_examples=300, deadline=None)
@given(given_lengths=lengths(), max_tokens=st.none() | st.integers(1, 120), at_least=st.integers(1, 30))
def test_every_cut(given_lengths, max_tokens, at_least):
    prompts, completions = given_lengths
    size = len(completions) // len(prompts)
    passes = cut_passes(prompts, completions, max_tokens, at_least=at_least)
    assert [row for each in passes for row in range(each.rows.start, each.rows.stop)] == list(range(len(completions)))
    assert len(passes) >= min(at_least, len(completions))
    for each in passes:
        rows, asked = each.rows, each.prompts
        assert (rows.start // size, (rows.stop - 1) // size + 1) == (asked.start, asked.stop)
        whole = rows.start % size == rows.stop % size == 0
        assert whole or asked.stop - asked.start == 1
        alone = rows.stop - rows.start == 1
        assert max_tokens is None or alone or tokens_of(each, prompts, completions) <= max_tokens


@settings(max_examples=150, deadline=None)
@given(given_lengths=lengths(3, 3), max_tokens=st.integers(1, 120))
def test_no_cut_has_fewer_passes(given_lengths, max_tokens):
    """Against trying every set of places where one can cut: between groups, and within each."""
    prompts, completions = given_lengths
    count, size = len(completions), len(completions) // len(prompts)

    def possible(ends: tuple[int, ...]) -> bool:
        for start, stop in zip((0, *ends), (*ends, count), strict=True):
            asked = slice(start // size, (stop - 1) // size + 1)
            whole = start % size == stop % size == 0
            if not whole and asked.stop - asked.start > 1:
                return False
            fits = tokens_of(Pass(asked, slice(start, stop)), prompts, completions) <= max_tokens
            if not fits and stop - start > 1:
                return False
        return True

    fewest = next(
        parts + 1 for parts in range(count) if any(possible(ends) for ends in combinations(range(1, count), parts))
    )
    assert len(cut_passes(prompts, completions, max_tokens)) == fewest


@settings(max_examples=100, deadline=None)
@given(given_lengths=lengths(), max_tokens=st.integers(1, 120), at_least=st.integers(1, 30))
def test_enough_passes_and_no_more(given_lengths, max_tokens, at_least):
    plain = len(cut_passes(*given_lengths, max_tokens))
    finer = len(cut_passes(*given_lengths, max_tokens, at_least=at_least))
    assert finer == max(plain, min(at_least, len(given_lengths[1])))


def test_at_once_is_one_pass():
    assert at_once(list, [3, 4], [1, 2, 3, 4]) == [Pass(slice(0, 2), slice(0, 4))]


def test_what_cannot_be_cut_is_refused():
    with pytest.raises(ValueError, match="3 completions cannot be groups of equal size for 2 prompts"):
        cut_passes([1, 1], [1, 1, 1], None)
    with pytest.raises(ValueError, match="0 completions cannot be groups of equal size for 0 prompts"):
        cut_passes([], [], None)
    with pytest.raises(ValueError, match="max_tokens: expected at least 1, got 0"):
        cut_passes([1], [1], 0)
    with pytest.raises(ValueError, match="at_least: expected at least 1, got 0"):
        cut_passes([1], [1], None, at_least=0)


def test_work_up_to_a_number_of_tokens():
    prompts, completions = [5, 6, 10, 4], [2, 3, 1, 1, 5, 5, 1, 1]  # as by hand above
    assert up_to(20)(lambda passes: passes, prompts, completions) == cut_passes(prompts, completions, 20)
    assert len(up_to(80)(lambda passes: passes, prompts, completions)) == 1
