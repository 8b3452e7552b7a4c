"""Pairs of a simulated world: each is a pure function of (seed, split, index).

So a data set of any size takes no memory and is the same on every machine. A world says how a pair is drawn from its
stream of random numbers; the rest is the same for all worlds.
"""

from abc import abstractmethod
from collections.abc import Collection, Sequence
from typing import Generic, Literal, Protocol, TypeVar

import numpy as np
from PIL.Image import Image

from lit_listener.data.records import PairSource, PreferencePair, majority_share

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
KEPT_TIES = 0.25
"""Share kept of the pairs whose two pictures are equally good; without it many pairs would be such coin flips."""


class Drawn(Protocol):
    """What is known of a pair before its pictures are drawn."""

    @property
    def caption(self) -> str:
        """The prompt."""

    @property
    def for_a(self) -> int:
        """Votes for image A."""

    @property
    def votes(self) -> int:
        """Votes in all."""


AnyDrawn = TypeVar("AnyDrawn", bound=Drawn)
AnyPair = TypeVar("AnyPair", bound=PreferencePair)


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


class SimulatedPairs(PairSource, Generic[AnyDrawn, AnyPair]):
    """Preference pairs that a world draws from a stream of random numbers of their own.

    Args:
        size: number of pairs.
        split: which stream of pairs; the splits share no seed.
        seed: seed of the world.
        drop_ties: leave out pairs whose votes are split evenly (training needs a winner).
    """

    def __init__(self, size: int, split: Split, seed: int, drop_ties: bool) -> None:
        self.size = size
        self.split: Split = split
        self.seed = seed
        self.drop_ties = drop_ties

    @abstractmethod
    def _draw(self, rng: np.random.Generator) -> AnyDrawn:
        """A pair, without its pictures."""

    @abstractmethod
    def _images(self, drawn: AnyDrawn, rng: np.random.Generator) -> list[Image]:
        """Its two pictures, A first."""

    @abstractmethod
    def _pair(self, index: int, drawn: AnyDrawn, images: Sequence[Image]) -> AnyPair:
        """The record of it."""

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
        return self._facts(index).caption

    def agreement(self, index: int) -> float:
        """Share of the voters on the majority's side; pictures are drawn as for ``prompt``."""
        drawn = self._facts(index)
        return majority_share(drawn.for_a / drawn.votes)

    def _facts(self, index: int) -> AnyDrawn:
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

    def _left_out(self, drawn: AnyDrawn) -> bool:
        return self.drop_ties and 2 * drawn.for_a == drawn.votes
