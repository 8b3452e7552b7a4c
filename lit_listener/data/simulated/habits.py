"""Habits of thinking aloud about a simulated world, in which its demonstrators write."""

from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping
from typing import Generic, TypeVar

import numpy as np

from lit_listener.data.shown import Demonstration, Demonstrator, Shown, ShownPair, a_pair

ORDINALS = ("first", "second")
"""What the images of a pair are called, in displayed order."""

AnyScene = TypeVar("AnyScene")
Habit = Callable[[AnyScene, tuple[AnyScene, AnyScene], np.random.Generator], tuple[str, int]]
"""Writes, given what is wanted and the scenes in displayed order, a trace, and answers."""


class PairHabits(Demonstrator, Generic[AnyScene]):
    """Writes a demonstration for a shown pair of a world, in one of several habits.

    Args:
        mix: share of each habit, among ``thorough``, ``hasty`` and ``contradictory``; the shares must sum to 1.
        seed: seed of the habits' draw; one pair shown in another epoch draws anew.

    Raises:
        ValueError: for an unknown habit or shares that do not sum to 1.
    """

    habits: Mapping[str, Habit[AnyScene]]
    """Those of the world, by name."""

    def __init__(self, mix: dict[str, float], seed: int = 0) -> None:
        check_mix(mix, self.habits)
        self.mix: Mapping[str, float] = mix
        self.seed = seed

    def __call__(self, shown: Shown) -> Demonstration:
        """The demonstration for this pair in this epoch; a pure function of (seed, epoch, index)."""
        shown = a_pair(shown, type(self).__name__)
        wanted, scenes = self._truth(shown)
        rng = np.random.default_rng([self.seed, shown.epoch, shown.index])
        trace, answer = self.habits[draw_habit(self.mix, rng)](wanted, scenes, rng)
        return Demonstration(shown, trace, answer)

    @abstractmethod
    def _truth(self, shown: ShownPair) -> tuple[AnyScene, tuple[AnyScene, AnyScene]]:
        """What was asked for, and what is shown, in displayed order.

        Raises:
            ValueError: the pair is of another world.
        """


def check_mix(mix: Mapping[str, float], habits: Collection[str]) -> None:
    """Refuse a mix that is none of these habits.

    Raises:
        ValueError: for an unknown habit or shares that do not sum to 1.
    """
    unknown = sorted(set(mix) - set(habits))
    if unknown:
        raise ValueError(f"mix: unknown habits {unknown}; expected some of {sorted(habits)}")
    if abs(sum(mix.values()) - 1.0) > 1e-6 or min(mix.values()) < 0:
        raise ValueError(f"mix: shares must be at least 0 and sum to 1, got {mix}")


def draw_habit(mix: Mapping[str, float], rng: np.random.Generator) -> str:
    """One habit of the mix, by its share."""
    return str(rng.choice(list(mix), p=list(mix.values())))


def verdict(index: int) -> str:
    """The sentence that calls one displayed image the better one."""
    return f"the {ORDINALS[index]} is better."


def better(scores: tuple[float, float], rng: np.random.Generator) -> int:
    """Index of the higher score; a coin flip where they are equal."""
    return int(scores[1] > scores[0]) if scores[0] != scores[1] else int(rng.integers(2))
