"""Several completions a pair: does averaging their soft scores (Mean@k), or a vote among their answers, help?

Mean@k is the accuracy of the mean score of k rollouts (listener paper, Table 2); majority@k is the accuracy of the
majority of k answers (its Figure 4). Both are averaged over all sets of k of the K rollouts there are, so that nothing
depends on which were drawn first; where there are more than 200 sets, 200 of them are drawn.

Mean@k takes the mean over display orders like every soft score. A vote is held in each display order alone, among k
answers, and the orders' worths are averaged: majority@1 is the accuracy of one sampled answer.

Letters: N pairs, O display orders, K rollouts.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

from lit_listener.evaluation.judged_pairs import LEVEL, TIE_WORTH, JudgedPair, TieRule
from lit_listener.evaluation.prediction import Prediction
from lit_listener.evaluation.protocols.cells import (
    NO_PREFERENCE,
    TIE_NOTES,
    judged_runs,
    note_of_runs,
)
from lit_listener.evaluation.results import (
    Curve,
    Line,
    Measured,
    Point,
    ResultPlot,
    ResultTable,
    Runs,
    measured,
    undefined,
)

MOST_SETS = 200
"""How many sets of k rollouts are averaged over at most."""


@dataclass(frozen=True)
class JudgedRollouts:
    """The judged pairs of a run, with their scores and votes as arrays.

    Only the rollouts are read that every pair has in every display order it was shown in.
    """

    pairs: Sequence[JudgedPair]

    @cached_property
    def common(self) -> tuple[int, ...]:
        """The rollouts that are read."""
        common: set[int] | None = None
        for pair in self.pairs:
            for first in pair.orders:
                there = {row.rollout for row in pair.of_order(first)}
                common = there if common is None else common & there
        return tuple(sorted(common or ()))

    @cached_property
    def p_NOK(self) -> NDArray[np.float64]:
        """The probability of image a; NaN where unreadable, or not shown in that order."""
        return self._array(lambda row: math.nan if row.p_a is None else row.p_a, math.nan)

    @cached_property
    def votes_NOK(self) -> NDArray[np.float64]:
        """1 for a right answer, -1 for a wrong one, 0 where unreadable, or not shown in that order."""
        return self._array(lambda row: 0.0 if row.answer is None else (1.0 if row.answer == row.label else -1.0), 0.0)

    @cached_property
    def shown_NO(self) -> NDArray[np.bool_]:
        """Whether a pair was shown in an order."""
        return np.array([[first in pair.orders for first in "ab"] for pair in self.pairs], dtype=bool)

    def _array(self, value: Callable[[Prediction], float], absent: float) -> NDArray[np.float64]:
        places = {rollout: place for place, rollout in enumerate(self.common)}
        values_NOK = np.full((len(self.pairs), 2, len(places)), absent)
        for number, pair in enumerate(self.pairs):
            for row in pair.rows:
                if row.rollout in places:
                    values_NOK[number, int(row.first == "b"), places[row.rollout]] = value(row)
        return values_NOK


def table_2(runs: Runs, ties: TieRule = "wrong") -> ResultTable:
    """Mean@k for k from 1 to the number of rollouts.

    Args:
        runs: The predictions of each run on one source.
        ties: What an exactly level mean is worth.
    """
    judged = {name: JudgedRollouts(pairs) for name, pairs in judged_runs(runs).items()}
    most = max((len(of_run.common) for of_run in judged.values()), default=0)

    lines = tuple(
        Line(f"mean_at/{k}", f"Mean@{k}", tuple(_cell(of_run, mean_at(of_run, k, ties)) for of_run in judged.values()))
        for k in range(1, max(most, 1) + 1)
    )
    return ResultTable(
        key="table_2",
        title="Mean of the soft scores of k rollouts",
        columns=tuple(judged),
        lines=lines,
        paper="Listener paper, Table 2; soft-rewards paper, Table 1",
        notes=(TIE_NOTES[ties], *_notes(judged)),
    )


def figure_4(runs: Runs, ties: TieRule = "wrong") -> ResultPlot:
    """Accuracy of a majority vote among k rollouts, and Mean@k beside it.

    Args:
        runs: The predictions of each run on one source.
        ties: What an exactly level mean is worth; a split vote is always worth half.
    """
    judged = {name: JudgedRollouts(pairs) for name, pairs in judged_runs(runs).items()}
    curves = []
    for name, of_run in judged.items():
        sizes = range(1, max(len(of_run.common), 1) + 1)
        votes = tuple(Point(k, _cell(of_run, majority_at(of_run, k))) for k in sizes)
        means = tuple(Point(k, _cell(of_run, mean_at(of_run, k, ties))) for k in sizes)
        curves += [Curve(f"{name}, majority vote", votes), Curve(f"{name}, Mean@k", means)]
    return ResultPlot(
        key="figure_4",
        title="Majority vote among k rollouts",
        x_name="rollouts, k",
        y_name="accuracy",
        curves=tuple(curves),
        paper="Listener paper, Figure 4",
        notes=(
            "Votes are held in each display order alone and averaged over the orders. An unreadable answer abstains; "
            "where all abstain the vote is wrong, and a split vote is worth half.",
            "Mean@k: " + TIE_NOTES[ties],
            *_notes(judged),
        ),
    )


def mean_at(judged: JudgedRollouts, k: int, ties: TieRule = "wrong") -> list[float | None] | None:
    """What the mean score of k rollouts is worth on each pair, averaged over the sets of k rollouts.

    Args:
        judged: The pairs of one run.
        k: How many rollouts are averaged, from 1.
        ties: What an exactly level mean is worth.

    Returns:
        A number a pair, None where people are tied; None in place of the list where there are fewer than k rollouts.
    """
    pairs, rollouts = judged.pairs, judged.common
    if k > len(rollouts):
        return None
    if k == len(rollouts):  # one set, so this is the accuracy of all other tables, to the last bit
        return [pair.correct(rollouts, ties=ties) for pair in pairs]
    readable_NOK = (~np.isnan(judged.p_NOK)).astype(np.float64)
    filled_NOK = np.nan_to_num(judged.p_NOK)
    prefers_a_N = np.array([pair.preferred == "a" for pair in pairs])
    sets = rollout_sets(len(rollouts), k)
    total_N = np.zeros(len(pairs))
    for chosen in sets:
        counts_NO = _over_set(readable_NOK, chosen)
        means_NO = _over_set(filled_NOK, chosen) / np.maximum(counts_NO, 1)
        orders_N = (counts_NO > 0).sum(axis=1)
        mean_N = means_NO.sum(axis=1) / np.maximum(orders_N, 1)  # an order without an answer added 0
        worth_N = ((mean_N > 0.5) == prefers_a_N).astype(np.float64)
        worth_N[np.abs(mean_N - 0.5) < LEVEL] = TIE_WORTH[ties]
        worth_N[orders_N == 0] = 0.0
        total_N += worth_N
    return _where_preferred(pairs, total_N / len(sets))


def majority_at(judged: JudgedRollouts, k: int) -> list[float | None] | None:
    """What the majority of k answers is worth on each pair, averaged over display orders and sets of k rollouts.

    Args:
        judged: The pairs of one run.
        k: How many rollouts vote, from 1.

    Returns:
        A number a pair: 1 right, 0 wrong or all unreadable, 0.5 a split vote, None where people are tied; None in place
        of the list where there are fewer than k rollouts.
    """
    if k > len(judged.common):
        return None
    votes_NOK, shown_NO = judged.votes_NOK, judged.shown_NO
    voting_NOK = np.abs(votes_NOK)
    sets = rollout_sets(len(judged.common), k)
    total_NO = np.zeros(shown_NO.shape)
    for chosen in sets:
        lead_NO = _over_set(votes_NOK, chosen)
        voted_NO = _over_set(voting_NOK, chosen) > 0
        total_NO += np.where(lead_NO > 0, 1.0, np.where((lead_NO == 0) & voted_NO, 0.5, 0.0))
    worth_N = (total_NO * shown_NO).sum(axis=1) / shown_NO.sum(axis=1) / len(sets)
    return _where_preferred(judged.pairs, worth_N)


def rollout_sets(rollouts: int, k: int, most: int = MOST_SETS, seed: int = 0) -> list[list[int]]:
    """The sets of k of some rollouts: all of them, or as many different ones as are allowed, drawn at random.

    Args:
        rollouts: How many rollouts there are.
        k: Size of a set, from 1 to ``rollouts``.
        most: How many sets at most.
        seed: Seed of the draw.

    Returns:
        The places of each set's rollouts, from 0.
    """
    if comb(rollouts, k) <= most:
        return [list(chosen) for chosen in combinations(range(rollouts), k)]
    rng = np.random.default_rng([seed, rollouts, k])
    drawn: dict[tuple[int, ...], None] = {}
    while len(drawn) < most:
        drawn[tuple(sorted(rng.choice(rollouts, size=k, replace=False).tolist()))] = None
    return [list(chosen) for chosen in drawn]


def _over_set(values_NOK: NDArray[np.float64], places: Sequence[int]) -> NDArray[np.float64]:
    """Sums over the rollouts of a set, [N, O]."""
    chosen_K = np.zeros(values_NOK.shape[2])
    chosen_K[places] = 1.0
    return np.tensordot(values_NOK, chosen_K, 1)  # several times faster than picking the set's values


def _where_preferred(pairs: Sequence[JudgedPair], worth_N: NDArray[np.float64]) -> list[float | None]:
    return [None if pair.preferred is None else worth for pair, worth in zip(pairs, worth_N.tolist(), strict=True)]


def _cell(judged: JudgedRollouts, values: list[float | None] | None) -> Measured:
    if values is not None:
        return measured(values, [pair.prompt_id for pair in judged.pairs], none=NO_PREFERENCE)
    if not judged.pairs:
        return undefined(NO_PREFERENCE)
    count = len(judged.common)
    if not count:
        return undefined("no rollout was drawn for every pair")
    return undefined(f"every pair has {count} rollouts only" if count > 1 else "every pair has one rollout only")


def _notes(judged: Mapping[str, JudgedRollouts]) -> tuple[str, ...]:
    return (
        f"Averaged over all sets of k rollouts, or over {MOST_SETS} drawn at random where there are more.",
        *note_of_runs({name: _rollouts_note(of_run) for name, of_run in judged.items()}),
    )


def _rollouts_note(judged: JudgedRollouts) -> str:
    count = len(judged.common)
    orders = {len(pair.orders) for pair in judged.pairs}
    shown = "both display orders" if orders == {2} else ("one display order" if orders == {1} else "one or both orders")
    sentence = f"{count} rollouts a pair in {shown}." if count != 1 else f"One rollout a pair in {shown}: only k = 1."
    ragged = any(len(pair.rows) != count * len(pair.orders) for pair in judged.pairs)
    return sentence + (" Rollouts that some pair lacks are left out." if ragged else "")
