"""What the prompts of the Scenes world ask for, in five kinds."""

from collections.abc import Callable

import numpy as np

from lit_listener.data.scenes.scene import (
    COLOURS,
    CONTAINERS,
    COUNTS,
    DIGITS,
    DIRECTIONS,
    LETTERS,
    SHAPES,
    WORDS,
    Part,
    Scene,
)
from lit_listener.data.simulated.draws import pick

_ACROSS = {"left of": DIRECTIONS[2:], "right of": DIRECTIONS[2:], "above": DIRECTIONS[:2], "below": DIRECTIONS[:2]}
"""Directions at right angles to one."""
_GLYPH_AMONG_THREE = 0.25
"""Probability with which a part of three is a letter or digit."""


def random_prompt(kind: str, rng: np.random.Generator) -> Scene:
    """A wanted scene of this kind; its parts have different colours, so that a colour may be bound to the wrong one.

    Raises:
        KeyError: there is no such kind.
    """
    colours = [COLOURS[int(place)] for place in rng.permutation(len(COLOURS))[:3]]
    return _PROMPTS[kind](colours, rng)


def _some(colour: str, forms: tuple[str, ...], rng: np.random.Generator, counts: tuple[str, ...] = COUNTS) -> Part:
    return Part(pick(rng, counts), colour, pick(rng, forms))


def _glyph(colour: str, rng: np.random.Generator) -> Part:
    return _some(colour, (LETTERS, DIGITS)[int(rng.integers(2))], rng)


def _in_any_order(one: Part, other: Part, rng: np.random.Generator) -> Scene:
    parts = (one, other) if rng.integers(2) else (other, one)
    return Scene(parts, (pick(rng, DIRECTIONS),))


def _objects(colours: list[str], rng: np.random.Generator) -> Scene:
    return _in_any_order(_some(colours[0], SHAPES, rng), _some(colours[1], SHAPES, rng), rng)


def _inside(colours: list[str], rng: np.random.Generator) -> Scene:
    return Scene(
        (_some(colours[0], SHAPES, rng), _some(colours[1], CONTAINERS, rng, COUNTS[:1])),
        ("inside",),
    )


def _glyphs(colours: list[str], rng: np.random.Generator) -> Scene:
    return _in_any_order(_some(colours[0], SHAPES, rng), _glyph(colours[1], rng), rng)


def _word(colours: list[str], rng: np.random.Generator) -> Scene:
    return _in_any_order(_some(colours[0], SHAPES, rng), _some(colours[1], WORDS, rng, COUNTS[:1]), rng)


def _three(colours: list[str], rng: np.random.Generator) -> Scene:
    parts = tuple(
        _glyph(colour, rng) if rng.random() < _GLYPH_AMONG_THREE else _some(colour, SHAPES, rng) for colour in colours
    )
    first = pick(rng, DIRECTIONS)
    return Scene(parts, (first, pick(rng, _ACROSS[first])))


_PROMPTS: dict[str, Callable[[list[str], np.random.Generator], Scene]] = {
    "objects": _objects,
    "inside": _inside,
    "glyphs": _glyphs,
    "word": _word,
    "three": _three,
}
KINDS = tuple(_PROMPTS)
"""Two groups of shapes; shapes inside another; shapes and letters or digits; shapes and a word; three groups."""
