"""Shapes: a bundled world of prompts, pictures and voters, so that everything runs offline on a laptop.

A prompt asks for objects ("three red circles"); two renderers each draw it, with slips; simulated voters choose by a
Bradley-Terry model over how well each picture fits. Every pair is a pure function of (seed, split, index), so a data
set of any size takes no memory and is the same on every machine.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from PIL.Image import Image

from lit_listener.data.records import PairSource, PreferencePair, majority_share
from lit_listener.data.shapes.renderers import RENDERERS, Renderer
from lit_listener.data.shapes.scenes import Scene, attempt, random_prompt

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
_KEPT_TIES = 0.25
"""Share kept of the pairs whose two pictures are equally good; without it one pair in six would be such a coin flip."""


@dataclass(frozen=True, eq=False)
class ShapesPair(PreferencePair):
    """A pair of which the truth is known."""

    wanted: Scene = Scene("one", "red", "circle")
    scene_a: Scene = Scene("one", "red", "circle")
    scene_b: Scene = Scene("one", "red", "circle")


@dataclass(frozen=True)
class Voters:
    """A crowd that votes by a Bradley-Terry model: P(A over B) = sigmoid(sharpness * (utility A - utility B))."""

    sharpness: float = 1.5
    finish_weight: float = 0.5
    """Worth of a crisp finish, in units of one attribute that fits the prompt."""
    fewest: int = 9
    most: int = 25

    def utility(self, scene: Scene, wanted: Scene) -> float:
        """How good a picture of ``scene`` is for the prompt ``wanted``."""
        return scene.fit(wanted) + self.finish_weight * (scene.finish == "crisp")

    def vote(self, scene_a: Scene, scene_b: Scene, wanted: Scene, rng: np.random.Generator) -> tuple[int, int]:
        """(votes for A, votes in all)."""
        difference = self.utility(scene_a, wanted) - self.utility(scene_b, wanted)
        votes = int(rng.integers(self.fewest, self.most + 1))
        return int(rng.binomial(votes, 1.0 / (1.0 + math.exp(-self.sharpness * difference)))), votes


def check_world(renderers: Sequence[str], size: int, split: Split) -> None:
    """Refuse what no part of the Shapes world can be made of.

    Raises:
        ValueError: for an unknown renderer or split, or a size below 1.
    """
    unknown = sorted(set(renderers) - set(RENDERERS))
    if unknown or not renderers:
        raise ValueError(f"renderers: expected one or more of {sorted(RENDERERS)}, got {renderers}")
    if size < 1:
        raise ValueError(f"size: a data set needs at least 1 pair or picture, got size={size}")
    if split not in SPLITS:
        raise ValueError(f"split: expected one of {list(SPLITS)}, got {split!r}")


class ShapesPairs(PairSource):
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
        check_world(renderers, size, split)
        self.renderers = tuple(renderers)
        self.size = size
        self.split: Split = split
        self.seed = seed
        self.drop_ties = drop_ties
        self.voters = Voters()

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> ShapesPair:
        index = self._place(index)
        rng = self._stream(index)
        while True:
            drawn = self._draw(rng)
            images = self._images(drawn, rng)
            if not self._left_out(drawn):
                return self._pair(index, drawn, images)

    def prompt(self, index: int) -> str:
        """The prompt of the pair at a place; of pictures only those of ties that were left out before it are drawn."""
        return self._facts(index).wanted.caption

    def agreement(self, index: int) -> float:
        """Share of the voters on the majority's side; pictures are drawn as for ``prompt``."""
        drawn = self._facts(index)
        return majority_share(drawn.for_a / drawn.votes)

    def _facts(self, index: int) -> "_Drawn":
        """What is known of the pair at a place before its pictures are drawn."""
        index = self._place(index)
        rng = self._stream(index)
        drawn = self._draw(rng)
        while self._left_out(drawn):
            self._images(drawn, rng)  # the stream goes on behind them
            drawn = self._draw(rng)
        return drawn

    def _place(self, index: int) -> int:
        if not -self.size <= index < self.size:
            raise IndexError(f"pair {index} of a data set of {self.size}")
        return index % self.size

    def _stream(self, index: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, SPLITS.index(self.split), index])

    def _left_out(self, drawn: "_Drawn") -> bool:
        return self.drop_ties and 2 * drawn.for_a == drawn.votes

    def _draw(self, rng: np.random.Generator) -> "_Drawn":
        wanted = random_prompt(rng)
        while True:
            drawn_by = tuple(RENDERERS[self.renderers[int(i)]] for i in rng.integers(len(self.renderers), size=2))
            scene_a, scene_b = (attempt(wanted, renderer.slips, rng) for renderer in drawn_by)
            even = self.voters.utility(scene_a, wanted) == self.voters.utility(scene_b, wanted)
            if not even or rng.random() < _KEPT_TIES:
                break
        for_a, votes = self.voters.vote(scene_a, scene_b, wanted, rng)
        return _Drawn(wanted, drawn_by, (scene_a, scene_b), for_a, votes)

    @staticmethod
    def _images(drawn: "_Drawn", rng: np.random.Generator) -> list[Image]:
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
