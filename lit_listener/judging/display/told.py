"""What is told of an image or a pair beside its number: oddities, the listener's word, and the reasoning.

Terminal and page show it without knowing whether images were compared, rated by themselves, or judged all at once.
"""

from dataclasses import dataclass

from lit_listener.judging.display.wording import (
    Mark,
    list_facts,
    list_marks,
    marks,
    rating_facts,
    thoughts,
    trace_facts,
    trace_marks,
)
from lit_listener.judging.results import Comparison, Ranking, Rating

ANCHOR = Mark("anchor", "")
"""Of the image that all others are compared with."""


@dataclass(frozen=True)
class ToldTrace:
    """A chain of thought, and what it amounts to."""

    facts: tuple[str, ...]
    thoughts: str


@dataclass(frozen=True)
class Told:
    """What is told beside a number."""

    heading: str
    """Whom the reasoning is about."""
    marks: tuple[Mark, ...]
    listener: float | None
    traces: tuple[ToldTrace, ...]


def told_of_images(ranking: Ranking, names: tuple[str, ...], anchor: str | None) -> list[Told]:
    """What is told of each image of a ranking.

    Args:
        ranking: the ranking.
        names: of its images.
        anchor: name of the anchor; None where there is none.
    """
    if ranking.ratings is not None:
        return [_of_rating(*each, ranking.rollouts) for each in zip(ranking.ratings, names, strict=True)]
    if ranking.list_traces is not None:
        return [Told("", (), listener, ()) for listener in ranking.listener_scores or (None,) * len(names)]
    return [
        Told("", (ANCHOR,), None, ()) if comparison is None else _of_pair(comparison, (name, anchor or ""))
        for comparison, name in zip(ranking.comparisons, names, strict=True)
    ]


def told_of_list(ranking: Ranking, names: tuple[str, ...]) -> list[Told]:
    """What is told once of all images of a ranking: of those that were judged at once; else nothing.

    Args:
        ranking: the ranking.
        names: of its images.
    """
    if ranking.list_traces is None:
        return []
    traces = tuple(
        ToldTrace(tuple(list_facts(trace, names, ranking.rollouts)), thoughts(trace)) for trace in ranking.list_traces
    )
    return [Told(f"All {len(names)} images at once", list_marks(ranking.list_traces), None, traces)]


def told_of_pair(comparison: Comparison, names: tuple[str, str]) -> list[Told]:
    """What is told of a comparison: once for the pair, or for each image that was rated by itself.

    Args:
        comparison: the comparison.
        names: of images A and B.
    """
    if comparison.ratings is not None:
        return [_of_rating(*each, comparison.rollouts) for each in zip(comparison.ratings, names, strict=True)]
    return [_of_pair(comparison, names)]


def _of_pair(comparison: Comparison, names: tuple[str, str]) -> Told:
    return Told(
        heading=f"{names[0]} against {names[1]}",
        marks=marks(comparison),
        listener=comparison.listener_p_a,
        traces=tuple(
            ToldTrace(tuple(trace_facts(trace, names, comparison.rollouts)), thoughts(trace))
            for trace in comparison.traces
        ),
    )


def _of_rating(rating: Rating, name: str, rollouts: int) -> Told:
    return Told(
        heading=name,
        marks=trace_marks(rating.traces),
        listener=rating.listener_score,
        traces=tuple(ToldTrace(tuple(rating_facts(trace, rollouts)), thoughts(trace)) for trace in rating.traces),
    )
