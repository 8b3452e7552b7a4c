"""What the tables of this folder are put together from: a measure a line, a run a column, and notes on the runs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lit_listener.evaluation.judged_pairs import JudgedPair, TieRule, judged_pairs
from lit_listener.evaluation.results import Line, Measured, Runs, Unit, measured
from lit_listener.evaluation.statistics import Interval

JudgedRuns = Mapping[str, Sequence[JudgedPair]]
"""The judged pairs of each run on one source, by the run's name."""

NO_PREFERENCE = "there is no pair of which people prefer one image"
SHARES_NOT_TOLD = "the source tells no shares of votes"

TIE_NOTES: dict[TieRule, str] = {
    "wrong": "A judgement that puts both images exactly level counts as wrong.",
    "half": "A judgement that puts both images exactly level counts as half right.",
    "right": "A judgement that puts both images exactly level counts as right.",
}


@dataclass(frozen=True)
class Measure:
    """A line of a table, before it is taken."""

    key: str
    name: str
    take: Callable[[Sequence[JudgedPair]], Measured]


def judged_runs(runs: Runs) -> dict[str, list[JudgedPair]]:
    """The judged pairs of each run.

    Raises:
        ValueError: A run has the same completion twice.
    """
    return {name: judged_pairs(predictions) for name, predictions in runs.items()}


def take_lines(judged: JudgedRuns, measures: Sequence[Measure]) -> tuple[Line, ...]:
    """A line a measure with a cell a run."""
    return tuple(
        Line(measure.key, measure.name, tuple(measure.take(pairs) for pairs in judged.values())) for measure in measures
    )


def over_pairs(
    pairs: Sequence[JudgedPair],
    value: Callable[[JudgedPair], float | None],
    *,
    macro: bool = False,
    none: str = NO_PREFERENCE,
) -> Measured:
    """The mean over some pairs of a share, which is None for a pair that does not count."""
    return measured([value(pair) for pair in pairs], [pair.prompt_id for pair in pairs], macro=macro, none=none)


def exact(number: float, pairs: Sequence[JudgedPair], unit: Unit) -> Measured:
    """A number that is known and not estimated, so that its interval has no width."""
    prompts = len({pair.prompt_id for pair in pairs})
    return Measured(Interval(number, number, number), len(pairs), prompts, unit)


def note_of_runs(sentences: Mapping[str, str]) -> tuple[str, ...]:
    """A sentence about each run, said once where it is the same for all; empty ones are left out."""
    told = {name: sentence for name, sentence in sentences.items() if sentence}
    if len(told) == len(sentences) and len(set(told.values())) == 1:
        return (next(iter(told.values())),)
    return tuple(f"{name}: {sentence}" for name, sentence in told.items())


def shares_told(pairs: Sequence[JudgedPair]) -> bool:
    """Whether the source tells how the votes were split, and not only which image won.

    A ranked list only gives shares of 0, 0.5 and 1 over an unknown number of votes: that says nothing of agreement.
    """
    return any(pair.any_row.votes > 0 or pair.any_row.share_a not in (0.0, 0.5, 1.0) for pair in pairs)
