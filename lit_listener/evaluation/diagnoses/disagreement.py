"""Accuracy against the distance between what the model and its listener believe (Listener paper, Figure 2).

Both beliefs are a pair of probabilities, one an image: s_reason = (1 - p, p) by the model's own answer and
s_instr = (1 - q, q) by the listener that heard the trace. Their distance is ||s_instr - s_reason||_2 = sqrt(2) |q - p|.
"""

import math

from lit_listener.evaluation.diagnoses.lines import told
from lit_listener.evaluation.prediction import Prediction
from lit_listener.evaluation.results import Curve, Point, ResultPlot, Runs, measured

BINS = 8
"""Bins of equal width between no distance and the largest there is, sqrt(2)."""


def disagreement(row: Prediction) -> float | None:
    """Distance between the model's and the listener's probabilities, in [0, sqrt(2)]; None where either has none.

    A probability read at the place of an unreadable answer is none.
    """
    if row.p_a is None or row.p_second is None or row.listener_p_second is None:
        return None
    return math.sqrt(2.0) * abs(row.listener_p_second - row.p_second)


def distance_bin(distance: float, bins: int = BINS) -> int:
    """The bin of a distance, from 0; a bin holds its lower edge, and the last one its upper edge too."""
    return min(int(distance / math.sqrt(2.0) * bins), bins - 1)


def figure_2(runs: Runs) -> ResultPlot:
    """Share of right answers among the completions on which model and listener are so far apart; a curve a run.

    Args:
        runs: The predictions of each run on one source.

    Returns:
        Points at the middles of ``BINS`` bins of equal width; an empty bin has no number.
    """
    width = math.sqrt(2.0) / BINS
    curves, unheard, ties = [], {}, {}
    for name, rows in runs.items():
        asked = [(row, disagreement(row)) for row in rows]
        unheard[name] = sum(distance is None for _, distance in asked)
        ties[name] = sum(distance is not None and row.label is None for row, distance in asked)
        binned: list[list[Prediction]] = [[] for _ in range(BINS)]
        for row, distance in asked:
            if distance is not None and row.label is not None:
                binned[distance_bin(distance)].append(row)
        if any(binned):
            none = "no completion falls here"
        elif ties[name]:
            none = "people are tied on every pair that a listener heard of"
        else:
            none = "no completion was both read and heard by a listener"
        points = tuple(
            Point(
                (place + 0.5) * width,
                measured([row.correct for row in inside], [row.prompt_id for row in inside], none=none),
                f"{place * width:.2f}-{(place + 1) * width:.2f}",
            )
            for place, inside in enumerate(binned)
        )
        curves.append(Curve(name, points))
    return ResultPlot(
        "figure_2",
        "Accuracy against the disagreement of model and listener",
        "distance of the listener's probabilities from the model's (l2)",
        "accuracy of the sampled answer",
        tuple(curves),
        paper="Listener paper, Figure 2",
        notes=(
            "Each point holds the completions of one bin; the paper's hold pairs.",
            *told(unheard, "Completions without a readable answer, or that no listener heard, are left out"),
            *told(ties, "Completions about pairs on which people are tied are left out"),
        ),
    )
