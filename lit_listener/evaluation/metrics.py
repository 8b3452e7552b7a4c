"""What is measured of a judge: its accuracy, its certainty, its contradictions and its unreadable answers.

One completion is one ``Prediction``. Every measure is a mean over the rows for which it is defined, and is written down
once, in ``MEASURES``; ``JudgementMetrics`` accumulates those means over batches and processes, ``summary`` gives them
with intervals clustered by prompt.

A completion whose answer cannot be read counts as wrong, and is counted on its own as well; it has no probability, so
it is left out of ``p_correct``. A tie has no right image, so it is left out of whatever asks for one.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor
from torchmetrics import Metric

from lit_listener.evaluation.prediction import Prediction
from lit_listener.evaluation.statistics import Interval, clustered_difference, clustered_interval

_Measure = Callable[[Prediction], float | None]

MEASURES: Mapping[str, _Measure] = MappingProxyType(
    {
        "accuracy": lambda row: row.correct,
        "p_correct": lambda row: row.p_correct,
        "contradiction_share": lambda row: row.contradiction,
        "unparsable_share": lambda row: float(row.unparsable),
        "listener_p_correct": lambda row: None if row.label is None else row.listener_p_correct,
    }
)
"""The measures logged in validation: each gives a row's number, or None where it is not defined for the row."""

SUMMARY_MEASURES: Mapping[str, _Measure] = MappingProxyType(
    {**MEASURES, "format_share": lambda row: float(row.outcome == "ok"), "length": lambda row: float(row.length)}
)
"""The measures of a finished test run."""


class JudgementMetrics(Metric):
    """Means of ``MEASURES`` over a stream of predictions, exact over batches and processes.

    Only sums and counts are kept, and they add up over processes, so that ranks with unequal numbers of rows are
    weighted by their rows. A measure that no row defines is NaN.

    Examples:
        >>> metrics = JudgementMetrics()
        >>> metrics.update(predictions)        # doctest: +SKIP
        >>> metrics.compute()["accuracy"]      # doctest: +SKIP
        0.563
    """

    full_state_update = False
    sums_K: Tensor
    counts_K: Tensor

    def __init__(self) -> None:
        super().__init__()
        # K: the measures, in the order of MEASURES.
        self.add_state("sums_K", torch.zeros(len(MEASURES)), dist_reduce_fx="sum")
        self.add_state("counts_K", torch.zeros(len(MEASURES)), dist_reduce_fx="sum")

    def update(self, predictions: Sequence[Prediction]) -> None:
        """Count a batch of predictions in."""
        columns = [_column(predictions, measure) for measure in MEASURES.values()]
        values_KN = torch.tensor(columns, dtype=torch.float64).reshape(len(MEASURES), len(predictions))
        self.sums_K += values_KN.nansum(dim=1).to(self.sums_K)
        self.counts_K += (~values_KN.isnan()).sum(dim=1).to(self.counts_K)

    def compute(self) -> dict[str, float]:
        """The mean of each measure over all rows seen."""
        means_K = (self.sums_K / self.counts_K).tolist()
        return dict(zip(MEASURES, means_K, strict=True))


def summary(predictions: Sequence[Prediction], *, seed: int = 0) -> dict[str, Interval]:
    """The means of ``SUMMARY_MEASURES`` with 95% intervals clustered by prompt.

    Args:
        predictions: The rows; none at all gives intervals of NaN.
        seed: Seed of the bootstrap.

    Returns:
        One interval a measure. Shares and probabilities lie in [0, 1]; ``length`` is in tokens.
    """
    prompts = [row.prompt_id for row in predictions]
    return {
        name: clustered_interval(_column(predictions, measure), prompts, seed=seed)
        for name, measure in SUMMARY_MEASURES.items()
    }


def summary_difference(
    before: Sequence[Prediction], after: Sequence[Prediction], *, paired: bool = True, seed: int = 0
) -> dict[str, Interval]:
    """How much each of ``SUMMARY_MEASURES`` rose from ``before`` to ``after``, with 95% intervals clustered by prompt.

    Args:
        before: The rows of the first judge.
        after: The rows of the second judge.
        paired: Whether both judged the same prompts, which makes the intervals narrower.
        seed: Seed of the bootstrap.

    Returns:
        The interval of (after - before) for each measure.

    Raises:
        ValueError: ``paired=True`` for rows that share no prompt.
    """
    prompts_before, prompts_after = ([row.prompt_id for row in rows] for rows in (before, after))
    return {
        name: clustered_difference(
            _column(after, measure), prompts_after, _column(before, measure), prompts_before, paired=paired, seed=seed
        )
        for name, measure in SUMMARY_MEASURES.items()
    }


def _column(predictions: Sequence[Prediction], measure: _Measure) -> list[float]:
    """One number a row, NaN where the measure is not defined."""
    numbers = (measure(row) for row in predictions)
    return [math.nan if number is None else float(number) for number in numbers]
