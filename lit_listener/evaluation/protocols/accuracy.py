"""How often a judge prefers the image that people prefer, by each of the protocols that published figures use.

Figures for one model on one test set differ by several points between protocols, so all of them are given by name:

- ImageReward's own test: every pair of every list counts once (micro); an equal score is wrong.
- HPSv2's evaluation on ImageReward: the same a list, then the mean over lists (macro).
- HPSv2 on HPDv2: 1 - inversions / pairs a list, then the mean over lists. A pair is an inversion only where people and
  judge are strictly opposed, so that ties of either count as right.

Pairs that people are tied on are left out of the first two. The judge's soft decision is the image with more than half
of its probability, averaged over rollouts and display orders. Means over lists are taken over prompts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from lit_listener.evaluation.judged_pairs import JudgedPair, TieRule
from lit_listener.evaluation.protocols.cells import (
    NO_PREFERENCE,
    TIE_NOTES,
    JudgedRuns,
    Measure,
    judged_runs,
    note_of_runs,
    over_pairs,
    take_lines,
)
from lit_listener.evaluation.results import Measured, ResultTable, Runs, measured, undefined

ONE_ORDER = "each pair was shown in one order"


@dataclass(frozen=True)
class ProtocolNumbers:
    """One judge's accuracy by the rules of three authors' scripts; None where no pair counts."""

    image_reward: float | None
    """ImageReward's own test: micro, an equal score is wrong."""
    hpsv2_on_image_reward: float | None
    """HPSv2's evaluation on ImageReward: macro, an equal score is wrong."""
    hpdv2: float | None
    """HPSv2 on HPDv2: macro, ties of people or judge are right."""


def accuracy_table(runs: Runs, ties: TieRule = "wrong") -> ResultTable:
    """Accuracy by every protocol, with what the display order and unreadable answers do to it.

    Args:
        runs: The predictions of each run on one source.
        ties: What an exactly level judgement is worth in the lines that name no rule of their own.
    """
    judged = judged_runs(runs)
    return ResultTable(
        key="accuracy",
        title="Accuracy",
        columns=tuple(judged),
        lines=take_lines(judged, [*_accuracy_measures(ties), *_order_measures(), *_reading_measures()]),
        notes=(
            TIE_NOTES[ties] + " Lines that name another rule follow that one.",
            "A pair, or a completion, without a readable answer counts as wrong.",
            *note_of_runs({name: _left_out(pairs) for name, pairs in judged.items()}),
            *_order_notes(judged),
        ),
    )


def answer_accuracy(pairs: Sequence[JudgedPair]) -> Measured:
    """How often one sampled answer is right: the mean over completions, in which an unreadable one is wrong."""
    rows = [row for pair in pairs for row in pair.rows]
    return measured([row.correct for row in rows], [row.prompt_id for row in rows], none=NO_PREFERENCE)


def protocol_numbers(pairs: Sequence[JudgedPair]) -> ProtocolNumbers:
    """The figures that the authors' scripts would give for this judge."""

    def mean(values: Sequence[float | None], *, macro: bool) -> float | None:
        cell = measured(values, [pair.prompt_id for pair in pairs], macro=macro)
        return cell.interval.mean if cell.rows else None

    strict = [pair.correct() for pair in pairs]
    return ProtocolNumbers(
        image_reward=mean(strict, macro=False),
        hpsv2_on_image_reward=mean(strict, macro=True),
        hpdv2=mean([not_opposed(pair) for pair in pairs], macro=True),
    )


def first_order_correct(pair: JudgedPair, ties: TieRule = "wrong") -> float | None:
    """What the judge is worth in one display order alone, averaged over the orders; None where people are tied."""
    if pair.preferred is None:
        return None
    return fmean(pair.correct(first=first, ties=ties) or 0.0 for first in pair.orders)


def not_opposed(pair: JudgedPair) -> float:
    """1 unless judge and people strictly prefer opposite images, or the judgement cannot be read (HPDv2's rule)."""
    correct = pair.correct(ties="right")
    return correct if correct is not None else float(pair.p_a() is not None)


def soft_side(pair: JudgedPair, first: str) -> str | None:
    """The side preferred in one display order by the mean of its scores; None where level or unreadable."""
    p_a = pair.p_a(first=first)
    return None if p_a is None or p_a == 0.5 else ("a" if p_a > 0.5 else "b")


def hard_side(pair: JudgedPair, first: str) -> str | None:
    """The side that most answers of one display order name; None where they are split or unreadable."""
    chosen = [row.chosen for row in pair.of_order(first)]
    lead = chosen.count("a") - chosen.count("b")
    return None if lead == 0 else ("a" if lead > 0 else "b")


def flip(sides: Sequence[str | None]) -> float | None:
    """1 where the two display orders prefer different images; None where one of them is missing or prefers neither."""
    if len(sides) < 2 or None in sides:
        return None
    return float(len(set(sides)) > 1)


def _accuracy_measures(ties: TieRule) -> list[Measure]:
    def soft(key: str, name: str, rule: TieRule, *, macro: bool = False) -> Measure:
        return Measure(key, name, lambda pairs: over_pairs(pairs, lambda pair: pair.correct(ties=rule), macro=macro))

    return [
        soft("accuracy/micro", "accuracy, mean over pairs", ties),
        soft("accuracy/macro", "accuracy, mean over prompts", ties, macro=True),
        Measure("accuracy/answer", "accuracy of one sampled answer", answer_accuracy),
        Measure(
            "accuracy/first_order",
            "accuracy in one display order",
            lambda pairs: over_pairs(pairs, lambda pair: first_order_correct(pair, ties)),
        ),
        soft("accuracy/micro_ties_half", "accuracy, mean over pairs, level is half right", "half"),
        soft("accuracy/micro_ties_right", "accuracy, mean over pairs, level is right", "right"),
        soft("accuracy/macro_ties_right", "accuracy, mean over prompts, level is right", "right", macro=True),
        Measure(
            "accuracy/macro_not_opposed",
            "share not opposed to people, mean over prompts (HPDv2's rule)",
            lambda pairs: over_pairs(pairs, not_opposed, macro=True, none="there is no pair"),
        ),
    ]


def _order_measures() -> list[Measure]:
    def flips(pairs: Sequence[JudgedPair], hard: bool) -> Measured:
        if pairs and all(len(pair.orders) < 2 for pair in pairs):
            return undefined(ONE_ORDER)
        side = hard_side if hard else soft_side
        return over_pairs(
            pairs,
            lambda pair: flip([side(pair, first) for first in pair.orders]),
            none="in no pair do both orders prefer an image",
        )

    return [
        Measure("order/flip_share", "pairs whose decision flips with the order", lambda pairs: flips(pairs, False)),
        Measure(
            "order/hard_flip_share", "pairs whose majority of answers flips with it", lambda pairs: flips(pairs, True)
        ),
        Measure("order/first_chosen_share", "answers that name the image shown first", _first_chosen),
    ]


def _reading_measures() -> list[Measure]:
    def share(key: str, name: str, value: float | None) -> Measure:
        def take(pairs: Sequence[JudgedPair]) -> Measured:
            return over_pairs(pairs, lambda pair: float(pair.p_a() == value), none="there is no pair")

        return Measure(key, name, take)

    return [
        share("pairs/unreadable_share", "pairs without a readable answer", None),
        Measure("completions/unparsable_share", "completions without a readable answer", _unparsable),
        share("pairs/predicted_tie_share", "pairs judged exactly level", 0.5),
    ]


def _first_chosen(pairs: Sequence[JudgedPair]) -> Measured:
    rows = [row for pair in pairs for row in pair.rows if row.answer is not None]
    return measured(
        [float(row.answer == 0) for row in rows], [row.prompt_id for row in rows], none="no answer can be read"
    )


def _unparsable(pairs: Sequence[JudgedPair]) -> Measured:
    rows = [row for pair in pairs for row in pair.rows]
    return measured([float(row.unparsable) for row in rows], [row.prompt_id for row in rows], none="there is no pair")


def _left_out(pairs: Sequence[JudgedPair]) -> str:
    """How many pairs people are tied on, and how many ranked lists the pairs are of."""
    tied = sum(pair.preferred is None for pair in pairs)
    lists = len({pair.any_row.list_id for pair in pairs} - {None})
    of_lists = f" of {lists} ranked lists" if lists else ""
    return (
        f"{len(pairs)} pairs{of_lists}; the {tied} that people are tied on are left out of the accuracies, but for "
        "HPDv2's rule, by which they count as right."
    )


def _order_notes(judged: JudgedRuns) -> tuple[str, ...]:
    one_order = {
        name: (
            "Shown in one order only, so that a preference for a position does not cancel."
            if pairs and all(len(pair.orders) < 2 for pair in pairs)
            else ""
        )
        for name, pairs in judged.items()
    }
    return (
        "A flip is counted over the pairs in which both display orders prefer an image. Where 50% of answers name "
        "the image shown first, there is no preference for a position.",
        *note_of_runs(one_order),
    )
