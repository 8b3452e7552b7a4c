"""The picture-makers of the Shapes world: they play the part of text-to-image generators.

A renderer turns a scene into a picture in a style of its own. Some are trained on, others are held out, so that a
judge can be tested on pictures of a generator whose pairs it was never rewarded for. Objects stand in the four
quarters of the picture, at most one in each, with seeded jitter in place and size.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw

from lit_listener.data.shapes.scenes import COUNTS, Scene, Slips

SIZE = 112
"""Width and height of a picture, in pixels."""
_SCALE = 2  # drawn larger, then averaged down: smooth edges
_PALETTE = {
    "red": (214, 39, 40),
    "green": (44, 160, 44),
    "blue": (38, 90, 214),
    "yellow": (240, 208, 32),
    "purple": (140, 60, 190),
    "orange": (250, 130, 20),
}
_FADE = 0.62
"""How far a faded object's colour lies towards the background: contrast is lost, not sharpness."""

Colour = tuple[int, int, int]
Point = tuple[float, float]


@dataclass(frozen=True)
class Renderer:
    """One style of drawing."""

    name: str
    background: Colour
    outline: Colour | None
    """Colour of the objects' outline, or None for no outline."""
    lines: Colour | None = None
    """Colour of thin lines ruled across the background, or None."""
    slips: Slips = field(default_factory=Slips)

    def draw(self, scene: Scene, rng: np.random.Generator) -> Image.Image:
        """The scene as an RGB picture of ``SIZE`` x ``SIZE`` pixels."""
        side = SIZE * _SCALE
        picture = Image.new("RGB", (side, side), self.background)
        pen = ImageDraw.Draw(picture)
        if self.lines is not None:
            for y in range(0, side, 8 * _SCALE):
                pen.line([(0, y), (side, y)], fill=self.lines, width=_SCALE)
        fade = _FADE if scene.finish == "faded" else 0.0
        fill = _towards(_PALETTE[scene.colour], self.background, fade)
        outline = None if self.outline is None else _towards(self.outline, self.background, fade)
        for quarter in rng.permutation(4)[: COUNTS.index(scene.count) + 1]:
            centre = tuple(
                (28 + 56 * int(place) + float(rng.uniform(-5, 5))) * _SCALE for place in (quarter % 2, quarter // 2)
            )
            radius = float(rng.uniform(15, 20)) * _SCALE
            corners = _CORNERS[scene.shape](centre[0], centre[1], radius)
            pen.polygon(corners, fill=fill, outline=outline, width=2 * _SCALE)
        return picture.reduce(_SCALE)


def _towards(colour: Colour, target: Colour, share: float) -> Colour:
    red, green, blue = (round(c + share * (t - c)) for c, t in zip(colour, target, strict=True))
    return red, green, blue


def _regular(x: float, y: float, radii: tuple[float, ...], turn: float) -> list[Point]:
    angles = [turn + 2 * math.pi * i / len(radii) for i in range(len(radii))]
    return [(x + r * math.cos(a), y + r * math.sin(a)) for r, a in zip(radii, angles, strict=True)]


_UP = -math.pi / 2
_CORNERS: dict[str, Callable[[float, float, float], list[Point]]] = {
    "circle": lambda x, y, r: _regular(x, y, (r,) * 40, 0.0),
    "square": lambda x, y, r: _regular(x, y, (1.2 * r,) * 4, math.pi / 4),
    "triangle": lambda x, y, r: _regular(x, y, (1.25 * r,) * 3, _UP),
    "star": lambda x, y, r: _regular(x, y, (1.3 * r, 0.55 * r) * 5, _UP),
}

RENDERERS = {
    renderer.name: renderer
    for renderer in (
        Renderer("flat", background=(255, 255, 255), outline=(40, 40, 40)),
        Renderer("paper", background=(243, 232, 208), outline=None, lines=(222, 208, 180)),
        Renderer("night", background=(24, 28, 56), outline=(235, 235, 245)),
    )
}
"""Every renderer by name. The shipped configs train on ``flat`` and ``paper`` and hold ``night`` out."""
