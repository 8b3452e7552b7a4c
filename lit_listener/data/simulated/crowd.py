"""A simulated crowd that votes between two pictures.

Bradley and Terry, "Rank analysis of incomplete block designs" (1952): P(A over B) = sigmoid(utility A - utility B).
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

AnyScene = TypeVar("AnyScene")


@dataclass(frozen=True)
class Crowd(ABC, Generic[AnyScene]):
    """Votes by a Bradley-Terry model: P(A over B) = sigmoid(sharpness * (utility A - utility B))."""

    sharpness: float = 1.5
    fewest: int = 9
    """Votes on a pair, at least."""
    most: int = 25
    """Votes on a pair, at most."""

    @abstractmethod
    def utility(self, scene: AnyScene, wanted: AnyScene) -> float:
        """How good a picture of ``scene`` is for the prompt ``wanted``."""

    def vote(self, scene_a: AnyScene, scene_b: AnyScene, wanted: AnyScene, rng: np.random.Generator) -> tuple[int, int]:
        """(votes for A, votes in all)."""
        return self.ballot(self.utility(scene_a, wanted) - self.utility(scene_b, wanted), rng)

    def ballot(self, difference: float, rng: np.random.Generator) -> tuple[int, int]:
        """(votes for A, votes in all), where A's utility is this much higher than B's."""
        votes = int(rng.integers(self.fewest, self.most + 1))
        return int(rng.binomial(votes, 1.0 / (1.0 + math.exp(-self.sharpness * difference)))), votes
