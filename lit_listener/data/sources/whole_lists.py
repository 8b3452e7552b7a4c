"""The ranked lists behind a source of pairs, for tasks that ask about whole lists."""

import logging

from lit_listener.data.records import ListSource, PairSource, RankedList

log = logging.getLogger(__name__)


class WholeLists(ListSource):
    """Ranked lists as they are in a source whose pairs come of lists (ImageReward, HPDv2, …).

    Left out, and counted in ``left_out``, are lists of which nothing can be learnt: those of a single image, of more
    images than can be shown, and those whose images all tie.

    Args:
        pairs: the source; of its options those that keep some pairs only are refused, for lists are whole.
        at_most: most images of a list; a task can show as many as it has labels.

    Raises:
        ValueError: the source's pairs come as pairs, an option of it keeps some of them only, or no list is left.
    """

    def __init__(self, pairs: PairSource, at_most: int = 9) -> None:
        if at_most < 2:
            raise ValueError(f"at_most: a list has 2 images or more, got at_most={at_most}")
        lists = pairs.ranked_lists()
        if lists is None:
            raise ValueError(
                f"pairs: the pairs of {type(pairs).__name__} do not come of ranked lists; choose a source whose do, "
                "such as ImageRewardDB or HPDv2, or a task that asks about pairs"
            )
        self._lists = lists
        self._kept = [n for n in range(len(lists)) if 2 <= lists.size(n) <= at_most and len(set(lists.ranks(n))) > 1]
        self.left_out = len(lists) - len(self._kept)
        """How many lists were left out."""
        if not self._kept:
            raise ValueError(f"no lists left: all {len(lists)} are of one image, of more than {at_most}, or ties alone")
        if self.left_out:
            log.warning(
                "%d of %d ranked lists are left out: of one image, too many, or ties alone", self.left_out, len(lists)
            )

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, index: int) -> RankedList:
        return self._lists[self._kept[index]]

    def prompt(self, index: int) -> str:
        """The prompt of the list at a place."""
        return self._lists.prompt(self._kept[index])

    def size(self, index: int) -> int:
        """Number of images of the list at a place; none is read."""
        return self._lists.size(self._kept[index])

    def ranks(self, index: int) -> tuple[float, ...]:
        """The ranks of the list at a place."""
        return self._lists.ranks(self._kept[index])
