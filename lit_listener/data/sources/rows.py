"""The rows of a table, wherever it lies: files, a folder or glob of them, a loaded data set, or one of the hub.

Rows are columns of Arrow, in memory or mapped from disk, and a cell becomes a Python object only when it is asked for;
images are neither read nor decoded here. Every error can name the file, the row in it (from 0) and the column.
"""

import glob
import hashlib
import re
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeAlias

import datasets
import pyarrow as pa

from lit_listener.data.sources.json_rows import OddCell
from lit_listener.data.sources.table_files import SUFFIXES, read_files

Table: TypeAlias = str | Path | datasets.Dataset
"""What a source's ``path`` may be: a file, a folder, a glob, a hub id (owner/name), or a loaded data set."""
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


class Rows:
    """Rows with named columns.

    Args:
        table: the columns that were read.
        names: all columns of the table, also those that were not read.
        name: what the table is called in errors.
        stem: what its pairs are called where they have no names of their own.
        files: the files it was read from, with the number of rows of each; empty for a loaded data set.
        odd: cells that are of another kind than the others of their column.
    """

    def __init__(  # what is known of where the rows come from
        self,
        table: datasets.Dataset,
        names: Sequence[str],
        name: str,
        stem: str,
        files: Sequence[tuple[Path, int]] = (),
        odd: Sequence[OddCell] = (),
    ) -> None:
        self._table = table.with_format("arrow")  # cells as they are: features would decode images
        self.names = list(names)
        self.name = name
        self.stem = stem
        self.odd = tuple(odd)
        self._files = [path for path, _ in files]
        self._starts = [0, *accumulate(length for _, length in files)][:-1]

    def __len__(self) -> int:
        return len(self._table)

    @property
    def fingerprint(self) -> str:
        """Changes when the rows do: of files their names, sizes and times, else the data set's own."""
        stats = [(str(path.absolute()), path.stat().st_size, path.stat().st_mtime_ns) for path in self._files]
        known = repr(stats) if stats else self._table._fingerprint
        return hashlib.sha256(known.encode()).hexdigest()

    def require(self, *columns: str, hint: str = "") -> None:
        """Check that columns are there.

        Raises:
            ValueError: There are no rows, or one of the columns is missing.
        """
        if not len(self):
            raise ValueError(f"{self.name}: no pairs left: the table has no rows")
        missing = [column for column in columns if column not in self.names]
        if missing:
            there = f"{self.name}: there is no column {' or '.join(map(repr, missing))}; the columns are {self.names}"
            raise ValueError(f"{there}. {hint}" if hint else there)

    def first_of(self, *columns: str, hint: str = "") -> str:
        """The first of several names that a column of the table has.

        Raises:
            ValueError: There are no rows, or no column has any of the names.
        """
        for column in columns:
            if column in self.names:
                return column
        self.require(*columns, hint=hint)
        raise AssertionError  # not reached: none of the names is there

    def column(self, name: str) -> pa.ChunkedArray:
        """A whole column, as Arrow has it: as cheap as the table is, in memory or mapped."""
        return self._table.select_columns([name])[:].column(name)

    def cells(self, row: int) -> dict[str, Any]:
        """The cells of one row."""
        cells: dict[str, Any] = self._table[row : row + 1].to_pylist()[0]
        return cells

    def cell(self, row: int, column: str) -> Any:
        """One cell."""
        return self.cells(row)[column]

    def folder(self, row: int) -> Path:
        """The folder of the file that a row stands in, which relative paths in the row are relative to."""
        return self._files[self._file(row)].parent if self._files else Path()

    def place(self, row: int, columns: Sequence[str]) -> str:
        """A row's place in words: its file, its number there, and the columns looked at."""
        where, number = self.name, row
        if self._files:
            file = self._file(row)
            where, number = str(self._files[file]), row - self._starts[file]
        return f"{where}, row {number}, {' and '.join(f'column {column!r}' for column in columns)}"

    def _file(self, row: int) -> int:
        return bisect_right(self._starts, row) - 1


def open_rows(  # the last three say what one layout needs
    path: Table,
    split: str | None,
    columns: Sequence[str],
    *,
    pattern: str | None = None,
    key: str | None = None,
    config: str | None = None,
) -> Rows:
    """Open a table; those of its columns are read that it has among the ones named.

    Args:
        path: A file, a glob, a folder, a hub id or a loaded data set. A file, a glob and a loaded data set are taken
            whole: ``split`` chooses among the files of a folder, and the splits of a data set on the hub.
        split: Which part of a folder or hub data set; None for all files of a folder.
        columns: The columns to read, and other names they may have.
        pattern: The files of a folder that hold the split, as a glob with ``{split}`` in it; by default all tables
            that have the split's name in theirs or in their folder's.
        key: Where the rows stand in a JSON file that is one object.
        config: Which configuration of a data set on the hub.

    Raises:
        FileNotFoundError: There is no such table.
        ValueError: A table that cannot be read, or a hub id without a split.
    """
    columns = list(dict.fromkeys(columns))
    if isinstance(path, datasets.Dataset):
        return _loaded(path, columns, f"the data set {path.info.dataset_name or 'in memory'}", split or "pairs")
    there = Path(path)
    if there.is_dir() and (there / "state.json").is_file():  # as Dataset.save_to_disk writes it
        return _loaded(datasets.Dataset.load_from_disk(str(there)), columns, str(there), _stem(there, split))
    if there.is_dir():
        files = _files_of(there, split, pattern)
        stem = _stem(there.resolve(), split)
    elif there.is_file():
        files, stem = [there], there.stem
    else:
        files = [Path(found) for found in sorted(glob.glob(str(path), recursive=True))]
        stem = _stem(there.parent, split)
        if not files and isinstance(path, str) and _HUB_ID.fullmatch(path) and there.suffix not in SUFFIXES:
            return _from_hub(path, split, columns, config)
    if not files:
        raise FileNotFoundError(f"there is no table {path}")
    part = read_files(files, columns, key)
    name = str(files[0]) if len(files) == 1 else str(path)
    stem = files[0].stem if len(files) == 1 else stem
    return Rows(part.table, part.names, name, stem, list(zip(files, part.lengths, strict=True)), part.odd)


def _stem(folder: Path, split: str | None) -> str:
    return folder.name if split is None else f"{folder.name}-{split}"


def _loaded(table: datasets.Dataset, columns: Sequence[str], name: str, stem: str) -> Rows:
    kept = table.select_columns([column for column in columns if column in table.column_names])
    return Rows(kept, table.column_names, name, stem)


def _from_hub(path: str, split: str | None, columns: Sequence[str], config: str | None) -> Rows:
    if split is None:
        raise ValueError(f"{path}: there is no such file or folder; of a data set on the hub, name the split")
    try:
        table = datasets.load_dataset(path, config, split=split)
    except Exception as error:  # whatever went wrong on the way: no such repository, no network, a script
        raise ValueError(
            f"{path}: there is no such file or folder here, and as a data set of the hub it cannot be loaded: {error}. "
            f"Download it (hf download --repo-type dataset {path} --local-dir FOLDER) and give the folder as path"
        ) from error
    return _loaded(table, columns, f"{path}, split {split}", f"{path.rsplit('/', maxsplit=1)[-1]}-{split}")


def _files_of(folder: Path, split: str | None, pattern: str | None) -> list[Path]:
    """The tables of a folder that hold a split, in the order of their names."""
    if pattern is not None:
        wanted = pattern.format(split=split)
        files = sorted(folder.glob(wanted))
        if not files:
            raise FileNotFoundError(f"there is no table {folder / wanted}; in the folder are {_listed(folder)}")
        return files
    tables = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    if split is not None:
        named = re.compile(rf"(?:^|[-_./]){re.escape(split)}(?:$|[-./]|_\d)")
        tables = [path for path in tables if named.search(path.relative_to(folder).as_posix())]
    if not tables:
        of_split = "" if split is None else f" of the split {split!r}"
        raise FileNotFoundError(f"there is no table{of_split} in {folder}; in the folder are {_listed(folder)}")
    return tables


def _listed(folder: Path) -> list[str]:
    names = sorted(path.name for path in folder.iterdir())
    return [*names[:10], f"… {len(names) - 10} more"] if len(names) > 10 else names
