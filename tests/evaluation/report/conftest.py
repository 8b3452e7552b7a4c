"""A made-up evaluation with all that a report has to cope with."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageDraw

from lit_listener.evaluation.prediction import Prediction
from lit_listener.evaluation.report.sample import Images
from lit_listener.evaluation.results import Curve, Line, Measured, Point, ResultPlot, ResultTable, undefined
from lit_listener.evaluation.section import Section
from lit_listener.evaluation.statistics import Interval

NAN = float("nan")
HOSTILE = "<script>alert('x')</script> </script><!-- & \"quoted\" <img src=x onerror=alert(1)>"


def cell(mean: float, low: float = NAN, high: float = NAN, **changes: object) -> Measured:
    reason = "a single prompt has no interval" if math.isnan(low) else ""
    fields = {"interval": Interval(mean, low, high), "rows": 240, "clusters": 120, "reason": reason, **changes}
    return Measured(**fields)


@pytest.fixture(scope="session")
def table() -> ResultTable:
    return ResultTable(
        "table_2",
        "Accuracy of the mean soft score over k rollouts",
        ("base_model_before_training", "listener_grpo"),
        (
            Line("accuracy/micro", "accuracy", (cell(0.5634, 0.5401, 0.5849), cell(0.6512, 0.6288, 0.6731))),
            Line("order/flip_share", "pairs that flip", (undefined("each pair was shown in one order"),) * 2),
            Line("p", "mean p(correct)", (cell(0.5, 0.45, 0.55, unit="probability"), cell(0.123, unit="probability"))),
            Line("gain", "gain", (cell(-0.0124, -0.03, 0.005, unit="points"), cell(0.1, 0.07, 0.13, unit="points"))),
            Line("n", "pairs", (cell(1234, 1234, 1234, unit="count"), cell(120, 120, 120, unit="count"))),
        ),
        "Listener paper, Table 2; soft-rewards paper, Table 1",
        ("A tie of the soft scores counts as wrong.", "12 pairs on which people are tied are left out."),
    )


def curve(name: str, start: float, places: tuple[float, ...]) -> Curve:
    heights = [start + 0.06 * number for number in range(len(places))]
    points = [
        Point(x, cell(y, y - 0.04, y + 0.03), f"{100 * x:.0f}–{100 * x + 10:.0f}%")
        for x, y in zip(places, heights, strict=True)
    ]
    return Curve(name, tuple(points))


@pytest.fixture(scope="session")
def plot() -> ResultPlot:
    places = (0.5, 0.6, 0.7, 0.8, 0.9)
    base = curve("base_model_before_training", 0.52, places)
    gap = replace(base.points[0], y=undefined("no pair has so little agreement"))
    return ResultPlot(
        "figure_3",
        "Accuracy by the voters' agreement",
        "agreement of the voters",
        "accuracy",
        (replace(base, points=(gap, *base.points[1:])), curve("listener_grpo", 0.58, places)),
        paper="Listener paper, Figure 3",
        notes=("The last bin holds full agreement too.",),
    )


@pytest.fixture(scope="session")
def sections(table: ResultTable, plot: ResultPlot) -> list[Section]:
    reliability = ResultPlot(
        "reliability",
        "Reliability",
        "mean p(second image)",
        "share of the second image",
        (
            Curve(
                "base_model_before_training",
                tuple(Point(x, cell(0.3 + 0.4 * x, 0.2 + 0.4 * x, 0.4 + 0.4 * x)) for x in (0.1, 0.3, 0.5, 0.7, 0.9)),
            ),
            Curve("listener_grpo", tuple(Point(x, cell(x, x - 0.06, x + 0.06)) for x in (0.1, 0.3, 0.5, 0.7, 0.9))),
        ),
        "reliability",
    )
    bars = replace(plot, key="categories", title="By category", x_name="category", kind="bars", paper="")
    wide = ResultTable(
        "by_generator",
        f"By generator {HOSTILE}",
        tuple(f"a run with quite a long name, number {number}" for number in range(6)),
        tuple(Line(f"generator/{n}", f"stable-diffusion-xl-{n}", (cell(0.6, 0.55, 0.65),) * 6) for n in range(4)),
    )
    return [
        Section("held_in", [table, wide], [plot, reliability, bars]),
        Section(f"held out & {HOSTILE}", [table], [plot]),
    ]


@pytest.fixture(scope="session")
def about() -> dict[str, object]:
    return {
        "date": "2026-03-01 12:00 UTC",
        "protocol": "both display orders, 3 rollouts, ties count as wrong",
        "runs": ["runs/base", "runs/listener_grpo"],
        "versions": {"lit_listener": "0.4.0", "torch": "2.13.0"},
    }


@pytest.fixture(scope="session")
def runs(predict: Callable[..., Prediction]) -> dict[str, list[Prediction]]:
    return made_up_runs(predict, 60)


def made_up_runs(predict: Callable[..., Prediction], pairs: int) -> dict[str, list[Prediction]]:
    """Two runs over pairs of two sources: every 5th contradicts itself, every 7th is unreadable in one order."""
    rng = np.random.default_rng(0)
    shares = rng.choice([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], size=pairs).tolist()
    runs: dict[str, list[Prediction]] = {}
    for run, skill in (("base_model_before_training", 0.52), ("listener_grpo", 0.7)):
        rows = []
        for index in range(pairs):
            share_a = shares[index]
            right = rng.random() < skill
            for first in "ab":
                label = int((share_a > 0.5) != (first == "a"))
                p_correct = float(np.clip(rng.normal(0.66 if right else 0.36, 0.12), 0.02, 0.98))
                p_second = p_correct if label else 1 - p_correct
                unreadable = index % 7 == 3 and first == "b"
                rows.append(
                    predict(
                        pair_id=f"pair-{index:04}", prompt_id=f"prompt-{index // 2}", index=index,
                        prompt=HOSTILE if index == 0 else f"a watercolour of {index} foxes under a red umbrella",
                        source="held_in" if index % 2 else "held out",
                        first=first, label=label, answer=None if unreadable else int(p_second > 0.5),
                        outcome="no_answer" if unreadable else "ok", p_second=None if unreadable else p_second,
                        listener_p_second=None if unreadable else float(np.clip(p_second + 0.1, 0, 1)),
                        listener_p_correct=None, contradicts=index % 5 == 2, share_a=share_a, votes=20,
                        independent_p_second=0.25, length=90, generator_a="sdxl-turbo", generator_b="flux-schnell",
                        trace=HOSTILE if index == 0 else
                        "<think>The first image has the umbrella in the wrong colour; the fox of the second looks "
                        f"sideways, and its brush strokes are finer. Zebra-{index}.\n\nSo the second is better.</think>"
                        "<answer>2</answer>",
                    )
                )  # fmt: skip
        runs[run] = rows
    return runs


@pytest.fixture(scope="session")
def images() -> Images:
    return made_up_images


def made_up_images(row: Prediction) -> tuple[Image.Image, Image.Image]:
    """Image a is reddish, image b is bluish; every 11th pair's cannot be read."""
    if row.index % 11 == 10:
        raise FileNotFoundError(f"there is no image pictures/{row.index}.png")
    made = []
    for colour in ((180, 60 + row.index % 100, 40), (40, 60 + row.index % 100, 180)):
        image = Image.new("RGB", (320, 240 if row.index % 3 else 320), colour)
        ImageDraw.Draw(image).ellipse((80, 60, 240, 200), fill=(255, 240, 200), outline=(0, 0, 0), width=4)
        made.append(image)
    return made[0], made[1]
