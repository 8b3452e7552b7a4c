"""What a generator of the Shapes world makes of a prompt: pictures to try a judge on, where one has none."""

from dataclasses import dataclass

import numpy as np
from PIL.Image import Image

from lit_listener.data.shapes.renderers import RENDERERS
from lit_listener.data.shapes.scenes import COLOURS, COUNTS, SHAPES, Scene

SCENES = {scene.caption: scene for scene in (Scene(n, c, s) for n in COUNTS for c in COLOURS for s in SHAPES)}
"""Every prompt of the world, and what it asks for."""


@dataclass(frozen=True)
class Attempt:
    """One picture for a prompt."""

    picture: Image
    scene: Scene
    """What it shows."""
    fits: int
    """How many of the prompt's three attributes it shows."""


def attempts(prompt: str, count: int, renderer: str = "flat", seed: int = 0) -> list[Attempt]:
    """Pictures that a renderer draws for a prompt, with its slips.

    Args:
        prompt: one of the world's, such as "two red circles".
        count: how many, at least 1.
        renderer: name of the style.
        seed: seed of slips and places; a picture is the same however many are drawn.

    Raises:
        ValueError: the world has no such prompt or renderer, or the count is below 1.
    """
    if prompt not in SCENES:
        raise ValueError(
            f"prompt: Shapes has {', '.join(COUNTS)} of {', '.join(COLOURS)} {', '.join(SHAPES)}, as in "
            f"{Scene('two', 'red', 'circle').caption!r}; got {prompt!r}"
        )
    if renderer not in RENDERERS:
        raise ValueError(f"renderer: expected one of {sorted(RENDERERS)}, got {renderer!r}")
    if count < 1:
        raise ValueError(f"count: expected at least 1 picture, got {count}")
    wanted, drawn = SCENES[prompt], list[Attempt]()
    for place in range(count):
        rng = np.random.default_rng([seed, place])
        scene = RENDERERS[renderer].attempt(wanted, rng)
        drawn.append(Attempt(RENDERERS[renderer].draw(scene, rng), scene, scene.fit(wanted)))
    return drawn
