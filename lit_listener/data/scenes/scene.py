"""What a Scenes picture may show, and the words for it: "two red circles left of one blue letter B".

A scene has two or three parts. A part is some objects of one kind: shapes, letters, digits, or one word to be spelt.
The first relation holds between the first two parts; where there is a third, the second relation holds between both of
these and the third.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

COUNTS = ("one", "two", "three", "four")
COLOURS = ("red", "green", "blue", "yellow", "purple", "orange")
SHAPES = ("circle", "square", "triangle", "star", "cross", "heart", "diamond", "ring")
LETTERS = tuple(f"letter {letter}" for letter in "ABEHKMRTX")
DIGITS = tuple(f"digit {digit}" for digit in "234579")
"""Letters and digits that stand alone; those that look alike (0 and O, 1 and I, S and 5, …) are left out."""
WORDS = tuple(
    f"word {word}"
    for word in (
        *("BUS", "CAT", "CUP", "DOG", "FOX", "HAT", "ICE", "MAP", "OWL", "SUN", "TEA", "ZOO"),
        *("BIRD", "BOOK", "FISH", "JUMP", "LAKE", "MILK", "MOON", "RAIN", "ROSE", "SHIP", "TREE", "WOLF"),
        *("APPLE", "BREAD", "HOUSE", "QUEEN", "RIVER", "SEVEN"),
    )
)
FINISHES = ("crisp", "faded")
DIRECTIONS = ("left of", "right of", "above", "below")
OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
INVERSE = {**OPPOSITE, "inside": "around", "around": "inside"}
"""A relation as it is told from the other part's side."""
CONTAINERS = ("circle", "square", "ring")
"""What other objects may be inside of."""


@dataclass(frozen=True)
class Part:
    """Objects of one kind; those of a prompt are always crisp. A word is one object."""

    count: str
    colour: str
    form: str
    """"star", "letter B", "digit 7" or "word CAT"."""
    finish: str = "crisp"

    @property
    def is_word(self) -> bool:
        """Whether it is a word, which has letters instead of a count."""
        return self.form.startswith("word ")

    @property
    def noun(self) -> str:
        """The form in words, in the plural where there are several: "circles", "letters B"."""
        kind, *name = self.form.split()
        plural = "" if self.count == "one" else "es" if kind.endswith("s") else "s"
        return " ".join([kind + plural, *name])

    @property
    def caption(self) -> str:
        """The part in words, without its finish: "two red circles", "one blue letter B", "the red word CAT"."""
        return f"{'the' if self.is_word else self.count} {self.colour} {self.noun}"


class Fact(NamedTuple):
    """One thing that a picture shows."""

    said: str
    """"two", "red", "letters B", "left of"."""
    fits: bool
    """Whether it is what the prompt asks for."""


@dataclass(frozen=True)
class Scene:
    """The facts of one picture, or of a prompt."""

    parts: tuple[Part, ...]
    relations: tuple[str, ...]
    """One fewer than there are parts."""

    @property
    def caption(self) -> str:
        """The scene in words: "two red circles left of one blue star, both above one green ring"."""
        told = f"{self.parts[0].caption} {self.relations[0]} {self.parts[1].caption}"
        return told if len(self.parts) == 2 else f"{told}, both {self.relations[1]} {self.parts[2].caption}"

    @property
    def crisp(self) -> int:
        """Number of crisp parts."""
        return sum(part.finish == "crisp" for part in self.parts)

    def readings(self) -> tuple["Scene", "Scene"]:
        """The same picture told from either of its first two parts: A left of B is B right of A."""
        first, second, *others = self.parts
        turned = (INVERSE[self.relations[0]], *self.relations[1:])
        return self, replace(self, parts=(second, first, *others), relations=turned)

    def read_for(self, wanted: "Scene") -> "Scene":
        """The reading that fits a prompt best; the picture is judged by what it shows, not by how it came about.

        A word is read as the word that was asked for, however it is spelt, and never as an object.
        """
        words = [part.is_word for part in wanted.parts]
        likely = [reading for reading in self.readings() if [part.is_word for part in reading.parts] == words]
        return max(likely or self.readings(), key=lambda reading: reading._fit_as_told(wanted))

    def fit(self, wanted: "Scene") -> int:
        """How many things that the prompt asks for this picture shows, bound to one another as asked.

        A part counts for its count, its colour and its form, a word for its colour and its spelling; a relation is one
        thing.
        """
        return self.read_for(wanted)._fit_as_told(wanted)

    def part_facts(self, place: int, wanted: "Scene") -> list[Fact]:
        """What one part shows, in the order of its caption, in this reading."""
        part, asked = self.parts[place], wanted.parts[place]
        facts = [
            Fact(part.colour, part.colour == asked.colour),
            Fact(part.noun, part.form == asked.form),
        ]
        return facts if asked.is_word else [Fact(part.count, part.count == asked.count), *facts]

    def relation_fact(self, place: int, wanted: "Scene") -> Fact:
        """One relation, in this reading."""
        return Fact(self.relations[place], self.relations[place] == wanted.relations[place])

    def _fit_as_told(self, wanted: "Scene") -> int:
        parts = [fact for place in range(len(self.parts)) for fact in self.part_facts(place, wanted)]
        relations = [self.relation_fact(place, wanted) for place in range(len(self.relations))]
        return sum(fact.fits for fact in [*parts, *relations])
