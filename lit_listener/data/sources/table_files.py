"""The columns of Parquet, JSON, JSONL and CSV files, with one clear error where they cannot be read.

Parquet files, which may hold the images themselves, are copied once into the cache of the ``datasets`` library and
memory-mapped from there: within a Parquet file a single row cannot be reached. The others hold text, and are read into
memory column by column.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import datasets
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from datasets.table import InMemoryTable

from lit_listener.data.sources.json_rows import OddCell, read_json


class TablePart(NamedTuple):
    """The rows of some files."""

    table: datasets.Dataset
    names: list[str]
    """All columns of the files, also those that were not asked for."""
    lengths: list[int]
    """Rows of each file."""
    odd: list[OddCell]


def read_files(files: Sequence[Path], columns: list[str], key: str | None = None) -> TablePart:
    """Read the columns that files of one kind have among those named; images are left undecoded.

    Args:
        files: One file or more, all of one kind; their rows follow each other.
        columns: The columns to read; those that the files do not have are left out.
        key: Where the rows stand in a JSON file that is one object.

    Raises:
        ValueError: Files of another kind or of several, broken ones, or ones of different columns.
    """
    kinds = {file.suffix.lower() for file in files}
    kind = kinds.pop()
    if kind not in SUFFIXES:
        raise ValueError(f"{files[0]}: expected a table that ends in one of {', '.join(SUFFIXES)}")
    if kinds:
        raise ValueError(f"{files[0].parent}: tables of several kinds, {kind} and {kinds.pop()}; name one by a glob")
    if kind == ".parquet":
        return _read_parquet(files, columns)
    read = _READERS[kind]
    parts = [_guarded(path, partial(read, path, columns, key)) for path in files]
    if len(parts) == 1:
        return parts[0]
    _check_alike(files, [part.table.column_names for part in parts])
    odd, first = [], 0
    for part in parts:
        odd += [cell._replace(row=cell.row + first) for cell in part.odd]
        first += len(part.table)
    table = pa.concat_tables([part.table.data.table for part in parts], promote_options="permissive")
    lengths = [len(part.table) for part in parts]
    return TablePart(datasets.Dataset(InMemoryTable(table)), parts[0].names, lengths, odd)


def _guarded(path: Path, read: Callable[[], TablePart]) -> TablePart:
    try:
        return read()
    except (pa.ArrowException, datasets.exceptions.DatasetsError, OSError, UnicodeError) as error:
        reason = error.__cause__ or error  # datasets' own errors only say that there was one
        raise ValueError(f"{path}: cannot be read as {path.suffix.lower()}: {reason}") from error


def _read_parquet(files: Sequence[Path], columns: list[str]) -> TablePart:
    schemas: list[list[str]] = []
    lengths: list[int] = []
    for path in files:
        part = _guarded(path, partial(_parquet_header, path))
        schemas.append(part.names)
        lengths += part.lengths
    _check_alike(files, [[name for name in columns if name in names] for names in schemas])
    there = [column for column in columns if column in schemas[0]]
    if not there or not sum(lengths):  # which datasets takes for a broken file
        empty = datasets.Dataset.from_dict({column: [] for column in there})
        return TablePart(empty, schemas[0], lengths, [])
    paths = [str(path) for path in files]
    return _guarded(
        files[0] if len(files) == 1 else files[0].parent / f"*{files[0].suffix}",
        lambda: TablePart(datasets.Dataset.from_parquet(paths, columns=there), schemas[0], lengths, []),
    )


def _parquet_header(path: Path) -> TablePart:
    header = pa.parquet.read_metadata(path)
    return TablePart(datasets.Dataset.from_dict({}), header.schema.to_arrow_schema().names, [header.num_rows], [])


def _read_csv(path: Path, columns: list[str], key: str | None) -> TablePart:
    table = pa.csv.read_csv(
        path,
        parse_options=pa.csv.ParseOptions(newlines_in_values=True),
        # All as text: a prompt "NA" or "2020" is a prompt, and a bad number is told with its row.
        convert_options=pa.csv.ConvertOptions(column_types=dict.fromkeys(columns, pa.string())),
    )
    kept = table.select([column for column in columns if column in table.column_names])
    return TablePart(datasets.Dataset(InMemoryTable(kept)), table.column_names, [len(table)], [])


def _read_json(path: Path, columns: list[str], key: str | None) -> TablePart:
    table, names, odd = read_json(path, columns, key)
    return TablePart(datasets.Dataset(InMemoryTable(table)), names, [len(table)], odd)


def _check_alike(files: Sequence[Path], columns: Sequence[list[str]]) -> None:
    for path, found in zip(files, columns, strict=True):
        if found != columns[0]:
            raise ValueError(
                f"{path}: has the columns {found} of those needed, and {files[0]} has {columns[0]}; files that are "
                "read as one table need the same columns"
            )


_READERS: dict[str, Callable[[Path, list[str], str | None], TablePart]] = {
    ".jsonl": _read_json,
    ".json": _read_json,
    ".csv": _read_csv,
}
SUFFIXES = (".parquet", *_READERS)
"""Endings of the files that can be read as tables."""
