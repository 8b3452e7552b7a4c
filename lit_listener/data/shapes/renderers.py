"""The picture-makers of the Shapes world: they play the part of text-to-image generators.

A renderer turns a scene into a picture in a style of its own. Some are trained on, others are held out, so that a
judge can be tested on pictures of a generator whose pairs it was never rewarded for. Objects stand in the four
quarters of the picture, at most one in each, with seeded jitter in place and size.
"""

from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw

from lit_listener.data.shapes.scenes import COUNTS, Scene, Slips, attempt
from lit_listener.data.simulated.drawing import FADE, OUTLINES, PALETTE, Colour, towards

SIZE = 112
"""Width and height of a picture, in pixels."""
_SCALE = 2  # drawn larger, then averaged down: smooth edges


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

    def attempt(self, wanted: Scene, rng: np.random.Generator) -> Scene:
        """What it draws when asked for a scene, with its slips."""
        return attempt(wanted, self.slips, rng)

    def draw(self, scene: Scene, rng: np.random.Generator) -> Image.Image:
        """The scene as an RGB picture of ``SIZE`` x ``SIZE`` pixels."""
        side = SIZE * _SCALE
        picture = Image.new("RGB", (side, side), self.background)
        pen = ImageDraw.Draw(picture)
        if self.lines is not None:
            for y in range(0, side, 8 * _SCALE):
                pen.line([(0, y), (side, y)], fill=self.lines, width=_SCALE)
        fade = FADE if scene.finish == "faded" else 0.0
        fill = towards(PALETTE[scene.colour], self.background, fade)
        outline = None if self.outline is None else towards(self.outline, self.background, fade)
        for quarter in rng.permutation(4)[: COUNTS.index(scene.count) + 1]:
            centre = tuple(
                (28 + 56 * int(place) + float(rng.uniform(-5, 5))) * _SCALE for place in (quarter % 2, quarter // 2)
            )
            radius = float(rng.uniform(15, 20)) * _SCALE
            corners = OUTLINES[scene.shape](centre[0], centre[1], radius)
            pen.polygon(corners, fill=fill, outline=outline, width=2 * _SCALE)
        return picture.reduce(_SCALE)


RENDERERS = {
    renderer.name: renderer
    for renderer in (
        Renderer("flat", background=(255, 255, 255), outline=(40, 40, 40)),
        Renderer("paper", background=(243, 232, 208), outline=None, lines=(222, 208, 180)),
        Renderer("night", background=(24, 28, 56), outline=(235, 235, 245)),
    )
}
"""Every renderer by name. The shipped configs train on ``flat`` and ``paper`` and hold ``night`` out."""
