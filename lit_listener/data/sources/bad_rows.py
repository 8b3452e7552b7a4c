"""Rows that are not what they should be: the first of them is an error, or all of them are counted and left out."""

import logging
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from lit_listener.data.sources.rows import Rows

OnBadRow = Literal["error", "skip"]
log = logging.getLogger(__name__)
_TOLD = 5


class BadRows:
    """Keeps account of the rows of a table that cannot be used.

    Args:
        rows: the table.
        on_bad_row: "error" raises at the first bad row; "skip" counts them and remembers the first few reasons.

    Raises:
        ValueError: For another choice; and, with "error", from then on whenever a bad row is noted.
    """

    def __init__(self, rows: Rows, on_bad_row: OnBadRow) -> None:
        if on_bad_row not in ("error", "skip"):
            raise ValueError(f"on_bad_row: expected error or skip, got {on_bad_row!r}")
        self.rows = rows
        self.good_N: npt.NDArray[np.bool_] = np.ones(len(rows), dtype=bool)
        """Which rows can be used."""
        self.reasons: list[str] = []
        """What is wrong with the first few bad rows, with their places."""
        self._raises = on_bad_row == "error"
        for row, column, reason in rows.odd:
            self.note(row, [column], reason)

    @property
    def count(self) -> int:
        """How many rows are bad."""
        return int(len(self.good_N) - self.good_N.sum())

    def note(self, row: int, columns: Sequence[str], reason: str) -> None:
        """A bad row, the columns that make it so, and why.

        Raises:
            ValueError: Bad rows are errors; the message names file, row and column.
        """
        if not self.good_N[row]:
            return
        if self._raises or len(self.reasons) < _TOLD:
            message = f"{self.rows.place(row, columns)}: {reason}"
            if self._raises:
                raise ValueError(message)
            self.reasons.append(message)
        self.good_N[row] = False

    def note_all(self, bad_N: npt.NDArray[np.bool_], columns: Sequence[str], reason: Callable[[int], str]) -> None:
        """All rows that a mask marks; ``reason`` is asked only for those that are told.

        Raises:
            ValueError: Bad rows are errors, and there is one.
        """
        found = np.flatnonzero(bad_N & self.good_N)
        for row in found[:_TOLD].tolist():
            self.note(row, columns, reason(row))
        self.good_N[found] = False

    def tell(self) -> None:
        """Log how many rows are left out, and why the first of them are."""
        if self.count:
            more = f"; and {self.count - len(self.reasons)} more" if self.count > len(self.reasons) else ""
            log.warning(
                "%s: %d of %d rows are skipped: %s%s",
                self.rows.name,
                self.count,
                len(self.rows),
                "; ".join(self.reasons),
                more,
            )
