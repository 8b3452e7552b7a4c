"""The picture-makers of the Scenes world: they play the part of text-to-image generators.

A renderer turns a scene into a picture of 224 x 224 pixels in a style of its own. All slip equally often, so that the
style of a picture says nothing about how well it fits. Five are trained on; two are held out, both with dark grounds.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw

from lit_listener.data.scenes.figures import Figure, figure
from lit_listener.data.scenes.layout import SIZE, Placed, arrange
from lit_listener.data.scenes.scene import Scene
from lit_listener.data.scenes.slips import Slips, attempt
from lit_listener.data.simulated.drawing import FADE, PALETTE, Colour, Point, towards

_SCALE = 2  # drawn larger, then averaged down: smooth edges
_EDGE = 2.0 * _SCALE
"""Width of outlines, and of the gap around an object that stands on another."""
_SHADOW = 3 * _SCALE

Ground = Callable[[ImageDraw.ImageDraw, int, np.random.Generator], None]
"""Paints what lies behind the objects: pen, side in pixels, random numbers."""


def _plain(pen: ImageDraw.ImageDraw, side: int, rng: np.random.Generator) -> None:
    """Leave the ground as it is."""


def _ruled(colour: Colour, apart: int, crossed: bool = False) -> Ground:
    """Thin lines, this many pixels apart; crossed ones make a grid."""

    def paint(pen: ImageDraw.ImageDraw, side: int, rng: np.random.Generator) -> None:
        for at in range(0, side, apart * _SCALE):
            pen.line([(0, at), (side, at)], fill=colour, width=_SCALE)
            if crossed:
                pen.line([(at, 0), (at, side)], fill=colour, width=_SCALE)

    return paint


def _checked(colour: Colour, field_side: int) -> Ground:
    """A chequer board, its fields of this many pixels."""

    def paint(pen: ImageDraw.ImageDraw, side: int, rng: np.random.Generator) -> None:
        step = field_side * _SCALE
        for row in range(side // step + 1):
            for column in range(row % 2, side // step + 1, 2):
                pen.rectangle((column * step, row * step, (column + 1) * step - 1, (row + 1) * step - 1), fill=colour)

    return paint


def _speckled(colour: Colour, count: int) -> Ground:
    """So many specks at random places."""

    def paint(pen: ImageDraw.ImageDraw, side: int, rng: np.random.Generator) -> None:
        for x, y in rng.integers(side, size=(count, 2)):
            pen.rectangle((int(x), int(y), int(x) + _SCALE, int(y) + _SCALE), fill=colour)

    return paint


@dataclass(frozen=True)
class Renderer:
    """One style of drawing."""

    name: str
    background: Colour
    ground: Ground = _plain
    outline: Colour | None = None
    """Colour of the objects' outline, or None for no outline."""
    shadow: Colour | None = None
    """Colour of the shadow that objects throw to the lower right, or None."""
    rough: float = 0.0
    """Corners lie off by up to so many pixels."""
    tilt: float = 0.0
    """Objects are turned by up to so many radians; words are not."""
    slips: Slips = field(default_factory=Slips)

    def attempt(self, wanted: Scene, rng: np.random.Generator) -> Scene:
        """What it draws when asked for a scene, with its slips."""
        return attempt(wanted, self.slips, rng)

    def draw(self, scene: Scene, rng: np.random.Generator) -> Image.Image:
        """The scene as an RGB picture of ``SIZE`` x ``SIZE`` pixels."""
        side = SIZE * _SCALE
        picture = Image.new("RGB", (side, side), self.background)
        self.ground(ImageDraw.Draw(picture), side, rng)
        for placed in arrange(scene, rng):
            self._object(picture, placed, rng)
        return picture.reduce(_SCALE)

    def _object(self, picture: Image.Image, placed: Placed, rng: np.random.Generator) -> None:
        fade = FADE if placed.part.finish == "faded" else 0.0
        fill = towards(PALETTE[placed.part.colour], self.background, fade)
        shape = self._figure(placed, rng)
        if self.shadow is not None:
            cast = shape.moved(lambda point: (point[0] + _SHADOW, point[1] + _SHADOW))
            _paint(picture, cast, towards(self.shadow, self.background, fade), 0.0)
        if self.outline is not None:
            edge = _EDGE if shape.solid else _EDGE / 2  # the letters of a word shall stay apart
            _paint(picture, shape, towards(self.outline, self.background, fade), edge)
        elif placed.inside:
            _paint(picture, shape, self.background, _EDGE)
        _paint(picture, shape, fill, 0.0)

    def _figure(self, placed: Placed, rng: np.random.Generator) -> Figure:
        x, y = placed.x * _SCALE, placed.y * _SCALE
        shape = figure(placed.part.form, x, y, placed.radius * _SCALE)
        if self.tilt and not placed.part.is_word:
            shape = shape.moved(_turned(x, y, float(rng.uniform(-self.tilt, self.tilt))))
        if self.rough:
            off = self.rough * _SCALE
            shape = shape.moved(
                lambda at: (at[0] + float(rng.uniform(-off, off)), at[1] + float(rng.uniform(-off, off)))
            )
        return shape


def _turned(x: float, y: float, angle: float) -> Callable[[Point], Point]:
    """A turn about (x, y), in radians."""
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    return lambda at: (x + cos * (at[0] - x) - sin * (at[1] - y), y + sin * (at[0] - x) + cos * (at[1] - y))


def _paint(picture: Image.Image, shape: Figure, colour: Colour, grown: float) -> None:
    """Fill a figure that has grown by so many pixels on all sides."""
    left, top, right, bottom = shape.bounds(grown + _SCALE)
    shape = shape.moved(lambda point: (point[0] - left, point[1] - top))
    mask = Image.new("L", (right - left, bottom - top))
    pen = ImageDraw.Draw(mask)
    for corners in shape.solid:
        pen.polygon(corners, fill=255)
        _line(pen, [*corners, corners[0]], 2 * grown)
    for corners in shape.holes:
        pen.polygon(corners, fill=0)
        _line(pen, [*corners, corners[0]], 2 * grown)
    for stroke in shape.strokes:
        _line(pen, stroke, shape.width + 2 * grown)
    picture.paste(colour, (left, top), mask)


def _line(pen: ImageDraw.ImageDraw, points: "list[Point] | tuple[Point, ...]", width: float) -> None:
    """A line with round corners and ends."""
    if width <= 0:
        return
    pen.line(points, fill=255, width=round(width))
    half = width / 2
    for x, y in points:
        pen.ellipse((x - half, y - half, x + half, y + half), fill=255)


TRAINED_ON = ("flat", "paper", "tiles", "poster", "grain")
"""Names of the renderers that the shipped configs train on."""
HELD_OUT = ("night", "chalk")
"""Names of those whose pairs are never rewarded in them."""
RENDERERS = {
    renderer.name: renderer
    for renderer in (
        Renderer("flat", background=(255, 255, 255), outline=(40, 40, 40)),
        Renderer("paper", background=(243, 232, 208), ground=_ruled((222, 208, 180), 8)),
        Renderer("tiles", background=(236, 238, 240), ground=_checked((222, 225, 229), 28), outline=(70, 70, 80)),
        Renderer("poster", background=(206, 222, 228), outline=(255, 255, 255), shadow=(120, 140, 150)),
        Renderer("grain", background=(238, 230, 218), ground=_speckled((196, 184, 166), 900), tilt=0.2),
        Renderer("night", background=(24, 28, 56), outline=(235, 235, 245)),
        Renderer("chalk", background=(30, 36, 35), ground=_ruled((48, 55, 54), 28, crossed=True), rough=0.9),
    )
}
"""Every renderer by name."""
