"""How people voted on the pairs of a table, read a column at a time.

A table says it as the share of the votes that went to image A, as the votes (or weights of votes) for each image, or by
the name of the preferred image. A row that says nothing of the kind is a bad row, and its share is NaN.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from lit_listener.data.sources.bad_rows import BadRows
from lit_listener.data.sources.columns import Floats, Ints, map_values, to_numbers


class Votes(NamedTuple):
    """How people voted on each of N pairs."""

    shares_N: Floats
    """Share of the votes that went to image A, in [0, 1]."""
    votes_N: Ints
    """Number of votes; 0 where the table does not tell."""


def read_shares(bad: BadRows, column: str) -> Votes:
    """Votes from a column with the share that went to image A."""
    shares_N = to_numbers(bad.rows.column(column))
    within_N = (shares_N >= 0) & (shares_N <= 1)

    def reason(row: int) -> str:
        expected = "a share in [0, 1]" if math.isfinite(shares_N[row]) else "a number"
        return f"expected {expected}, got {bad.rows.cell(row, column)!r}"

    bad.note_all(~within_N, [column], reason)
    return Votes(np.where(within_N, shares_N, np.nan), np.zeros(len(shares_N), np.int64))


def read_counts(bad: BadRows, column_a: str, column_b: str) -> Votes:
    """Votes from two columns with the number of votes for each image."""
    return _read_two(bad, column_a, column_b, whole=True)


def read_weights(bad: BadRows, column_a: str, column_b: str) -> Votes:
    """Votes from two columns with what the votes for each image weigh together; their number is not told."""
    return _read_two(bad, column_a, column_b, whole=False)


NAMES: Mapping[str, float] = {"a": 1.0, "0": 1.0, "0.0": 1.0, "b": 0.0, "1": 0.0, "1.0": 0.0, "tie": 0.5}
"""Names of the preferred image, in small letters, and the share of image A that each stands for."""


def read_names(
    bad: BadRows,
    column: str,
    names: Mapping[str, float] = NAMES,
    expected: str = "a, b or tie, or the index 0 or 1 of the preferred image",
) -> Votes:
    """Votes from a column that names the preferred image.

    Args:
        bad: The rows, and what is noted of them.
        column: The column.
        names: Each name, in small letters and without space around it, with the share of image A it stands for.
        expected: The names in words, for the message.
    """

    def share(cell: Any) -> float:
        return names.get(str(cell).strip().lower(), math.nan)

    shares_N = map_values(bad.rows.column(column), share, np.float64)
    told = f"expected {expected}, got {{!r}}"
    bad.note_all(np.isnan(shares_N), [column], lambda row: told.format(bad.rows.cell(row, column)))
    return Votes(shares_N, np.zeros(len(shares_N), np.int64))


def way_of_voting(
    share_a: str | None, votes_a: str | None, votes_b: str | None, preferred: str | None
) -> tuple[list[str], Callable[[BadRows], Votes]]:
    """The columns that hold the votes, and what reads them.

    Args:
        share_a: Column with the share that went to image A; "share_a" where no column is named at all.
        votes_a: Column with the votes for image A.
        votes_b: Column with the votes for image B.
        preferred: Column that names the preferred image.

    Raises:
        ValueError: More than one way is named, or one of votes_a and votes_b without the other.
    """
    if (votes_a is None) != (votes_b is None):
        raise ValueError(f"votes_a and votes_b go together, got votes_a={votes_a!r} and votes_b={votes_b!r}")
    ways: list[tuple[list[str], Callable[[BadRows], Votes]]] = []
    if share_a is not None:
        ways.append(([share_a], lambda bad: read_shares(bad, share_a)))
    if votes_a is not None and votes_b is not None:
        ways.append(([votes_a, votes_b], lambda bad: read_counts(bad, votes_a, votes_b)))
    if preferred is not None:
        ways.append(([preferred], lambda bad: read_names(bad, preferred)))
    if len(ways) > 1:
        named = [column for columns, _ in ways for column in columns]
        raise ValueError(f"name one of share_a, votes_a with votes_b, or preferred; got the columns {named}")
    return ways[0] if ways else (["share_a"], lambda bad: read_shares(bad, "share_a"))


def _read_two(bad: BadRows, column_a: str, column_b: str, *, whole: bool) -> Votes:
    for_a_N, for_b_N = (to_numbers(bad.rows.column(column)) for column in (column_a, column_b))
    finite_N = np.isfinite(for_a_N) & np.isfinite(for_b_N)
    for_a_N, for_b_N = np.where(finite_N, for_a_N, 0.0), np.where(finite_N, for_b_N, 0.0)
    in_all_N = for_a_N + for_b_N
    valid_N = finite_N & (for_a_N >= 0) & (for_b_N >= 0)
    if whole:
        valid_N &= (for_a_N % 1 == 0) & (for_b_N % 1 == 0)

    def reason(row: int) -> str:
        cells = [bad.rows.cell(row, column) for column in (column_a, column_b)]
        if not finite_N[row]:
            numbers = [to_numbers(bad.rows.column(column)[row : row + 1])[0] for column in (column_a, column_b)]
            return f"expected a number, got {cells[0 if not math.isfinite(numbers[0]) else 1]!r}"
        kind = "whole numbers of votes" if whole else "numbers"
        if not valid_N[row]:
            return f"expected {kind}, at least 0, got {cells[0]!r} and {cells[1]!r}"
        return "no votes; leave out pairs that nobody voted on"

    good_N = valid_N & (in_all_N > 0)
    bad.note_all(~good_N, [column_a, column_b], reason)
    shares_N = np.divide(for_a_N, in_all_N, out=np.full(len(in_all_N), np.nan), where=good_N)
    votes_N = np.where(good_N, in_all_N, 0).astype(np.int64) if whole else np.zeros(len(in_all_N), np.int64)
    return Votes(shares_N, votes_N)
