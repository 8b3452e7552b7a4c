import math

import numpy as np
import pytest

from lit_listener.evaluation.diagnoses.calibration import calibration_table, reliability_plot, shown_scores
from lit_listener.evaluation.diagnoses.calibration_error import brier_score, expected_calibration_error
from lit_listener.evaluation.judged_pairs import judged_pairs
from tests.evaluation.reading import cell, heights, means


def shown(predict, pair, p_a, share_a=0.0, first="a", **changes):
    """A row whose probability of image a is so."""
    label = None if share_a == 0.5 else int((share_a > 0.5) == (first == "b"))
    p_second = 1 - p_a if first == "a" else p_a
    return predict(
        **{"pair_id": pair, "share_a": share_a, "first": first, "label": label, "p_second": p_second} | changes
    )


@pytest.fixture
def rows(predict):
    return [
        # Shown twice in the order a, b: p_a = 0.25, right with confidence 0.75. In the order b, a: 0.625, wrong.
        shown(predict, "1", 0.125, votes=10),
        shown(predict, "1", 0.375, votes=10, rollout=1),
        shown(predict, "1", 0.625, votes=10, first="b"),
        shown(predict, "2", 1.0, share_a=0.75, prompt_id="y"),  # right, sure
        shown(predict, "3", 0.5, prompt_id="y"),  # exactly level: half right
        shown(predict, "4", 0.75, share_a=0.5, prompt_id="z", votes=4),  # people are tied
        shown(predict, "5", 0.5, prompt_id="z", answer=None, p_second=None),  # unreadable
    ]


def test_scores_of_shown_pairs(rows):
    scores = shown_scores(judged_pairs(rows))
    assert [score.p_a for score in scores] == [0.25, 0.625, 1.0, 0.5, 0.75]
    assert [score.confidence for score in scores] == [0.75, 0.625, 1.0, 0.5, 0.75]
    assert [score.right for score in scores] == [1.0, 0.0, 1.0, 0.5, None]
    assert [score.squared_error for score in scores] == [0.0625, 0.390625, 0.0, 0.25, None]
    # shares of 0, 0 and 0.5 where votes are told
    assert [score.squared_distance_from_votes for score in scores] == [0.0625, 0.390625, None, None, 0.0625]


def test_table_by_hand(rows):
    table = calibration_table({"mine": rows})
    assert means(table) == pytest.approx(
        {
            # each confidence in a bin of its own: |1 - 0.75| + |0 - 0.625| + 0 + |0.5 - 0.5| = 0.875
            "calibration/ece": 0.875 / 4,
            "calibration/brier": (0.0625 + 0.390625 + 0.0 + 0.25) / 4,
            "calibration/brier_share": (0.0625 + 0.390625 + 0.0625) / 3,
            "calibration/mean_confidence": (0.75 + 0.625 + 1.0 + 0.5) / 4,
            "calibration/accuracy": 2.5 / 4,
        },
        abs=1e-12,
    )
    ece = cell(table, "calibration/ece")
    assert (ece.rows, ece.clusters, ece.unit, ece.reason) == (4, 2, "probability", "")
    assert any("are left out: 1 (mine)." in note for note in table.notes)
    assert any("share of votes only: 1 (mine)." in note for note in table.notes)


def many(predict, swapped=()):
    """300 pairs in both orders; those in ``swapped`` have their images called the other way round."""
    rng = np.random.default_rng(7)
    rows = []
    for n in range(300):
        share_a, p = rng.random(), rng.random(2)
        if n in swapped:
            share_a, p = 1 - share_a, 1 - p[::-1]
        rows += [
            shown(predict, str(n), p_a, share_a, first, prompt_id=str(n // 3), votes=9)
            for first, p_a in zip("ab", p, strict=True)
        ]
    return rows


def test_table_matches_the_pure_functions_and_a_loop(predict):
    scores = shown_scores(judged_pairs(many(predict)))
    table = means(calibration_table({"mine": many(predict)}))
    p_a, prefers_a = [score.p_a for score in scores], [score.pair.preferred == "a" for score in scores]
    assert table["calibration/brier"] == pytest.approx(brier_score(p_a, prefers_a), abs=1e-12)
    assert table["calibration/brier_share"] == pytest.approx(
        brier_score(p_a, [score.pair.any_row.share_a for score in scores]), abs=1e-12
    )
    confidence = [max(p, 1 - p) for p in p_a]
    right = [(p > 0.5) == prefers for p, prefers in zip(p_a, prefers_a, strict=True)]
    assert table["calibration/ece"] == pytest.approx(expected_calibration_error(confidence, right), abs=1e-12)
    assert table["calibration/accuracy"] == pytest.approx(np.mean(right), abs=1e-12)


def test_nothing_depends_on_which_image_is_called_a(predict):
    plain = calibration_table({"mine": many(predict)})
    swapped = calibration_table({"mine": many(predict, swapped=range(0, 300, 2))})
    assert means(swapped) == pytest.approx(means(plain), abs=1e-9)


def test_plot_by_hand(rows):
    plot = reliability_plot({"mine": rows})
    points = plot.curves[0].points
    # Bins of 1/15 from the one that holds 0.5: [7/15, 8/15), …, [14/15, 1]; 0.625 is in the 3rd, 0.75 in the 5th.
    assert heights(plot) == pytest.approx([0.5, math.nan, 0.0, math.nan, 1.0, math.nan, math.nan, 1.0], nan_ok=True)
    assert [points[k].x for k in (0, 2, 4, 7)] == [0.5, 0.625, 0.75, 1.0]
    assert points[1].x == pytest.approx((8 / 15 + 9 / 15) / 2)
    assert points[1].y.reason == "no soft score falls here"
    assert points[0].label == "0.50-0.53"
    assert plot.kind == "reliability"


def test_plot_and_error_agree(predict):
    points = reliability_plot({"mine": many(predict)}).curves[0].points
    error = sum(point.y.rows * abs(point.y.interval.mean - point.x) for point in points if point.y.rows) / 600
    assert error == pytest.approx(means(calibration_table({"mine": many(predict)}))["calibration/ece"], abs=1e-9)


def test_reasons(predict):
    unread = [shown(predict, "1", 0.5, answer=None, p_second=None)]
    table = calibration_table({"unread": unread, "alone": [shown(predict, "1", 0.25)], "empty": []})
    assert cell(table, "calibration/ece").reason == "no pair with a preferred image has a readable answer"
    assert cell(table, "calibration/brier_share").reason == "no answer can be read"
    assert cell(table, "calibration/brier_share", 1).reason == "the source does not tell how many voted"
    alone = cell(table, "calibration/ece", 1)
    assert (alone.interval.mean, alone.reason) == (0.25, "a single prompt has no interval")
    assert all(line.cells[2].reason for line in table.lines)
    plot = reliability_plot({"unread": unread})
    assert {point.y.reason for point in plot.curves[0].points} == {
        "no pair with a preferred image has a readable answer"
    }
