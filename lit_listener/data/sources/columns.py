"""Whole columns at once: numbers, texts and names, with the rows noted in which a cell is something else."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lit_listener.data.sources.bad_rows import BadRows

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def read_numbers(bad: BadRows, column: str) -> Floats:
    """A column of numbers, or of text that reads as numbers; NaN, and a bad row, where a cell is no finite number."""
    numbers_N = to_numbers(bad.rows.column(column))
    told = "expected a number, got {!r}"
    bad.note_all(~np.isfinite(numbers_N), [column], lambda row: told.format(bad.rows.cell(row, column)))
    return numbers_N


def to_numbers(cells: pa.ChunkedArray) -> Floats:
    """The cells as float64, NaN where they are no numbers (true and false are none)."""
    kind = cells.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return np.asarray(cells.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        try:
            return np.asarray(cells.cast(pa.float64()).to_numpy(), dtype=np.float64)
        except pa.ArrowInvalid:  # some cell is no number, or none to Arrow
            return map_values(cells, _float, np.float64)
    return np.full(len(cells), np.nan)


def check_texts(bad: BadRows, column: str, what: str) -> None:
    """Note the rows in which a column's cell is no text, or blank.

    Args:
        bad: The rows, and what is noted of them.
        column: The column.
        what: What the text should be ("a prompt"), for the message.
    """
    cells = bad.rows.column(column)
    if pa.types.is_string(cells.type) or pa.types.is_large_string(cells.type):
        blank = pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(cells)), 0)
        bad_N = pc.fill_null(blank, True).to_numpy(zero_copy_only=False).astype(bool)
    else:
        bad_N = np.ones(len(cells), dtype=bool)
    bad.note_all(bad_N, [column], lambda row: f"expected {what}, got {bad.rows.cell(row, column)!r}")


def check_names(bad: BadRows, column: str) -> None:
    """Note the rows whose name (text or number) is missing, or was given to a row before."""
    cells = bad.rows.column(column)
    empty_N = map_values(cells, lambda cell: cell is None or cell == "", np.bool_)
    told = "expected a name for the pair, got {!r}"
    if pa.types.is_nested(cells.type):
        empty_N[:] = True
    bad.note_all(empty_N, [column], lambda row: told.format(bad.rows.cell(row, column)))
    if empty_N.all():
        return
    codes_N = group_codes(cells)
    _, firsts = np.unique(codes_N, return_index=True)
    again_N = np.ones(len(cells), dtype=bool)
    again_N[firsts] = False

    def reason(row: int) -> str:
        first = int(np.flatnonzero(codes_N == codes_N[row])[0])
        return f"the name {bad.rows.cell(row, column)!r} was given to row {first} already"

    bad.note_all(again_N & ~empty_N, [column], reason)


def group_codes(cells: pa.ChunkedArray) -> Ints:
    """A number for each cell, the same for equal cells, in the order in which they first appear."""
    encoded = _encoded(cells)
    return np.asarray(pa.chunked_array([chunk.indices for chunk in encoded.chunks], pa.int32()).to_numpy(), np.int64)


def map_values(cells: pa.ChunkedArray, read: Callable[[Any], Any], dtype: Any) -> npt.NDArray[Any]:
    """What a function makes of each cell; it is asked once for each different value."""
    if pa.types.is_nested(cells.type):  # whose values Arrow does not compare
        return np.fromiter((read(cell) for chunk in cells.chunks for cell in chunk.to_pylist()), dtype, len(cells))
    encoded = _encoded(cells)
    if not encoded.num_chunks:
        return np.empty(0, dtype)
    made = np.array([read(value) for value in encoded.chunk(0).dictionary.to_pylist()], dtype)
    return np.asarray(made[group_codes(cells)])


def _encoded(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    # Chunks are combined first: to unify the dictionaries of many chunks takes time with their number squared.
    if pa.types.is_string(cells.type) and cells.nbytes > 2**30:  # too long for the 32-bit offsets of one chunk
        cells = cells.cast(pa.large_string())
    whole = pa.chunked_array([cells.combine_chunks()], cells.type) if cells.num_chunks > 1 else cells
    return whole.dictionary_encode(null_encoding="encode").unify_dictionaries()


def _float(cell: Any) -> float:
    try:
        return float(cell)
    except (TypeError, ValueError):
        return float("nan")
