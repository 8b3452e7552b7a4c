"""What a step costs as a function of how it is cut, and the largest cut that fits."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

STEP = 256
"""Budgets are chosen in multiples of so many tokens."""


@dataclass(frozen=True)
class StepShape:
    """P prompts of S tokens a process, each with G completions of T tokens."""

    prompts: int
    prompt_tokens: int
    """The longest prompt's: the others are padded to it."""
    group_size: int
    completion_tokens: int

    @property
    def smallest(self) -> int:
        """Tokens of a prompt with one completion: what is never cut."""
        return self.prompt_tokens + self.completion_tokens

    @property
    def group_tokens(self) -> int:
        """Tokens of a prompt with all its completions."""
        return self.prompt_tokens + self.group_size * self.completion_tokens

    @property
    def whole(self) -> int:
        """Tokens of the whole step, uncut."""
        return self.prompts * self.group_tokens

    def rollout_rows(self, budget: int) -> int:
        """Most completions that are sampled at once within a budget of tokens, prompts counted once."""
        groups, rest = divmod(min(max(budget, self.smallest), self.whole), self.group_tokens)
        return groups * self.group_size + max(0, rest - self.prompt_tokens) // self.completion_tokens

    def rollout_prompts(self, budget: int) -> int:
        """Prompts that they belong to, the last one's group maybe cut."""
        return -(-min(max(budget, self.smallest), self.whole) // self.group_tokens)


class Curve:
    """Bytes of a pass by its tokens: measured at some of them, straight lines between.

    A pass costs a + b·K + c·K² with c ≥ 0 (the mask), so a chord lies above it, and at most c·(gap)²/4 above. Below the
    first point it costs what it costs there, beyond the last it goes on as steeply.

    Args:
        points: (tokens, bytes), tokens rising.
    """

    def __init__(self, points: Sequence[tuple[int, float]]) -> None:
        self._tokens = [tokens for tokens, _ in points]
        self._bytes = list(accumulate((size for _, size in points), max))

    def __call__(self, tokens: float) -> float:
        """Bytes of a pass of so many tokens."""
        if tokens <= self._tokens[0]:
            return self._bytes[0]
        if len(self._tokens) == 1:
            return self._bytes[0] * tokens / self._tokens[0]
        slopes = [
            (after[1] - before[1]) / (after[0] - before[0])
            for before, after in pairwise(zip(self._tokens, self._bytes, strict=True))
        ]
        place = min(bisect_right(self._tokens, tokens), len(slopes)) - 1
        return self._bytes[place] + slopes[place] * (tokens - self._tokens[place])


def largest(smallest: int, whole: int, cost: Callable[[int], float], limit: float) -> int:
    """The largest budget whose cost is within a limit.

    Args:
        smallest: tokens that cannot be cut.
        whole: tokens of everything at once.
        cost: bytes by budget; does not fall.
        limit: bytes there are.

    Returns:
        ``whole`` if that fits; else the largest multiple of 256 that fits; else, fitting or not, the first multiple
        that holds ``smallest``.
    """
    if cost(whole) <= limit:
        return whole
    low, high = -(-smallest // STEP), (whole - 1) // STEP  # in multiples
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if cost(middle * STEP) <= limit else (low, middle - 1)
    return min(low * STEP, whole)
