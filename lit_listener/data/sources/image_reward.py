"""ImageRewardDB (``zai-org/ImageRewardDB`` on the hub) in its published layouts, as pairs and as ratings.

- ``metadata-{train,validation,test}.parquet``, a row an image with its rank among its prompt's images, and the images
  under ``images/{split}/{split}_{n}``; or a loaded data set with the same columns;
- the authors' test file, a list of ``{id, prompt, generations: [files], ranking: [ranks]}``;
- the ``_group`` variant, whose rows hold the same columns as lists, and the ``_pair`` variant, whose rows name a better
  and a worse image.

Images lie beside the file or in a folder ``images`` there. The hub's archives of images have to be unpacked first.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lit_listener.data.images import MAX_PIXELS
from lit_listener.data.records import RatedImage, RatedSource
from lit_listener.data.sources.bad_rows import BadRows, OnBadRow
from lit_listener.data.sources.columns import check_names, check_texts, read_numbers
from lit_listener.data.sources.pair_index import PairColumns, PairIndex
from lit_listener.data.sources.pairs import TablePairs
from lit_listener.data.sources.ranked import index_ranked_images, index_ranked_rows
from lit_listener.data.sources.row_images import ImageCell, ImageRules, RowImages
from lit_listener.data.sources.rows import Rows, Table, open_rows
from lit_listener.data.sources.selection import Selection
from lit_listener.data.sources.votes import Votes

_IMAGES = ("image", "image_path", "images")
_BETTER, _WORSE = ("img_better", "image_better"), ("img_worse", "image_worse")
_KIND = "classification"
_LOWEST, _HIGHEST = 1, 7


class ImageRewardDB(TablePairs):
    """The pairs of ImageRewardDB: all pairs of each prompt's ranked images.

    Args:
        path: the folder with the ``metadata-….parquet`` files, one of them, the authors' list file (.json), or a loaded
            ``datasets.Dataset`` with the same columns.
        split: train, validation or test: which file of the folder, and where its images lie.
        scores: column with another judge's scores, higher is better: a list as long as the images, or, of rows of one
            image, its number.
    """

    def __init__(self, path: Table, split: str = "train", *, scores: str | None = None, **options: Any) -> None:
        def index(rows: Rows, bad: BadRows) -> PairIndex:
            return _index(rows, bad, split, scores)

        columns = ["prompt", "prompt_id", "id", "rank", "ranking", "generations", *_IMAGES, *_BETTER, *_WORSE, _KIND]
        columns += [] if scores is None else [scores]
        super().__init__(path, split, index=index, columns=columns, opening=_opening(path), **options)


class ImageRewardRatings(RatedSource):
    """The images of ImageRewardDB with people's overall rating of each, from 1 to 7.

    Args:
        path: the folder with the ``metadata-….parquet`` files, one of them, or a loaded ``datasets.Dataset`` with the
            same columns.
        split: train, validation or test: which file of the folder, and where its images lie.
        rating: the column with the rating: overall_rating, image_text_alignment_rating or fidelity_rating.
        fraction: share of the images to keep, drawn at random, in (0, 1].
        seed: seed of the draw; a larger fraction holds the smaller one's images.
        on_bad_row: error stops at the first row that is not what it should be; skip leaves such rows out, counts and
            logs them, and reads every selected image once when the source is first opened, to find broken ones.
        min_pixels: images with fewer pixels are refused.
        max_pixels: images with more pixels are refused, before they are decoded.
        allow_urls: fetch images given as http(s) addresses; without it they are refused.

    Raises:
        FileNotFoundError: There is no such table.
        ValueError: A table that cannot be read, a missing column, a bad row, or no image left.
    """

    def __init__(  # noqa: PLR0913  # one option each keeps a config flat
        self,
        path: Table,
        split: str = "train",
        *,
        rating: str = "overall_rating",
        fraction: float = 1.0,
        seed: int = 0,
        on_bad_row: OnBadRow = "error",
        min_pixels: int = 1,
        max_pixels: int = MAX_PIXELS,
        allow_urls: bool = False,
    ) -> None:
        selection = Selection(drop_ties=False, fraction=fraction, seed=seed)
        rows = self._rows = open_rows(path, split, ["prompt", "prompt_id", rating, *_IMAGES], **_opening(path))
        self._image = rows.first_of(*_IMAGES)
        rows.require("prompt", "prompt_id", rating)
        bad = BadRows(rows, on_bad_row)
        check_texts(bad, "prompt", "a prompt")
        ratings_N = read_numbers(bad, rating)
        outside_N = ~((ratings_N >= _LOWEST) & (ratings_N <= _HIGHEST))
        told = f"expected a rating from {_LOWEST} to {_HIGHEST}, got {{!r}}"
        bad.note_all(outside_N, [rating], lambda row: told.format(rows.cell(row, rating)))
        bad.tell()
        self._kept_N = np.flatnonzero(bad.good_N)
        known = np.ones(len(self._kept_N))
        self._kept_N = self._kept_N[selection.choose(known, known.astype(np.int64)).kept]
        self._images = RowImages(rows, ImageRules(min_pixels, max_pixels, allow_urls), _folders(rows, split))
        if on_bad_row == "skip":
            failed = self._images.unreadable([self._place(row) for row in self._kept_N.tolist()])
            self._kept_N = np.setdiff1d(self._kept_N, [place.row for place in failed])
        if not len(self):
            raise ValueError(f"{rows.name}: no rated images left of {len(rows)} rows, {bad.count} of which are bad")
        self._ratings_N = ratings_N[self._kept_N]

    def __len__(self) -> int:
        return len(self._kept_N)

    def __getitem__(self, index: int) -> RatedImage:
        row = int(self._kept_N[index])
        cells = self._rows.cells(row)
        return RatedImage(
            prompt=cells["prompt"],
            image=self._images.open(self._place(row), cells),
            rating=float(self._ratings_N[index]),
            lowest=_LOWEST,
            highest=_HIGHEST,
            rating_id=f"{self._rows.stem}-{row}",
            prompt_id=str(cells["prompt_id"]),
        )

    def _place(self, row: int) -> ImageCell:
        return ImageCell(row, self._image, 0)


def _index(rows: Rows, bad: BadRows, split: str, scores: str | None) -> PairIndex:
    """The pairs of whichever layout the columns are those of."""
    folders = _folders(rows, split)
    kind = _KIND if _KIND in rows.names else None
    scored = [] if scores is None else [scores]
    if "generations" in rows.names or "ranking" in rows.names:
        rows.require("id", "prompt", "generations", "ranking", *scored)
        check_names(bad, "id")
        check_texts(bad, "prompt", "a prompt")
        columns = PairColumns("prompt", "generations", "generations", prompt_id="id", pair_id="id", category=kind)
        return index_ranked_rows(bad, columns, "ranking", folders, scores)
    name = "prompt_id" if "prompt_id" in rows.names else None
    if any(column in rows.names for column in _BETTER):
        if scores is not None:
            raise ValueError(
                f"scores={scores!r}: {rows.name} has a better and a worse image a row, which go with no list of "
                "scores; read it as a PairTable with score_a and score_b, or take the lists it was made of"
            )
        rows.require("prompt")
        check_texts(bad, "prompt", "a prompt")
        better, worse = rows.first_of(*_BETTER), rows.first_of(*_WORSE)
        columns = PairColumns("prompt", better, worse, prompt_id=name, category=kind)
        votes = Votes(np.ones(len(rows)), np.zeros(len(rows), np.int64))
        return PairIndex.of_rows(columns, votes, folders)
    image = rows.first_of(
        *_IMAGES, hint="Of the authors' list file the columns are id, prompt, generations and ranking"
    )
    rows.require("prompt", "prompt_id", "rank", *scored)
    columns = PairColumns("prompt", image, image, prompt_id="prompt_id", pair_id="prompt_id", category=kind)
    check_texts(bad, "prompt", "a prompt")
    if pa.types.is_nested(rows.column("rank").type):
        check_names(bad, "prompt_id")
        return index_ranked_rows(bad, columns, "rank", folders, scores)
    check_texts(bad, "prompt_id", "the name of a prompt")
    return index_ranked_images(bad, columns, "prompt_id", "rank", folders, scores)


def _opening(path: Table) -> dict[str, Any]:
    """A folder of the hub's layout holds other tables too: one of each folder of images."""
    if isinstance(path, str | Path) and any(Path(path).glob("metadata-*.parquet")):
        return {"pattern": "metadata-{split}*.parquet"}
    return {}


def _folders(rows: Rows, split: str) -> tuple[str, ...]:
    """Where images may lie: beside the file, and in the folders into which the hub's archives are unpacked."""
    folder = rows.folder(0) if len(rows) else Path()
    parts = sorted(path.relative_to(folder).as_posix() for path in folder.glob(f"images/{split}/*") if path.is_dir())
    return ("", "images", f"images/{split}", *parts)
