"""Which pairs of a data set are used: enough votes, enough agreement, a share at random, so many of a list.

Everything follows from arrays of votes and from the seed. The order of the data set is kept.
"""

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from lit_listener.data.sources.columns import Floats, Ints


@dataclass(frozen=True)
class Selection:
    """Which pairs are used. The steps are taken in the order of the fields; ``seed`` is that of both draws.

    Args:
        drop_ties: leave out pairs whose votes are split evenly.
        min_votes: leave out pairs with fewer votes.
        min_agreement: leave out pairs on which a smaller share of the voters sided with the majority, in [0.5, 1].
        most_confident: keep this many pairs, those of the highest agreement, and of these those of the most votes.
        pairs_per_list: keep at most this many pairs of each ranked list, drawn at random.
        fraction: share of the pairs to keep, drawn at random, in (0, 1]; at least one pair.
        seed: seed of the draws; a larger fraction holds the smaller one's pairs.

    Raises:
        ValueError: A value out of its range.
    """

    drop_ties: bool = True
    min_votes: int = 0
    min_agreement: float = 0.5
    most_confident: int | None = None
    pairs_per_list: int | None = None
    fraction: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise ValueError(f"fraction: expected a share in (0, 1], got {self.fraction}")
        if not 0.5 <= self.min_agreement <= 1:
            raise ValueError(f"min_agreement: expected a share of the voters in [0.5, 1], got {self.min_agreement}")
        if self.min_votes < 0:
            raise ValueError(f"min_votes: expected a number of votes, at least 0, got {self.min_votes}")
        for name in ("most_confident", "pairs_per_list"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}: expected at least 1 pair, got {value}")

    @property
    def partial(self) -> str | None:
        """The first option that may keep some pairs of a list only ("fraction=0.5"), ``drop_ties`` aside; or None."""
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name not in ("drop_ties", "seed") and value != field.default:
                return f"{field.name}={value}"
        return None

    def choose(self, shares_N: Floats, votes_N: Ints, lists_N: Ints | None = None) -> "Chosen":
        """The pairs that are used.

        Args:
            shares_N: Share of the votes that went to image A.
            votes_N: Number of votes; 0 where it is not told.
            lists_N: Which ranked list each pair is of; None where the pairs are of no lists.

        Raises:
            ValueError: ``min_votes`` where no number of votes is told, or ``pairs_per_list`` where there are no lists.
        """
        if self.min_votes and len(votes_N) and not votes_N.any():
            raise ValueError(f"min_votes={self.min_votes}: the source does not tell how many people voted")
        if self.pairs_per_list is not None and lists_N is None:
            raise ValueError(f"pairs_per_list={self.pairs_per_list}: the source has pairs, not lists")
        # Rounded: 0.7 read from a 32-bit column is 0.69999999.
        agreement_N = np.round(np.maximum(shares_N, 1 - shares_N), 6)
        tied_N = shares_N == 0.5
        kept_N = ~tied_N if self.drop_ties else np.ones(len(shares_N), dtype=bool)
        kept_N &= (votes_N >= self.min_votes) & (agreement_N >= round(self.min_agreement, 6))
        kept = np.flatnonzero(kept_N)
        if self.most_confident is not None:
            best_first = np.lexsort((kept, -votes_N[kept], -agreement_N[kept]))
            kept = np.sort(kept[best_first[: self.most_confident]])
        if self.pairs_per_list is not None and lists_N is not None:
            kept = kept[_first_of_each(lists_N[kept], _draws(self.seed, kept), self.pairs_per_list)]
        if self.fraction < 1 and len(kept):
            count = max(1, round(self.fraction * len(kept)))
            kept = kept[np.sort(np.random.default_rng(self.seed).permutation(len(kept))[:count])]
        return Chosen(kept, int(tied_N.sum()))


@dataclass(frozen=True)
class Chosen:
    """What a selection chose."""

    kept: Ints
    """The places of the pairs that are used, in order."""
    ties: int
    """Pairs whose votes are split evenly, used or not."""


def _first_of_each(lists_N: Ints, draws_N: npt.NDArray[np.uint64], count: int) -> Ints:
    """The places of at most ``count`` pairs of each list, those with the lowest draws."""
    order = np.lexsort((draws_N, lists_N))
    sorted_lists = lists_N[order]
    starts = np.flatnonzero(np.r_[True, sorted_lists[1:] != sorted_lists[:-1]]) if len(order) else order
    rank = np.arange(len(order)) - np.repeat(starts, np.diff(np.r_[starts, len(order)]))
    return np.sort(order[rank < count])


def _draws(seed: int, places: Ints) -> npt.NDArray[np.uint64]:
    """A random number for each place, from a stream of its own: the same whatever other pairs there are."""
    stream = np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]
    mixed = places.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + stream
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):  # the finaliser of SplitMix64
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)), dtype=np.uint64)
