"""Shapes: a bundled world of prompts, pictures and voters, so that everything runs offline on a laptop.

A prompt asks for objects ("three red circles"); two renderers each draw it, with slips; simulated voters choose by a
Bradley-Terry model over how well each picture fits. Every pair is a pure function of (seed, split, index), so a data
set of any size takes no memory and is the same on every machine.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from lit_listener.data.records import PreferencePair
from lit_listener.data.shapes.renderers import RENDERERS
from lit_listener.data.shapes.scenes import Scene, random_prompt
from lit_listener.data.simulated.crowd import Crowd
from lit_listener.data.simulated.pairs import Drawn, SimulatedPairs


@dataclass(frozen=True, eq=False)
class ShapesPair(PreferencePair):
    """A pair of which the truth is known."""

    wanted: Scene = Scene("one", "red", "circle")
    scene_a: Scene = Scene("one", "red", "circle")
    scene_b: Scene = Scene("one", "red", "circle")


@dataclass(frozen=True)
class Voters(Crowd[Scene]):
    """A crowd that votes for the picture that fits the prompt better, and for a crisp one."""

    finish_weight: float = 0.5
    """Worth of a crisp finish, in units of one attribute that fits the prompt."""

    def utility(self, scene: Scene, wanted: Scene) -> float:
        """How good a picture of ``scene`` is for the prompt ``wanted``."""
        return scene.fit(wanted) + self.finish_weight * (scene.finish == "crisp")


class ShapesPairs(SimulatedPairs[Scene, ShapesPair]):
    """Preference pairs of the Shapes world.

    Args:
        renderers: names of the renderers that drew the pictures; each of a pair's two is chosen among them.
        size: number of pairs.
        split: which stream of pairs; the splits share no seed.
        seed: seed of the world.
        drop_ties: leave out pairs whose votes are split evenly (training needs a winner).

    Raises:
        ValueError: for an unknown renderer or split, or a size below 1.
    """

    world = "shapes"
    known = RENDERERS
    voters = Voters()

    def _wanted(self, rng: np.random.Generator) -> tuple[str, Scene]:
        wanted = random_prompt(rng)
        return wanted.count, wanted

    def _record(self, drawn: Drawn[Scene], told: dict[str, Any]) -> ShapesPair:
        return ShapesPair(**told, wanted=drawn.wanted, scene_a=drawn.scenes[0], scene_b=drawn.scenes[1])
