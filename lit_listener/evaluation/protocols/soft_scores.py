"""The sampled answer against the soft score of the same completions (soft-rewards paper, Table 2), and soft ratings.

For pairs: the answer as sampled, the likeliest answer, and the mean of the probabilities. For
single images rated on a scale: the expected rating (listener paper, Eq. 3), rescaled so that the lowest rating is 0 and
the highest 1, against the likeliest rating, which puts many images exactly level.

Letters: N images, R ratings of the scale, Q pairs of images.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lit_listener.evaluation.judged_pairs import JudgedPair, TieRule
from lit_listener.evaluation.prediction import Prediction
from lit_listener.evaluation.protocols.accuracy import answer_accuracy
from lit_listener.evaluation.protocols.cells import (
    NO_PREFERENCE,
    TIE_NOTES,
    Measure,
    judged_runs,
    over_pairs,
    take_lines,
)
from lit_listener.evaluation.protocols.lists import mean_worths
from lit_listener.evaluation.results import Measured, ResultTable, Runs, measured

_Floats = NDArray[np.float64]


def soft_table_2(runs: Runs, ties: TieRule = "wrong") -> ResultTable:
    """What reading the probabilities gains over the sampled answer, on the same completions.

    Args:
        runs: The predictions of each run on one source.
        ties: What an exactly level score is worth.
    """
    judged = judged_runs(runs)
    measures = [
        Measure("accuracy/answer", "sampled answer", answer_accuracy),
        Measure("accuracy/greedy", "likeliest answer of one completion", lambda pairs: _greedy(pairs, ties)),
        Measure(
            "accuracy/micro",
            "mean soft score",
            lambda pairs: over_pairs(pairs, lambda pair: pair.correct(ties=ties)),
        ),
        *_level_measures(runs),
        Measure("accuracy/soft_gain", "mean soft score over sampled answer", lambda pairs: _gain(pairs, ties)),
    ]
    return ResultTable(
        key="soft_rewards_table_2",
        title="Sampled answers and soft scores of the same completions",
        columns=tuple(judged),
        lines=take_lines(judged, measures),
        paper="Soft-rewards paper, Table 2",
        notes=(
            TIE_NOTES[ties] + " An unreadable completion is wrong, and abstains from a mean.",
            *(_LEVEL_NOTES if any(row.level for rows in runs.values() for row in rows) else ()),
            "The sampled and the likeliest answer are the mean over single completions; the mean soft score is over "
            "all rollouts and display orders of a pair. The gain is their difference, pair by pair.",
        ),
    )


def greedy_correct(pair: JudgedPair, ties: TieRule = "wrong") -> list[float | None]:
    """What the likeliest answer (or ratings) of each completion is worth; None for all where people are tied."""
    return [pair.worth(row.likeliest_p_a, ties) for row in pair.rows]


@dataclass(frozen=True)
class RatingScores:
    """Two scores of each image from one distribution over ratings; NaN where there is no distribution."""

    expected_N: _Floats
    """The expected rating, in [0, 1]."""
    greedy_N: _Floats
    """The likeliest rating on the same scale, in [0, 1]; the lowest of equally likely ones."""


def expected_and_greedy(probabilities_NR: ArrayLike, ratings_R: ArrayLike) -> RatingScores:
    """The expected and the likeliest rating of each image (listener paper, Eq. 3).

    Args:
        probabilities_NR: How likely each rating is for each image; each row sums to 1. A row of NaN is an image whose
            rating cannot be read.
        ratings_R: The ratings, rising, two or more.

    Returns:
        Both, with the lowest rating as 0 and the highest as 1.

    Raises:
        ValueError: Shapes that do not fit, ratings that do not rise, or a row that is no distribution.

    Examples:
        >>> scores = expected_and_greedy([[0.1, 0.3, 0.6]], [1, 2, 3])
        >>> scores.expected_N.round(3), scores.greedy_N  # (0.1·1 + 0.3·2 + 0.6·3 − 1) / 2
        (array([0.75]), array([1.]))
    """
    p_NR, ratings = np.asarray(probabilities_NR, np.float64), np.asarray(ratings_R, np.float64)
    if ratings.ndim != 1 or len(ratings) < 2 or not bool(np.all(np.diff(ratings) > 0)):
        raise ValueError(f"ratings must be two or more rising numbers, got {ratings.tolist()}")
    if p_NR.ndim != 2 or p_NR.shape[1] != len(ratings):
        raise ValueError(f"expected probabilities of shape [images, {len(ratings)}], got {list(p_NR.shape)}")
    missing_N: NDArray[np.bool_] = np.all(np.isnan(p_NR), axis=1)
    proper_N = (p_NR >= 0).all(axis=1) & (np.abs(p_NR.sum(axis=1) - 1) < 1e-4)
    improper = np.flatnonzero(np.logical_not(missing_N | proper_N))
    if len(improper):
        row = int(improper[0])
        raise ValueError(
            f"image {row}: expected probabilities that sum to 1, or NaN in all places where no rating can be read, got "
            f"{p_NR[row].tolist()}"
        )
    places_R = (ratings - ratings[0]) / (ratings[-1] - ratings[0])
    likeliest_N = np.where(missing_N[:, None], 0.0, p_NR).argmax(axis=1)
    return RatingScores(p_NR @ places_R, np.where(missing_N, np.nan, places_R[likeliest_N]))


def rating_worths(
    scores: Sequence[float | None], ranks: Sequence[float], lists: Sequence[str], ties: TieRule = "wrong"
) -> tuple[list[float], list[str]]:
    """What single images' scores are worth on the pairs of images of one list whose ranks differ.

    Args:
        scores: A score an image, higher is better; None or NaN where there is none, so that its pairs are wrong.
        ranks: The rank of each image, lower is better. For people's ratings, pass them with the sign turned.
        lists: The list (prompt) of each image.
        ties: What equal scores are worth.

    Returns:
        A number a pair of images, and the list of each.

    Raises:
        ValueError: Numbers of scores, ranks and lists that differ.
    """
    if not len(scores) == len(ranks) == len(lists):
        raise ValueError(
            f"expected a score, a rank and a list an image, got {len(scores)}, {len(ranks)} and {len(lists)}"
        )
    images: dict[str, list[int]] = {}
    for image, name in enumerate(lists):
        images.setdefault(name, []).append(image)
    worths: list[float] = []
    names: list[str] = []
    for name, places in images.items():
        told = [scores[place] for place in places]
        scores_SI = np.array([[np.nan if score is None else score for score in told]])
        of_list = mean_worths(scores_SI, [ranks[place] for place in places], ties)
        worths += of_list
        names += [name] * len(of_list)
    return worths, names


def rating_accuracy(
    scores: Sequence[float | None],
    ranks: Sequence[float],
    lists: Sequence[str],
    ties: TieRule = "wrong",
    *,
    macro: bool = False,
) -> Measured:
    """How often the better ranked of two images of a list has the higher score, with its interval.

    Args:
        scores: A score an image, higher is better; None or NaN where there is none, so that its pairs are wrong.
        ranks: The rank of each image, lower is better.
        lists: The list (prompt) of each image.
        ties: What equal scores are worth.
        macro: The mean over lists in place of the mean over pairs.

    Raises:
        ValueError: Numbers of scores, ranks and lists that differ.
    """
    worths, names = rating_worths(scores, ranks, lists, ties)
    return measured(worths, names, macro=macro, none="no list has two images of different rank")


_LEVEL_NOTES = (
    "This judge rates each image by itself: a sampled answer that gives both images one rating is level, and counts as "
    "wrong under every rule; the likeliest answer is that of the likeliest rating of each image; the mean soft score "
    "compares expected ratings (Eq. 3).",
)


def _level_measures(runs: Runs) -> list[Measure]:
    """How often ratings cannot tell two images apart; nothing where answers name an image."""
    if not any(row.level for rows in runs.values() for row in rows):
        return []
    return [
        Measure("completions/level_share", "sampled answers that are level", lambda pairs: _share(pairs, _is_level)),
        Measure(
            "completions/likeliest_level_share",
            "likeliest answers that are level",
            lambda pairs: _share(pairs, lambda row: row.likeliest_p_a == 0.5),
        ),
    ]


def _is_level(row: Prediction) -> bool:
    return row.level


def _share(pairs: Sequence[JudgedPair], counts: Callable[[Prediction], bool]) -> Measured:
    """The share of completions on pairs of which people prefer one image."""
    rows = [row for pair in pairs for row in pair.rows if row.label is not None]
    return measured([float(counts(row)) for row in rows], [row.prompt_id for row in rows], none=NO_PREFERENCE)


def _greedy(pairs: Sequence[JudgedPair], ties: TieRule) -> Measured:
    values = [worth for pair in pairs for worth in greedy_correct(pair, ties)]
    return measured(values, [row.prompt_id for pair in pairs for row in pair.rows], none=NO_PREFERENCE)


def _gain(pairs: Sequence[JudgedPair], ties: TieRule) -> Measured:
    """The soft score's worth less the mean worth of the pair's answers, which were made by the same completions."""

    def gain(pair: JudgedPair) -> float | None:
        soft = pair.correct(ties=ties)
        return None if soft is None else soft - fmean(row.correct or 0 for row in pair.rows)

    values = [gain(pair) for pair in pairs]
    return measured(values, [pair.prompt_id for pair in pairs], unit="points", none=NO_PREFERENCE)
