"""Colours and corners: what the renderers of simulated worlds draw with. Lengths are in pixels, y points down."""

import math
from collections.abc import Callable, Mapping

Colour = tuple[int, int, int]
Point = tuple[float, float]
Outline = Callable[[float, float, float], list[Point]]
"""Corners of a form at (x, y) with a radius."""

PALETTE: Mapping[str, Colour] = {
    "red": (214, 39, 40),
    "green": (44, 160, 44),
    "blue": (38, 90, 214),
    "yellow": (240, 208, 32),
    "purple": (140, 60, 190),
    "orange": (250, 130, 20),
}
FADE = 0.62
"""How far a faded object's colour lies towards the background: contrast is lost, not sharpness."""
_UP = -math.pi / 2


def towards(colour: Colour, target: Colour, share: float) -> Colour:
    """The colour that lies this share of the way to another, from 0 to 1."""
    red, green, blue = (round(c + share * (t - c)) for c, t in zip(colour, target, strict=True))
    return red, green, blue


def regular(x: float, y: float, radii: tuple[float, ...], turn: float) -> list[Point]:
    """Corners at these distances from (x, y) and at equal angles; the first lies at ``turn``, in radians."""
    angles = [turn + 2 * math.pi * i / len(radii) for i in range(len(radii))]
    return [(x + r * math.cos(a), y + r * math.sin(a)) for r, a in zip(radii, angles, strict=True)]


OUTLINES: Mapping[str, Outline] = {
    "circle": lambda x, y, r: regular(x, y, (r,) * 40, 0.0),
    "square": lambda x, y, r: regular(x, y, (1.2 * r,) * 4, math.pi / 4),
    "triangle": lambda x, y, r: regular(x, y, (1.25 * r,) * 3, _UP),
    "star": lambda x, y, r: regular(x, y, (1.3 * r, 0.55 * r) * 5, _UP),
}
"""The simple shapes."""
