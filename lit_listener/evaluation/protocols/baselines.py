"""What accuracy is to be compared with: one person, chance, and judges that look at no image (listener paper, Table 3).

A single person is one voter drawn at random, held against the majority of the others: with the voter's own vote in the
majority, agreement would be too high. The expectation is exact, from share and number of votes. Where the number is not
told, or votes are weighted and their number of no use, it is the share of the majority, the limit for many voters.
"""

from collections.abc import Sequence
from statistics import fmean

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
from lit_listener.evaluation.results import Measured, ResultTable, Runs, undefined

_WHOLE = 0.01
"""Votes for an image that are further from a whole number are weighted ones; the rest is rounding of the share."""
_ONE_COMPLETION = "no pair has several completions in one display order, of which one could be the longest"


def table_3(runs: Runs, ties: TieRule = "wrong") -> ResultTable:
    """Accuracy beside that of a single person, of chance and of rules that look at no image.

    Args:
        runs: The predictions of each run on one source.
        ties: What an exactly level judgement of a run is worth.
    """
    judged = judged_runs(runs)
    measures = [
        Measure(
            "accuracy/micro",
            "accuracy, mean over pairs",
            lambda pairs: over_pairs(pairs, lambda pair: pair.correct(ties=ties)),
        ),
        Measure(
            "accuracy/no_overlap",
            "accuracy on prompts that were not trained on",
            lambda pairs: _no_overlap(pairs, ties),
        ),
        Measure("baseline/single_human", "one person against the others", _single_human),
        Measure("baseline/chance", "chance", _chance),
        Measure(
            "baseline/first_image",
            "always the image shown first",
            lambda pairs: over_pairs(pairs, first_image_correct),
        ),
        Measure("baseline/longest_trace", "the answer of the longest completion", _longest_trace),
    ]
    return ResultTable(
        key="table_3",
        title="Accuracy and baselines",
        columns=tuple(judged),
        lines=take_lines(judged, measures),
        paper="Listener paper, Table 3",
        notes=(
            TIE_NOTES[ties] + " Pairs that people are tied on are left out.",
            "One person: a voter drawn at random against the majority of the other voters, who count half where they "
            "are split evenly.",
            *note_of_runs({name: _votes_note(pairs) for name, pairs in judged.items()}),
            *note_of_runs({name: _overlap_note(pairs) for name, pairs in judged.items()}),
        ),
    )


def single_human_correct(pair: JudgedPair) -> float | None:
    """How often a voter drawn at random sides with the majority of the others.

    Returns:
        The expectation, in [0, 1]: an even split of the others counts half. The share of the majority where the
        number of votes is unknown or they are weighted. None where people are tied or there is one vote only, which
        has no others to be held against.
    """
    votes = pair.any_row.votes
    if pair.preferred is None or votes == 1:
        return None
    votes_a = _whole_votes(pair)
    if votes_a is None:
        return pair.agreement
    return sum(
        voters / votes * _against_others(voters - 1, votes - voters) for voters in (votes_a, votes - votes_a) if voters
    )


def first_image_correct(pair: JudgedPair) -> float | None:
    """How often the image shown first is the preferred one, over the display orders; None where people are tied."""
    return None if pair.preferred is None else fmean(first == pair.preferred for first in pair.orders)


def longest_trace_correct(pair: JudgedPair) -> float | None:
    """How often the longest completion's answer is right, over the display orders; None where people are tied.

    Of equally long completions it is the first; an unreadable answer is wrong.
    """
    if pair.preferred is None:
        return None
    longest = [max(pair.of_order(first), key=lambda row: row.length) for first in pair.orders]
    return fmean(row.correct or 0 for row in longest)


def _against_others(agree: int, disagree: int) -> float:
    return 0.5 if agree == disagree else float(agree > disagree)


def _whole_votes(pair: JudgedPair) -> int | None:
    """The votes for image a; None where their number is unknown or they are weighted."""
    row = pair.any_row
    votes_a = row.share_a * row.votes
    return round(votes_a) if row.votes and abs(votes_a - round(votes_a)) <= _WHOLE else None


def _single_human(pairs: Sequence[JudgedPair]) -> Measured:
    if pairs and not shares_told(pairs):
        return undefined(SHARES_NOT_TOLD)
    none = NO_PREFERENCE if not pairs else "no pair that people prefer an image of has two votes"
    return over_pairs(pairs, single_human_correct, none=none)


def _chance(pairs: Sequence[JudgedPair]) -> Measured:
    preferred = [pair for pair in pairs if pair.preferred is not None]
    return exact(0.5, preferred, "share") if preferred else undefined(NO_PREFERENCE)


def _longest_trace(pairs: Sequence[JudgedPair]) -> Measured:
    if pairs and all(len(pair.rows) == len(pair.orders) for pair in pairs):
        return undefined(_ONE_COMPLETION)
    return over_pairs(pairs, longest_trace_correct)


def _no_overlap(pairs: Sequence[JudgedPair], ties: TieRule) -> Measured:
    looked = [pair for pair in pairs if pair.any_row.prompt_in_training is not None]
    if pairs and not looked:
        return undefined("nobody looked which prompts are in the training set")
    new = [pair for pair in looked if not pair.any_row.prompt_in_training]
    if looked and not new:
        return undefined("every prompt is in the training set")
    return over_pairs(new, lambda pair: pair.correct(ties=ties))


def _votes_note(pairs: Sequence[JudgedPair]) -> str:
    if not shares_told(pairs):
        return ""
    preferred = [pair for pair in pairs if pair.preferred is not None]
    single = sum(pair.any_row.votes == 1 for pair in preferred)
    shares = sum(_whole_votes(pair) is None for pair in preferred if pair.any_row.votes != 1)
    sentences = []
    if shares:
        sentences.append(
            f"{shares} pairs tell no whole number of votes: there, one person is the share of the majority."
        )
    if single:
        sentences.append(f"{single} pairs with a single vote are left out of the line on one person.")
    return " ".join(sentences)


def _overlap_note(pairs: Sequence[JudgedPair]) -> str:
    looked = [pair for pair in pairs if pair.any_row.prompt_in_training is not None]
    if not looked:
        return ""
    shared = sum(bool(pair.any_row.prompt_in_training) for pair in looked)
    unknown = f", and nobody looked for {len(pairs) - len(looked)}" if len(looked) < len(pairs) else ""
    return f"The prompts of {shared} of {len(pairs)} pairs are in the training set{unknown}."
