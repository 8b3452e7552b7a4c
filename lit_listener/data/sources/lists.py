"""Ranked lists become pairs: each image of a list against each later one."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lit_listener.data.sources.columns import Floats, Ints


@dataclass(frozen=True)
class ListIndex:
    """Which images of a table make up each of L ranked lists: I images in all, list after list."""

    sizes_L: Ints
    """How many images each list has."""
    rows_I: Ints
    """The row in which each image stands."""
    items_I: Ints
    """Its place in its list, as names have it: images that are left out keep theirs."""
    ranks_I: Floats
    """1 is best, and equal ranks are ties."""
    scores_I: Floats | None = None
    """Another judge's score of each image; None where the table has none."""

    @property
    def starts_L(self) -> Ints:
        """The place of each list's first image among the I."""
        return np.asarray(np.cumsum(self.sizes_L) - self.sizes_L)

    def keep(self, kept_I: npt.NDArray[np.bool_]) -> tuple["ListIndex", Ints]:
        """The lists of some of the images; a list of which none is left is none.

        Args:
            kept_I: Which images are kept.

        Returns:
            The lists, and for each of the L lists before its number among them (of one that is gone, of no meaning).
        """
        owners_I = np.repeat(np.arange(len(self.sizes_L)), self.sizes_L)
        sizes_L = np.bincount(owners_I[kept_I], minlength=len(self.sizes_L))
        left = ListIndex(
            sizes_L[sizes_L > 0],
            self.rows_I[kept_I],
            self.items_I[kept_I],
            self.ranks_I[kept_I],
            None if self.scores_I is None else self.scores_I[kept_I],
        )
        return left, np.cumsum(sizes_L > 0) - 1


class ListPairs(NamedTuple):
    """The N pairs of some lists, list by list."""

    lists_N: Ints
    """Which list each pair is of."""
    places_N2: Ints
    """The places of its two images in the list, the lower first."""
    shares_N: Floats
    """1 where the first is ranked better, 0 where the second is, 0.5 for a tie."""


def pair_lists(sizes_L: Ints, ranks_I: Floats) -> ListPairs:
    """All pairs of ranked lists.

    Args:
        sizes_L: How many images each list has.
        ranks_I: The images' ranks, list after list; 1 is best, and equal ranks are ties.
    """
    starts_L = np.cumsum(sizes_L) - sizes_L
    lists, places = [np.empty(0, np.int64)], [np.empty((0, 2), np.int64)]
    for size in np.unique(sizes_L).tolist():  # lists of one size at once
        of_size = np.flatnonzero(sizes_L == size)
        pairs_P2 = np.stack(np.triu_indices(size, k=1), axis=1)
        lists.append(np.repeat(of_size, len(pairs_P2)))
        places.append(np.tile(pairs_P2, (len(of_size), 1)))
    lists_N, places_N2 = np.concatenate(lists), np.concatenate(places)
    order = np.argsort(lists_N, kind="stable")
    lists_N, places_N2 = lists_N[order], places_N2[order]
    ranks_N2 = ranks_I[starts_L[lists_N][:, None] + places_N2]
    shares_N = 0.5 + 0.5 * np.sign(ranks_N2[:, 1] - ranks_N2[:, 0])
    return ListPairs(lists_N, places_N2, shares_N)
