"""How people voted on a pair, read from the cells of a row.

A table says it in one of three ways: the share of the votes that went to image A, the votes for each image, or the
name of the preferred image.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple


class Vote(NamedTuple):
    """How people voted on one pair."""

    share_a: float
    """Share of the votes that went to image A, in [0, 1]."""
    votes: int
    """Number of votes; 0 where the table does not tell."""


def way_of_voting(
    share_a: str | None, votes_a: str | None, votes_b: str | None, preferred: str | None
) -> tuple[list[str], Callable[..., Vote]]:
    """The columns that hold the votes, and what reads their cells in a row.

    Args:
        share_a: Column with the share that went to image A; "share_a" where no column is named at all.
        votes_a: Column with the votes for image A.
        votes_b: Column with the votes for image B.
        preferred: Column that names the preferred image.

    Raises:
        ValueError: More than one way is named, or one of votes_a and votes_b without the other. What is returned
            raises it for a cell that is not what it should be, without naming the place.
    """
    if (votes_a is None) != (votes_b is None):
        raise ValueError(f"votes_a and votes_b go together, got votes_a={votes_a!r} and votes_b={votes_b!r}")
    ways: list[tuple[list[str], Callable[..., Vote]]] = []
    if share_a is not None:
        ways.append(([share_a], _vote_by_share))
    if votes_a is not None and votes_b is not None:
        ways.append(([votes_a, votes_b], _vote_by_counts))
    if preferred is not None:
        ways.append(([preferred], _vote_by_name))
    if len(ways) > 1:
        named = [column for columns, _ in ways for column in columns]
        raise ValueError(f"name one of share_a, votes_a with votes_b, or preferred; got the columns {named}")
    return ways[0] if ways else (["share_a"], _vote_by_share)


def _vote_by_share(cell: Any) -> Vote:
    share = _read_number(cell)
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"expected a share in [0, 1], got {cell!r}")
    return Vote(share, 0)


def _vote_by_counts(cell_a: Any, cell_b: Any) -> Vote:
    for_a, for_b = _read_number(cell_a), _read_number(cell_b)
    if min(for_a, for_b) < 0 or for_a % 1 or for_b % 1:
        raise ValueError(f"expected whole numbers of votes, at least 0, got {cell_a!r} and {cell_b!r}")
    if for_a + for_b == 0:
        raise ValueError("no votes; leave out pairs that nobody voted on")
    return Vote(for_a / (for_a + for_b), int(for_a + for_b))


_SHARES = {"a": 1.0, "0": 1.0, "0.0": 1.0, "b": 0.0, "1": 0.0, "1.0": 0.0, "tie": 0.5}


def _vote_by_name(cell: Any) -> Vote:
    share = _SHARES.get(str(cell).strip().lower())
    if share is None:
        raise ValueError(f"expected a, b or tie, or the index 0 or 1 of the preferred image, got {cell!r}")
    return Vote(share, 0)


def _read_number(cell: Any) -> float:
    try:
        number = math.nan if isinstance(cell, bool) else float(cell)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"expected a number, got {cell!r}")
    return number
