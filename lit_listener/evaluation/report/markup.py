"""Tables and plots as HTML that says all it has to without scripts; whatever comes from data is escaped."""

import math
import re
from base64 import b64encode
from collections.abc import Mapping
from html import escape
from urllib.parse import quote

from lit_listener.evaluation.number_text import NOT_THERE, bounds_text, footnotes, mean_text
from lit_listener.evaluation.report.files import file_stem, plot_csv, table_csv
from lit_listener.evaluation.results import Measured, Point, ResultPlot, ResultTable

_REASONS = '<ol class="reasons">{}</ol>'
_ALT_POINTS = 40
"""Points told one by one in a picture's alternative text, at most; the CSV has them all."""


def table_html(table: ResultTable, source: str) -> str:
    """A table of results in a box of its own that scrolls sideways, with footnotes, notes and its CSV."""
    stem = file_stem(source, table.key)
    reasons = footnotes([cell for line in table.lines for cell in line.cells])
    notes = {number: f"{stem}-note-{number}" for number in reasons.values()}
    columns = "".join(f'<th scope="col">{breakable(column)}</th>' for column in table.columns)
    lines = "".join(
        f'<tr><th scope="row">{escape(line.name)}</th>'
        f"{''.join(_cell(cell, reasons, notes) for cell in line.cells)}</tr>"
        for line in table.lines
    )
    told = "".join(
        f'<li id="{notes[number]}" value="{number}">{escape(reason)}</li>' for reason, number in reasons.items()
    )
    return (
        f'<article class="result" id="{stem}">{_heading(table)}'
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(table.title)}"><table>'
        f"<thead><tr><td></td>{columns}</tr></thead><tbody>{lines}</tbody></table></div>"
        f"{told and _REASONS.format(told)}"
        f"{_notes(table.notes)}{_download(table_csv(table), stem)}</article>"
    )


def plot_html(plot: ResultPlot, source: str, picture: bytes | None) -> str:
    """A plot as its picture with alternative text, the points that are not there, notes and its CSV.

    Args:
        plot: The plot.
        source: Its source.
        picture: The PNG; None where there is none, and the text tells the numbers.
    """
    stem = file_stem(source, plot.key)
    text = escape(alternative_text(plot))
    if picture is None:
        shown = f"<p>{text}</p>"
    else:
        width, height = _size(picture)
        data = b64encode(picture).decode()
        shown = f'<img src="data:image/png;base64,{data}" width="{width}" height="{height}" alt="{text}">'
    missing: dict[str, list[str]] = {}
    for curve in plot.curves:
        for point in curve.points:
            if math.isnan(point.y.interval.mean):
                missing.setdefault(point.y.reason, []).append(f"{curve.name} at {_place(point)}")
    told = "".join(f"<li>{escape('; '.join(places))}: {escape(reason)}</li>" for reason, places in missing.items())
    left_out = f'<details class="missing"><summary>Points left out</summary><ul>{told}</ul></details>' if told else ""
    return (
        f'<article class="result" id="{stem}">{_heading(plot)}<figure class="plot">{shown}</figure>'
        f"{left_out}{_notes(plot.notes)}{_download(plot_csv(plot), stem)}</article>"
    )


def alternative_text(plot: ResultPlot) -> str:
    """What a plot shows, in words: its axes, and each curve's numbers."""
    kind = {"line": "Line plot", "bars": "Bar chart", "reliability": "Reliability diagram"}[plot.kind]
    text = f"{kind} of {plot.y_name} against {plot.x_name}."
    if sum(len(curve.points) for curve in plot.curves) > _ALT_POINTS:
        return f"{text} Curves: {'; '.join(curve.name for curve in plot.curves)}. Their points are in the CSV file."
    for curve in plot.curves:
        points = (f"{_place(point)} {_spoken(point.y)}" for point in curve.points)
        text += f" {curve.name}: {', '.join(points)}."
    return text


def breakable(name: str) -> str:
    """A name, escaped, that may be broken where its words join ("a_long/name") rather than within them."""
    return re.sub(r"([_/.-]+)", r"\1<wbr>", escape(name))


def _spoken(measured: Measured) -> str:
    mean = mean_text(measured)
    return "not defined" if mean == NOT_THERE else mean


def _place(point: Point) -> str:
    return point.label or f"{point.x:g}"


def _heading(result: ResultTable | ResultPlot) -> str:
    paper = f'<span class="badge">{escape(result.paper)}</span>' if result.paper else ""
    return f"<h3>{escape(result.title)}</h3>{f'<p>{paper}</p>' if paper else ''}"


def _cell(cell: Measured, reasons: Mapping[str, int], notes: Mapping[int, str]) -> str:
    over = f"{cell.rows:,} values, {cell.clusters:,} prompts"
    number = reasons.get(cell.reason)
    mark = f' <a class="mark" href="#{notes[number]}" aria-label="note {number}">{number}</a>' if number else ""
    bounds = bounds_text(cell)
    title = escape(cell.reason if not cell.rows else f"{cell.reason}; {over}" if cell.reason else over)
    return (
        f'<td title="{title}"><span class="mean">{mean_text(cell)}{mark}</span>'
        f"{f'<small>{bounds}</small>' if bounds else ''}</td>"
    )


def _notes(notes: tuple[str, ...]) -> str:
    return f'<ul class="notes">{"".join(f"<li>{escape(note)}</li>" for note in notes)}</ul>' if notes else ""


def _download(text: str, stem: str) -> str:
    data = quote(text, safe="", errors="replace")
    return f'<p class="download"><a download="{stem}.csv" href="data:text/csv;charset=utf-8,{data}">CSV</a></p>'


def _size(picture: bytes) -> tuple[int, int]:
    """Width and height of a PNG, which its first chunk tells, so that the page does not jump while it loads."""
    return int.from_bytes(picture[16:20], "big"), int.from_bytes(picture[20:24], "big")
