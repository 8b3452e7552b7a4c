"""Some of the pairs of another source, whatever kind of source it is."""

import itertools
from collections.abc import Sequence

from lit_listener.data.records import ListSource, PairSource, PreferencePair


class KeptPairs(PairSource):
    """The pairs at some places of a source.

    Args:
        pairs: the source.
        places: which of its pairs, in order, each once; at least one.

    Raises:
        ValueError: there are none, or they are not in order within the source.
    """

    def __init__(self, pairs: PairSource, places: Sequence[int]) -> None:
        if not places:
            raise ValueError("no pairs left: expected at least one place")
        if any(a >= b for a, b in itertools.pairwise(places)) or places[0] < 0 or places[-1] >= len(pairs):
            raise ValueError(
                f"expected places in order, each once, from 0 to {len(pairs) - 1}, got {list(places)[:20]}"
            )
        self._pairs = pairs
        self._places = list(places)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> PreferencePair:
        return self._pairs[self._places[index]]

    def prompt(self, index: int) -> str:
        """The prompt of the pair at a place."""
        return self._pairs.prompt(self._places[index])

    def agreement(self, index: int) -> float:
        """Share of the votes that went to the majority's image of the pair at a place."""
        return self._pairs.agreement(self._places[index])

    def list_of(self, index: int) -> int | None:
        """Number of the ranked list that the pair at a place is of."""
        return self._pairs.list_of(self._places[index])

    def ranked_lists(self) -> ListSource | None:
        """None where pairs come as pairs.

        Raises:
            ValueError: they are of lists, of which some pairs are left out.
        """
        if self._pairs.ranked_lists() is None:
            return None
        raise ValueError("ranked lists are whole, but some of their pairs are left out here")
