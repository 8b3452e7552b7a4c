"""A finished study: what every arm's judge said with every seed, and how all of it was made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lit_listener.evaluation.prediction import Prediction
from lit_listener.study.design import Arm, Design

BySeed = Sequence[Sequence[Prediction]]
"""The predictions of one arm on one source, by seed; the pairs are the same with every seed."""


@dataclass(frozen=True)
class Made:
    """How a study was made: what a reader needs to make it again, or to doubt it."""

    commits: tuple[str, ...]
    """The commits that its runs were made with, in order of time; "unknown" outside a repository."""
    versions: Mapping[str, str]
    """Of Python and of the libraries that numbers depend on."""
    machine: str
    """Processor and number of cores."""
    processes: int
    """How many runs at a time."""
    process_seconds: Mapping[str, float]
    """What each run took, by its name ("arms/grpo/seed0/fit"); several ran at a time."""
    finished: str
    """Date of the last run's end, as YYYY-MM-DD."""


@dataclass(frozen=True)
class ArmRuns:
    """One arm's judges, and what they said."""

    arm: Arm
    by_seed: tuple[tuple[Prediction, ...], ...]
    """A run a seed, of all sources."""

    def on(self, source: str) -> BySeed:
        """What was said of one source."""
        return tuple(tuple(row for row in rows if row.source == source) for rows in self.by_seed)


@dataclass(frozen=True)
class Study:
    """A study that has been run."""

    design: Design
    arms: Mapping[str, ArmRuns]
    """By key, in the design's order."""
    made: Made

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources that were judged, in order."""
        first = next(iter(self.arms.values()))
        return tuple(dict.fromkeys(row.source for row in first.by_seed[0]))
