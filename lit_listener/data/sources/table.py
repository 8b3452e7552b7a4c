"""Pairs from a table of one's own: a Parquet, JSONL or CSV file with a row a pair.

People's votes stand in the table in one of three ways: as the share that went to image A, as the votes for each image,
or as the name of the preferred one. Everything but the images is checked when the table is opened, so that a bad row
is told before training; images are read and decoded when their pair is asked for. Rows are counted from 0.

Tables in several files, and tables that rank more than two images, are left out.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL.Image import Image

from lit_listener.data.images import MAX_PIXELS, is_url, open_image
from lit_listener.data.records import PairSource, PreferencePair
from lit_listener.data.sources.table_files import read_columns
from lit_listener.data.sources.votes import way_of_voting


class PairTable(PairSource):
    """The pairs of a table, row by row.

    Args:
        path: a .parquet, .jsonl or .csv file.
        prompt: column with the prompt.
        image_a: column with the first image: a path relative to the table's folder, the bytes of an image file, or
            both as ``{"bytes": …, "path": …}``; URLs are refused.
        image_b: column with the second image.
        share_a: column with the share of the votes that went to image A, in [0, 1]; "share_a" where neither votes nor
            preferred are named.
        votes_a: column with the number of votes for image A; goes with votes_b.
        votes_b: column with the number of votes for image B.
        preferred: column that names the preferred image: a, b or tie, or its index: 0 for image A, 1 for image B.
        id: column with a name for each pair; by default the file's name and the row.
        drop_ties: leave out pairs whose votes are split evenly (training needs a winner).
        min_pixels: images with fewer pixels are refused.
        max_pixels: images with more pixels are refused.

    Raises:
        FileNotFoundError: There is no such table.
        ValueError: A table that cannot be read, a missing column, a cell that is not what its column should hold, or
            no pair left; the message names file, row and column.
    """

    def __init__(  # noqa: PLR0913  # one option a column keeps a config flat
        self,
        path: str | Path,
        *,
        prompt: str = "prompt",
        image_a: str = "image_a",
        image_b: str = "image_b",
        share_a: str | None = None,
        votes_a: str | None = None,
        votes_b: str | None = None,
        preferred: str | None = None,
        id: str | None = None,
        drop_ties: bool = True,
        min_pixels: int = 1,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        self._path = Path(path)
        self._prompt, self._image_a, self._image_b, self._id = prompt, image_a, image_b, id
        self._min_pixels, self._max_pixels = min_pixels, max_pixels
        vote_columns, read_vote = way_of_voting(share_a, votes_a, votes_b, preferred)
        id_columns = [] if id is None else [id]
        columns = [prompt, *id_columns, image_a, image_b, *vote_columns]
        self._rows = read_columns(self._path, list(dict.fromkeys(columns)))
        self._each_row([prompt], _check_prompt)
        self._each_row(id_columns, _check_id)
        votes = self._each_row(vote_columns, read_vote)
        kept = [row for row, vote in enumerate(votes) if not (drop_ties and vote.share_a == 0.5)]
        if not kept:
            why = f"all {len(votes)} rows are ties; drop_ties=False keeps them" if votes else "the table has no rows"
            raise ValueError(f"{self._path}: no pairs left: {why}")
        # Arrays, not lists of objects: workers that are forked would copy a list as they count references to it.
        self._kept_N = np.array(kept)
        self._shares_N = np.array([votes[row].share_a for row in kept])
        self._votes_N = np.array([votes[row].votes for row in kept])

    def __len__(self) -> int:
        return len(self._kept_N)

    def __getitem__(self, index: int) -> PreferencePair:
        row = int(self._kept_N[index])
        cells = self._rows[row]
        prompt = cells[self._prompt]
        return PreferencePair(
            prompt=prompt,
            image_a=self._open(row, self._image_a, cells),
            image_b=self._open(row, self._image_b, cells),
            share_a=float(self._shares_N[index]),
            votes=int(self._votes_N[index]),
            pair_id=f"{self._path.stem}-{row}" if self._id is None else str(cells[self._id]),
            prompt_id=prompt,
        )

    def _each_row(self, columns: Sequence[str], read: Callable[..., Any]) -> list[Any]:
        """What ``read`` makes of each row's cells in some columns."""
        values = []
        row_cells = zip(*(self._rows.data.column(column).to_pylist() for column in columns), strict=True)
        for row, cells in enumerate(row_cells):
            try:
                values.append(read(*cells))
            except ValueError as error:
                raise ValueError(f"{self._place(row, columns)}: {error}") from None
        return values

    def _open(self, row: int, column: str, cells: dict[str, Any]) -> Image:
        try:
            source = _image_source(cells[column], self._path.parent)
            return open_image(source, min_pixels=self._min_pixels, max_pixels=self._max_pixels)
        except (FileNotFoundError, ValueError) as error:
            raise ValueError(f"{self._place(row, [column])}: {error}") from error

    def _place(self, row: int, columns: Sequence[str]) -> str:
        return f"{self._path}, row {row}, {' and '.join(f'column {column!r}' for column in columns)}"


def _image_source(cell: Any, folder: Path) -> str | Path | bytes:
    """What ``open_image`` takes, from the cell of an image column."""
    if isinstance(cell, dict):
        cell = cell.get("bytes") or cell.get("path")
    if isinstance(cell, bytes):
        return cell
    if not isinstance(cell, str) or not cell:
        raise ValueError(f"expected the path or the bytes of an image, got {cell!r}")
    return cell if is_url(cell) else folder / cell


def _check_prompt(cell: Any) -> None:
    if not isinstance(cell, str) or not cell.strip():
        raise ValueError(f"expected a prompt, got {cell!r}")


def _check_id(cell: Any) -> None:
    if cell is None or cell == "":
        raise ValueError(f"expected a name for the pair, got {cell!r}")
