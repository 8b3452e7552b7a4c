"""A simulated crowd that votes between two pictures.

Bradley and Terry, "Rank analysis of incomplete block designs" (1952): P(A over B) = sigmoid(utility A - utility B).
"""

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Crowd:
    """Votes by a Bradley-Terry model: P(A over B) = sigmoid(sharpness * (utility A - utility B))."""

    sharpness: float = 1.5
    fewest: int = 9
    """Votes on a pair, at least."""
    most: int = 25
    """Votes on a pair, at most."""

    def ballot(self, difference: float, rng: np.random.Generator) -> tuple[int, int]:
        """(votes for A, votes in all), where A's utility is this much higher than B's."""
        votes = int(rng.integers(self.fewest, self.most + 1))
        return int(rng.binomial(votes, 1.0 / (1.0 + math.exp(-self.sharpness * difference)))), votes
