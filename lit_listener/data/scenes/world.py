"""Scenes: a larger world than Shapes, for a model of some 40 million parameters and a GPU.

A prompt asks for two or three groups of objects in a relation ("two red circles left of one blue star"); two renderers
each draw it, with slips; simulated voters choose by a Bradley-Terry model over how much of it each picture shows, bound
to one another as asked. Every pair is a pure function of (seed, split, index).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from lit_listener.data.records import PreferencePair
from lit_listener.data.scenes.prompts import KINDS, random_prompt
from lit_listener.data.scenes.renderers import RENDERERS
from lit_listener.data.scenes.scene import Part, Scene
from lit_listener.data.simulated.crowd import Crowd
from lit_listener.data.simulated.draws import pick
from lit_listener.data.simulated.pairs import Drawn, SimulatedPairs

_ANY = Scene((Part("one", "red", "circle"), Part("one", "blue", "square")), ("left of",))


@dataclass(frozen=True, eq=False)
class ScenesPair(PreferencePair):
    """A pair of which the truth is known."""

    wanted: Scene = _ANY
    scene_a: Scene = _ANY
    scene_b: Scene = _ANY


@dataclass(frozen=True)
class ScenesVoters(Crowd[Scene]):
    """A crowd that votes for the picture that shows more of what was asked for, and for crisp parts."""

    finish_weight: float = 0.3
    """Worth of a crisp part, in units of one thing that fits; three of them are worth less than one such thing."""

    def utility(self, scene: Scene, wanted: Scene) -> float:
        """How good a picture of ``scene`` is for the prompt ``wanted``."""
        return scene.fit(wanted) + self.finish_weight * scene.crisp


class ScenesPairs(SimulatedPairs[Scene, ScenesPair]):
    """Preference pairs of the Scenes world.

    Args:
        renderers: names of the renderers that drew the pictures; each of a pair's two is chosen among them.
        size: number of pairs.
        split: which stream of pairs; the splits share no seed.
        seed: seed of the world.
        drop_ties: leave out pairs whose votes are split evenly (training needs a winner).

    Raises:
        ValueError: for an unknown renderer or split, or a size below 1.
    """

    world = "scenes"
    known = RENDERERS
    voters = ScenesVoters()

    def undrawn(self, index: int) -> ScenesPair:
        """The pair at a place with pictures of nothing: for those that read its words alone."""
        nothing = Image.new("RGB", (28, 28))
        return self._pair(index, self._facts(index), [nothing, nothing])

    def _wanted(self, rng: np.random.Generator) -> tuple[str, Scene]:
        kind = pick(rng, KINDS)
        return kind, random_prompt(kind, rng)

    def _record(self, drawn: Drawn[Scene], told: dict[str, Any]) -> ScenesPair:
        return ScenesPair(**told, wanted=drawn.wanted, scene_a=drawn.scenes[0], scene_b=drawn.scenes[1])
