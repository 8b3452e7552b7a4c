"""Accuracy by how much people agree with each other: where voters are split, there is little to be right about.

Agreement is the share of the voters who sided with the majority. The listener paper bins pairs by it (Figure 3), and
has a binarised set of clear cases: at least 80% of more than 15 votes.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import pairwise

from lit_listener.evaluation.judged_pairs import JudgedPair, TieRule
from lit_listener.evaluation.protocols.cells import (
    NO_PREFERENCE,
    SHARES_NOT_TOLD,
    TIE_NOTES,
    Measure,
    exact,
    judged_runs,
    note_of_runs,
    over_pairs,
    shares_told,
    take_lines,
)
from lit_listener.evaluation.results import Curve, Measured, Point, ResultPlot, ResultTable, Runs, undefined

BIN_EDGES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""A bin holds its lower edge; the last one holds both."""
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
CLEAR_AGREEMENT = 0.8
"""Lowest agreement of the binarised set."""
FEWEST_VOTES = 16
"""Fewest votes of the binarised set: the paper asks for more than 15."""

_ROUNDING = 1e-6
"""Shares may come from single precision, and 0.8 is then 0.79999995."""
_NO_VOTES = "the source tells no numbers of votes"


def figure_3(runs: Runs, ties: TieRule = "wrong") -> ResultPlot:
    """Accuracy in bins of agreement, and over all pairs of at least some agreement.

    Args:
        runs: The predictions of each run on one source.
        ties: What an exactly level judgement is worth.
    """
    judged = judged_runs(runs)
    curves = []
    for name, pairs in judged.items():
        bins = tuple(
            Point((low + high) / 2, _binned(pairs, number, ties), f"{low:.0%}–{high:.0%}")
            for number, (low, high) in enumerate(pairwise(BIN_EDGES))
        )
        at_least = tuple(Point(low, _at_least(pairs, low, ties), f"≥ {low:.0%}") for low in THRESHOLDS)
        curves += [Curve(name, bins), Curve(f"{name}, at least", at_least)]
    return ResultPlot(
        key="figure_3",
        title="Accuracy by agreement of the voters",
        x_name="share of the voters who sided with the majority",
        y_name="accuracy",
        curves=tuple(curves),
        paper="Listener paper, Figure 3",
        notes=(
            TIE_NOTES[ties] + " Pairs that people are tied on are left out.",
            "A bin holds its lower edge and the last one holds 100% too; a curve named “at least” has all pairs of at "
            "least that agreement.",
        ),
    )


def agreement_table(runs: Runs, ties: TieRule = "wrong") -> ResultTable:
    """Accuracy on the pairs with a clear majority, and how many pairs there are of each kind.

    Args:
        runs: The predictions of each run on one source.
        ties: What an exactly level judgement is worth.
    """
    judged = judged_runs(runs)

    def count(key: str, name: str, counts: Callable[[JudgedPair], bool]) -> Measure:
        return Measure(key, name, lambda pairs: exact(sum(map(counts, pairs)), pairs, "count"))

    measures = [
        Measure("accuracy/binarised", "accuracy where the majority is clear", lambda pairs: _binarised(pairs, ties)),
        count("pairs/binarised", "pairs with a clear majority", is_binarised),
        count("pairs/preferred", "pairs of which people prefer one image", lambda pair: pair.preferred is not None),
        count("pairs/tied", "pairs that people are tied on", lambda pair: pair.preferred is None),
        count("pairs/votes_known", "pairs whose number of votes is told", lambda pair: pair.any_row.votes > 0),
    ]
    missing = {
        name: "" if shares_told(pairs) else f"Agreement is unknown: {SHARES_NOT_TOLD}."
        for name, pairs in judged.items()
    }
    return ResultTable(
        key="agreement",
        title="Pairs with a clear majority",
        columns=tuple(judged),
        lines=take_lines(judged, measures),
        paper="Listener paper, Section 5 (binarised set)",
        notes=(
            f"The majority is clear where at least {CLEAR_AGREEMENT:.0%} of {FEWEST_VOTES} votes or more agree.",
            TIE_NOTES[ties],
            *note_of_runs(missing),
        ),
    )


def agreement_bin(agreement: float) -> int:
    """Which bin an agreement in [0.5, 1] is of, from 0."""
    return min(bisect_right(BIN_EDGES, agreement + _ROUNDING), len(BIN_EDGES) - 1) - 1


def is_binarised(pair: JudgedPair) -> bool:
    """Whether a pair is of the paper's binarised set: at least 80% of more than 15 votes."""
    return pair.any_row.votes >= FEWEST_VOTES and pair.agreement >= CLEAR_AGREEMENT - _ROUNDING


def _binned(pairs: Sequence[JudgedPair], number: int, ties: TieRule) -> Measured:
    return _where(pairs, lambda pair: agreement_bin(pair.agreement) == number, ties, "no pair has such agreement")


def _at_least(pairs: Sequence[JudgedPair], low: float, ties: TieRule) -> Measured:
    return _where(pairs, lambda pair: pair.agreement >= low - _ROUNDING, ties, "no pair has so much agreement")


def _where(pairs: Sequence[JudgedPair], counts: Callable[[JudgedPair], bool], ties: TieRule, none: str) -> Measured:
    if not pairs:
        return undefined(NO_PREFERENCE)
    if not shares_told(pairs):
        return undefined(SHARES_NOT_TOLD)
    return over_pairs([pair for pair in pairs if counts(pair)], lambda pair: pair.correct(ties=ties), none=none)


def _binarised(pairs: Sequence[JudgedPair], ties: TieRule) -> Measured:
    if pairs and all(pair.any_row.votes == 0 for pair in pairs):
        return undefined(_NO_VOTES)
    none = f"no pair has {CLEAR_AGREEMENT:.0%} of {FEWEST_VOTES} votes or more on one side"
    return over_pairs([pair for pair in pairs if is_binarised(pair)], lambda pair: pair.correct(ties=ties), none=none)
