"""Shapes: a bundled world of prompts, pictures and voters, so that everything runs offline on a laptop.

A prompt asks for objects ("three red circles"); two renderers each draw it, with slips; simulated voters choose by a
Bradley-Terry model over how well each picture fits. Every pair is a pure function of (seed, split, index), so a data
set of any size takes no memory and is the same on every machine.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL.Image import Image

from lit_listener.data.records import PreferencePair
from lit_listener.data.shapes.renderers import RENDERERS, Renderer
from lit_listener.data.shapes.scenes import Scene, attempt, random_prompt
from lit_listener.data.simulated.crowd import Crowd
from lit_listener.data.simulated.pairs import KEPT_TIES, SimulatedPairs, Split, check_world


@dataclass(frozen=True, eq=False)
class ShapesPair(PreferencePair):
    """A pair of which the truth is known."""

    wanted: Scene = Scene("one", "red", "circle")
    scene_a: Scene = Scene("one", "red", "circle")
    scene_b: Scene = Scene("one", "red", "circle")


@dataclass(frozen=True)
class Voters(Crowd):
    """A crowd that votes for the picture that fits the prompt better, and for a crisp one."""

    finish_weight: float = 0.5
    """Worth of a crisp finish, in units of one attribute that fits the prompt."""

    def utility(self, scene: Scene, wanted: Scene) -> float:
        """How good a picture of ``scene`` is for the prompt ``wanted``."""
        return scene.fit(wanted) + self.finish_weight * (scene.finish == "crisp")

    def vote(self, scene_a: Scene, scene_b: Scene, wanted: Scene, rng: np.random.Generator) -> tuple[int, int]:
        """(votes for A, votes in all)."""
        difference = self.utility(scene_a, wanted) - self.utility(scene_b, wanted)
        return self.ballot(difference, rng)


class ShapesPairs(SimulatedPairs["_Drawn", ShapesPair]):
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
        self.voters = Voters()

    def _draw(self, rng: np.random.Generator) -> "_Drawn":
        wanted = random_prompt(rng)
        while True:
            drawn_by = tuple(RENDERERS[self.renderers[int(i)]] for i in rng.integers(len(self.renderers), size=2))
            scene_a, scene_b = (attempt(wanted, renderer.slips, rng) for renderer in drawn_by)
            even = self.voters.utility(scene_a, wanted) == self.voters.utility(scene_b, wanted)
            if not even or rng.random() < KEPT_TIES:
                break
        for_a, votes = self.voters.vote(scene_a, scene_b, wanted, rng)
        return _Drawn(wanted, drawn_by, (scene_a, scene_b), for_a, votes)

    def _images(self, drawn: "_Drawn", rng: np.random.Generator) -> list[Image]:
        return [renderer.draw(scene, rng) for renderer, scene in zip(drawn.drawn_by, drawn.scenes, strict=True)]

    def _pair(self, index: int, drawn: "_Drawn", images: Sequence[Image]) -> ShapesPair:
        wanted = drawn.wanted
        return ShapesPair(
            prompt=wanted.caption,
            image_a=images[0],
            image_b=images[1],
            share_a=drawn.for_a / drawn.votes,
            votes=drawn.votes,
            pair_id=f"shapes-{self.split}-{self.seed}-{'+'.join(self.renderers)}-{index}",
            prompt_id=wanted.caption,
            generator_a=drawn.drawn_by[0].name,
            generator_b=drawn.drawn_by[1].name,
            category=wanted.count,
            wanted=wanted,
            scene_a=drawn.scenes[0],
            scene_b=drawn.scenes[1],
        )


class _Drawn(NamedTuple):
    """A pair before its pictures are drawn."""

    wanted: Scene
    drawn_by: tuple[Renderer, ...]
    scenes: tuple[Scene, Scene]
    for_a: int
    votes: int

    @property
    def caption(self) -> str:
        """The prompt."""
        return self.wanted.caption
