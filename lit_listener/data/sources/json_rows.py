"""Rows of JSON, a column at a time: a file with one object a line, or with one list of objects.

A file is read piece by piece into Arrow columns, so that a million rows never exist as Python objects at once. A column
holds one kind of value; a cell of another kind is left empty, and its place is told.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import pyarrow as pa

_ROWS = 20_000  # that exist as Python objects at a time
_LETTERS = 1 << 22  # read of a file at a time
_BETWEEN = re.compile(r"\s*,?\s*")


class OddCell(NamedTuple):
    """A cell whose value is of another kind than the others of its column."""

    row: int
    column: str
    reason: str


class JsonRows(NamedTuple):
    """What was read of a file."""

    table: pa.Table
    names: list[str]
    """All columns of the file, also those that were not asked for."""
    odd: list[OddCell]


def read_json(path: Path, columns: list[str], key: str | None = None) -> JsonRows:
    """Read the columns that a file has among those named.

    Args:
        path: A file of one object a line, of one list of objects, or of one object that holds the list.
        columns: The columns to read; those that no row has are left out.
        key: Where the list stands in the file's one object; None where the file is the list, or has lines.

    Raises:
        ValueError: What is read is not JSON, or not made of objects; the message names the line or the element.
    """
    names: dict[str, None] = {}
    pieces: dict[str, list[pa.Array]] = {column: [] for column in columns}
    kinds: dict[str, str] = {}
    odd: list[OddCell] = []
    rows, read = _rows(path, key), 0
    while batch := list(islice(rows, _ROWS)):
        for row in batch:
            names.update(dict.fromkeys(row))
        for column in columns:
            cells = [row.get(column) for row in batch]
            pieces[column].append(_as_array(cells, column, read, kinds, odd))
        read += len(batch)
    there = [column for column in columns if column in names]
    tables = [pa.table([pieces[column][n] for column in there], names=there) for n in range(len(pieces[columns[0]]))]
    table = pa.concat_tables(tables, promote_options="permissive") if tables else pa.table({})
    return JsonRows(table, list(names), odd)


def _as_array(cells: list[Any], column: str, first: int, kinds: dict[str, str], odd: list[OddCell]) -> pa.Array:
    """The cells as one Arrow array, of the kind that the column has been of so far."""
    try:
        array = pa.array(cells)
        if array.null_count == len(array) or kinds.setdefault(column, _kind_of(array)) == _kind_of(array):
            return array
    except pa.ArrowException:
        pass  # cells of several kinds; which they are is found out below
    found = [_kind(cell) for cell in cells]
    kind = kinds.setdefault(column, Counter(k for k in found if k != "nothing").most_common(1)[0][0])
    for place, other in enumerate(found):
        if other not in (kind, "nothing"):
            reason = f"expected {kind}, as in the column's other rows, got {cells[place]!r}"
            odd.append(OddCell(first + place, column, reason))
            cells[place] = None
    return pa.array(cells)


def _kind(cell: Any) -> str:
    return _KINDS[type(cell)]


_KINDS: dict[type, str] = {
    type(None): "nothing",
    str: "text",
    int: "a number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
}


def _kind_of(array: pa.Array) -> str:
    return next(kind for is_type, kind in _ARROW_KINDS.items() if is_type(array.type))


_ARROW_KINDS = {
    pa.types.is_string: "text",
    pa.types.is_boolean: "true or false",
    pa.types.is_list: "a list",
    pa.types.is_struct: "an object",
    lambda _: True: "a number",
}


def _rows(path: Path, key: str | None) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8-sig") as file:
        if key is not None:
            yield from _list_at(key, file, path)
            return
        start = file.read(1)
        while start.isspace():
            start = file.read(1)
        file.seek(0)
        yield from _elements(file, path) if start == "[" and path.suffix.lower() == ".json" else _lines(file, path)


def _list_at(key: str, file: TextIO, path: Path) -> Iterator[dict[str, Any]]:
    try:
        whole = json.load(file)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not JSON: {error}") from None
    rows = whole.get(key) if isinstance(whole, dict) else whole
    if not isinstance(rows, list):
        raise ValueError(f"{path}: expected a list of objects, or an object that holds one as {key!r}")  # noqa: TRY004
    for number, row in enumerate(rows):
        yield _checked(row, f"{path}, row {number}")


def _lines(file: TextIO, path: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(file, start=1):
        if line.isspace():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {number}: not JSON: {error}") from None
        yield row if isinstance(row, dict) else _checked(row, f"{path}, line {number}")


def _elements(file: TextIO, path: Path) -> Iterator[dict[str, Any]]:
    """The objects of one list, of which only a piece is in memory."""
    decoder = json.JSONDecoder()
    text = file.read(_LETTERS)
    at, number = text.index("[") + 1, 0
    while True:
        start = _end_of_gap(text, at)
        if text[start : start + 1] == "]":
            return
        try:
            row, at = decoder.raw_decode(text, start)
        except json.JSONDecodeError as error:
            more = file.read(_LETTERS)
            if not more:
                raise ValueError(f"{path}, row {number}: not JSON: {error.msg}") from None
            text, at = text[at:] + more, 0
            continue
        yield row if isinstance(row, dict) else _checked(row, f"{path}, row {number}")
        number += 1


def _end_of_gap(text: str, at: int) -> int:
    gap = _BETWEEN.match(text, at)
    return gap.end() if gap else at


def _checked(row: Any, place: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise ValueError(  # noqa: TRY004  # the file is wrong, not the caller
            f"{place}: expected an object with a value a column, got {json.dumps(row)[:80]}"
        )
    return row
