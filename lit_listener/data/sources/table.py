"""Pairs from a table of one's own: Parquet, JSON, JSONL or CSV files or a loaded data set, with a row a pair.

People's votes stand in the table in one of three ways: as the share that went to image A, as the votes for each image,
or as the name of the preferred one. Everything but the images is checked when the table is opened, so that a bad row
is told before training; images are read and decoded when their pair is asked for. Rows are counted from 0.

Tables that rank more than two images are left out.
"""

from typing import Any

import numpy as np

from lit_listener.data.sources.bad_rows import BadRows
from lit_listener.data.sources.columns import check_names, check_texts, read_numbers
from lit_listener.data.sources.pair_index import PairColumns, PairIndex
from lit_listener.data.sources.pairs import TablePairs
from lit_listener.data.sources.rows import Rows, Table
from lit_listener.data.sources.votes import way_of_voting

_HINT = (
    "Name yours as options: prompt, image_a, image_b, and one of share_a, votes_a with votes_b, or preferred; and a "
    "name for each pair as id"
)


class PairTable(TablePairs):
    """The pairs of a table, row by row.

    Args:
        path: a .parquet, .jsonl, .json or .csv file, a folder or glob of them, a hub id (owner/name), or a loaded
            ``datasets.Dataset``.
        split: which files of a folder (those that have it in their name or their folder's), or which split of a hub
            data set; anything else is taken whole.
        prompt: column with the prompt.
        image_a: column with the first image: a path relative to the table's folder, the bytes of an image file, or
            both as ``{"bytes": …, "path": …}``; URLs are refused unless allow_urls is set.
        image_b: column with the second image.
        share_a: column with the share of the votes that went to image A, in [0, 1]; "share_a" where neither votes nor
            preferred are named.
        votes_a: column with the number of votes for image A; goes with votes_b.
        votes_b: column with the number of votes for image B.
        preferred: column that names the preferred image: a, b or tie, or its index: 0 for image A, 1 for image B.
        id: column with a name for each pair, each used once; by default the file's name and the row.
        category: column with the kind of prompt, by which figures are broken down.
        score_a: column with another judge's score of image A, higher is better; goes with score_b.
        score_b: column with another judge's score of image B.
        columns: further columns, which the task's wording may name: what a user likes, a rubric, a history. Their cells
            are handed on as they are: text, numbers, lists and records.

    Raises:
        FileNotFoundError: There is no such table.
        ValueError: A table that cannot be read, a missing column, a cell that is not what its column should hold, or
            no pair left; the message names file, row and column.
    """

    def __init__(  # noqa: PLR0913  # one option a column keeps a config flat
        self,
        path: Table,
        *,
        split: str | None = None,
        prompt: str = "prompt",
        image_a: str = "image_a",
        image_b: str = "image_b",
        share_a: str | None = None,
        votes_a: str | None = None,
        votes_b: str | None = None,
        preferred: str | None = None,
        id: str | None = None,
        category: str | None = None,
        score_a: str | None = None,
        score_b: str | None = None,
        columns: list[str] | None = None,
        **options: Any,
    ) -> None:
        if (score_a is None) != (score_b is None):
            raise ValueError(f"score_a and score_b go together, got score_a={score_a!r} and score_b={score_b!r}")
        vote_columns, read_votes = way_of_voting(share_a, votes_a, votes_b, preferred)
        scores = [column for column in (score_a, score_b) if column is not None]
        named = [column for column in (id, category) if column is not None]
        further = tuple(columns or ())
        read = [prompt, *named, image_a, image_b, *vote_columns, *scores, *further]

        def index(rows: Rows, bad: BadRows) -> PairIndex:
            rows.require(*read, hint=_HINT)
            check_texts(bad, prompt, "a prompt")
            if id is not None:
                check_names(bad, id)
            scores_N2 = np.stack([read_numbers(bad, column) for column in scores], axis=1) if scores else None
            found = PairColumns(prompt, image_a, image_b, pair_id=id, category=category, further=further)
            return PairIndex.of_rows(found, read_votes(bad), scores_N2=scores_N2)

        super().__init__(path, split, index=index, columns=read, opening={}, **options)
