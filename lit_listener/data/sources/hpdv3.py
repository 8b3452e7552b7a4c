"""HPDv3, the human preference data set of HPSv3 (``MizzenAI/HPDv3`` on the hub), in its published layout.

``train.json`` and ``test.json`` have a pair a row, ``{prompt, choice_dist, confidence, path1, path2, model1, model2}``.
``path1`` is always the preferred image: in which order a pair is shown is decided by the display order of an epoch
(half of the preferred images come first), as for every source. ``choice_dist`` has the number of votes for each image,
or nothing; as ``path1`` is preferred, the larger number is its own, and two equal ones are a tie. Without it the share
is 1 and the number of votes unknown.

The published files tell no kind of prompt; a table that has a column ``category`` is taken at its word.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lit_listener.data.sources.bad_rows import BadRows
from lit_listener.data.sources.columns import check_texts, to_numbers
from lit_listener.data.sources.generators import find_generators
from lit_listener.data.sources.pair_index import PairColumns, PairIndex
from lit_listener.data.sources.pairs import TablePairs
from lit_listener.data.sources.rows import Rows, Table
from lit_listener.data.sources.votes import Votes

_CHOICES, _CONFIDENCE, _KIND = "choice_dist", "confidence", "category"


class HPDv3(TablePairs):
    """The pairs of HPDv3.

    Args:
        path: the folder with ``train.json`` and ``test.json`` and the unpacked images, one of these files, or a loaded
            ``datasets.Dataset`` with the same columns.
        split: train or test: which file of the folder.
        min_confidence: leave out pairs whose published confidence is lower or not given, in [0, 1]; 0 keeps all.
    """

    def __init__(self, path: Table, split: str = "train", *, min_confidence: float = 0.0, **options: Any) -> None:
        if not 0 <= min_confidence <= 1:
            raise ValueError(f"min_confidence: expected a share in [0, 1], got {min_confidence}")

        def index(rows: Rows, bad: BadRows) -> PairIndex:
            rows.require("prompt", "path1", "path2", *([_CONFIDENCE] if min_confidence else []))
            check_texts(bad, "prompt", "a prompt")
            votes = _read_choices(bad)
            kept_N = np.ones(len(rows), dtype=bool)
            if min_confidence:
                kept_N = _read_confidence(bad) >= min_confidence
            rows_N = np.flatnonzero(kept_N)
            model_a, model_b = find_generators(rows, ("model1", "model2"))
            kind = _KIND if _KIND in rows.names else None
            columns = PairColumns("prompt", "path1", "path2", None, None, model_a, model_b, kind)
            chosen = Votes(votes.shares_N[rows_N], votes.votes_N[rows_N])
            folders = ("", split, "images", f"images/{split}")
            return PairIndex(columns, chosen, np.stack([rows_N, rows_N], axis=1), folders=folders)

        names = ["prompt", "path1", "path2", _CHOICES, _CONFIDENCE, "model1", "model2", _KIND]
        super().__init__(path, split, index=index, columns=names, opening={"pattern": "{split}.json"}, **options)


def _read_confidence(bad: BadRows) -> npt.NDArray[np.float64]:
    """The confidence of each pair; -1 where none is given."""
    cells = bad.rows.column(_CONFIDENCE)
    told_N = cells.is_valid().to_numpy(zero_copy_only=False).astype(bool)
    values_N = to_numbers(cells)
    within_N = (values_N >= 0) & (values_N <= 1)
    told = "expected a share in [0, 1] or nothing, got {!r}"
    bad.note_all(told_N & ~within_N, [_CONFIDENCE], lambda row: told.format(bad.rows.cell(row, _CONFIDENCE)))
    return np.where(told_N & within_N, values_N, -1.0)


def _read_choices(bad: BadRows) -> Votes:
    """The share and the number of the votes for the first image; 1 and 0 where they are not given."""
    rows = bad.rows
    shares_N, votes_N = np.ones(len(rows)), np.zeros(len(rows), np.int64)
    if _CHOICES not in rows.names:
        return Votes(shares_N, votes_N)
    cells = rows.column(_CHOICES)
    told_N = cells.is_valid().to_numpy(zero_copy_only=False).astype(bool)
    good_N = np.zeros(len(rows), dtype=bool)
    if pa.types.is_nested(cells.type) and not pa.types.is_struct(cells.type):
        twos_N = pc.fill_null(pc.equal(pc.list_value_length(cells), 2), False).to_numpy(zero_copy_only=False)
        chosen_N2 = to_numbers(pc.list_flatten(cells.filter(pa.array(twos_N.astype(bool))))).reshape(-1, 2)
        in_all_N = chosen_N2.sum(axis=1)
        valid_N = (chosen_N2 >= 0).all(axis=1) & (chosen_N2 % 1 == 0).all(axis=1) & (in_all_N > 0)
        rows_N = np.flatnonzero(twos_N)[valid_N]
        good_N[rows_N] = True
        shares_N[rows_N] = chosen_N2[valid_N].max(axis=1) / in_all_N[valid_N]
        votes_N[rows_N] = in_all_N[valid_N].astype(np.int64)
    told = "expected the number of votes for each of the two images, or nothing, got {!r}"
    bad.note_all(told_N & ~good_N, [_CHOICES], lambda row: told.format(rows.cell(row, _CHOICES)))
    return Votes(shares_N, votes_N)
