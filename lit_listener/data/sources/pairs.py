"""Pairs of a table: what all sources that read rows have in common.

A source says in a function of its own which images make up each pair, and how people voted (``PairIndex``). The rest is
here: the table is opened, bad rows are told or skipped, pairs are selected, and a pair's cells and images are read when
it is asked for. What is held in memory is a few numbers a pair, in arrays.

An image that cannot be read is found only by reading it. Under ``on_bad_row="error"`` that is when its pair is asked
for. Under "skip" all images of the selected pairs are read once when the source is opened, and the pairs of unreadable
ones left out: a data set has one length, and no pair of it may turn into another on the way.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lit_listener.data.images import MAX_PIXELS
from lit_listener.data.records import ListPlaces, ListSource, PairSource, PreferencePair, majority_share
from lit_listener.data.sources.bad_rows import BadRows, OnBadRow
from lit_listener.data.sources.columns import Ints
from lit_listener.data.sources.pair_index import PairIndex, text_of
from lit_listener.data.sources.row_images import ImageCell, ImageRules, RowImages
from lit_listener.data.sources.rows import Rows, Table, open_rows
from lit_listener.data.sources.selection import Selection
from lit_listener.data.sources.table_lists import TableLists

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PairCounts:
    """How the pairs of a source came about."""

    rows: int
    """Rows of the table."""
    skipped_rows: int
    """Rows left out because they are bad."""
    pairs: int
    """Pairs that the other rows make."""
    ties: int
    """Those of them whose votes are split evenly."""
    unreadable: int
    """Selected pairs left out because an image cannot be read; looked for under on_bad_row="skip" only."""
    used: int


class TablePairs(PairSource):
    """The pairs of a table, of which a layout tells where they are.

    Args:
        path: a file, a folder, a glob, a hub id (owner/name) or a loaded ``datasets.Dataset``.
        split: which part of a folder or hub data set; a file, a glob or a loaded data set is taken whole.
        index: finds the pairs in the opened rows, and notes the bad ones.
        columns: the columns to read, other names they may have included.
        opening: further arguments of ``open_rows``; like ``index`` and ``columns`` of the source's own making.
        drop_ties: leave out pairs whose votes are split evenly (training needs a winner).
        min_votes: leave out pairs with fewer votes.
        min_agreement: leave out pairs on which a smaller share of the voters sided with the majority, in [0.5, 1].
        most_confident: keep this many pairs, those of the highest agreement, and of these those of the most votes.
        pairs_per_list: keep at most this many pairs of each ranked list, drawn at random.
        fraction: share of the pairs to keep, after all other conditions, drawn at random, in (0, 1].
        seed: seed of the two draws; a larger fraction holds the smaller one's pairs.
        on_bad_row: error stops at the first row that is not what it should be; skip leaves such rows out, counts and
            logs them, and reads every selected image once when the source is first opened, to find broken ones.
        min_pixels: images with fewer pixels are refused.
        max_pixels: images with more pixels are refused, before they are decoded.
        allow_urls: fetch images given as http(s) addresses; without it they are refused.

    Raises:
        FileNotFoundError: There is no such table.
        ValueError: A table that cannot be read, a missing column, a bad row, or no pair left; the message names file,
            row and column.
    """

    def __init__(  # noqa: PLR0913  # one option each keeps a config flat
        self,
        path: Table,
        split: str | None,
        *,
        index: Callable[[Rows, BadRows], PairIndex],
        columns: Sequence[str],
        opening: dict[str, Any],
        drop_ties: bool = True,
        min_votes: int = 0,
        min_agreement: float = 0.5,
        most_confident: int | None = None,
        pairs_per_list: int | None = None,
        fraction: float = 1.0,
        seed: int = 0,
        on_bad_row: OnBadRow = "error",
        min_pixels: int = 1,
        max_pixels: int = MAX_PIXELS,
        allow_urls: bool = False,
    ) -> None:
        selection = Selection(drop_ties, min_votes, min_agreement, most_confident, pairs_per_list, fraction, seed)
        self._rows = open_rows(path, split, columns, **opening)
        bad = BadRows(self._rows, on_bad_row)
        found = index(self._rows, bad)
        bad.tell()
        found = found.select(bad.good_N[found.rows_N2].all(axis=1))
        pairs = len(found)
        chosen = selection.choose(*found.votes, found.lists_N)
        self._index = found.select(chosen.kept)
        self._selection = selection
        self._images = RowImages(self._rows, ImageRules(min_pixels, max_pixels, allow_urls), found.folders)
        self.skipped: list[str] = bad.reasons
        """What is wrong with the first few of the rows that were skipped."""
        unreadable = self._leave_out_unreadable() if on_bad_row == "skip" else 0
        self.counts = PairCounts(len(self._rows), bad.count, pairs, chosen.ties, unreadable, len(self))
        if not len(self):
            raise ValueError(f"{self._rows.name}: no pairs left: {_why_none(self.counts, selection)}")

    def __len__(self) -> int:
        return len(self._index)

    def prompt(self, index: int) -> str:
        """The prompt of the pair at a place; its images are not decoded."""
        prompt: str = self._rows.cells(int(self._index.rows_N2[index, 0]))[self._index.columns.prompt]
        return prompt

    def agreement(self, index: int) -> float:
        """Share of the votes on the majority's side; no cell is read."""
        return majority_share(float(self._index.votes.shares_N[index]))

    def list_of(self, index: int) -> int | None:
        """Number of the ranked list that the pair at a place is of: its place in ``ranked_lists``, where there are any.

        Pairs of one list follow one another.
        """
        return None if self._index.lists_N is None else int(self._index.lists_N[index])

    def ranked_lists(self) -> ListSource | None:
        """The ranked lists that the pairs are made of, whole; None where pairs come as pairs.

        Bad rows and, under on_bad_row="skip", unreadable images are left out of their lists.

        Raises:
            ValueError: An option other than drop_ties keeps some of the pairs only.
        """
        if self._index.lists is None:
            return None
        if self._selection.partial is not None:
            raise ValueError(
                f"{self._rows.name}: ranked lists are whole, but {self._selection.partial} keeps some of their pairs "
                "only; leave that option out (drop_ties may stay)"
            )
        return TableLists(self._rows, self._images, self._index.columns, self._index.lists)

    def __getitem__(self, index: int) -> PreferencePair:
        found = self._index
        row_a, row_b = found.rows_N2[index].tolist()
        cells_a = self._rows.cells(row_a)
        cells_b = cells_a if row_b == row_a else self._rows.cells(row_b)
        item_a, item_b = (0, 0) if found.items_N2 is None else found.items_N2[index].tolist()
        score_a, score_b = (None, None) if found.scores_N2 is None else found.scores_N2[index].tolist()
        columns = found.columns
        name = columns.name(cells_a, self._rows.stem, row_a)
        return PreferencePair(
            prompt=cells_a[columns.prompt],
            image_a=self._images.open(ImageCell(row_a, columns.image_a, item_a), cells_a),
            image_b=self._images.open(ImageCell(row_b, columns.image_b, item_b), cells_b),
            share_a=float(found.votes.shares_N[index]),
            votes=int(found.votes.votes_N[index]),
            pair_id=name if found.items_N2 is None else f"{name}-{item_a}-{item_b}",
            prompt_id=columns.prompt_name(cells_a),
            generator_a=text_of(cells_a, columns.generator_a, item_a),
            generator_b=text_of(cells_b, columns.generator_b, item_b),
            category=text_of(cells_a, columns.category),
            listed=None
            if found.ranks_N2 is None
            else ListPlaces(name, item_a, item_b, *found.ranks_N2[index].tolist()),
            score_a=score_a,
            score_b=score_b,
            columns=columns.handed_on(cells_a),
        )

    def _leave_out_unreadable(self) -> int:
        """Read all images, leave out those that cannot be, and tell how many selected pairs go with them.

        Where lists are whole, that is all images of theirs, those of no pair included.
        """
        found, columns = self._index, self._index.columns
        items_N2 = np.zeros_like(found.rows_N2) if found.items_N2 is None else found.items_N2
        sides = [
            _places(column, rows_N, items_N)
            for column, rows_N, items_N in zip(
                (columns.image_a, columns.image_b), found.rows_N2.T, items_N2.T, strict=True
            )
        ]
        lists = None if self._selection.partial else found.lists
        listed = [] if lists is None else _places(columns.image_a, lists.rows_I, lists.items_I)
        failed = self._images.unreadable(sorted({*listed, *(place for side in sides for place in side)}))
        if not failed:
            return 0
        kept_N = np.array([a not in failed and b not in failed for a, b in zip(*sides, strict=True)], dtype=bool)
        left_out = int((~kept_N).sum())
        told = [f"{self._rows.place(place.row, [place.column])}: {why}" for place, why in list(failed.items())[:5]]
        self.skipped = [*self.skipped, *told]
        log.warning(
            "%s: %d of %d pairs are skipped for images that cannot be read: %s",
            self._rows.name,
            left_out,
            len(kept_N),
            "; ".join(told),
        )
        self._index = found.select(kept_N)
        if lists is not None and found.lists_N is not None:
            left, numbers_L = lists.keep(np.array([place not in failed for place in listed], dtype=bool))
            self._index = replace(self._index, lists=left, lists_N=numbers_L[found.lists_N[kept_N]])
        return left_out


def _places(column: str, rows_N: Ints, items_N: Ints) -> list[ImageCell]:
    return [ImageCell(row, column, item) for row, item in zip(rows_N.tolist(), items_N.tolist(), strict=True)]


def _why_none(counts: PairCounts, selection: Selection) -> str:
    """Why a table with rows gives no pairs."""
    if counts.skipped_rows == counts.rows:
        return f"all {counts.rows} rows are bad"
    if selection.drop_ties and counts.ties == counts.pairs:
        what = "rows" if counts.pairs == counts.rows else "pairs"
        return f"all {counts.pairs} {what} are ties; drop_ties=False keeps them"
    found = f"of {counts.pairs} pairs, {counts.ties} of them ties and {counts.unreadable} with unreadable images"
    return f"{found}, none is selected by {selection}"
