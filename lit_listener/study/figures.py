"""Figures 1 to 4 of the listener paper, of a study: the paper's own first, then the same of the other source.

The paper's figures are pictures. Where its text gives a number that belongs into one (Tables 4 and 5 for Figure 1) it
is drawn beside ours.
"""

import math
from functools import partial

from lit_listener.evaluation.crossed import crossed_measured
from lit_listener.evaluation.diagnoses.disagreement import BINS, distance_bin
from lit_listener.evaluation.judged_pairs import JudgedPair
from lit_listener.evaluation.protocols.agreement import BIN_EDGES, agreement_bin
from lit_listener.evaluation.results import Curve, Measured, Point, ResultPlot
from lit_listener.study import papers
from lit_listener.study.judgements import (
    CONTROLS,
    GRPO,
    HELD_IN,
    HELD_OUT,
    INSTRUCT,
    LISTENER,
    SFT,
    SOURCE_NAMES,
    START,
    Judgements,
)

_SHORT = {
    START: "Start",
    INSTRUCT: "Instruct",
    GRPO: "GRPO",
    LISTENER: "+ Listener",
    "random_listener": "+ random",
    "shuffled_listener": "+ shuffled",
    "mismatched_listener": "+ mismatched",
    "own_soft_score": "Own score only",
    "listener_only": "Listener only",
}
"""Names that fit under a bar."""


def all_figures(judged: Judgements) -> tuple[ResultPlot, ...]:
    """Each of the four for the source that the paper has it of, and for the other."""
    return (
        figure_1(judged, HELD_OUT),
        figure_1(judged, HELD_IN, "_held_in"),
        figure_2(judged, HELD_IN),
        figure_2(judged, HELD_OUT, "_held_out"),
        figure_3(judged, HELD_OUT),
        figure_3(judged, HELD_IN, "_held_in"),
        figure_4(judged, HELD_OUT),
        figure_4(judged, HELD_IN, "_held_in"),
    )


def figure_1(judged: Judgements, source: str, ending: str = "") -> ResultPlot:
    """Accuracy beside contradictions, of every arm that thinks; the paper's are of its out-of-domain pairs."""
    arms = [arm for arm in (START, INSTRUCT, GRPO, LISTENER, *CONTROLS) if arm in judged]
    arms = [arm for arm in arms if judged.states_verdicts(arm)]
    places = {arm: float(place) for place, arm in enumerate(arms)}

    def point(arm: str, y: Measured) -> Point:
        return Point(places[arm], y, _SHORT[arm])

    curves = [
        Curve("accuracy", tuple(point(arm, crossed_measured(judged.mean_at(arm, source))) for arm in arms)),
        Curve(
            "contradictions, by rule",
            tuple(
                point(arm, crossed_measured(judged.contradictions(arm, source), none="no readable thought"))
                for arm in arms
            ),
        ),
    ]
    told = {
        "accuracy, paper": {GRPO: papers.GRPO_WITH, LISTENER: papers.LISTENER_WITH},
        "contradictions, paper": {GRPO: papers.CONTRADICTIONS_GRPO, LISTENER: papers.CONTRADICTIONS_LISTENER},
    }
    if source == HELD_OUT:
        curves += [
            Curve(name, tuple(point(arm, number.cell()) for arm, number in numbers.items() if arm in places))
            for name, numbers in told.items()
        ]
    return ResultPlot(
        f"figure_1{ending}",
        f"Accuracy, and answers that contradict their own thoughts ({SOURCE_NAMES[source]})",
        "trained with",
        "share",
        tuple(curves),
        kind="bars",
        paper="Listener paper, Figure 1",
        notes=(
            "Accuracy: Mean@1. Contradictions by rule: the trace states one verdict, the answer gives the other.",
            *(
                (
                    f"The paper's bars are from its Tables 5 and 4: {papers.OUT_OF_DOMAIN}; text judge. Ours are of "
                    "all held-out pairs. The paper's figure has SFT too, which writes no thoughts here (Table 3).",
                )
                if source == HELD_OUT
                else ()
            ),
        ),
    )


def figure_2(judged: Judgements, source: str, ending: str = "") -> ResultPlot:
    """Accuracy by the distance between what the model and its listener believe."""
    width = math.sqrt(2.0) / BINS

    def point(arm: str, place: int) -> Point:
        found = judged.where_apart(arm, source, lambda distance: distance_bin(distance) == place)
        label = f"{place * width:.2f}-{(place + 1) * width:.2f}"
        return Point((place + 0.5) * width, crossed_measured(found, none="no completion falls here"), label)

    return ResultPlot(
        f"figure_2{ending}",
        f"Accuracy by the disagreement of model and listener ({SOURCE_NAMES[source]})",
        "distance of the listener's probabilities from the model's (l2)",
        "accuracy of the answer",
        tuple(
            Curve(judged.name(arm), tuple(point(arm, place) for place in range(BINS)))
            for arm in (GRPO, LISTENER)
            if arm in judged
        ),
        paper="Listener paper, Figure 2",
        notes=(
            "Each point holds the completions of one bin, the paper's hold pairs. The listener is the one of training "
            "(for plain GRPO it is heard and not rewarded). An empty bin is left out.",
            "The paper's figure is a picture, and its text gives no point of it.",
        ),
    )


def figure_3(judged: Judgements, source: str, ending: str = "") -> ResultPlot:
    """Accuracy by the agreement of the voters."""

    def inside(pair: JudgedPair, place: int) -> bool:
        return agreement_bin(pair.agreement) == place

    def point(arm: str, place: int) -> Point:
        low, high = BIN_EDGES[place : place + 2]
        found = judged.mean_at(arm, source, keep=partial(inside, place=place))
        return Point(
            (low + high) / 2, crossed_measured(found, none="no pair has such agreement"), f"{low:.0%}–{high:.0%}"
        )

    return ResultPlot(
        f"figure_3{ending}",
        f"Accuracy by agreement of the voters ({SOURCE_NAMES[source]})",
        "share of the voters who sided with the majority",
        "accuracy",
        tuple(
            Curve(judged.name(arm), tuple(point(arm, place) for place in range(len(BIN_EDGES) - 1)))
            for arm in (SFT, GRPO, LISTENER)
            if arm in judged
        ),
        paper="Listener paper, Figure 3",
        notes=(
            "Mean@1. A bin holds its lower edge, and the last one holds 100% too.",
            "The paper's figure is a picture, and its text gives no point of it.",
        ),
    )


def figure_4(judged: Judgements, source: str, ending: str = "") -> ResultPlot:
    """Accuracy of a majority vote among k thoughts, and of the mean of their scores."""
    curves = []
    for arm in (arm for arm in (GRPO, LISTENER) if arm in judged):
        sizes = range(1, judged.rollouts(arm, source) + 1)
        votes = tuple(Point(k, crossed_measured(judged.majority_at(arm, source, k))) for k in sizes)
        means = tuple(Point(k, crossed_measured(judged.mean_at(arm, source, k))) for k in sizes)
        curves += [Curve(f"{judged.name(arm)}, majority", votes), Curve(f"{judged.name(arm)}, Mean@k", means)]
    return ResultPlot(
        f"figure_4{ending}",
        f"Majority vote among k thoughts ({SOURCE_NAMES[source]})",
        "thoughts, k",
        "accuracy",
        tuple(curves),
        paper="Listener paper, Figure 4",
        notes=(
            "Averaged over all sets of k thoughts. Votes are held in each display order alone, and a split vote is "
            "worth half; Mean@k averages both orders' scores.",
            "The paper's figure is a picture, and its text gives no point of it.",
        ),
    )
