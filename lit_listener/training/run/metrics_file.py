"""``metrics.csv`` of a run's folder: what was logged, a row a call, in a file that a resumed run goes on with.

The format is that of Lightning's CSVLogger (sorted columns, ``epoch`` and ``step`` among them, blank where nothing was
logged). That one deletes the file of an earlier start, and rewrites in place.
"""

import csv
import os
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, takewhile
from pathlib import Path
from time import monotonic
from typing import Any, TextIO

import lightning
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from lit_listener.evaluation.replaced_file import replaced_file


class MetricsFile(Logger):
    """Appends what is logged to ``metrics.csv``; written on rank 0.

    Args:
        folder: the run's folder.
        flush_seconds: rows are kept back for so long at most, in seconds; before a checkpoint they are written.
    """

    def __init__(self, folder: Path | str, flush_seconds: float = 5.0) -> None:
        super().__init__()
        self.path = Path(folder) / "metrics.csv"
        self._flush_seconds = flush_seconds
        self._waiting: list[dict[str, Any]] = []
        self._columns: list[str] | None = None  # until the file is looked at
        self._written = 0
        self._flushed_at = monotonic()

    @property
    def name(self) -> str:
        """None of its own: a run is its folder."""
        return ""

    @property
    def version(self) -> str:
        """As the name."""
        return ""

    @property
    def save_dir(self) -> str:
        """The run's folder."""
        return str(self.path.parent)

    @property
    def log_dir(self) -> str:
        """The run's folder."""
        return str(self.path.parent)

    @property
    def rows(self) -> int:
        """Rows logged so far, those of earlier starts included."""
        self._look()
        return self._written + len(self._waiting)

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Nothing: a run's ``config.yaml`` tells them."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Tensor | float], step: int | None = None) -> None:
        """Add a row."""
        row = {name: value.item() if isinstance(value, Tensor) else value for name, value in metrics.items()}
        self._waiting.append({**row, "step": self.rows if step is None else step})

    @rank_zero_only
    def save(self) -> None:
        """Write the rows that wait, if they have waited long enough (the Trainer calls this after each)."""
        if monotonic() - self._flushed_at >= self._flush_seconds:
            self.flush()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write all."""
        self.flush()

    @rank_zero_only
    def flush(self) -> None:
        """Write all rows, and wait until they are on the disk."""
        self._flushed_at = monotonic()
        if not self._waiting:
            return
        known = self._look()
        columns = sorted(set(known).union(*self._waiting))
        if columns != known:
            _rewrite(self.path, columns, [*_read(self.path)[1], *self._waiting] if known else self._waiting)
        else:
            _append(self.path, columns, self._waiting)
        self._columns = columns
        self._written += len(self._waiting)
        self._waiting = []

    @rank_zero_only
    def cut_back(self, rows: int) -> None:
        """Keep the first rows, and the columns that they fill: what came later is logged again.

        Raises:
            ValueError: the file holds fewer rows.
        """
        self._waiting = []
        self._columns, self._written = None, 0
        keep_rows(self.path, rows, drop_blank_columns=True)

    def _look(self) -> list[str]:
        if self._columns is None:
            self._columns, found = _read(self.path)
            self._written = len(found)
        return self._columns


def metrics_files(trainer: lightning.Trainer) -> list[MetricsFile]:
    """Those that a trainer logs to."""
    return [logger for logger in trainer.loggers if isinstance(logger, MetricsFile)]


def rows_logged(trainer: lightning.Trainer) -> int:
    """Rows of the run's metrics, on the rank that writes them; 0 on others."""
    return sum(logger.rows for logger in metrics_files(trainer)) if trainer.is_global_zero else 0


def keep_rows(path: Path, rows: int, *, drop_blank_columns: bool = False) -> None:
    """Cut a CSV file back to its first rows (a file that is not there stays so); it is replaced whole.

    Args:
        path: the file; its last row may be torn, if it is not among those kept.
        rows: how many rows to keep, the header not counted.
        drop_blank_columns: leave out columns that are blank in all kept rows.

    Raises:
        ValueError: the file holds fewer rows.
    """
    if not path.exists():
        return
    columns, kept = _read(path, rows)
    if len(kept) < rows:
        raise ValueError(
            f"{path} holds {len(kept)} rows, but {rows} were written when the checkpoint was saved; put the file back, "
            "or delete it to go on without them"
        )
    if drop_blank_columns:
        columns = [column for column in columns if any(row[column] != "" for row in kept)]
    _rewrite(path, columns, [{column: row[column] for column in columns} for row in kept])


def _read(path: Path, rows: int | None = None) -> tuple[list[str], list[dict[str, Any]]]:
    """The columns, and the first whole rows: a row that is cut off at the end is none."""
    if not path.exists():
        return [], []
    with path.open(newline="") as file:
        lines = csv.reader(_whole_lines(file))
        columns = next(lines, [])
        found = [dict(zip(columns, line, strict=True)) for line in islice(lines, rows) if len(line) == len(columns)]
    return columns, found


def _whole_lines(file: TextIO) -> Iterator[str]:
    """The lines that end."""
    return takewhile(lambda line: line.endswith(("\n", "\r")), file)  # cells may hold line ends of either kind


def _append(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Add rows, or, if they cannot be written, leave the file as it was; a torn last line is cut off."""
    content = path.read_bytes()
    size = content.rfind(b"\n") + 1
    try:
        with path.open("r+", newline="") as file:
            file.truncate(size)
            file.seek(size)
            csv.DictWriter(file, columns).writerows(rows)
            _to_disk(file)
    except OSError:
        os.truncate(path, size)
        raise


def _rewrite(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    with replaced_file(path) as beside, beside.open("w", newline="") as file:
        if columns:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)
        _to_disk(file)


def _to_disk(file: TextIO) -> None:
    file.flush()
    os.fsync(file.fileno())
