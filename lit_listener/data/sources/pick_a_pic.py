"""Pick-a-Pic (``yuvalkirstain/pickapic_v1`` and ``pickapic_v2`` on the hub), in its published layout.

A row is one user's choice between two images: ``caption, jpg_0, jpg_1`` (the images' bytes), ``label_0, label_1`` (1
for the preferred image, 0 for the other, 0.5 each for a tie) and ``has_label``. Rows without a label are no pairs, and
are left out. Which user chose, and the addresses from which the images came, are left out too.
"""

from typing import Any

import numpy as np

from lit_listener.data.sources.bad_rows import BadRows
from lit_listener.data.sources.columns import check_texts, to_numbers
from lit_listener.data.sources.generators import find_generators
from lit_listener.data.sources.pair_index import PairColumns, PairIndex
from lit_listener.data.sources.pairs import TablePairs
from lit_listener.data.sources.rows import Rows, Table
from lit_listener.data.sources.votes import Votes, read_names

_LABELS = ("label_0", "label_1")
_MODELS = ("model_0", "model_1")
_TRUTHS = {"true": 1.0, "1": 1.0, "1.0": 1.0, "false": 0.0, "0": 0.0, "0.0": 0.0}


class PickAPic(TablePairs):
    """The labelled pairs of Pick-a-Pic, one vote each.

    Args:
        path: a folder with the Parquet files of the set, one of them or a glob; a loaded ``datasets.Dataset``; or the
            id on the hub, ``yuvalkirstain/pickapic_v2`` or ``yuvalkirstain/pickapic_v1``.
        split: train, validation, test, validation_unique or test_unique: which files of the folder, or which split
            on the hub.
    """

    def __init__(self, path: Table, split: str = "train", **options: Any) -> None:
        names = ["caption", "jpg_0", "jpg_1", *_LABELS, "has_label", *_MODELS]
        super().__init__(path, split, index=_index, columns=names, opening={}, **options)


def _index(rows: Rows, bad: BadRows) -> PairIndex:
    rows.require("caption", "jpg_0", "jpg_1", *_LABELS)
    check_texts(bad, "caption", "a prompt")
    labelled_N = np.ones(len(rows), dtype=bool)
    if "has_label" in rows.names:
        labelled_N = read_names(bad, "has_label", _TRUTHS, expected="true or false").shares_N == 1
    first_N, second_N = (to_numbers(rows.column(label)) for label in _LABELS)
    odd_N = ~(np.isin(first_N, (0, 0.5, 1)) & (first_N + second_N == 1))

    def reason(row: int) -> str:
        cells = [rows.cell(row, label) for label in _LABELS]
        return (
            f"expected 1 for the preferred image and 0 for the other, or 0.5 twice, got {cells[0]!r} and {cells[1]!r}"
        )

    bad.note_all(odd_N & labelled_N, _LABELS, reason)
    model_a, model_b = find_generators(rows, _MODELS)
    columns = PairColumns("caption", "jpg_0", "jpg_1", generator_a=model_a, generator_b=model_b)
    rows_N = np.flatnonzero(labelled_N)
    votes = Votes(first_N[rows_N], np.ones(len(rows_N), np.int64))
    return PairIndex(columns, votes, np.stack([rows_N, rows_N], axis=1))
