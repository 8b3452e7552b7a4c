"""The images of a table's rows, read and decoded when they are asked for, and which of them cannot be."""

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import datasets
from PIL.Image import Image

from lit_listener.data.images import MAX_PIXELS, is_url, open_image
from lit_listener.data.sources.rows import Rows

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImageRules:
    """Which images are read.

    Args:
        min_pixels: images with fewer pixels are refused.
        max_pixels: images with more pixels are refused, before they are decoded.
        allow_urls: fetch images whose cell is an http(s) address; without it they are refused.
    """

    min_pixels: int = 1
    max_pixels: int = MAX_PIXELS
    allow_urls: bool = False


class ImageCell(NamedTuple):
    """Where an image stands in a table."""

    row: int
    column: str
    item: int
    """Which one, where the cell is a list of images."""


class RowImages:
    """The images of a table.

    Args:
        rows: the table.
        rules: which images are read.
        folders: where paths may lead from: folders relative to that of the row's file; the first that has the image.
    """

    def __init__(self, rows: Rows, rules: ImageRules, folders: Sequence[str] = ("",)) -> None:
        self._rows = rows
        self._rules = rules
        self._folders = tuple(folders)

    def open(self, place: ImageCell, cells: dict[str, Any]) -> Image:
        """Read and decode an image.

        Args:
            place: Where it stands.
            cells: The cells of its row.

        Raises:
            ValueError: It cannot be read; the message names file, row and column.
        """
        try:
            cell = cells[place.column]
            return self._open(cell[place.item] if isinstance(cell, list) else cell, place.row)
        except (OSError, IndexError, ValueError) as error:
            raise ValueError(f"{self._rows.place(place.row, [place.column])}: {error}") from error

    def _open(self, cell: Any, row: int) -> Image:
        rules = self._rules
        return open_image(
            self._source(cell, row),
            min_pixels=rules.min_pixels,
            max_pixels=rules.max_pixels,
            allow_urls=rules.allow_urls,
        )

    def _source(self, cell: Any, row: int) -> str | Path | bytes:
        """What ``open_image`` takes."""
        if isinstance(cell, dict):
            cell = cell.get("bytes") or cell.get("path")
        if isinstance(cell, bytes):
            return cell
        if not isinstance(cell, str) or not cell:
            raise ValueError(f"expected the path or the bytes of an image, got {cell!r}")
        if is_url(cell):
            return cell
        paths = [self._rows.folder(row) / folder / cell for folder in self._folders]
        return next((path for path in paths if len(paths) > 1 and path.is_file()), paths[0])

    def unreadable(self, places: Sequence[ImageCell]) -> dict[ImageCell, str]:
        """Read and decode images, and tell which of them cannot be, and why.

        The answer is kept in the cache of the ``datasets`` library, under what the table, the rules and the images'
        places are, so that it is found out once. Several processes that ask at once each find out for themselves.
        """
        known = [self._rows.fingerprint, repr(self._rules), repr(self._folders)]
        digest = hashlib.sha256("\n".join(known).encode())
        for place in places:
            digest.update(repr(tuple(place)).encode())
        path = Path(datasets.config.HF_DATASETS_CACHE) / "lit_listener" / f"unreadable-{digest.hexdigest()}.json"
        if path.is_file():
            found = json.loads(path.read_text())
            log.info("%s: %d images are known to be unreadable (%s)", self._rows.name, len(found), path)
        else:
            log.warning("%s: reading %d images once, to find those that cannot be", self._rows.name, len(places))
            found = list(self._failures(places))
            path.parent.mkdir(parents=True, exist_ok=True)
            beside = path.with_name(f".{path.name}.{os.getpid()}.part")
            beside.write_text(json.dumps(found))
            beside.replace(path)
        return {ImageCell(row, column, item): reason for row, column, item, reason in found}

    def _failures(self, places: Iterable[ImageCell]) -> Iterable[tuple[int, str, int, str]]:
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            waiting = iter(places)
            while some := list(islice(waiting, 256)):  # so that few images are in memory
                for place, reason in zip(some, pool.map(self._failure, some), strict=True):
                    if reason is not None:
                        yield *place, reason

    def _failure(self, place: ImageCell) -> str | None:
        cells = self._rows.cells(place.row)
        try:
            cell = cells[place.column]
            self._open(cell[place.item] if isinstance(cell, list) else cell, place.row)
        except (OSError, IndexError, ValueError) as error:
            return str(error)
        return None
