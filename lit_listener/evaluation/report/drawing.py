"""Plots of results as PNGs that can be read on a phone and by the colour-blind.

Curves differ in colour, dash and marker (bars in hatching). Thin bars are 95% intervals. A point without a number is
left out, which breaks its line, and the picture says how many are missing. Shares are in percent, differences of shares
in points.
"""

import math
import re
import warnings
from collections.abc import Mapping, Sequence
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lit_listener.evaluation.pens import COLOURS, DASHES
from lit_listener.evaluation.replaced_file import replaced_file
from lit_listener.evaluation.results import Point, ResultPlot, Unit

try:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine
    from matplotlib.lines import Line2D
    from matplotlib.ticker import FuncFormatter, MaxNLocator
except ImportError as error:
    raise ImportError("figures need matplotlib: pip install 'lit-listener[plots]'") from error

_Floats = NDArray[np.float64]

_MARKERS = ("o", "s", "^", "D", "v")
_HATCHES = ("", "//", "..", "xx", "\\\\")
_INK, _FAINT_INK = "#222222", "#666666"
_WIDTH, _HEIGHT, _LEGEND_LINE = 4.7, 3.2, 0.24  # inches
_SIDE = 3.6  # inches of a reliability diagram, which is square
_TICK, _TEXT = 10.5, 11.0  # points: three quarters of that is left on a phone
_ROOM = 42  # letters that fit under the axis, beside each other
_LONGEST_NAME, _LONGEST_LABEL, _LONGEST_WORD = 40, 22, 8
_HUNDREDFOLD: tuple[Unit, ...] = ("share", "points")


def draw(plot: ResultPlot, path: Path) -> None:
    """Write a plot as a PNG; it is there whole or not at all.

    Args:
        plot: What to draw.
        path: The file to write; missing folders are made.

    Raises:
        ValueError: Curves of different units, or points of a bar or reliability plot without a place.
    """
    with replaced_file(Path(path)) as beside:
        beside.write_bytes(png(plot))


def png(plot: ResultPlot) -> bytes:
    """A plot as the bytes of a PNG; raises as ``draw`` does."""
    written = BytesIO()
    with warnings.catch_warnings():
        # A run's name may have letters that no font here knows: they are drawn as boxes, and the report is whole.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        plot_figure(plot).savefig(written, format="png", dpi=180)
    # A plot has few colours: naming them in a palette makes the page, which holds all plots, a third as large.
    palette = BytesIO()
    Image.open(written).convert("RGB").quantize(96, dither=Image.Dither.NONE).save(palette, "PNG", optimize=True)
    return palette.getvalue()


def plot_figure(plot: ResultPlot) -> Figure:
    """The figure of ``draw``."""
    unit = _unit(plot)
    names = [_name(curve.name) for curve in plot.curves]
    columns = 1 if max(map(len, names), default=0) > 20 else 2
    below = _LEGEND_LINE * math.ceil((len(names) + 1) / columns)
    height = (_SIDE if plot.kind == "reliability" else _HEIGHT) + below
    if _slanted(_labels(plot)):
        below += 0.7  # what slanted labels take would be the curves'
    figure = Figure(figsize=(_WIDTH, height), layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08), facecolor="white")
    axis = figure.subplots()
    handles = _draw_bars(axis, plot, unit) if plot.kind == "bars" else _draw_lines(axis, plot, unit)
    if plot.kind == "reliability":
        handles.append(_diagonal(axis, unit))
        names.append("perfectly calibrated")
    elif plot.kind == "line" and unit == "share" and "accuracy" in plot.y_name.lower() and _defined(plot):
        handles.append(axis.axhline(50, color=_FAINT_INK, linewidth=1.0, linestyle=(0, (1, 2)), zorder=1))
        names.append("chance")
    _finish(axis, plot, unit)  # the last, for it fixes how far the axes reach
    missing = _missing(plot)
    if missing:
        handles.append(Line2D([], [], linestyle="none"))
        names.append(missing)
        columns = 1
    if handles:
        figure.legend(
            handles, names, loc="outside lower left", ncols=columns, fontsize=_TICK, frameon=False, handlelength=2.6
        )
    return figure


def _draw_lines(axis: Axes, plot: ResultPlot, unit: Unit) -> list[Artist]:
    places = [point.x for curve in plot.curves for point in curve.points]
    # Curves of one place would hide each other's intervals: they stand a little beside each other.
    step = 0.0 if plot.kind == "reliability" or not places else 0.008 * (max(places) - min(places))
    handles: list[Artist] = []
    for number, curve in enumerate(plot.curves):
        points = sorted(curve.points, key=lambda point: point.x)
        x = np.array([point.x for point in points]) + step * (number - (len(plot.curves) - 1) / 2)
        y, below, above = _heights(points, unit)
        colour, dash = COLOURS[number % len(COLOURS)], DASHES[number % len(DASHES)]
        marker = _MARKERS[number % len(_MARKERS)]
        axis.errorbar(x, y, (below, above), fmt="none", ecolor=colour, elinewidth=1.1, capsize=2.5, alpha=0.65)
        (line,) = axis.plot(x, y, dash, marker=marker, markersize=5, color=colour, linewidth=1.8)
        handles.append(line)
    return handles


def _draw_bars(axis: Axes, plot: ResultPlot, unit: Unit) -> list[Artist]:
    """Bars beside each other, a group a place; places are told by their labels, not to scale."""
    places = _places(plot)
    width = 0.8 / max(1, len(plot.curves))
    handles: list[Artist] = []
    for number, curve in enumerate(plot.curves):
        x = [places[point.x] + width * (number - (len(plot.curves) - 1) / 2) for point in curve.points]
        y, below, above = _heights(curve.points, unit)
        colour, hatch = COLOURS[number % len(COLOURS)], _HATCHES[number % len(_HATCHES)]
        bars = axis.bar(x, y, 0.94 * width, color=colour, alpha=0.85, hatch=hatch, edgecolor="white", linewidth=0.5)
        axis.errorbar(x, y, (below, above), fmt="none", ecolor=_INK, elinewidth=1.1, capsize=2.5)
        handles.append(bars)  # type: ignore[arg-type]  # a container stands in a legend as an artist does
    return handles


def _heights(points: Sequence[Point], unit: Unit) -> tuple[_Floats, _Floats, _Floats]:
    """The points' numbers and how far their intervals reach below and above; NaN, or 0, where there are none."""
    scale = 100.0 if unit in _HUNDREDFOLD else 1.0
    y, low, high = (
        scale * np.array([getattr(point.y.interval, name) for point in points], dtype=float)
        for name in ("mean", "low", "high")
    )
    # A percentile interval may miss its mean by a hair, and an error bar has no negative length.
    return y, np.nan_to_num(np.maximum(y - low, 0.0)), np.nan_to_num(np.maximum(high - y, 0.0))


def _diagonal(axis: Axes, unit: Unit) -> Artist:
    top = 100.0 if unit == "share" else 1.0
    (line,) = axis.plot([0, 1], [0, top], color=_FAINT_INK, linewidth=1.0, linestyle=(0, (1, 2)), zorder=1)
    axis.set_xlim(-0.02, 1.02)
    if unit == "share":  # both axes then count in percent
        axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{100 * x:g}%"))
    axis.set_ylim(-0.02 * top, 1.02 * top)
    axis.set_box_aspect(1)
    return line


def _finish(axis: Axes, plot: ResultPlot, unit: Unit) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color(_FAINT_INK)
    axis.tick_params(colors=_INK, labelsize=_TICK)
    axis.set_xlabel(_plain(_lines(plot.x_name, _ROOM)), fontsize=_TEXT, color=_INK)
    axis.set_ylabel(_plain(_lines(plot.y_name, _ROOM // 2)), fontsize=_TEXT, color=_INK)
    axis.set_axisbelow(True)
    if plot.kind == "line":
        axis.margins(x=0.07)
    if not _defined(plot):
        axis.set_xticks([])
        axis.set_yticks([])
        axis.text(0.5, 0.5, "nothing to draw", ha="center", va="center", color=_FAINT_INK, transform=axis.transAxes)
        return
    axis.grid(axis="y" if plot.kind == "bars" else "both", color="#e4e4e4", linewidth=0.8)
    if unit == "share":
        axis.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:g}%"))
        low, high = axis.get_ylim()
        axis.set_ylim(max(low, -2.0), min(high, 102.0))
    elif unit == "points":
        axis.axhline(0, color=_FAINT_INK, linewidth=0.8, zorder=1)
        axis.yaxis.set_major_formatter(FuncFormatter(lambda points, _: f"{points:+g}"))
    _label_places(axis, plot)


def _label_places(axis: Axes, plot: ResultPlot) -> None:
    """Ticks that say what the points' labels say, where they have any and there is room; else numbers."""
    labels = _labels(plot)
    if not labels:
        if all(float(point.x).is_integer() for curve in plot.curves for point in curve.points):
            axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
        return
    places = _places(plot) if plot.kind == "bars" else {x: x for x in labels}
    span = max(labels) - min(labels)
    if plot.kind == "line" and span:  # ticks of points left out would otherwise end the axis without a margin
        axis.set_xlim(min(labels) - 0.07 * span, max(labels) + 0.07 * span)
    if _slanted(labels):
        texts = [_plain(_cut(label, _LONGEST_LABEL)) for label in labels.values()]
        axis.set_xticks([places[x] for x in labels], texts, rotation=40, ha="right", rotation_mode="anchor")
    else:
        room = max(_LONGEST_WORD, _ROOM // len(labels))
        axis.set_xticks([places[x] for x in labels], [_plain(_lines(label, room)) for label in labels.values()])


def _labels(plot: ResultPlot) -> dict[float, str]:
    """What is written at which x; nothing where a scale of numbers is easier to read."""
    labels = {point.x: point.label for curve in plot.curves for point in curve.points if point.label}
    if plot.kind == "bars":
        return {x: labels.get(x, f"{x:g}") for x in _places(plot)}
    places = sorted(labels)
    gaps = [after - before for before, after in pairwise(places)]
    # Bins that each run puts elsewhere, or many of them, would be written over one another.
    crowded = len(labels) > 8 or (len(gaps) > 0 and min(gaps) < 0.08 * (places[-1] - places[0]))
    return {} if crowded or plot.kind == "reliability" else {x: labels[x] for x in places}


def _slanted(labels: Mapping[float, str]) -> bool:
    return len(labels) > 4 and sum(len(label) + 2 for label in labels.values()) > _ROOM


def _places(plot: ResultPlot) -> dict[float, float]:
    """Where the bars of each x stand: side by side."""
    return {x: float(place) for place, x in enumerate(sorted({p.x for curve in plot.curves for p in curve.points}))}


def _unit(plot: ResultPlot) -> Unit:
    """The unit of the numbers there are: a missing one is drawn nowhere, whatever its unit."""
    points = [point.y for curve in plot.curves for point in curve.points]
    units = {y.unit for y in points if not math.isnan(y.interval.mean)}
    if len(units) > 1:
        raise ValueError(
            f"plot {plot.key!r}: points on one axis need one unit, got {', '.join(sorted(units))}; make a plot a unit"
        )
    return units.pop() if units else "number"


def _defined(plot: ResultPlot) -> bool:
    return any(not math.isnan(point.y.interval.mean) for curve in plot.curves for point in curve.points)


def _missing(plot: ResultPlot) -> str:
    points = [point for curve in plot.curves for point in curve.points]
    missing = [point for point in points if math.isnan(point.y.interval.mean)]
    return f"Left out: {len(missing)} of {len(points)} points, not defined" if missing else ""


def _name(name: str) -> str:
    """A curve's name for the legend, its middle cut out where it is too long for a line."""
    name = _cut(name, _LONGEST_NAME)
    # Matplotlib leaves names that begin with "_" out of a legend; a space of no width keeps them.
    return _plain(f"\u200b{name}" if name.startswith("_") else name)


def _cut(text: str, length: int) -> str:
    half = length // 2
    return text if len(text) <= length else f"{text[:half]}…{text[len(text) - half + 1 :]}"


def _lines(text: str, width: int) -> str:
    """The text in lines of at most so many letters, broken where words join ("a_long/name") if it can be."""
    lines = [""]
    for piece in re.findall(rf"[^\s_/.-]{{1,{width - 1}}}[\s_/.-]?|[\s_/.-]", text):
        if len(lines[-1]) + len(piece.rstrip()) > width:
            lines.append("")
        lines[-1] += piece
    return "\n".join(line.strip() for line in lines)


def _plain(text: str) -> str:
    """The text as it is: between dollars matplotlib would read a formula."""
    return text.replace("$", r"\$")
