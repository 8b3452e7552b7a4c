"""Whether the judge is as sure as it is right: expected calibration error, Brier score and the reliability diagram.

Each shown pair (a pair in one display order) has one soft score: p_a, the mean of the model's probabilities over its
rollouts. Its confidence is that of the image it favours, max(p_a, 1 - p_a), and it is right where people favour that
image as well; a score of exactly 0.5 favours neither and is half right. So nothing depends on which image of a pair is
called a. Not in the papers, which call the soft scores calibrated without a figure for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from lit_listener.evaluation.diagnoses.calibration_error import (
    BINS,
    bin_of,
    calibration_error_interval,
    reliability_bins,
)
from lit_listener.evaluation.diagnoses.lines import table_lines, told
from lit_listener.evaluation.judged_pairs import JudgedPair, judged_pairs
from lit_listener.evaluation.results import (
    Curve,
    Measured,
    Point,
    ResultPlot,
    ResultTable,
    Runs,
    measured,
    undefined,
)

NAMES: Mapping[str, str] = MappingProxyType(
    {
        "calibration/ece": f"expected calibration error, {BINS} bins",
        "calibration/brier": "Brier score against the preferred image",
        "calibration/brier_share": "squared distance from the share of votes",
        "calibration/mean_confidence": "mean confidence",
        "calibration/accuracy": "accuracy of the same scores",
    }
)

_NOTHING_READ = "no pair with a preferred image has a readable answer"


@dataclass(frozen=True)
class ShownScore:
    """The soft score of a pair in one display order."""

    pair: JudgedPair
    p_a: float
    """The judge's probability that image a is better, mean over the rollouts of this order."""

    @property
    def confidence(self) -> float:
        """The probability of the favoured image, in [0.5, 1]."""
        return max(self.p_a, 1.0 - self.p_a)

    @property
    def right(self) -> float | None:
        """1 where people prefer the favoured image, 0 where not, 0.5 at p_a = 0.5; None where people are tied."""
        return self.pair.worth(self.p_a, "half")

    @property
    def squared_error(self) -> float | None:
        """Squared distance of p_a from 1 where people prefer image a and from 0 otherwise; None where they are tied."""
        return None if self.pair.preferred is None else (self.p_a - float(self.pair.preferred == "a")) ** 2

    @property
    def squared_distance_from_votes(self) -> float | None:
        """Squared distance of p_a from the share of votes for image a; None where the votes are not told."""
        return (self.p_a - self.pair.any_row.share_a) ** 2 if self.pair.any_row.votes else None


def shown_scores(pairs: Sequence[JudgedPair]) -> list[ShownScore]:
    """The soft score of each pair in each of its display orders, where any answer can be read."""
    return [
        ShownScore(pair, p_a) for pair in pairs for first in pair.orders if (p_a := pair.p_a(first=first)) is not None
    ]


def calibration_table(runs: Runs) -> ResultTable:
    """Calibration error, Brier scores, and mean confidence beside accuracy.

    Args:
        runs: The predictions of each run on one source.
    """
    pairs = {name: judged_pairs(rows) for name, rows in runs.items()}
    return ResultTable(
        "calibration",
        "Calibration of the soft scores",
        tuple(runs),
        table_lines(NAMES, [_cells(of_run) for of_run in pairs.values()]),
        notes=(
            "One soft score a shown pair: the mean over its rollouts, each display order on its own; a score of "
            "exactly 0.5 is half right.",
            "Chance alone raises the calibration error, the more the fewer the pairs; its interval allows for that, "
            "and so may reach further down than up.",
            *_left_out(pairs),
        ),
    )


def reliability_plot(runs: Runs) -> ResultPlot:
    """Accuracy against confidence; on the diagonal a judge is as sure as it is right.

    Args:
        runs: The predictions of each run on one source.
    """
    pairs = {name: judged_pairs(rows) for name, rows in runs.items()}
    curves = tuple(Curve(name, _reliability_points(of_run)) for name, of_run in pairs.items())
    return ResultPlot(
        "reliability",
        "Reliability of the soft scores",
        "confidence in the favoured image",
        "accuracy",
        curves,
        kind="reliability",
        notes=(
            f"{BINS} bins of equal width over [0, 1]; a confidence lies in the upper half. A point stands at the mean "
            "confidence of its bin.",
            *_left_out(pairs),
        ),
    )


def _cells(pairs: Sequence[JudgedPair]) -> dict[str, Measured]:
    scores = shown_scores(pairs)
    judged = [(score, worth) for score in scores if (worth := score.right) is not None]
    prompts = [score.pair.prompt_id for score, _ in judged]
    confidence = [score.confidence for score, _ in judged]
    right = [right for _, right in judged]
    return {
        "calibration/ece": _error_cell(confidence, right, prompts),
        "calibration/brier": measured(
            [score.squared_error for score, _ in judged], prompts, unit="number", none=_NOTHING_READ
        ),
        "calibration/brier_share": measured(
            [score.squared_distance_from_votes for score in scores],
            [score.pair.prompt_id for score in scores],
            unit="number",
            none="the source does not tell how many voted" if scores else "no answer can be read",
        ),
        "calibration/mean_confidence": measured(confidence, prompts, none=_NOTHING_READ),
        "calibration/accuracy": measured(right, prompts, none=_NOTHING_READ),
    }


def _error_cell(confidence: Sequence[float], right: Sequence[float], prompts: Sequence[str]) -> Measured:
    if not confidence:
        return undefined(_NOTHING_READ, "probability")
    clusters = len(set(prompts))
    interval = calibration_error_interval(confidence, right, prompts)
    return Measured(
        interval, len(confidence), clusters, "probability", "a single prompt has no interval" if clusters < 2 else ""
    )


def _reliability_points(pairs: Sequence[JudgedPair]) -> tuple[Point, ...]:
    judged = [(score, worth) for score in shown_scores(pairs) if (worth := score.right) is not None]
    confidence_N = np.array([score.confidence for score, _ in judged])
    bin_N = bin_of(confidence_N)
    points = []
    for place, here in enumerate(reliability_bins(confidence_N, [right for _, right in judged])):
        if here.high <= 0.5:  # no confidence is so low
            continue
        low = max(here.low, 0.5)
        inside = [judged[n] for n in np.flatnonzero(bin_N == place)]
        accuracy = measured(
            [right for _, right in inside],
            [score.pair.prompt_id for score, _ in inside],
            none="no soft score falls here" if judged else _NOTHING_READ,
        )
        middle = (low + here.high) / 2 if here.mean_p is None else here.mean_p
        points.append(Point(middle, accuracy, f"{low:.2f}-{here.high:.2f}"))
    return tuple(points)


def _left_out(pairs: Mapping[str, Sequence[JudgedPair]]) -> tuple[str, ...]:
    unread, ties = {}, {}
    for name, of_run in pairs.items():
        unread[name] = sum(pair.p_a(first=first) is None for pair in of_run for first in pair.orders)
        ties[name] = sum(pair.preferred is None for pair in of_run)
    return (
        *told(unread, "Shown pairs without any readable answer have no soft score and are left out"),
        *told(ties, "Pairs on which people are tied count for the share of votes only"),
    )
