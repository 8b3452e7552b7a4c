"""Pairs from a table of one's own: Parquet, JSON, JSONL or CSV files or a loaded data set, with a row a pair.

People's votes stand in the table in one of three ways: as the share that went to image A, as the votes for each image,
or as the name of the preferred one. Everything but the images is checked when the table is opened, so that a bad row
is told before training; images are read and decoded when their pair is asked for. Rows are counted from 0.

Tables that rank more than two images are left out.
"""

from typing import Any

from lit_listener.data.sources.bad_rows import BadRows
from lit_listener.data.sources.columns import check_names, check_texts
from lit_listener.data.sources.pairs import PairColumns, PairIndex, TablePairs
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
        **options: Any,
    ) -> None:
        vote_columns, read_votes = way_of_voting(share_a, votes_a, votes_b, preferred)
        columns = [prompt, *([] if id is None else [id]), image_a, image_b, *vote_columns]

        def index(rows: Rows, bad: BadRows) -> PairIndex:
            rows.require(*columns, hint=_HINT)
            check_texts(bad, prompt, "a prompt")
            if id is not None:
                check_names(bad, id)
            return PairIndex.of_rows(PairColumns(prompt, image_a, image_b, pair_id=id), read_votes(bad))

        super().__init__(path, split, index=index, columns=columns, opening={}, **options)
