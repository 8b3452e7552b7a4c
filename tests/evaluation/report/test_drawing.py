import importlib
import io
import math
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.container import ErrorbarContainer
from PIL import Image

from lit_listener.evaluation.report.drawing import _lines, draw, plot_figure, png
from lit_listener.evaluation.results import Curve, Point, ResultPlot, undefined
from tests.evaluation.report.conftest import cell


def axis_of(plot):
    (axis,) = plot_figure(plot).axes
    return axis


def legend(plot):
    (box,) = plot_figure(plot).legends
    return [text.get_text() for text in box.get_texts()]


def error_bars(axis, number):
    container = [held for held in axis.containers if isinstance(held, ErrorbarContainer)][number]
    return [segment[:, 1].tolist() for segment in container[2][0].get_segments()]


def test_draw(plot, tmp_path):
    path = tmp_path / "figures" / "figure_3.png"
    draw(plot, path)
    with Image.open(path) as picture:
        picture.load()
        assert picture.width > 780  # twice the pixels of a phone's 390
    assert path.stat().st_size < 60_000
    assert [found.name for found in path.parent.iterdir()] == ["figure_3.png"]


def test_line_plot_in_percent_with_intervals(plot):
    axis = axis_of(plot)
    second = axis.lines[-2]  # the last line is chance
    assert second.get_ydata().tolist() == pytest.approx([58.0, 64.0, 70.0, 76.0, 82.0])
    # 0.58 lies between 0.58 - 0.04 and 0.58 + 0.03.
    assert error_bars(axis, 1)[0] == pytest.approx([54.0, 61.0])
    assert axis.yaxis.get_major_formatter()(60, 0) == "60%"
    assert [tick.get_text() for tick in axis.get_xticklabels()][:2] == ["50–60%", "60–70%"]
    assert axis.get_ylim()[0] < 50  # chance is in the picture


def test_curves_differ_in_more_than_colour(plot):
    lines = [line for line in axis_of(plot).lines if line.get_marker() in "os"]
    assert len({line.get_linestyle() for line in lines}) == 2
    assert len({line.get_color() for line in lines}) == 2
    assert len({line.get_marker() for line in lines}) == 2


def test_missing_points_break_the_line_and_are_told(plot):
    middle = plot.curves[1]
    points = (*middle.points[:2], replace(middle.points[2], y=undefined("none", "count")), *middle.points[3:])
    gap = replace(plot, curves=(replace(middle, points=points),))
    heights = axis_of(gap).lines[-2].get_ydata().tolist()
    assert math.isnan(heights[2])
    assert legend(gap) == ["listener_grpo", "chance", "Left out: 1 of 5 points, not defined"]


def test_a_number_without_an_interval_is_drawn(plot):
    alone = replace(plot, curves=(Curve("run", (Point(0.5, cell(0.6)),)),))
    axis = axis_of(alone)
    assert axis.lines[-2].get_ydata().tolist() == [60.0]
    assert error_bars(axis, 0)[0] == [60.0, 60.0]


def test_reliability_has_the_diagonal(sections):
    reliability = sections[0].plots[1]
    axis = axis_of(reliability)
    assert axis.lines[-1].get_xdata().tolist() == [0, 1]
    assert axis.lines[-1].get_ydata().tolist() == [0, 100.0]
    assert axis.get_xlim() == (-0.02, 1.02)
    assert legend(reliability)[-1] == "perfectly calibrated"
    # Nothing is moved sideways here: a point below the diagonal has to lie below it.
    assert axis.lines[-2].get_xdata().tolist() == [0.1, 0.3, 0.5, 0.7, 0.9]


def test_bars_stand_side_by_side(sections):
    axis = axis_of(sections[0].plots[2])
    left, right = axis.patches[1], axis.patches[6]  # the second place of either run
    assert (left.get_height(), right.get_height()) == pytest.approx((58.0, 64.0))
    assert left.get_x() + left.get_width() < right.get_x()
    assert left.get_hatch() != right.get_hatch()
    assert axis.get_ylim()[0] == 0.0


def test_points_are_signed_and_tokens_are_not_percent():
    gains = ResultPlot("g", "g", "x", "gain", (Curve("run", (Point(1, cell(0.02, 0.01, 0.03, unit="points")),)),))
    axis = axis_of(gains)
    assert axis.yaxis.get_major_formatter()(2.5, 0) == "+2.5"
    assert [2.0] in [line.get_ydata().tolist() for line in axis.lines if line.get_marker() == "o"]
    tokens = ResultPlot("t", "t", "x", "tokens", (Curve("run", (Point(1, cell(23.4, 20, 25, unit="tokens")),)),))
    assert axis_of(tokens).lines[-1].get_ydata().tolist() == [23.4]


def test_names_are_no_formulas_and_none_is_lost(plot):
    names = ("_hidden", "costs $5 or $6", "x" * 90, "日本語")
    odd = replace(plot, curves=tuple(replace(plot.curves[1], name=name) for name in names))
    assert len(png(odd)) > 1000
    shown = legend(odd)
    assert shown[0].endswith("_hidden")
    assert shown[1] == r"costs \$5 or \$6"
    assert len(shown[2]) <= 40


def ticks(plot):
    return [tick.get_text() for tick in axis_of(plot).get_xticklabels()]


def labelled(kind, *labels, step=1.0):
    points = tuple(Point(step * x, cell(0.5, 0.4, 0.6), label) for x, label in enumerate(labels))
    return ResultPlot("p", "p", "x", "share", (Curve("run", points),), kind)


def test_labels_have_room():
    assert ticks(labelled("line", "few", "and short")) == ["few", "and short"]
    # Two places have 21 letters a line each: the long name is broken where its words join.
    assert ticks(labelled("bars", "base_model_before_training", "b")) == ["base_model_before_\ntraining", "b"]
    slanted = axis_of(labelled("bars", *(f"a quite long label, number {n}" for n in range(6))))
    assert {tick.get_rotation() for tick in slanted.get_xticklabels()} == {40.0}
    assert max(len(tick.get_text()) for tick in slanted.get_xticklabels()) <= 22
    # Labels of many points, or of points close to each other, would lie over one another.
    assert "bin 0" not in ticks(labelled("line", *(f"bin {n}" for n in range(9))))
    close = labelled("line", "bin 0", "bin 1")
    far = Curve("other", (Point(99.0, cell(0.5), "bin 2"),))
    assert "bin 0" not in ticks(replace(close, curves=(*close.curves, far)))
    assert "bin 0" not in ticks(labelled("reliability", "bin 0", "bin 1"))


def test_places_of_missing_points_stay_on_the_axis(plot):
    gap = replace(plot, curves=plot.curves[:1])  # its first point, at 0.5 of 0.5 to 0.9, is not defined
    assert axis_of(gap).get_xlim() == pytest.approx((0.5 - 0.07 * 0.4, 0.9 + 0.07 * 0.4))


def test_long_names_of_axes_are_broken(plot):
    axis = axis_of(replace(plot, x_name="an x axis " * 10, y_name="accuracy of this " * 3))
    assert max(map(len, axis.get_xlabel().split("\n"))) <= 42
    assert max(map(len, axis.get_ylabel().split("\n"))) <= 21
    assert axis.get_ylabel().replace("\n", " ") == ("accuracy of this " * 3).strip()


@given(st.text(), st.integers(8, 42))
def test_lines_lose_nothing(text, width):
    lines = _lines(text, width).split("\n")
    assert max(map(len, lines)) <= width
    assert "".join("".join(lines).split()) == "".join(text.split())


@pytest.mark.parametrize("kind", ["line", "bars", "reliability"])
@pytest.mark.parametrize("points", [(), (Point(0.5, undefined("nobody looked")),)])
def test_nothing_to_draw(plot, kind, points):
    empty = replace(plot, kind=kind, curves=(Curve("run", points),))
    assert "nothing to draw" in [text.get_text() for text in axis_of(empty).texts]
    with Image.open(io.BytesIO(png(empty))) as picture:
        picture.load()


def test_one_axis_has_one_unit(plot):
    mixed = Curve("run", (Point(1, cell(0.5, 0.4, 0.6)), Point(2, cell(20, 10, 30, unit="tokens"))))
    with pytest.raises(ValueError, match=r"'figure_3'.*one unit, got share, tokens"):
        png(replace(plot, curves=(mixed,)))


def test_without_matplotlib(monkeypatch):
    monkeypatch.delitem(sys.modules, "lit_listener.evaluation.report.drawing")
    monkeypatch.setitem(sys.modules, "matplotlib.axes", None)
    with pytest.raises(ImportError, match=r"figures need matplotlib: pip install 'lit-listener\[plots\]'"):
        importlib.import_module("lit_listener.evaluation.report.drawing")
