"""Which cells of a table make up its pairs: what a layout tells of it, before an image is read."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lit_listener.data.sources.columns import Floats, Ints
from lit_listener.data.sources.lists import ListIndex, pair_lists
from lit_listener.data.sources.votes import Votes


@dataclass(frozen=True)
class PairColumns:
    """The columns that hold what a pair is made of; where a cell is a list, the image's place in its list counts."""

    prompt: str
    image_a: str
    image_b: str
    """Column of the second image; the same as ``image_a`` where images stand in lists or have a row each."""
    prompt_id: str | None = None
    """Column with a name for the prompt; None: the prompt itself."""
    pair_id: str | None = None
    """Column with a name for the row (or its list); None: the table's name and the row's number."""
    generator_a: str | None = None
    generator_b: str | None = None
    category: str | None = None
    """Column with the kind of prompt; None: the source does not tell."""
    further: tuple[str, ...] = ()
    """Columns that are handed on as they are, for questions that name them."""

    def name(self, cells: dict[str, Any], stem: str, row: int) -> str:
        """What a row, or the list it is of, is called.

        Args:
            cells: The cells of the row.
            stem: What the table is called.
            row: The row's number.
        """
        return f"{stem}-{row}" if self.pair_id is None else str(cells[self.pair_id])

    def handed_on(self, cells: dict[str, Any]) -> dict[str, Any]:
        """The cells of a row's further columns."""
        return {column: cells[column] for column in self.further}

    def prompt_name(self, cells: dict[str, Any]) -> str:
        """What a row's prompt is called."""
        return str(cells[self.prompt if self.prompt_id is None else self.prompt_id])


def text_of(cells: dict[str, Any], column: str | None, item: int = 0) -> str:
    """What a row's cell says, or the item of it where it is a list; "" where it says nothing.

    Args:
        cells: The cells of the row.
        column: The column; None where the table has none.
        item: Which one, where the cell is a list.
    """
    cell = None if column is None else cells[column]
    cell = cell[item] if isinstance(cell, list) else cell
    return "" if cell is None else str(cell)


@dataclass(frozen=True)
class PairIndex:
    """Which images of a table make up each of N pairs, and how people voted on them."""

    columns: PairColumns
    votes: Votes
    rows_N2: Ints
    """The rows in which the two images stand; twice the same where a row holds both."""
    items_N2: Ints | None = None
    """The images' places in their list, which are part of a pair's name; None where pairs come as pairs."""
    scores_N2: Floats | None = None
    """Another judge's scores of the two images; None where the table has none."""
    lists: ListIndex | None = None
    """The ranked lists that the pairs are of; None where pairs come as pairs."""
    lists_N: Ints | None = None
    """Which list each pair is of."""
    ranks_N2: Floats | None = None
    """The two images' ranks in their list."""
    folders: Sequence[str] = ("",)
    """Folders that image paths may lead from, relative to the folder of the row's file."""

    def __len__(self) -> int:
        return len(self.rows_N2)

    @classmethod
    def of_rows(
        cls,
        columns: PairColumns,
        votes: Votes,
        folders: Sequence[str] = ("",),
        scores_N2: Floats | None = None,
    ) -> "PairIndex":
        """The index of a table with a pair a row."""
        rows_N = np.arange(len(votes.shares_N))
        return cls(columns, votes, np.stack([rows_N, rows_N], axis=1), scores_N2=scores_N2, folders=folders)

    @classmethod
    def of_lists(cls, columns: PairColumns, lists: ListIndex, folders: Sequence[str] = ("",)) -> "PairIndex":
        """The index of ranked lists: each image of a list against each later one; how many people voted is not told."""
        pairs = pair_lists(lists.sizes_L, lists.ranks_I)
        images_N2 = lists.starts_L[pairs.lists_N][:, None] + pairs.places_N2
        return cls(
            columns,
            Votes(pairs.shares_N, np.zeros(len(pairs.shares_N), np.int64)),
            lists.rows_I[images_N2],
            items_N2=lists.items_I[images_N2],
            scores_N2=None if lists.scores_I is None else lists.scores_I[images_N2],
            lists=lists,
            lists_N=pairs.lists_N,
            ranks_N2=lists.ranks_I[images_N2],
            folders=folders,
        )

    def select(self, kept: Any) -> "PairIndex":
        """Some of the pairs; the lists stay whole.

        Args:
            kept: Their places, or a mask over all N.
        """

        def some(values: Any) -> Any:
            return None if values is None else values[kept]

        return replace(
            self,
            votes=Votes(*map(some, self.votes)),
            rows_N2=some(self.rows_N2),
            items_N2=some(self.items_N2),
            scores_N2=some(self.scores_N2),
            lists_N=some(self.lists_N),
            ranks_N2=some(self.ranks_N2),
        )
