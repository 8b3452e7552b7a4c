"""Ranked lists become pairs: each image of a list against each later one."""

from typing import NamedTuple

import numpy as np

from lit_listener.data.sources.columns import Floats, Ints


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
