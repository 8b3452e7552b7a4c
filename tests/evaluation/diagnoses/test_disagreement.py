import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lit_listener.evaluation.diagnoses.disagreement import BINS, disagreement, distance_bin, figure_2
from lit_listener.evaluation.prediction import Prediction
from tests.evaluation.reading import heights

probabilities = st.floats(0.0, 1.0)


def row(p: float, q: float, first: str = "a") -> Prediction:
    """A row, since hypothesis takes no fixture made for each test."""
    share_a = 0.0 if first == "a" else 1.0
    return Prediction("x", "x", "", 0, first, 1, 1, "ok", p, q, q, False, None, 1, False, "", share_a, "", "")


def test_distance_by_hand(predict):
    # (1/4, 3/4) against (3/4, 1/4): sqrt(1/4 + 1/4)
    assert disagreement(predict(p_second=0.75, listener_p_second=0.25)) == pytest.approx(math.sqrt(0.5), abs=1e-12)
    assert disagreement(predict(p_second=0.0, listener_p_second=1.0)) == math.sqrt(2.0)
    assert disagreement(predict(p_second=0.3, listener_p_second=0.3)) == 0.0


@given(probabilities, probabilities)
def test_is_the_euclidean_distance_and_symmetric(p, q):
    reference = float(np.linalg.norm(np.array([1 - q, q]) - np.array([1 - p, p])))
    distance = disagreement(row(p, q))
    assert distance == pytest.approx(reference, abs=1e-9)
    assert distance == disagreement(row(q, p))
    assert disagreement(row(1 - p, 1 - q, "b")) == pytest.approx(distance, abs=1e-9)
    assert 0 <= distance_bin(distance) < BINS


@pytest.mark.parametrize(
    "changes", [{"p_second": None}, {"listener_p_second": None}, {"answer": None}, {"answer": None, "p_second": None}]
)
def test_without_both_probabilities_there_is_no_distance(predict, changes):
    assert disagreement(predict(**changes)) is None


def test_bins_hold_their_lower_edge_and_the_last_one_its_upper_edge():
    width = math.sqrt(2.0) / 4
    assert [distance_bin(k * width * 1.0000001, 4) for k in range(5)] == [0, 1, 2, 3, 3]
    assert distance_bin(width * 0.999, 4) == 0


def test_figure_by_hand(predict):
    rows = [
        # |q - p| of 0, 1/16 (bin 0), 1/8 (bin 1: its lower edge), 1/2 (bin 4), 1 (bin 7)
        predict(prompt_id="x", p_second=0.75, listener_p_second=0.75),
        predict(prompt_id="y", p_second=0.75, listener_p_second=0.6875, label=0),
        predict(prompt_id="y", p_second=0.75, listener_p_second=0.625),
        predict(prompt_id="y", p_second=0.75, listener_p_second=0.25, label=0),
        predict(prompt_id="x", p_second=1.0, listener_p_second=0.0),
        predict(prompt_id="x", label=None, share_a=0.5),
        predict(prompt_id="x", p_second=None, answer=None),
        predict(prompt_id="x", listener_p_second=None),
    ]
    plot = figure_2({"mine": rows, "empty": [], "tied": rows[5:6]})
    assert heights(plot) == pytest.approx([0.5, 1.0, math.nan, math.nan, 0.0, math.nan, math.nan, 1.0], nan_ok=True)
    assert [point.x for point in plot.curves[0].points] == pytest.approx(
        [(k + 0.5) * math.sqrt(2) / 8 for k in range(8)]
    )
    assert plot.curves[0].points[0].y.rows == 2
    assert plot.curves[0].points[0].label == "0.00-0.18"
    assert plot.curves[0].points[2].y.reason == "no completion falls here"
    assert plot.curves[1].points[0].y.reason == "no completion was both read and heard by a listener"
    assert {point.y.reason for point in plot.curves[2].points} == {
        "people are tied on every pair that a listener heard of"
    }
    assert any("no listener heard, are left out: 2 (mine)." in note for note in plot.notes)
    assert any("tied are left out: 1 (mine), 1 (tied)." in note for note in plot.notes)
    assert (plot.key, plot.paper) == ("figure_2", "Listener paper, Figure 2")
