"""Which checkpoints are the best by a validation measure."""

import math
from dataclasses import dataclass, field
from typing import Literal


@dataclass
class Best:
    """The best few by their scores; of equal ones the earlier are kept.

    Args:
        keep: how many.
        mode: whether a greater score is better (max), or a smaller (min).
        scores: those kept, by name.
    """

    keep: int
    mode: Literal["max", "min"]
    scores: dict[str, float] = field(default_factory=dict)

    def compare(self, name: str, score: float) -> list[str]:
        """Take one in if it is among the best; a score that is not a number never is.

        Returns:
            the names of those that are no more.
        """
        sign = -1 if self.mode == "max" else 1
        candidates = {other: value for other, value in self.scores.items() if other != name} | {name: score}
        order = sorted((n for n in candidates if not math.isnan(candidates[n])), key=lambda n: sign * candidates[n])
        before, self.scores = self.scores, {n: candidates[n] for n in order[: self.keep]}
        return [other for other in before if other not in self.scores]
