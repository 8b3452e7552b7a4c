"""What a Shapes picture may show, and the words for it: "three red circles, crisp"."""

from dataclasses import dataclass, replace

import numpy as np

from lit_listener.data.simulated.draws import pick, slip

COUNTS = ("one", "two", "three", "four")
COLOURS = ("red", "green", "blue", "yellow", "purple", "orange")
SHAPES = ("circle", "square", "triangle", "star")
FINISHES = ("crisp", "faded")


@dataclass(frozen=True)
class Scene:
    """The facts of one picture; of a prompt too, whose finish is always crisp."""

    count: str
    colour: str
    shape: str
    finish: str = "crisp"

    @property
    def caption(self) -> str:
        """The scene in words, without its finish: "one red circle", "three red circles"."""
        plural = "" if self.count == "one" else "s"
        return f"{self.count} {self.colour} {self.shape}{plural}"

    def fit(self, wanted: "Scene") -> int:
        """How many of the prompt's three attributes (count, colour, shape) this scene shows: 0 to 3."""
        return (self.count == wanted.count) + (self.colour == wanted.colour) + (self.shape == wanted.shape)


@dataclass(frozen=True)
class Slips:
    """How often a generator draws something else than it was asked for: probabilities, each in [0, 1]."""

    count: float = 0.45
    colour: float = 0.18
    shape: float = 0.4
    faded: float = 0.4


def random_prompt(rng: np.random.Generator) -> Scene:
    """A wanted scene, uniform over the 96 captions."""
    return Scene(pick(rng, COUNTS), pick(rng, COLOURS), pick(rng, SHAPES))


def attempt(wanted: Scene, slips: Slips, rng: np.random.Generator) -> Scene:
    """What a generator with these slips draws when asked for ``wanted``."""
    return replace(
        wanted,
        count=slip(rng, COUNTS, wanted.count, slips.count),
        colour=slip(rng, COLOURS, wanted.colour, slips.colour),
        shape=slip(rng, SHAPES, wanted.shape, slips.shape),
        finish="faded" if rng.random() < slips.faded else "crisp",
    )
