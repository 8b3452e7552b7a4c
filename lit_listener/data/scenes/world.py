"""Scenes: a larger world than Shapes, for a model of some 40 million parameters and a GPU.

A prompt asks for two or three groups of objects in a relation ("two red circles left of one blue star"); two renderers
each draw it, with slips; simulated voters choose by a Bradley-Terry model over how much of it each picture shows, bound
to one another as asked. Every pair is a pure function of (seed, split, index).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image

from lit_listener.data.records import PreferencePair
from lit_listener.data.scenes.prompts import KINDS, random_prompt
from lit_listener.data.scenes.renderers import RENDERERS, Renderer
from lit_listener.data.scenes.scene import Part, Scene
from lit_listener.data.scenes.slips import attempt
from lit_listener.data.simulated.crowd import Crowd
from lit_listener.data.simulated.draws import pick
from lit_listener.data.simulated.pairs import KEPT_TIES, SimulatedPairs, Split, check_world

_ANY = Scene((Part("one", "red", "circle"), Part("one", "blue", "square")), ("left of",))


@dataclass(frozen=True, eq=False)
class ScenesPair(PreferencePair):
    """A pair of which the truth is known."""

    wanted: Scene = _ANY
    scene_a: Scene = _ANY
    scene_b: Scene = _ANY


@dataclass(frozen=True)
class ScenesVoters(Crowd):
    """A crowd that votes for the picture that shows more of what was asked for, and for crisp parts."""

    finish_weight: float = 0.3
    """Worth of a crisp part, in units of one thing that fits; three of them are worth less than one such thing."""

    def utility(self, scene: Scene, wanted: Scene) -> float:
        """How good a picture of ``scene`` is for the prompt ``wanted``."""
        return scene.fit(wanted) + self.finish_weight * scene.crisp

    def vote(self, scene_a: Scene, scene_b: Scene, wanted: Scene, rng: np.random.Generator) -> tuple[int, int]:
        """(votes for A, votes in all)."""
        return self.ballot(self.utility(scene_a, wanted) - self.utility(scene_b, wanted), rng)


class ScenesPairs(SimulatedPairs["_Drawn", ScenesPair]):
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

    def __init__(
        self,
        renderers: list[str],
        size: int,
        split: Split = "train",
        seed: int = 0,
        drop_ties: bool = True,
    ) -> None:
        check_world(renderers, RENDERERS, size, split)
        super().__init__(size, split, seed, drop_ties)
        self.renderers = tuple(renderers)
        self.voters = ScenesVoters()

    def undrawn(self, index: int) -> ScenesPair:
        """The pair at a place with pictures of nothing: for those that read its words alone."""
        nothing = Image.new("RGB", (28, 28))
        return self._pair(index, self._facts(index), [nothing, nothing])

    def _draw(self, rng: np.random.Generator) -> "_Drawn":
        kind = pick(rng, KINDS)
        wanted = random_prompt(kind, rng)
        while True:
            drawn_by = tuple(RENDERERS[self.renderers[int(i)]] for i in rng.integers(len(self.renderers), size=2))
            scene_a, scene_b = (attempt(wanted, renderer.slips, rng) for renderer in drawn_by)
            even = self.voters.utility(scene_a, wanted) == self.voters.utility(scene_b, wanted)
            if not even or rng.random() < KEPT_TIES:
                break
        for_a, votes = self.voters.vote(scene_a, scene_b, wanted, rng)
        return _Drawn(kind, wanted, drawn_by, (scene_a, scene_b), for_a, votes)

    def _images(self, drawn: "_Drawn", rng: np.random.Generator) -> list[Image.Image]:
        return [renderer.draw(scene, rng) for renderer, scene in zip(drawn.drawn_by, drawn.scenes, strict=True)]

    def _pair(self, index: int, drawn: "_Drawn", images: Sequence[Image.Image]) -> ScenesPair:
        return ScenesPair(
            prompt=drawn.caption,
            image_a=images[0],
            image_b=images[1],
            share_a=drawn.for_a / drawn.votes,
            votes=drawn.votes,
            pair_id=f"scenes-{self.split}-{self.seed}-{'+'.join(self.renderers)}-{index}",
            prompt_id=drawn.caption,
            generator_a=drawn.drawn_by[0].name,
            generator_b=drawn.drawn_by[1].name,
            category=drawn.kind,
            wanted=drawn.wanted,
            scene_a=drawn.scenes[0],
            scene_b=drawn.scenes[1],
        )


class _Drawn(NamedTuple):
    """A pair before its pictures are drawn."""

    kind: str
    wanted: Scene
    drawn_by: tuple[Renderer, ...]
    scenes: tuple[Scene, Scene]
    for_a: int
    votes: int

    @property
    def caption(self) -> str:
        """The prompt."""
        return self.wanted.caption
