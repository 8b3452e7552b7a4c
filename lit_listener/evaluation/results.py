"""What an evaluation amounts to: figures with their intervals, in tables and plots that know nothing of their looks.

Tables and plots are computed elsewhere and shown elsewhere (terminal, CSV, PNG, HTML): here are the records between the
two. A number that is not defined carries the reason, so that no table holds an unexplained NaN.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lit_listener.evaluation.prediction import Prediction
from lit_listener.evaluation.statistics import Interval, clustered_interval

Runs = Mapping[str, Sequence[Prediction]]
"""The predictions of each run on one source, by the run's name; tables have a column, plots a curve, a run."""

Unit = Literal["share", "probability", "points", "tokens", "count", "number"]
"""How a number is shown: a share in percent, a probability with digits, a difference of shares in points, …"""


@dataclass(frozen=True)
class Measured:
    """A number with its 95% interval, and how much it was taken over."""

    interval: Interval
    rows: int
    """How many values it is the mean of."""
    clusters: int
    """Of how many prompts they are."""
    unit: Unit = "share"
    reason: str = ""
    """Why there is no number, or no interval; empty where both are there."""

    def __post_init__(self) -> None:
        missing = any(math.isnan(bound) for bound in (self.interval.mean, self.interval.low, self.interval.high))
        if missing and not self.reason:
            raise ValueError(f"a number that is not defined needs a reason, got {self.interval} without one")


@dataclass(frozen=True)
class Line:
    """One line of a table."""

    key: str
    """Name of the measure in results.json: "accuracy/micro"."""
    name: str
    cells: tuple[Measured, ...]
    """One a column."""


@dataclass(frozen=True)
class ResultTable:
    """A table: lines of numbers under a column a run."""

    key: str
    """Name of its files: "table_2"."""
    title: str
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    paper: str = ""
    """Which tables of which papers it answers to: "Listener paper, Table 2"; empty for ours alone."""
    notes: tuple[str, ...] = ()
    """Protocol and caveats, a sentence each: the tie rule, what was left out."""

    def __post_init__(self) -> None:
        for line in self.lines:
            if len(line.cells) != len(self.columns):
                raise ValueError(f"{self.key}: line {line.key!r} has {len(line.cells)} cells for {self.columns}")


@dataclass(frozen=True)
class Point:
    """One point of a curve."""

    x: float
    y: Measured
    label: str = ""
    """What stands on the axis in place of the number ("0.5-0.6", "night")."""


@dataclass(frozen=True)
class Curve:
    """A named row of points."""

    name: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class ResultPlot:
    """A plot: curves over a shared axis."""

    key: str
    title: str
    x_name: str
    y_name: str
    curves: tuple[Curve, ...]
    kind: Literal["line", "bars", "reliability"] = "line"
    """reliability: both axes from 0 to 1 with the diagonal drawn."""
    paper: str = ""
    notes: tuple[str, ...] = ()


def measured(
    values: Sequence[float | None],
    prompts: Sequence[str],
    *,
    unit: Unit = "share",
    macro: bool = False,
    none: str = "no pair counts here",
    seed: int = 0,
) -> Measured:
    """The mean of some values with a 95% bootstrap interval clustered by prompt.

    Args:
        values: One a row; None (or NaN) where it is not defined for the row.
        prompts: The prompt of each row.
        unit: What is measured.
        macro: The mean of each prompt's mean, in place of the mean of all rows.
        none: Why there may be no value.
        seed: Seed of the bootstrap.
    """
    if len(values) != len(prompts):
        raise ValueError(f"expected a prompt a value, got {len(prompts)} for {len(values)}")
    kept = [
        (float(value), prompt)
        for value, prompt in zip(values, prompts, strict=True)
        if value is not None and not math.isnan(value)
    ]
    numbers, names = [value for value, _ in kept], [prompt for _, prompt in kept]
    clusters = len(set(names))
    if macro and numbers:
        by_prompt: dict[str, list[float]] = {}
        for value, prompt in kept:
            by_prompt.setdefault(prompt, []).append(value)
        names, numbers = list(by_prompt), [float(np.mean(of_prompt)) for of_prompt in by_prompt.values()]
    interval = clustered_interval(numbers, names, seed=seed)
    reason = none if not kept else ("a single prompt has no interval" if clusters < 2 else "")
    return Measured(interval, len(kept), clusters, unit, reason)


def undefined(reason: str, unit: Unit = "share") -> Measured:
    """A number that is not there, and why."""
    return Measured(Interval(math.nan, math.nan, math.nan), 0, 0, unit, reason)
