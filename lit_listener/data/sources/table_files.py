"""The columns of a Parquet, JSONL or CSV file, with one clear error where it cannot be read.

Parquet files, which may hold the images themselves, are copied once into the cache of the ``datasets`` library and
memory-mapped from there. The others hold text, and are read into memory.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from datasets.table import InMemoryTable


def read_columns(path: Path, columns: list[str]) -> datasets.Dataset:
    """The named columns of a table, with images left undecoded.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A file of another kind, or broken, or without one of the columns.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no table {path}")
    read = _READERS.get(path.suffix.lower())
    if read is None:
        raise ValueError(f"{path}: expected a table that ends in one of {', '.join(_READERS)}")
    try:
        return read(path, columns)
    except (pa.ArrowException, datasets.exceptions.DatasetsError, OSError, UnicodeError) as error:
        reason = error.__cause__ or error  # datasets' own errors only say that there was one
        raise ValueError(f"{path}: cannot be read as {path.suffix.lower()}: {reason}") from error


def _read_parquet(path: Path, columns: list[str]) -> datasets.Dataset:
    _check_columns(path, columns, pa.parquet.read_schema(path).names)
    if pa.parquet.read_metadata(path).num_rows == 0:  # which datasets takes for a broken file
        return datasets.Dataset.from_dict({column: [] for column in columns})
    rows = datasets.Dataset.from_parquet(str(path), columns=columns)
    for column, feature in rows.features.items():
        if isinstance(feature, datasets.Image):  # we decode ourselves, and say which row was broken
            rows = rows.cast_column(column, datasets.Image(decode=False))
    return rows


def _read_csv(path: Path, columns: list[str]) -> datasets.Dataset:
    table = pa.csv.read_csv(
        path,
        parse_options=pa.csv.ParseOptions(newlines_in_values=True),
        # All as text: a prompt "NA" or "2020" is a prompt, and a bad number is told with its row.
        convert_options=pa.csv.ConvertOptions(column_types=dict.fromkeys(columns, pa.string())),
    )
    _check_columns(path, columns, table.column_names)
    return datasets.Dataset(InMemoryTable(table.select(columns)))


def _read_jsonl(path: Path, columns: list[str]) -> datasets.Dataset:
    found: dict[str, None] = {}
    cells: dict[str, list[Any]] = {column: [] for column in columns}
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if line.isspace():
                continue
            row = _read_json_object(line, f"{path}, line {number}")
            found |= dict.fromkeys(row)
            for column in columns:
                cells[column].append(row.get(column))
    if found:  # a file without rows has no columns either, and no pairs are found missing in it later
        _check_columns(path, columns, list(found))
    return datasets.Dataset(InMemoryTable(pa.table(cells)))


def _read_json_object(line: str, place: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{place}: not JSON: {error}") from None
    if not isinstance(row, dict):
        raise ValueError(  # noqa: TRY004  # the file is wrong, not the caller
            f"{place}: expected an object with a value a column, got {line.strip()[:80]}"
        )
    return row


def _check_columns(path: Path, columns: list[str], found: list[str]) -> None:
    missing = [column for column in columns if column not in found]
    if missing:
        raise ValueError(
            f"{path}: there is no column {' or '.join(map(repr, missing))}; the columns are {found}. Name "
            "yours as options: prompt, image_a, image_b, and one of share_a, votes_a with votes_b, or preferred"
        )


_READERS: dict[str, Callable[[Path, list[str]], datasets.Dataset]] = {
    ".parquet": _read_parquet,
    ".jsonl": _read_jsonl,
    ".csv": _read_csv,
}
