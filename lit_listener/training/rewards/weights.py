"""Weights of reward terms that change in the course of a training."""

import math
from abc import ABC, abstractmethod


class Weight(ABC):
    """A weight that depends on how far the training is."""

    @abstractmethod
    def at(self, step: int) -> float:
        """The weight after so many optimizer steps; finite."""

    @property
    @abstractmethod
    def least(self) -> float:
        """The smallest that it ever is."""


class Annealed(Weight):
    """A weight that goes in a straight line from one value to another, and stays there.

    Args:
        start: the weight before the first optimizer step; finite.
        end: the weight after ``steps`` optimizer steps and ever after; finite.
        steps: optimizer steps that the way takes; at least 1.
    """

    def __init__(self, start: float, end: float, steps: int) -> None:
        for name, value in (("start", start), ("end", end)):
            if not math.isfinite(value):
                raise ValueError(f"Annealed: {name}: expected a finite weight, got {value}")
        if steps < 1:
            raise ValueError(f"Annealed: steps: expected at least 1 optimizer step, got {steps}")
        self.start = start
        self.end = end
        self.steps = steps

    def at(self, step: int) -> float:
        """The straight line: start + (end - start) · step / steps, and ``end`` from there on."""
        share = min(step / self.steps, 1.0)
        return self.start * (1.0 - share) + self.end * share

    @property
    def least(self) -> float:
        """The lower of the two ends."""
        return min(self.start, self.end)


def least_weight(weight: float | Weight) -> float:
    """The smallest value that a weight, changing or not, ever has."""
    return weight.least if isinstance(weight, Weight) else weight
