"""Pairs of a simulated world: each is a pure function of (seed, split, index).

So a data set of any size takes no memory and is the same on every machine. A world says what may be asked for, who
draws it and who votes; the rest is the same for all worlds.
"""

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

import numpy as np
from PIL.Image import Image

from lit_listener.data.records import PairSource, PreferencePair, majority_share
from lit_listener.data.simulated.crowd import Crowd

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
KEPT_TIES = 0.25
"""Share kept of the pairs whose two pictures are equally good; without it many pairs would be such coin flips."""


AnyPair = TypeVar("AnyPair", bound=PreferencePair)


class Depicted(Protocol):
    """A scene of some world."""

    @property
    def caption(self) -> str:
        """It as a prompt."""


AnyScene = TypeVar("AnyScene", bound=Depicted)


class Renderer(Protocol[AnyScene]):
    """A generator of a world: it draws what it is asked for, with slips."""

    @property
    def name(self) -> str:
        """What it is called."""

    def attempt(self, wanted: AnyScene, rng: np.random.Generator) -> AnyScene:
        """What it draws when asked for a scene."""

    def draw(self, scene: AnyScene, rng: np.random.Generator) -> Image:
        """A picture of a scene."""


@dataclass(frozen=True)
class Drawn(Generic[AnyScene]):
    """What is known of a pair before its pictures are drawn."""

    category: str
    wanted: AnyScene
    drawn_by: tuple[Renderer[AnyScene], ...]
    scenes: tuple[AnyScene, ...]
    for_a: int
    """Votes for image A."""
    votes: int
    """Votes in all."""


def check_world(renderers: Sequence[str], known: Collection[str], size: int, split: Split) -> None:
    """Refuse what no part of a simulated world can be made of.

    Raises:
        ValueError: for an unknown renderer or split, or a size below 1.
    """
    if set(renderers) - set(known) or not renderers:
        raise ValueError(f"renderers: expected one or more of {sorted(known)}, got {renderers}")
    if size < 1:
        raise ValueError(f"size: a data set needs at least 1 pair or picture, got size={size}")
    if split not in SPLITS:
        raise ValueError(f"split: expected one of {list(SPLITS)}, got {split!r}")


class SimulatedPairs(PairSource, Generic[AnyScene, AnyPair]):
    """Preference pairs that a world draws, each from a stream of random numbers of its own.

    Args:
        renderers: names of the renderers that drew the pictures; each of a pair's two is chosen among them.
        size: number of pairs.
        split: which stream of pairs; the splits share no seed.
        seed: seed of the world.
        drop_ties: leave out pairs whose votes are split evenly (training needs a winner).

    Raises:
        ValueError: for an unknown renderer or split, or a size below 1.
    """

    world: str
    """Its name, with which the names of its pairs begin."""
    known: Mapping[str, Renderer[AnyScene]]
    """The renderers that there are."""
    voters: Crowd[AnyScene]

    def __init__(
        self,
        renderers: list[str],
        size: int,
        split: Split = "train",
        seed: int = 0,
        drop_ties: bool = True,
    ) -> None:
        check_world(renderers, self.known, size, split)
        self.renderers = tuple(renderers)
        self.size = size
        self.split: Split = split
        self.seed = seed
        self.drop_ties = drop_ties

    @abstractmethod
    def _wanted(self, rng: np.random.Generator) -> tuple[str, AnyScene]:
        """A prompt, behind its category."""

    @abstractmethod
    def _record(self, drawn: Drawn[AnyScene], told: dict[str, Any]) -> AnyPair:
        """A pair as its world's record.

        Args:
            drawn: its truth.
            told: what every record of a pair holds.
        """

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> AnyPair:
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

    def _facts(self, index: int) -> Drawn[AnyScene]:
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

    def _left_out(self, drawn: Drawn[AnyScene]) -> bool:
        return self.drop_ties and 2 * drawn.for_a == drawn.votes

    def _draw(self, rng: np.random.Generator) -> Drawn[AnyScene]:
        """A pair, without its pictures."""
        category, wanted = self._wanted(rng)
        while True:
            drawn_by = tuple(self.known[self.renderers[int(i)]] for i in rng.integers(len(self.renderers), size=2))
            scene_a, scene_b = (renderer.attempt(wanted, rng) for renderer in drawn_by)
            even = self.voters.utility(scene_a, wanted) == self.voters.utility(scene_b, wanted)
            if not even or rng.random() < KEPT_TIES:
                break
        for_a, votes = self.voters.vote(scene_a, scene_b, wanted, rng)
        return Drawn(category, wanted, drawn_by, (scene_a, scene_b), for_a, votes)

    def _images(self, drawn: Drawn[AnyScene], rng: np.random.Generator) -> list[Image]:
        """Its two pictures, A first."""
        return [renderer.draw(scene, rng) for renderer, scene in zip(drawn.drawn_by, drawn.scenes, strict=True)]

    def _pair(self, index: int, drawn: Drawn[AnyScene], images: Sequence[Image]) -> AnyPair:
        told = {
            "prompt": drawn.wanted.caption,
            "image_a": images[0],
            "image_b": images[1],
            "share_a": drawn.for_a / drawn.votes,
            "votes": drawn.votes,
            "pair_id": f"{self.world}-{self.split}-{self.seed}-{'+'.join(self.renderers)}-{index}",
            "prompt_id": drawn.wanted.caption,
            "generator_a": drawn.drawn_by[0].name,
            "generator_b": drawn.drawn_by[1].name,
            "category": drawn.category,
        }
        return self._record(drawn, told)
