"""A pair with all that was said of it: the rows of predictions.parquet that are about one pair.

A pair may have been judged several times (rollouts) in each of one or both display orders. Which of two images a judge
prefers is read from its soft scores: p_a is the mean of its probabilities that image a is better, first over the
rollouts of an order and then over the orders, so that a bias towards one position cancels. A rollout whose answer
cannot be read abstains; where all abstain, there is no p_a, and the judgement counts as wrong.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Literal

from lit_listener.evaluation.prediction import Prediction

TieRule = Literal["wrong", "half", "right"]
"""What a judgement is worth that puts both images exactly level: 0, 0.5 or 1."""
TIE_WORTH: dict[TieRule, float] = {"wrong": 0.0, "half": 0.5, "right": 1.0}
LEVEL = 1e-12
"""A mean of scores this close to one half is one half: the rest is rounding, and a tie must not hang on it."""


@dataclass(frozen=True)
class JudgedPair:
    """All rows about one pair; never none."""

    rows: tuple[Prediction, ...]
    """By display order (image a first, then b first) and rollout."""

    @property
    def any_row(self) -> Prediction:
        """A row, for what all rows of the pair share."""
        return self.rows[0]

    @property
    def prompt_id(self) -> str:
        """What intervals are clustered by."""
        return self.any_row.prompt_id

    @property
    def preferred(self) -> str | None:
        """The side that people prefer, "a" or "b"; None for a tie."""
        share = self.any_row.share_a
        return None if share == 0.5 else ("a" if share > 0.5 else "b")

    @property
    def agreement(self) -> float:
        """Share of the voters who sided with the majority, in [0.5, 1]."""
        return max(self.any_row.share_a, 1.0 - self.any_row.share_a)

    @cached_property
    def orders(self) -> tuple[str, ...]:
        """The sides that were displayed first: "a", "b" or both."""
        return tuple(dict.fromkeys(row.first for row in self.rows))

    @cached_property
    def rollouts(self) -> tuple[int, ...]:
        """The rollouts there are, in order."""
        return tuple(sorted({row.rollout for row in self.rows}))

    def of_order(self, first: str) -> tuple[Prediction, ...]:
        """The rows in which this side is displayed first."""
        return tuple(row for row in self.rows if row.first == first)

    def p_a(self, rollouts: Collection[int] | None = None, first: str | None = None) -> float | None:
        """The judge's probability that image a is better.

        Args:
            rollouts: the rollouts averaged over; None for all.
            first: the display order read; None for the mean over all orders there are.

        Returns:
            A number in [0, 1]; None where no answer can be read.
        """
        by_order = [
            [row.p_a for row in self.of_order(order) if rollouts is None or row.rollout in rollouts]
            for order in ((first,) if first else self.orders)
        ]
        means = [fmean(read) for scores in by_order if (read := [score for score in scores if score is not None])]
        if not means:
            return None
        mean = fmean(means)
        return 0.5 if abs(mean - 0.5) < LEVEL else mean

    def worth(self, p_a: float | None, ties: TieRule = "wrong") -> float | None:
        """What a judgement of this pair is worth: 1 right, 0 wrong or unreadable; None where people are tied."""
        if self.preferred is None:
            return None
        if p_a is None:
            return 0.0
        if p_a == 0.5:
            return TIE_WORTH[ties]
        return float((p_a > 0.5) == (self.preferred == "a"))

    def correct(
        self, rollouts: Collection[int] | None = None, first: str | None = None, ties: TieRule = "wrong"
    ) -> float | None:
        """``worth`` of ``p_a``."""
        return self.worth(self.p_a(rollouts, first), ties)


def judged_pairs(predictions: Sequence[Prediction]) -> list[JudgedPair]:
    """The pairs of some predictions, in the order in which they first occur.

    Args:
        predictions: rows of one run and one source.

    Raises:
        ValueError: a pair has one rollout in one order twice.
    """
    grouped: dict[str, dict[tuple[str, int], Prediction]] = {}
    for row in predictions:
        rows = grouped.setdefault(row.pair_id, {})
        key = (row.first, row.rollout)
        if key in rows:
            raise ValueError(
                f"pair {row.pair_id!r} has rollout {row.rollout} with image {row.first} first twice: pass the "
                "predictions of one run and one source"
            )
        rows[key] = row
    return [JudgedPair(tuple(rows[key] for key in sorted(rows))) for rows in grouped.values()]
