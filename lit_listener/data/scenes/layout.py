"""Where the objects of a scene stand: which relation holds shall be plain from the picture.

The groups of two related parts stand opposite each other, their middles at one height (or one above the other), and no
object of one group reaches into the other's half; so "left of" never holds by chance where "above" does. Lengths are in
pixels, y points down.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lit_listener.data.scenes.scene import Part, Scene
from lit_listener.data.simulated.drawing import Point

SIZE = 224
"""Width and height of a picture."""
_QUARTER = SIZE / 4
_STEP = 25.0
"""Half the distance between neighbours of a group."""
_RADIUS = (15.0, 18.0)
_CONTAINER_RADIUS = (80.0, 87.0)
_WORD_WIDTH = 47.0  # half of it: a word fits beside another part
_WIDE_WORD_WIDTH = 80.0  # where it has the picture's whole width
_GROUP_JITTER, _OBJECT_JITTER = 5.0, 2.0
_FORMATIONS: Mapping[str, tuple[tuple[Point, ...], ...]] = {
    "one": (((0, 0),),),
    "two": (((-1, 0), (1, 0)), ((0, -1), (0, 1)), ((-1, -1), (1, 1)), ((1, -1), (-1, 1))),
    "three": (((-1, 1), (1, 1), (0, -1)), ((-1, -1), (1, -1), (0, 1)), ((-1, -1), (-1, 1), (1, 0))),
    "four": (((-1, -1), (1, -1), (-1, 1), (1, 1)),),
}
"""Places of a group's objects about its middle, in half distances."""
_TOWARDS: Mapping[str, Point] = {"left of": (-1, 0), "right of": (1, 0), "above": (0, -1), "below": (0, 1)}


@dataclass(frozen=True)
class Placed:
    """One object at its place."""

    part: Part
    x: float
    y: float
    radius: float
    inside: bool = False
    """Whether it stands on another object."""


def arrange(scene: Scene, rng: np.random.Generator) -> list[Placed]:
    """The objects of a scene, in the order in which they are drawn."""
    if scene.relations[0] == "around":  # the same, told from the other side
        scene = scene.readings()[1]
    if scene.relations[0] == "inside":
        return _nested(scene, rng)
    middles = _middles(scene)
    wide = all(relation in ("above", "below") for relation in scene.relations)
    placed = []
    for part, (x, y) in zip(scene.parts, middles, strict=True):
        middle = (x + _jitter(rng, _GROUP_JITTER), y + _jitter(rng, _GROUP_JITTER))
        placed += _group(part, middle, rng, _WIDE_WORD_WIDTH if wide else _WORD_WIDTH)
    return placed


def _middles(scene: Scene) -> list[Point]:
    """Where the middles of the parts stand."""
    across, down = _TOWARDS[scene.relations[0]]
    both = (0.0, 0.0) if len(scene.parts) == 2 else _TOWARDS[scene.relations[1]]
    offsets = [(across + both[0], down + both[1]), (both[0] - across, both[1] - down), (-both[0], -both[1])]
    return [(SIZE / 2 + _QUARTER * a, SIZE / 2 + _QUARTER * d) for a, d in offsets[: len(scene.parts)]]


def _group(
    part: Part, middle: Point, rng: np.random.Generator, word_width: float = _WORD_WIDTH, inside: bool = False
) -> list[Placed]:
    x, y = middle
    if part.is_word:
        return [Placed(part, x, y, word_width)]
    formations = _FORMATIONS[part.count]
    formation = formations[int(rng.integers(len(formations)))]
    return [
        Placed(
            part,
            x + _STEP * across + _jitter(rng, _OBJECT_JITTER),
            y + _STEP * down + _jitter(rng, _OBJECT_JITTER),
            float(rng.uniform(*_RADIUS)),
            inside,
        )
        for across, down in formation
    ]


def _nested(scene: Scene, rng: np.random.Generator) -> list[Placed]:
    inner, outer = scene.parts
    x, y = (SIZE / 2 + _jitter(rng, _GROUP_JITTER) for _ in range(2))
    container = Placed(outer, x, y, float(rng.uniform(*_CONTAINER_RADIUS)))
    return [container, *_group(inner, (x, y), rng, inside=True)]


def _jitter(rng: np.random.Generator, most: float) -> float:
    return float(rng.uniform(-most, most))
