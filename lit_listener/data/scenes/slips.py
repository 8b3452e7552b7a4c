"""What a generator gets wrong: wrong objects and bindings, relations turned round, misspelt words."""

from dataclasses import dataclass, replace

import numpy as np

from lit_listener.data.scenes.scene import (
    COLOURS,
    CONTAINERS,
    COUNTS,
    DIGITS,
    DIRECTIONS,
    LETTERS,
    OPPOSITE,
    SHAPES,
    Part,
    Scene,
)
from lit_listener.data.simulated.draws import pick, slip

_ALPHABET = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")


@dataclass(frozen=True)
class Slips:
    """How often a generator draws something else than it was asked for: probabilities, each in [0, 1]."""

    count: float = 0.15
    """Of each part: another number of objects."""
    colour: float = 0.08
    """Of each part: a colour that the prompt does not name."""
    form: float = 0.12
    """Of each part: another shape, letter or digit."""
    swap: float = 0.25
    """Of the first two parts: their colours or counts, exchanged: all that is asked for is there, bound wrongly."""
    relation: float = 0.25
    """Of the first relation: turned round, mostly. Things are placed beside what they should be inside of."""
    spelling: float = 0.4
    """Of a word: a letter exchanged, replaced, left out or doubled."""
    faded: float = 0.3
    """Of each part: a loss of contrast."""


def attempt(wanted: Scene, slips: Slips, rng: np.random.Generator) -> Scene:
    """What a generator with these slips draws when asked for ``wanted``."""
    first = _relation(wanted, slips, rng)
    parts = wanted.parts
    if rng.random() < slips.swap:
        parts = _swapped(parts, rng)
    strange = tuple(colour for colour in COLOURS if colour not in {part.colour for part in parts})
    drawn = []
    for place, part in enumerate(parts):
        holds = wanted.relations[0] == "inside" and place == 1
        drawn.append(_drawn(part, strange, holds, slips, rng))
        strange = tuple(colour for colour in strange if colour != drawn[-1].colour)  # colours stay different
    return Scene(tuple(drawn), (first, *wanted.relations[1:]))


def misspell(word: str, rng: np.random.Generator) -> str:
    """The word with one slip: two letters exchanged, or one replaced, left out or doubled; never the word itself."""
    while True:
        place = int(rng.integers(len(word)))
        before, letter, after = word[:place], word[place], word[place + 1 :]
        spelt = (
            f"{before}{after[:1]}{letter}{after[1:]}",
            f"{before}{pick(rng, _ALPHABET)}{after}",
            f"{before}{after}",
            f"{before}{letter}{letter}{after}",
        )[int(rng.integers(4))]
        if spelt != word:
            return spelt


def _relation(wanted: Scene, slips: Slips, rng: np.random.Generator) -> str:
    asked = wanted.relations[0]
    if rng.random() >= slips.relation:
        return asked
    if asked == "inside":
        return pick(rng, DIRECTIONS)
    others = [OPPOSITE[asked]]
    if len(wanted.parts) == 2:  # of three parts, the first two keep their axis: the third stands across it
        others = [OPPOSITE[asked], *DIRECTIONS]  # the opposite is drawn twice as often
        others.remove(asked)
    return pick(rng, others)


def _swapped(parts: tuple[Part, ...], rng: np.random.Generator) -> tuple[Part, ...]:
    one, other, *others = parts
    counts = one.count != other.count and not (one.is_word or other.is_word or other.form in CONTAINERS)
    if counts and rng.random() < 1 / 3:
        return (replace(one, count=other.count), replace(other, count=one.count), *others)
    return (replace(one, colour=other.colour), replace(other, colour=one.colour), *others)


def _drawn(part: Part, strange: tuple[str, ...], holds: bool, slips: Slips, rng: np.random.Generator) -> Part:
    """A part as it is drawn; one that holds others stays one object that can."""
    count = part.count if holds or part.is_word else slip(rng, COUNTS, part.count, slips.count)
    colour = pick(rng, strange) if rng.random() < slips.colour else part.colour
    if part.is_word:
        word = part.form.removeprefix("word ")
        form = f"word {misspell(word, rng)}" if rng.random() < slips.spelling else part.form
    else:
        kinds = CONTAINERS if holds else next(kind for kind in (SHAPES, LETTERS, DIGITS) if part.form in kind)
        form = slip(rng, kinds, part.form, slips.form)
    return Part(count, colour, form, "faded" if rng.random() < slips.faded else "crisp")
