"""How prompts and their groups of completions are cut into packed passes under a token budget.

A pass is a batch of packed rows (``packing``), and holds as many tokens as it has rows times the longest row, padding
included. Whole groups go together as long as they fit; a group that is too long alone is cut between its completions,
and its prompt is read again for each part. A completion that with its prompt alone exceeds the budget has a pass of its
own, since there is nothing left to cut: the budget is then exceeded.

No result depends on the cut. What is counted here are tokens, not bytes: what fits into memory is found out elsewhere.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

Done = TypeVar("Done")


@dataclass(frozen=True)
class Pass:
    """Some prompts and completions of theirs: whole groups, or a part of one."""

    prompts: slice
    """Places among the P prompts."""
    rows: slice
    """Places among the N = P x G completions."""

    def moved(self, prompts: int, rows: int) -> "Pass":
        """The same among more prompts and completions, so many of which come before."""
        return Pass(
            slice(self.prompts.start + prompts, self.prompts.stop + prompts),
            slice(self.rows.start + rows, self.rows.stop + rows),
        )


class InPasses(Protocol):
    """Who sees to it that work is done in passes that fit: ``at_once``, or an object that knows a budget."""

    def __call__(
        self,
        work: Callable[[Sequence[Pass]], Done],
        prompt_lengths_P: Sequence[int],
        completion_lengths_N: Sequence[int],
    ) -> Done:
        """Cut P prompts and their N completions into passes, do the work in them, and return what comes of it.

        The work may be begun again with other passes, and must not mind it.
        """


def at_once(
    work: Callable[[Sequence[Pass]], Done], prompt_lengths_P: Sequence[int], completion_lengths_N: Sequence[int]
) -> Done:
    """Do all of the work in one pass."""
    return work(cut_passes(prompt_lengths_P, completion_lengths_N, None))


def up_to(max_tokens: int) -> InPasses:
    """Does work in passes of at most so many packed tokens, padding included."""

    def in_passes(
        work: Callable[[Sequence[Pass]], Done], prompt_lengths_P: Sequence[int], completion_lengths_N: Sequence[int]
    ) -> Done:
        return work(cut_passes(prompt_lengths_P, completion_lengths_N, max_tokens))

    return in_passes


def cut_passes(
    prompt_lengths_P: Sequence[int],
    completion_lengths_N: Sequence[int],
    max_tokens: int | None,
    *,
    at_least: int = 1,
) -> list[Pass]:
    """Cut P prompts with their groups of G = N / P completions into passes of at most ``max_tokens`` packed tokens.

    Args:
        prompt_lengths_P: tokens of each prompt.
        completion_lengths_N: tokens of each completion, groups side by side.
        max_tokens: most tokens of a pass, padding included; None takes all at once.
        at_least: cut finer until there are so many passes, or as many as completions: ranks of a sharded model must
            make the same number of forward passes.

    Returns:
        Passes that hold every completion once, in order.

    Raises:
        ValueError: the completions are no groups of equal size, or a number is below 1.
    """
    prompts, completions = len(prompt_lengths_P), len(completion_lengths_N)
    if prompts < 1 or completions < prompts or completions % prompts:
        raise ValueError(
            f"{completions} completions cannot be groups of equal size for {prompts} prompts: pass the lengths of at "
            "least one completion for every prompt"
        )
    for name, value in (("max_tokens", max_tokens), ("at_least", at_least)):
        if value is not None and value < 1:
            raise ValueError(f"{name}: expected at least 1, got {value}")
    size = completions // prompts
    passes: list[Pass] = []
    start = 0
    while start < prompts:
        stop = _whole_groups(prompt_lengths_P, completion_lengths_N, start, max_tokens)
        if stop == start:  # not even one: the group is cut
            rows = completion_lengths_N[start * size : (start + 1) * size]
            ends = [start * size + end for end in _near_equal_parts(prompt_lengths_P[start], rows, max_tokens or 1)]
            starts = [start * size, *ends[:-1]]
            passes += [Pass(slice(start, start + 1), slice(a, b)) for a, b in zip(starts, ends, strict=True)]
            stop = start + 1
        else:
            passes.append(Pass(slice(start, stop), slice(start * size, stop * size)))
        start = stop
    return _cut_finer(passes, prompt_lengths_P, completion_lengths_N, at_least)


def tokens_of(each: Pass, prompt_lengths_P: Sequence[int], completion_lengths_N: Sequence[int]) -> int:
    """Packed tokens of a pass: its rows, each as long as the longest."""
    prompts = range(each.prompts.start, each.prompts.stop)
    completions = completion_lengths_N[each.rows]
    size = len(completions) // len(prompts)
    rows = [
        prompt_lengths_P[prompt] + sum(completions[at * size : (at + 1) * size]) for at, prompt in enumerate(prompts)
    ]
    return len(rows) * max(rows)


def _whole_groups(prompts_P: Sequence[int], completions_N: Sequence[int], start: int, max_tokens: int | None) -> int:
    """The place after the last group that fits into one pass with those from ``start`` on."""
    if max_tokens is None:
        return len(prompts_P)
    size = len(completions_N) // len(prompts_P)
    longest = 0
    for prompt in range(start, len(prompts_P)):
        longest = max(longest, prompts_P[prompt] + sum(completions_N[prompt * size : (prompt + 1) * size]))
        if (prompt + 1 - start) * longest > max_tokens:
            return prompt
    return len(prompts_P)


def _near_equal_parts(prompt: int, completions: Sequence[int], max_tokens: int) -> list[int]:
    """Where the parts of a group end: as few parts as can be, and the longest of them as short as can be."""
    fewest = len(_greedy_parts(prompt, completions, max_tokens))
    longest_alone = prompt + max(completions)
    if longest_alone >= max_tokens:  # a bound below the budget would only cut the others finer
        return _greedy_parts(prompt, completions, max_tokens)
    bounds = range(longest_alone, max_tokens)
    shortest = bisect_left(bounds, x=True, key=lambda bound: len(_greedy_parts(prompt, completions, bound)) <= fewest)
    return _greedy_parts(prompt, completions, longest_alone + shortest)


def _greedy_parts(prompt: int, completions: Sequence[int], max_tokens: int) -> list[int]:
    """Where the parts end if each takes as many completions as fit, and one at least."""
    ends: list[int] = []
    tokens = prompt
    for place, length in enumerate(completions):
        if tokens > prompt and tokens + length > max_tokens:
            ends.append(place)
            tokens = prompt
        tokens += length
    return [*ends, len(completions)]


def _cut_finer(passes: list[Pass], prompts_P: Sequence[int], completions_N: Sequence[int], at_least: int) -> list[Pass]:
    """Halve the longest pass that can be halved until there are enough of them."""
    lengths = [tokens_of(each, prompts_P, completions_N) for each in passes]
    for _ in range(min(at_least, len(completions_N)) - len(passes)):
        place = max(
            (place for place, each in enumerate(passes) if each.rows.stop - each.rows.start > 1),
            key=lengths.__getitem__,
        )
        halves = _halves(passes[place])
        passes[place : place + 1] = halves
        lengths[place : place + 1] = [tokens_of(each, prompts_P, completions_N) for each in halves]
    return passes


def _halves(each: Pass) -> list[Pass]:
    """A pass cut in the middle: between two groups, or between two completions of its only one."""
    prompts, rows = each.prompts, each.rows
    groups = prompts.stop - prompts.start
    if groups == 1:
        middle = (rows.start + rows.stop) // 2
        return [Pass(prompts, slice(rows.start, middle)), Pass(prompts, slice(middle, rows.stop))]
    between, size = prompts.start + groups // 2, (rows.stop - rows.start) // groups
    middle = rows.start + (between - prompts.start) * size
    return [
        Pass(slice(prompts.start, between), slice(rows.start, middle)),
        Pass(slice(between, prompts.stop), slice(middle, rows.stop)),
    ]
