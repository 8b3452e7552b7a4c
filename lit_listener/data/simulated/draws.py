"""Random draws of words: what a prompt asks for, and what a generator makes of it."""

from collections.abc import Sequence

import numpy as np


def pick(rng: np.random.Generator, words: Sequence[str]) -> str:
    """One of these words, drawn evenly."""
    return words[int(rng.integers(len(words)))]


def slip(rng: np.random.Generator, words: Sequence[str], wanted: str, probability: float) -> str:
    """The wanted word, or with this probability another one of these words."""
    others = tuple(word for word in words if word != wanted)
    return pick(rng, others) if rng.random() < probability else wanted
