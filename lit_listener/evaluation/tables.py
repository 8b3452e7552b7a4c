"""Results as tables for the terminal (rich): any result table, and a judge before and after its training.

The latter is there as Markdown too, with the same cells.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rich import box
from rich.table import Table
from rich.text import Text

from lit_listener.evaluation.number_text import bounds_text, footnotes, mean_text
from lit_listener.evaluation.results import Measured, ResultTable
from lit_listener.evaluation.statistics import Interval

MEASURE_NAMES: Mapping[str, str] = {
    "accuracy": "accuracy",
    "p_correct": "mean p(correct)",
    "listener_p_correct": "listener's p(correct)",
    "contradiction_share": "contradiction share",
    "unparsable_share": "unparsable share",
}
"""The measures shown, in order, and what they are called in the table."""

_BRACKETS = "In brackets: 95% intervals, bootstrapped over prompts."
CAPTION = f"{_BRACKETS}\nDifference: after - before, in percentage points."
_HEADINGS = ("before", "after", "difference")
_WIDTH = 100
"""Columns of the terminal that a result table of two runs fits into."""
_NAMES = 24
"""Columns of it that names of measures are left at least."""
_NOTES = 72
"""Columns that notes are given at least."""
_GAP = 3
"""Columns between two columns of a table."""


@dataclass(frozen=True)
class BeforeAfter:
    """The measures of one split before and after training, by name, and the differences (after - before)."""

    before: Mapping[str, Interval]
    after: Mapping[str, Interval]
    difference: Mapping[str, Interval]


@dataclass(frozen=True)
class _Line:
    split: str
    measure: str
    cells: tuple[str, str, str]


def result_table(table: ResultTable) -> Table:
    """A table of results for the terminal, at most 100 columns wide with two runs.

    Args:
        table: The results; a number that is not there is a dash with the number of a footnote that tells why.

    Returns:
        A rich table with its title, the paper's number, footnotes and notes. Nothing in it is told by colour alone.
    """
    reasons = footnotes([cell for line in table.lines for cell in line.cells])
    title = f"{table.title} ({table.paper})" if table.paper else table.title
    shown = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        title=Text(title, style="bold"),
        title_justify="left",
        caption=Text("\n" + "\n".join(_captions(table, reasons))),
        caption_justify="left",
    )
    cells = [[_told(cell, reasons) for cell in line.cells] for line in table.lines]
    widths = [max(map(len, (name, *texts))) for name, *texts in zip(table.columns, *cells, strict=True)]
    names = max((len(line.name) for line in table.lines), default=0)
    # Long names give way, numbers do not; and notes are only as wide as the table, which must not be too narrow.
    others = sum(width + _GAP for width in widths)
    shown.add_column("", overflow="fold", width=max(_NAMES, min(_WIDTH - others, max(names, _NOTES - others))))
    for column in table.columns:
        shown.add_column(Text(column), justify="right", overflow="fold")
    for line, texts in zip(table.lines, cells, strict=True):
        shown.add_row(Text(line.name), *map(Text, texts))
    return shown


def before_after_table(rows: Mapping[str, BeforeAfter]) -> Table:
    """A table for the terminal, at most 100 columns wide; a narrower terminal wraps cells and cuts no number off.

    Args:
        rows: The measures of each split, by the split's name ("held-in", "held-out").

    Returns:
        A rich table with one section a split, headed by its name. Nothing in it is told by colour alone.

    Raises:
        ValueError: A measure is missing; the message names the split and the measure.
    """
    table = _table(CAPTION)
    for heading in _HEADINGS:
        table.add_column(heading, justify="right", overflow="fold")
    previous = None
    # Text, not str: rich would read a name or a cell in square brackets as a style.
    for line in _lines(rows):
        if line.split != previous:
            table.add_section()
            table.add_row(Text(line.split, style="bold"))
        table.add_row(Text(f"  {line.measure}"), *(Text(cell) for cell in line.cells))
        previous = line.split
    return table


def before_after_markdown(rows: Mapping[str, BeforeAfter]) -> str:
    """The same table as Markdown, ending in a newline.

    Args:
        rows: The measures of each split, by the split's name.

    Returns:
        A pipe table and its caption.

    Raises:
        ValueError: A measure is missing; the message names the split and the measure.
    """
    lines = [" | ".join(("| split", "measure", *_HEADINGS)) + " |", "|---|---|---:|---:|---:|"]
    for line in _lines(rows):
        texts = (text.replace("|", "\\|") for text in (line.split, line.measure, *line.cells))
        lines.append(f"| {' | '.join(texts)} |")
    return "\n".join([*lines, "", CAPTION, ""])


def _captions(table: ResultTable, reasons: Mapping[str, int]) -> Iterator[str]:
    for reason, number in reasons.items():
        yield f"({number}) {reason}"
    if any(bounds_text(cell) for line in table.lines for cell in line.cells):
        yield _BRACKETS
    yield from table.notes


def _told(cell: Measured, reasons: Mapping[str, int]) -> str:
    note = f"({reasons[cell.reason]})" if cell.reason else ""
    return " ".join(part for part in (mean_text(cell), bounds_text(cell), note) if part)


def _table(caption: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, caption=f"\n{caption}", caption_justify="left")
    table.add_column("", overflow="fold")
    return table


def _lines(rows: Mapping[str, BeforeAfter]) -> Iterator[_Line]:
    for split, measured in rows.items():
        for key, name in MEASURE_NAMES.items():
            before, after, difference = (
                _find(getattr(measured, part), key, f"split {split!r}, {part}") for part in _HEADINGS
            )
            yield _Line(split, name, (_share(before), _share(after), _points(difference)))


def _find(intervals: Mapping[str, Interval], key: str, where: str) -> Interval:
    if key not in intervals:
        raise ValueError(f"{where}: the table needs {key!r}, got only {sorted(intervals)}")
    return intervals[key]


def _share(interval: Interval) -> str:
    """A share as "56.3% [54.0, 58.5]"."""
    mean = "n/a" if math.isnan(interval.mean) else f"{_hundredfold(interval.mean):.1f}%"
    return mean + _bounds(interval, "")


def _points(interval: Interval) -> str:
    """A difference of shares as "+10.2 [+7.1, +13.3]", in percentage points."""
    mean = "n/a" if math.isnan(interval.mean) else f"{_hundredfold(interval.mean):+.1f}"
    return mean + _bounds(interval, "+")


def _bounds(interval: Interval, sign: str) -> str:
    if math.isnan(interval.mean):
        return ""
    if math.isnan(interval.low) or math.isnan(interval.high):
        return " [n/a]"
    return f" [{_hundredfold(interval.low):{sign}.1f}, {_hundredfold(interval.high):{sign}.1f}]"


def _hundredfold(share: float) -> float:
    # Adding 0.0 turns a rounded -0.0 into 0.0, which would otherwise be shown as "-0.0".
    return round(100 * share, 1) + 0.0
