"""Several completions a pair: does averaging their soft scores (Mean@k), or a vote among their answers, help?

Mean@k is the accuracy of the mean score of k rollouts (listener paper, Table 2); majority@k is the accuracy of the
majority of k answers (its Figure 4). Both are averaged over all sets of k of the K rollouts there are, so that nothing
depends on which were drawn first; where there are more than 200 sets, 200 of them are drawn.

Mean@k takes the mean over display orders like every soft score. A vote is held in each display order alone, among k
answers, and the orders' worths are averaged: majority@1 is the accuracy of one sampled answer.

Letters: N pairs, O display orders, K rollouts.
"""

from collections.abc import Sequence
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

from lit_listener.evaluation.judged_pairs import LEVEL, TIE_WORTH, JudgedPair, TieRule
from lit_listener.evaluation.protocols.cells import (
    NO_PREFERENCE,
    TIE_NOTES,
    JudgedRuns,
    Measure,
    judged_runs,
    note_of_runs,
    take_lines,
)
from lit_listener.evaluation.results import Curve, Measured, Point, ResultPlot, ResultTable, Runs, measured, undefined

MOST_SETS = 200
"""How many sets of k rollouts are averaged over at most."""


def table_2(runs: Runs, ties: TieRule = "wrong") -> ResultTable:
    """Mean@k for k from 1 to the number of rollouts.

    Args:
        runs: The predictions of each run on one source.
        ties: What an exactly level mean is worth.
    """
    judged = judged_runs(runs)
    most = max((len(common_rollouts(pairs)) for pairs in judged.values()), default=0)

    def measure(k: int) -> Measure:
        return Measure(f"mean_at/{k}", f"Mean@{k}", lambda pairs: _cell(pairs, mean_at(pairs, k, ties)))

    return ResultTable(
        key="table_2",
        title="Mean of the soft scores of k rollouts",
        columns=tuple(judged),
        lines=take_lines(judged, [measure(k) for k in range(1, max(most, 1) + 1)]),
        paper="Listener paper, Table 2; soft-rewards paper, Table 1",
        notes=(TIE_NOTES[ties], *_notes(judged)),
    )


def figure_4(runs: Runs, ties: TieRule = "wrong") -> ResultPlot:
    """Accuracy of a majority vote among k rollouts, and Mean@k beside it.

    Args:
        runs: The predictions of each run on one source.
        ties: What an exactly level mean is worth; a split vote is always worth half.
    """
    judged = judged_runs(runs)
    curves = []
    for name, pairs in judged.items():
        sizes = range(1, max(len(common_rollouts(pairs)), 1) + 1)
        votes = tuple(Point(k, _cell(pairs, majority_at(pairs, k))) for k in sizes)
        means = tuple(Point(k, _cell(pairs, mean_at(pairs, k, ties))) for k in sizes)
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


def common_rollouts(pairs: Sequence[JudgedPair]) -> tuple[int, ...]:
    """The rollouts that every pair has in every display order it was shown in."""
    common: set[int] | None = None
    for pair in pairs:
        for first in pair.orders:
            there = {row.rollout for row in pair.of_order(first)}
            common = there if common is None else common & there
    return tuple(sorted(common or ()))


def mean_at(pairs: Sequence[JudgedPair], k: int, ties: TieRule = "wrong") -> list[float | None] | None:
    """What the mean score of k rollouts is worth on each pair, averaged over the sets of k rollouts.

    Args:
        pairs: The pairs of one run.
        k: How many rollouts are averaged, from 1.
        ties: What an exactly level mean is worth.

    Returns:
        A number a pair, None where people are tied; None in place of the list where there are fewer than k rollouts.
    """
    rollouts = common_rollouts(pairs)
    if k > len(rollouts):
        return None
    if k == len(rollouts):  # one set, so this is the accuracy of all other tables, to the last bit
        return [pair.correct(rollouts, ties=ties) for pair in pairs]
    p_NOK = _scores(pairs, rollouts)
    readable_NOK = (~np.isnan(p_NOK)).astype(np.float64)
    filled_NOK = np.nan_to_num(p_NOK)
    prefers_a_N = np.array([pair.preferred == "a" for pair in pairs])
    sets = rollout_sets(len(rollouts), k)
    total_N = np.zeros(len(pairs))
    for chosen in sets:
        chosen_K = _chosen(chosen, len(rollouts))
        counts_NO = readable_NOK @ chosen_K
        means_NO = filled_NOK @ chosen_K / np.maximum(counts_NO, 1)
        orders_N = (counts_NO > 0).sum(axis=1)
        mean_N = means_NO.sum(axis=1) / np.maximum(orders_N, 1)  # an order without an answer added 0
        worth_N = ((mean_N > 0.5) == prefers_a_N).astype(np.float64)
        worth_N[np.abs(mean_N - 0.5) < LEVEL] = TIE_WORTH[ties]
        worth_N[orders_N == 0] = 0.0
        total_N += worth_N
    return _where_preferred(pairs, total_N / len(sets))


def majority_at(pairs: Sequence[JudgedPair], k: int) -> list[float | None] | None:
    """What the majority of k answers is worth on each pair, averaged over display orders and sets of k rollouts.

    Args:
        pairs: The pairs of one run.
        k: How many rollouts vote, from 1.

    Returns:
        A number a pair: 1 right, 0 wrong or all unreadable, 0.5 a split vote, None where people are tied; None in place
        of the list where there are fewer than k rollouts.
    """
    rollouts = common_rollouts(pairs)
    if k > len(rollouts):
        return None
    votes_NOK, shown_NO = _votes(pairs, rollouts)
    sets = rollout_sets(len(rollouts), k)
    total_NO = np.zeros(shown_NO.shape)
    for chosen in sets:
        chosen_K = _chosen(chosen, len(rollouts))
        lead_NO = votes_NOK @ chosen_K
        voted_NO = np.abs(votes_NOK) @ chosen_K > 0
        total_NO += np.where(lead_NO > 0, 1.0, np.where((lead_NO == 0) & voted_NO, 0.5, 0.0))
    worth_N = (total_NO * shown_NO).sum(axis=1) / shown_NO.sum(axis=1) / len(sets)
    return _where_preferred(pairs, worth_N)


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


def _chosen(places: Sequence[int], rollouts: int) -> NDArray[np.float64]:
    """1 for the rollouts of a set, 0 for the others: sums over a set are products, many times faster than picking."""
    chosen_K = np.zeros(rollouts)
    chosen_K[places] = 1.0
    return chosen_K


def _scores(pairs: Sequence[JudgedPair], rollouts: Sequence[int]) -> NDArray[np.float64]:
    """The probability of image a in each order and rollout, [N, O, K]; NaN where unreadable or not shown so."""
    places = {rollout: place for place, rollout in enumerate(rollouts)}
    p_NOK = np.full((len(pairs), 2, len(rollouts)), np.nan)
    for number, pair in enumerate(pairs):
        for row in pair.rows:
            p_a = row.p_a
            if row.rollout in places and p_a is not None:
                p_NOK[number, int(row.first == "b"), places[row.rollout]] = p_a
    return p_NOK


def _votes(pairs: Sequence[JudgedPair], rollouts: Sequence[int]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Votes [N, O, K], 1 right, -1 wrong and 0 unreadable, and which orders were shown, [N, O]."""
    places = {rollout: place for place, rollout in enumerate(rollouts)}
    votes_NOK = np.zeros((len(pairs), 2, len(rollouts)))
    shown_NO = np.zeros((len(pairs), 2), dtype=bool)
    for number, pair in enumerate(pairs):
        for row in pair.rows:
            order = int(row.first == "b")
            shown_NO[number, order] = True
            if row.rollout in places and row.answer is not None:
                votes_NOK[number, order, places[row.rollout]] = 1 if row.answer == row.label else -1
    return votes_NOK, shown_NO


def _where_preferred(pairs: Sequence[JudgedPair], worth_N: NDArray[np.float64]) -> list[float | None]:
    return [None if pair.preferred is None else worth for pair, worth in zip(pairs, worth_N.tolist(), strict=True)]


def _cell(pairs: Sequence[JudgedPair], values: list[float | None] | None) -> Measured:
    if values is None:
        if not pairs:
            return undefined(NO_PREFERENCE)
        count = len(common_rollouts(pairs))
        if not count:
            return undefined("no rollout was drawn for every pair")
        return undefined(f"every pair has {count} rollouts only" if count > 1 else "every pair has one rollout only")
    return measured(values, [pair.prompt_id for pair in pairs], none=NO_PREFERENCE)


def _notes(judged: JudgedRuns) -> tuple[str, ...]:
    told = {name: _rollouts_note(pairs) for name, pairs in judged.items()}
    return (
        f"Averaged over all sets of k rollouts, or over {MOST_SETS} drawn at random where there are more.",
        *note_of_runs(told),
    )


def _rollouts_note(pairs: Sequence[JudgedPair]) -> str:
    count = len(common_rollouts(pairs))
    orders = {len(pair.orders) for pair in pairs}
    shown = "both display orders" if orders == {2} else ("one display order" if orders == {1} else "one or both orders")
    sentence = f"{count} rollouts a pair in {shown}." if count != 1 else f"One rollout a pair in {shown}: only k = 1."
    ragged = any(len(pair.rows) != count * len(pair.orders) for pair in pairs)
    return sentence + (" Rollouts that some pair lacks are left out." if ragged else "")
