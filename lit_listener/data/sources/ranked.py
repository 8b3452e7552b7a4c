"""Tables that rank several images for a prompt: a row with lists of images and ranks, or a row an image.

A rank of 1 is best and equal ranks are ties. How many people ranked a list is not told: votes are 0.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lit_listener.data.sources.bad_rows import BadRows
from lit_listener.data.sources.columns import Floats, Ints, group_codes, read_numbers, to_numbers
from lit_listener.data.sources.lists import ListPairs, pair_lists
from lit_listener.data.sources.pairs import PairColumns, PairIndex
from lit_listener.data.sources.votes import Votes


def index_ranked_rows(bad: BadRows, columns: PairColumns, ranks: str, folders: tuple[str, ...] = ("",)) -> PairIndex:
    """The pairs of a table with a list a row.

    Args:
        bad: The rows, and what is noted of them.
        columns: The columns of a pair; both images stand in the lists of one column.
        ranks: Column with the list of the images' ranks.
        folders: Folders that image paths may lead from.
    """
    ranks_I = read_lists(bad, ranks, columns.image_a)
    kept = np.flatnonzero(bad.good_N)
    sizes_L = _lengths(bad.rows.column(ranks))[kept]
    pairs = pair_lists(sizes_L, ranks_I)
    rows_N = kept[pairs.lists_N]
    return PairIndex(
        columns, _votes(pairs), np.stack([rows_N, rows_N], axis=1), pairs.places_N2, pairs.lists_N, folders
    )


def index_ranked_images(
    bad: BadRows, columns: PairColumns, group: str, ranks: str, folders: tuple[str, ...] = ("",)
) -> PairIndex:
    """The pairs of a table with an image a row: each of a prompt's images against each later one.

    Args:
        bad: The rows, and what is noted of them.
        columns: The columns of a pair; both images stand in one column, in different rows.
        group: Column whose equal cells make a list.
        ranks: Column with the image's rank in its list.
        folders: Folders that image paths may lead from.
    """
    ranks_N = read_numbers(bad, ranks)
    codes_N = group_codes(bad.rows.column(group))
    order_N = np.argsort(codes_N, kind="stable")
    _, firsts_L, counts_L = np.unique(codes_N[order_N], return_index=True, return_counts=True)
    places_N = np.empty_like(order_N)  # an image's place in its list, bad ones counted too: names stay as they are
    places_N[order_N] = np.arange(len(order_N)) - np.repeat(firsts_L, counts_L)
    rows_I = order_N[bad.good_N[order_N]]
    _, sizes_L = np.unique(codes_N[rows_I], return_counts=True)
    pairs = pair_lists(sizes_L, ranks_N[rows_I])
    starts_L = np.cumsum(sizes_L) - sizes_L
    rows_N2 = rows_I[starts_L[pairs.lists_N][:, None] + pairs.places_N2]
    return PairIndex(columns, _votes(pairs), rows_N2, places_N[rows_N2], pairs.lists_N, folders)


def read_lists(bad: BadRows, numbers: str, others: str, size: int | None = None) -> Floats:
    """The numbers of a column of lists, those of the good rows one after the other.

    A row is bad where the cell is no list of finite numbers, or not as long as the list in the other column.

    Args:
        bad: The rows, and what is noted of them.
        numbers: Column with lists of numbers.
        others: Column with lists that must be as long.
        size: How long they all have to be; None for any length from 2 up.
    """
    rows = bad.rows
    cells = rows.column(numbers)
    lengths_N, others_N = _lengths(cells), _lengths(rows.column(others))
    right_N = (lengths_N == others_N) & ((lengths_N >= 2) if size is None else (lengths_N == size))
    wanted = f"{'two or more' if size is None else size} images and as many numbers"

    def reason(row: int) -> str:
        return f"expected lists of {wanted}, got {rows.cell(row, others)!r} and {rows.cell(row, numbers)!r}"

    bad.note_all(~right_N, [others, numbers], reason)
    gaps_N = _with_gaps(cells, lengths_N)
    bad.note_all(gaps_N, [numbers], lambda row: f"expected numbers, got {rows.cell(row, numbers)!r}")
    if not _is_list(cells.type):
        return np.empty(0)
    return to_numbers(pc.list_flatten(cells.filter(pa.array(bad.good_N))))


def _with_gaps(cells: pa.ChunkedArray, lengths_N: Ints) -> npt.NDArray[np.bool_]:
    """Which lists hold something that is no finite number."""
    gaps_N = np.zeros(len(cells), dtype=bool)
    if _is_list(cells.type):
        owners_I = np.repeat(np.arange(len(cells)), np.maximum(lengths_N, 0))
        gaps_N[owners_I[~np.isfinite(to_numbers(pc.list_flatten(cells)))]] = True
    return gaps_N


def _lengths(cells: pa.ChunkedArray) -> Ints:
    """How long the list in each cell is; -1 where there is none."""
    if not _is_list(cells.type):
        return np.full(len(cells), -1)
    return np.asarray(pc.fill_null(pc.list_value_length(cells), -1).to_numpy(), np.int64)


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _votes(pairs: ListPairs) -> Votes:
    return Votes(pairs.shares_N, np.zeros(len(pairs.shares_N), np.int64))
