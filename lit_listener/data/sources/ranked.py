"""Tables that rank several images for a prompt: a row with lists of images and ranks, or a row an image.

A rank of 1 is best and equal ranks are ties. How many people ranked a list is not told: votes are 0.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lit_listener.data.sources.bad_rows import BadRows
from lit_listener.data.sources.columns import Floats, Ints, group_codes, read_numbers, to_numbers
from lit_listener.data.sources.lists import ListIndex
from lit_listener.data.sources.pair_index import PairColumns, PairIndex


def index_ranked_rows(
    bad: BadRows, columns: PairColumns, ranks: str, folders: tuple[str, ...] = ("",), scores: str | None = None
) -> PairIndex:
    """The pairs of a table with a list a row.

    Args:
        bad: The rows, and what is noted of them.
        columns: The columns of a pair; both images stand in the lists of one column.
        ranks: Column with the list of the images' ranks.
        folders: Folders that image paths may lead from.
        scores: Column with the list of another judge's scores of the images; None where there are none.
    """
    ranks_I, *others = read_lists(bad, [ranks, *([] if scores is None else [scores])], columns.image_a)
    kept = np.flatnonzero(bad.good_N)
    sizes_L = _lengths(bad.rows.column(ranks))[kept]
    places_I = np.arange(len(ranks_I)) - np.repeat(np.cumsum(sizes_L) - sizes_L, sizes_L)
    lists = ListIndex(sizes_L, np.repeat(kept, sizes_L), places_I, ranks_I, others[0] if others else None)
    return PairIndex.of_lists(columns, lists, folders)


def index_ranked_images(  # one column each
    bad: BadRows,
    columns: PairColumns,
    group: str,
    ranks: str,
    folders: tuple[str, ...] = ("",),
    scores: str | None = None,
) -> PairIndex:
    """The pairs of a table with an image a row: each of a prompt's images against each later one.

    Args:
        bad: The rows, and what is noted of them.
        columns: The columns of a pair; both images stand in one column, in different rows.
        group: Column whose equal cells make a list.
        ranks: Column with the image's rank in its list.
        folders: Folders that image paths may lead from.
        scores: Column with another judge's score of the image; None where there is none.
    """
    ranks_N = read_numbers(bad, ranks)
    scores_N = None if scores is None else read_numbers(bad, scores)
    codes_N = group_codes(bad.rows.column(group))
    order_N = np.argsort(codes_N, kind="stable")
    _, firsts_L, counts_L = np.unique(codes_N[order_N], return_index=True, return_counts=True)
    places_N = np.empty_like(order_N)  # an image's place in its list, bad ones counted too: names stay as they are
    places_N[order_N] = np.arange(len(order_N)) - np.repeat(firsts_L, counts_L)
    rows_I = order_N[bad.good_N[order_N]]
    _, sizes_L = np.unique(codes_N[rows_I], return_counts=True)
    scores_I = None if scores_N is None else scores_N[rows_I]
    return PairIndex.of_lists(columns, ListIndex(sizes_L, rows_I, places_N[rows_I], ranks_N[rows_I], scores_I), folders)


def read_lists(bad: BadRows, numbers: Sequence[str], others: str, size: int | None = None) -> list[Floats]:
    """The numbers of some columns of lists: of each column those of the good rows, one after the other.

    A row is bad where one of the cells is no list of finite numbers, or not as long as the list in the other column.

    Args:
        bad: The rows, and what is noted of them.
        numbers: Columns with lists of numbers.
        others: Column with lists that must be as long.
        size: How long they all have to be; None for any length from 2 up.
    """
    for column in numbers:
        _check_lists(bad, column, others, size)
    return [_flat_numbers(bad, column) for column in numbers]  # once all bad rows are known


def _check_lists(bad: BadRows, numbers: str, others: str, size: int | None) -> None:
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


def _flat_numbers(bad: BadRows, column: str) -> Floats:
    cells = bad.rows.column(column)
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
