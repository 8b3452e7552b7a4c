"""results.json: every number of an evaluation, for other programs to read.

Strict JSON: a number that is not defined is null, with the reason beside it. Numbers are filed under their source, the
table's column (the run) and the measure's key, so that a number is found without knowing which table shows it.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lit_listener.evaluation.replaced_file import replaced_file
from lit_listener.evaluation.results import Measured, ResultPlot, ResultTable
from lit_listener.evaluation.section import Section

About = Mapping[str, object]
"""What the numbers are of: versions, config, counts. Texts, numbers, paths, and lists and mappings of them."""

_NUMBERS = ("mean", "low", "high", "rows", "prompts", "unit")


def write_results(path: Path, sections: Sequence[Section], about: About) -> None:
    """Write results.json; it is there whole or not at all.

    Its layout: ``about``; under ``sources``, for each source, ``measures`` (column, then key, to mean, low, high, rows,
    prompts, unit and reason), ``tables`` (what each is made of, and its notes) and ``plots`` (curves of points).

    Args:
        path: The file to write, replacing one that is there.
        sections: One a source.
        about: What the numbers are of. A NaN or infinite number in it is written as text.

    Raises:
        ValueError: Two sections of one source, or two tables of a source that tell different numbers under one key.
        TypeError: Something in ``about`` that JSON does not know.
    """
    sources: dict[str, Any] = {}
    for section in sections:
        if section.source in sources:
            raise ValueError(f"results.json holds one section a source, got two of {section.source!r}")
        sources[section.source] = {
            "measures": _measures(section),
            "tables": {table.key: _described(table) for table in section.tables},
            "plots": {plot.key: _plot(plot) for plot in section.plots},
        }
    content = {"about": _plain(about, "about"), "sources": sources}
    with replaced_file(Path(path)) as beside:
        beside.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _measures(section: Section) -> dict[str, dict[str, Any]]:
    measures: dict[str, dict[str, Any]] = {}
    for table in section.tables:
        for line in table.lines:
            for column, cell in zip(table.columns, line.cells, strict=True):
                told = _cell(cell)
                known = measures.setdefault(column, {}).setdefault(line.key, told)
                # The same measure may stand in several tables, but two numbers need two names.
                if any(known[name] != told[name] for name in _NUMBERS):
                    raise ValueError(
                        f"source {section.source!r}, {column!r}: {line.key!r} of table {table.key!r} is {told}, but an "
                        f"earlier table says {known}; give different measures different keys"
                    )
    return measures


def _cell(measured: Measured) -> dict[str, Any]:
    interval = measured.interval
    bounds = {"mean": interval.mean, "low": interval.low, "high": interval.high}
    return {
        **{name: _finite(float(value)) for name, value in bounds.items()},
        "rows": int(measured.rows),
        "prompts": int(measured.clusters),
        "unit": measured.unit,
        "reason": measured.reason,
    }


def _described(table: ResultTable) -> dict[str, Any]:
    return {
        "title": table.title,
        "paper": table.paper,
        "columns": list(table.columns),
        "lines": {line.key: line.name for line in table.lines},
        "notes": list(table.notes),
    }


def _plot(plot: ResultPlot) -> dict[str, Any]:
    curves = {
        curve.name: [{"x": _finite(point.x), "label": point.label, **_cell(point.y)} for point in curve.points]
        for curve in plot.curves
    }
    return {
        "title": plot.title,
        "paper": plot.paper,
        "kind": plot.kind,
        "x_name": plot.x_name,
        "y_name": plot.y_name,
        "notes": list(plot.notes),
        "curves": curves,
    }


def _finite(number: float) -> float | None:
    return float(number) if math.isfinite(number) else None


def _plain(value: object, where: str) -> Any:
    """What JSON knows of a value."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(held, f"{where}.{key}") for key, held in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(held, f"{where}[{place}]") for place, held in enumerate(value)]
    raise TypeError(
        f"{where} must hold texts, numbers, paths, and lists and mappings of them, got {value!r} of type "
        f"{type(value).__name__}; write it as one of these"
    )
