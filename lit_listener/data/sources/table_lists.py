"""The ranked lists of a table, whole: what the pairs of its rows are made of."""

from lit_listener.data.records import ListSource, RankedList
from lit_listener.data.sources.lists import ListIndex
from lit_listener.data.sources.pair_index import PairColumns, text_of
from lit_listener.data.sources.row_images import ImageCell, RowImages
from lit_listener.data.sources.rows import Rows


class TableLists(ListSource):
    """Ranked lists, of which a layout has told where they are; names are those of the pairs.

    Args:
        rows: the table.
        images: its images.
        columns: the columns that hold what a list is made of.
        lists: which images make up each list.
    """

    def __init__(self, rows: Rows, images: RowImages, columns: PairColumns, lists: ListIndex) -> None:
        self._rows = rows
        self._images = images
        self._columns = columns
        self._lists = lists
        self._starts_L = lists.starts_L

    def __len__(self) -> int:
        return len(self._lists.sizes_L)

    def size(self, index: int) -> int:
        """Number of images of the list at a place; none is read."""
        return int(self._lists.sizes_L[index])

    def ranks(self, index: int) -> tuple[float, ...]:
        """The ranks of the list at a place; no image is read."""
        return tuple(self._lists.ranks_I[self._own(index)].tolist())

    def prompt(self, index: int) -> str:
        """The prompt of the list at a place; no image is read."""
        prompt: str = self._rows.cells(int(self._lists.rows_I[self._starts_L[index]]))[self._columns.prompt]
        return prompt

    def _own(self, index: int) -> slice:
        """The places of a list's images among all images."""
        start = int(self._starts_L[index])
        return slice(start, start + self.size(index))

    def __getitem__(self, index: int) -> RankedList:
        lists, columns = self._lists, self._columns
        own = self._own(index)
        rows, items = lists.rows_I[own].tolist(), lists.items_I[own].tolist()
        by_row = {row: self._rows.cells(row) for row in dict.fromkeys(rows)}
        first = by_row[rows[0]]
        places = list(zip(rows, items, strict=True))
        return RankedList(
            prompt=first[columns.prompt],
            images=tuple(self._images.open(ImageCell(r, columns.image_a, item), by_row[r]) for r, item in places),
            ranks=tuple(lists.ranks_I[own].tolist()),
            list_id=columns.name(first, self._rows.stem, rows[0]),
            prompt_id=columns.prompt_name(first),
            generators=tuple(text_of(by_row[row], columns.generator_a, item) for row, item in places),
            category=text_of(first, columns.category),
            scores=None if lists.scores_I is None else tuple(lists.scores_I[own].tolist()),
            items=tuple(items),
            columns=columns.handed_on(first),
        )
