"""The numbers of a report as CSV files, one a table and a plot, and the names of its files.

A cell without a number is blank, with the reason in the last column.
"""

import csv
import hashlib
import math
import re
from collections.abc import Iterable
from io import StringIO
from pathlib import Path

from lit_listener.evaluation.replaced_file import replaced_file
from lit_listener.evaluation.results import Measured, ResultPlot, ResultTable
from lit_listener.evaluation.section import Section

_MEASURED = ("mean", "low", "high", "rows", "prompts", "unit", "reason")
_LONGEST = 60


def write_csvs(section: Section, folder: Path) -> list[Path]:
    """Write the tables and plots of a source, a file each; every file is there whole or not at all.

    Args:
        section: The source's tables and plots.
        folder: Where to write to; made if missing, and files of the same names are replaced.

    Returns:
        The files written, tables first.
    """
    texts = {
        **{table.key: table_csv(table) for table in section.tables},
        **{plot.key: plot_csv(plot) for plot in section.plots},
    }
    written = []
    for key, text in texts.items():
        path = Path(folder) / f"{file_stem(section.source, key)}.csv"
        with replaced_file(path) as beside:
            beside.write_text(text, encoding="utf-8", newline="")
        written.append(path)
    return written


def table_csv(table: ResultTable) -> str:
    """A table as CSV: a row a cell, with the line's key and name and the run."""
    return _csv(
        ("key", "name", "run", *_MEASURED),
        (
            (line.key, line.name, run, *_cells(cell))
            for line in table.lines
            for run, cell in zip(table.columns, line.cells, strict=True)
        ),
    )


def plot_csv(plot: ResultPlot) -> str:
    """A plot as CSV: a row a point, with the plot's key and the point's label, curve and place."""
    return _csv(
        ("key", "name", "run", "x", *_MEASURED),
        (
            (plot.key, point.label, curve.name, _number(point.x), *_cells(point.y))
            for curve in plot.curves
            for point in curve.points
        ),
    )


def file_stem(source: str, key: str) -> str:
    """The name, without its ending, of the files of a table or plot: safe on all systems, and no other's."""
    return f"{slug(source)}-{slug(key)}"


def slug(name: str) -> str:
    """A name in small letters, digits, "_" and "."; other names never give the same.

    A name that had to be changed ends in the beginning of its SHA-256, so that "a b" and "a/b" stay two.
    """
    kept = re.sub(r"[^a-z0-9_.]+", "_", name.lower())[:_LONGEST].strip("._")
    if kept and kept == name:
        return kept
    return f"{kept or 'unnamed'}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def _cells(measured: Measured) -> tuple[str, ...]:
    interval = measured.interval
    bounds = (_number(bound) for bound in (interval.mean, interval.low, interval.high))
    return (*bounds, str(measured.rows), str(measured.clusters), measured.unit, measured.reason)


def _number(number: float) -> str:
    return "" if math.isnan(number) else repr(float(number))


def _csv(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()
