"""Habits of thinking aloud about a simulated world, in which its demonstrators write."""

from collections.abc import Collection, Mapping

import numpy as np

ORDINALS = ("first", "second")
"""What the images of a pair are called, in displayed order."""


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
