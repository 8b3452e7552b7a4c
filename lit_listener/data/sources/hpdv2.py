"""HPDv2, the human preference data set of HPSv2 (``ymhao/HPDv2`` on the hub), in its published layout.

``train.json`` has a pair a row, ``{prompt, file_path: [2 files], human_preference: [0|1, 0|1]}``; ``test.json`` a list
of nine a row, ``{prompt, image_path: [9 files], rank: [9], …}``. The images are unpacked beside them, or in a folder
``train`` or ``test``. The single annotators' rankings of the test lists (``raw_annotations``) are left out.
"""

from typing import Any

import numpy as np

from lit_listener.data.sources.bad_rows import BadRows
from lit_listener.data.sources.columns import check_texts
from lit_listener.data.sources.pair_index import PairColumns, PairIndex
from lit_listener.data.sources.pairs import TablePairs
from lit_listener.data.sources.ranked import index_ranked_rows, read_lists
from lit_listener.data.sources.rows import Rows, Table
from lit_listener.data.sources.votes import Votes

_IMAGES = ("file_path", "image_path", "images", "image")


class HPDv2(TablePairs):
    """The pairs of HPDv2: those of the training file, or all pairs of the test file's lists.

    Args:
        path: the folder with ``train.json`` and ``test.json``, one of these files, or a loaded ``datasets.Dataset``
            with the same columns.
        split: train or test: which file of the folder.
        scores: column with a list of another judge's scores, as long as the images; higher is better.
    """

    def __init__(self, path: Table, split: str = "train", *, scores: str | None = None, **options: Any) -> None:
        scored = [] if scores is None else [scores]
        folders = ("", split, "images", f"images/{split}")

        def index(rows: Rows, bad: BadRows) -> PairIndex:
            images = rows.first_of(*_IMAGES)
            columns = PairColumns("prompt", images, images)
            rows.require("prompt", *scored)
            if "rank" in rows.names:
                check_texts(bad, "prompt", "a prompt")
                return index_ranked_rows(bad, columns, "rank", folders, scores)
            rows.require("human_preference")
            check_texts(bad, "prompt", "a prompt")
            return _index_pairs(bad, columns, folders, scored)

        super().__init__(
            path,
            split,
            index=index,
            columns=["prompt", *_IMAGES, "human_preference", "rank", *scored],
            opening={"pattern": "{split}.json"},
            **options,
        )


def _index_pairs(bad: BadRows, columns: PairColumns, folders: tuple[str, ...], scored: list[str]) -> PairIndex:
    lists = read_lists(bad, ["human_preference", *scored], columns.image_a, size=2)
    chosen_N2, *scores = (numbers.reshape(-1, 2) for numbers in lists)
    rows_N = np.flatnonzero(bad.good_N)
    odd_N = np.zeros(len(bad.good_N), dtype=bool)
    odd_N[rows_N[~np.isin(chosen_N2, (0, 1)).all(axis=1)]] = True

    def reason(row: int) -> str:
        return f"expected 1 for the preferred image and 0 for the other, got {bad.rows.cell(row, 'human_preference')}"

    bad.note_all(odd_N, ["human_preference"], reason)
    shares_N = 0.5 + 0.5 * (chosen_N2[:, 0] - chosen_N2[:, 1])
    votes = Votes(shares_N, np.zeros(len(rows_N), np.int64))
    items_N2 = np.tile(np.array([0, 1]), (len(rows_N), 1))
    scores_N2 = scores[0] if scores else None
    return PairIndex(columns, votes, np.stack([rows_N, rows_N], axis=1), items_N2, scores_N2, folders=folders)
