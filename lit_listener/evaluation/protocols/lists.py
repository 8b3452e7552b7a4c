"""Ranked lists of images: judged pair by pair, or through comparisons with an anchor only.

With an anchor (listener paper, Section 5; soft-rewards paper, Section 3) one image of a list gets the score 0.5, every
other one the judge's probability that it beats the anchor, and all pairs of the list are told apart by these scores:
N - 1 comparisons a list in place of N (N - 1) / 2. Which image is drawn as the anchor matters, so that the figure given
is the expected one: the mean over every image that was compared with all others of its list. With k anchors, an image's
score is its mean over them, and the figure is the mean over all sets of k.

A comparison that cannot be read gives no score, and every pair that needs it is wrong. Pairs of equal rank are left
out. Macro is the mean over lists.

Letters: A anchors, I images of a list, Q pairs of images, S sets of anchors.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from lit_listener.evaluation.judged_pairs import TIE_WORTH, JudgedPair, TieRule
from lit_listener.evaluation.protocols.cells import TIE_NOTES, judged_runs, note_of_runs
from lit_listener.evaluation.results import Line, Measured, ResultTable, Runs, measured, undefined

_NO_LIST = "no pair is of a ranked list"


@dataclass(frozen=True)
class JudgedList:
    """The judged pairs of one ranked list; never none. Images are named by their place in the list."""

    pairs: tuple[JudgedPair, ...]

    def __post_init__(self) -> None:
        """Refuse rows that do not tell their places."""
        for pair in self.pairs:
            _places(pair)

    @property
    def prompt_id(self) -> str:
        """What intervals are clustered by."""
        return self.pairs[0].prompt_id

    @cached_property
    def ranks(self) -> dict[int, float]:
        """The rank of each image, 1 is best.

        Raises:
            ValueError: An image has two ranks.
        """
        ranks: dict[int, float] = {}
        for pair in self.pairs:
            item_a, item_b, rank_a, rank_b = _places(pair)
            for item, rank in ((item_a, rank_a), (item_b, rank_b)):
                if ranks.setdefault(item, rank) != rank:
                    raise ValueError(
                        f"image {item} of list {pair.any_row.list_id!r} has the ranks {ranks[item]} and {rank}: "
                        "expected one; pass the predictions of one source"
                    )
        return dict(sorted(ranks.items()))

    @cached_property
    def beats(self) -> dict[tuple[int, int], float | None]:
        """The probability that the first image of a pair beats the second, both ways round.

        It is the mean over rollouts, then over display orders; None where the comparison cannot be read. A pair
        that was not judged is missing.
        """
        read: dict[tuple[int, int], list[float]] = {}
        for pair in self.pairs:
            (item_a, item_b, _, _), p_a = _places(pair), pair.p_a()
            read.setdefault((item_a, item_b), []).extend([] if p_a is None else [p_a])
            read.setdefault((item_b, item_a), []).extend([] if p_a is None else [1.0 - p_a])
        return {key: fmean(scores) if scores else None for key, scores in read.items()}

    @cached_property
    def anchors(self) -> tuple[int, ...]:
        """The images that were compared with every other image of the list."""
        return tuple(
            item for item in self.ranks if all(other == item or (other, item) in self.beats for other in self.ranks)
        )


def list_table(runs: Runs, ties: TieRule = "wrong") -> ResultTable | None:
    """Accuracy on ranked lists with all pairs compared, and with one, two and three anchors.

    Args:
        runs: The predictions of each run on one source.
        ties: What equal scores are worth.

    Returns:
        The table; None where no run judged a ranked list.

    Raises:
        ValueError: Pairs that do not tell their places in the list, or an image with two ranks.
    """
    by_run = {name: by_list(pairs) for name, pairs in judged_runs(runs).items()}
    if not any(by_run.values()):
        return None

    def line(key: str, name: str, take: Callable[[Sequence[JudgedList]], Measured]) -> Line:
        return Line(f"lists/{key}", name, tuple(take(lists) for lists in by_run.values()))

    def anchored(lists: Sequence[JudgedList], anchors: int, *, macro: bool = False) -> Measured:
        worths = [anchor_worths(judged, anchors, ties) for judged in lists]
        images = "an image" if anchors == 1 else f"{anchors} images"
        return _accuracy(lists, worths, f"no list has {images} compared with every other one", macro)

    def direct(lists: Sequence[JudgedList], *, macro: bool) -> Measured:
        worths = [direct_worths(judged, ties) for judged in lists]
        if worths and None in worths:  # a mean over the lists that happen to be whole would be another figure
            return undefined("not all pairs of images were compared")
        return _accuracy(lists, worths, _NO_LIST, macro)

    lines = (
        line("all_pairs_micro", "all pairs compared, mean over pairs", lambda lists: direct(lists, macro=False)),
        line("all_pairs_macro", "all pairs compared, mean over lists", lambda lists: direct(lists, macro=True)),
        line("anchor_micro", "one anchor, mean over pairs", lambda lists: anchored(lists, 1)),
        line("anchor_macro", "one anchor, mean over lists", lambda lists: anchored(lists, 1, macro=True)),
        line("anchor_k2_micro", "two anchors, mean over pairs", lambda lists: anchored(lists, 2)),
        line("anchor_k3_micro", "three anchors, mean over pairs", lambda lists: anchored(lists, 3)),
        line(
            "comparisons_anchor",
            "comparisons a list, one anchor",
            lambda lists: _per_list(lists, lambda judged: len(judged.ranks) - 1),
        ),
        line(
            "comparisons_all_pairs",
            "comparisons a list, all pairs",
            lambda lists: _per_list(lists, lambda judged: math.comb(len(judged.ranks), 2)),
        ),
    )
    return ResultTable(
        key="lists",
        title="Ranked lists",
        columns=tuple(by_run),
        lines=lines,
        paper="Listener paper, Section 5 (anchor protocol)",
        notes=(
            TIE_NOTES[ties] + " Pairs of equal rank are left out.",
            "An anchor has the score 0.5 and every other image its probability to beat the anchor, which takes N - 1 "
            "comparisons for a list of N images, O(N), and all pairs N (N - 1) / 2. Each comparison is made in every "
            "display order and rollout there is.",
            "Figures with anchors are the mean over all images that were compared with every other one of their list, "
            "or over all sets of them: what anchors drawn at random give on average.",
            *note_of_runs({name: _lists_note(lists) for name, lists in by_run.items()}),
        ),
    )


def by_list(pairs: Sequence[JudgedPair]) -> list[JudgedList]:
    """The ranked lists that some pairs are of; pairs that are of none are left out.

    Raises:
        ValueError: A pair tells its list but not the places or ranks in it.
    """
    lists: dict[str, list[JudgedPair]] = {}
    for pair in pairs:
        if pair.any_row.list_id is not None:
            lists.setdefault(pair.any_row.list_id, []).append(pair)
    return [JudgedList(tuple(of_list)) for of_list in lists.values()]


def anchor_scores(judged: JudgedList, anchor: int) -> dict[int, float | None] | None:
    """The scores that an anchor gives the images of a list.

    Returns:
        0.5 for the anchor, for each other image the probability that it beats the anchor, None where that comparison
        cannot be read. None in place of them all where some image was not compared with the anchor.
    """
    if anchor not in judged.anchors:
        return None
    return {item: 0.5 if item == anchor else judged.beats[item, anchor] for item in judged.ranks}


def anchor_accuracy(judged: JudgedList, anchor: int, ties: TieRule = "wrong") -> float | None:
    """Accuracy of one anchor's scores on a list; None where it is no anchor or all ranks are equal."""
    scores = anchor_scores(judged, anchor)
    if scores is None:
        return None
    worths = mean_worths(_rows([scores]), list(judged.ranks.values()), ties)
    return fmean(worths) if worths else None


def anchor_worths(judged: JudgedList, anchors: int = 1, ties: TieRule = "wrong") -> list[float] | None:
    """What is to be expected of random anchors on each pair of images whose ranks differ.

    Args:
        judged: The list.
        anchors: How many anchors an image's score is averaged over; one that cannot be read is left out of the mean.
        ties: What equal scores are worth.

    Returns:
        The mean over all sets of so many anchors; None where the list has fewer.
    """
    scores_AI = _rows([scores for item in judged.anchors if (scores := anchor_scores(judged, item))])
    if len(scores_AI) < anchors:
        return None
    sets_SA = np.array(list(combinations(range(len(scores_AI)), anchors)))
    drawn_SAI = scores_AI[sets_SA]
    counts_SI = (~np.isnan(drawn_SAI)).sum(axis=1)
    sums_SI = np.nansum(drawn_SAI, axis=1)
    means_SI = np.divide(sums_SI, counts_SI, out=np.full_like(sums_SI, np.nan), where=counts_SI > 0)
    return mean_worths(means_SI, list(judged.ranks.values()), ties)


def direct_worths(judged: JudgedList, ties: TieRule = "wrong") -> list[float] | None:
    """What the judge is worth on each pair of images whose ranks differ, each compared directly.

    Returns:
        A number a pair of images; None where one of them was not judged.
    """
    ranks = judged.ranks
    ranked = [(one, other) for one, other in combinations(ranks, 2) if ranks[one] != ranks[other]]
    if any(pair not in judged.beats for pair in ranked):
        return None
    worths = []
    for one, other in ranked:
        p_one = judged.beats[one, other]
        if p_one is None or p_one == 0.5:
            worths.append(0.0 if p_one is None else TIE_WORTH[ties])
        else:
            worths.append(float((p_one > 0.5) == (ranks[one] < ranks[other])))
    return worths


def mean_worths(scores_SI: NDArray[np.float64], ranks_I: Sequence[float], ties: TieRule) -> list[float]:
    """What sets of scores are worth on average on each pair of images whose ranks differ.

    Args:
        scores_SI: Scores of the images, a set a row; NaN where one is missing, so that its pairs are wrong.
        ranks_I: The images' ranks, lower is better.
        ties: What equal scores are worth.
    """
    one_Q, other_Q = np.triu_indices(len(ranks_I), k=1)
    better_Q = np.asarray(ranks_I)[other_Q] - np.asarray(ranks_I)[one_Q]  # above 0 where the one is ranked better
    one_Q, other_Q, better_Q = one_Q[better_Q != 0], other_Q[better_Q != 0], better_Q[better_Q != 0]
    lead_SQ = scores_SI[:, one_Q] - scores_SI[:, other_Q]
    worth_SQ = np.where(lead_SQ * better_Q > 0, 1.0, np.where(lead_SQ == 0, TIE_WORTH[ties], 0.0))  # NaN is wrong
    return [float(worth) for worth in worth_SQ.mean(axis=0)]


def _places(pair: JudgedPair) -> tuple[int, int, float, float]:
    """The places of both images in their list, and their ranks."""
    row = pair.any_row
    if row.list_id is None or row.item_a is None or row.item_b is None or row.rank_a is None or row.rank_b is None:
        told = (row.list_id, row.item_a, row.item_b, row.rank_a, row.rank_b)
        raise ValueError(
            f"pair {row.pair_id!r}: expected list_id, item_a, item_b, rank_a and rank_b, got {told}; judge it again "
            "from a source that tells its ranked lists"
        )
    return row.item_a, row.item_b, row.rank_a, row.rank_b


def _rows(scores: Sequence[dict[int, float | None]]) -> NDArray[np.float64]:
    """Scores as an array, a row each; NaN where one is missing."""
    return np.array([[math.nan if score is None else score for score in row.values()] for row in scores])


def _accuracy(lists: Sequence[JudgedList], worths: Sequence[list[float] | None], none: str, macro: bool) -> Measured:
    """The mean over pairs, or over lists, of those lists that a way of judging was asked for."""
    if not lists:
        return undefined(_NO_LIST)
    values: list[float] = []
    prompts: list[str] = []
    for judged, told in zip(lists, worths, strict=True):
        taken = [fmean(told)] if macro and told else told or []
        values += taken
        prompts += [judged.prompt_id] * len(taken)
    asked = any(told is not None for told in worths)
    return measured(values, prompts, none="every pair of the lists is of equal rank" if asked else none)


def _per_list(lists: Sequence[JudgedList], count: Callable[[JudgedList], int]) -> Measured:
    counts = [float(count(judged)) for judged in lists]
    return measured(counts, [judged.prompt_id for judged in lists], unit="number", none=_NO_LIST)


def _lists_note(lists: Sequence[JudgedList]) -> str:
    if not lists:
        return "No ranked list."
    anchors = [len(judged.anchors) for judged in lists]
    one, two, three = (sum(count < k for count in anchors) for k in (1, 2, 3))
    sentence = f"{len(lists)} lists; {fmean(anchors):.3g} images of each can be the anchor, on average."
    if three:
        sentence += (
            f" Left out for want of anchors: {one} lists of the lines with one, {two} with two, {three} with three."
        )
    return sentence
