import math

import pytest

from lit_listener.evaluation.report.drawing import plot_figure
from lit_listener.study.figures import all_figures, figure_1, figure_2, figure_3, figure_4
from lit_listener.study.judgements import HELD_OUT, SOURCES


def curve(plot, name):
    return next(curve for curve in plot.curves if curve.name == name)


def test_each_of_the_four_is_there_for_both_sources(judged):
    keys = [plot.key for plot in all_figures(judged)]
    assert [key for key in keys if key.count("_") == 1] == [f"figure_{number}" for number in range(1, 5)]
    assert len(keys) == len(set(keys)) == 4 * len(SOURCES)


def test_figure_1_has_the_papers_bars_where_its_text_has_numbers(judged):
    plot = figure_1(judged, HELD_OUT)
    paper = curve(plot, "accuracy, paper")
    assert {point.label: point.y.interval.mean for point in paper.points} == {"GRPO": 0.72, "+ Listener": 0.76}
    places = {point.label: point.x for point in curve(plot, "accuracy").points}
    assert {point.label: point.x for point in paper.points}.items() <= places.items()
    assert "Bradley-Terry reward model" not in places


def test_figure_2_holds_every_completion_once(judged, as_claimed):
    points = curve(figure_2(judged, HELD_OUT), "GRPO").points
    rows = [row for of_seed in as_claimed.arms["grpo"].on(HELD_OUT) for row in of_seed]
    assert sum(point.y.rows for point in points) == len(rows)
    right = sum(point.y.rows * point.y.interval.mean for point in points if point.y.rows)
    assert right == pytest.approx(sum(row.correct for row in rows))
    # Beyond half of the way the simulated listener is far from wrong answers.
    assert points[0].y.interval.mean > points[-2].y.interval.mean


def test_figure_3_holds_every_pair_once(judged):
    points = curve(figure_3(judged, HELD_OUT), "SFT on answers").points
    assert sum(point.y.rows for point in points) == 4 * len(judged.pairs(HELD_OUT))
    assert [point.label for point in points] == ["50%–60%", "60%–70%", "70%–80%", "80%–90%", "90%–100%"]


def test_figure_4_begins_with_one_answer(judged, as_claimed):
    votes = curve(figure_4(judged, HELD_OUT), "GRPO, majority").points
    rows = [row for of_seed in as_claimed.arms["grpo"].on(HELD_OUT) for row in of_seed]
    assert [point.x for point in votes] == [1, 2]
    assert votes[0].y.interval.mean == pytest.approx(sum(row.correct for row in rows) / len(rows))


def test_all_can_be_drawn_and_none_is_empty(judged):
    for plot in all_figures(judged):
        assert plot_figure(plot).axes
        assert any(not math.isnan(point.y.interval.mean) for each in plot.curves for point in each.points)
