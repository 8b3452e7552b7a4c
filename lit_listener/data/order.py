"""The order of an epoch: which pair comes when, and which of its images is displayed first.

Both follow from (seed, epoch) alone. The preferred image stands first in exactly half of an epoch's pairs (one more
or less where their number is odd), so that a position cannot be learned.

The position within an epoch belongs to one pass over it, not to the order: loaders fetch ahead of what is used, break
passes off, and open several iterators of which they read one.

Several processes share an order like players a pack of cards: each takes every n-th place. So the places of a step are
the same however many processes share it.
"""

from collections.abc import Iterator
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from torch.utils.data import Dataset
from torch.utils.data.distributed import DistributedSampler

from lit_listener.data.curriculum import WideningWindow
from lit_listener.data.records import ListSource, PairSource, PreferencePair, RatedSource, Side
from lit_listener.data.shown import Shown, ShownImage, ShownList, ShownPair

Place = tuple[int, int, int]
"""(index of the pair, label it shall have, epoch); ~index for a pair that is only there to keep ranks in step."""


Orders = Literal["balanced", "both"]
"""How an evaluation displays its pairs: once each, the preferred image first in half of them; or in both orders."""


class EpochOrder(DistributedSampler[Place]):
    """Places of one epoch after another, shuffled or in turn: those of one rank.

    Each iterator is a pass over one epoch, which it takes up when its first place is asked for: the next epoch if
    shuffled, epoch 0 every time if not, since evaluation must not drift. Every rank is given the same number of places:
    where they do not divide, training leaves the last few out of the epoch, and evaluation repeats some, marked so
    that they are not counted. (A ``DistributedSampler``, so that Lightning puts none in its place.)

    Args:
        size: number of pairs; at least 1, and in training at least one a rank.
        seed: seed of shuffle and display order.
        shuffle: a new permutation every epoch, or the pairs in turn.
        rank: which process this is, from 0.
        ranks: processes that share the epoch.
        orders: balanced gives each pair one place, both gives it one for each display order; training is balanced.
        curriculum: orders the pairs of a shuffled epoch; None: any order is as likely.
    """

    def __init__(
        self,
        size: int,
        seed: int,
        *,
        shuffle: bool,
        rank: int = 0,
        ranks: int = 1,
        orders: Orders = "balanced",
        curriculum: WideningWindow | None = None,
    ) -> None:
        if size < 1:
            raise ValueError(f"the data set is empty: need at least 1 pair, got {size}; check path, split and filters")
        if shuffle and size < ranks:
            raise ValueError(f"the data set has fewer pairs ({size}) than there are processes to share them ({ranks})")
        if orders not in get_args(Orders):
            raise ValueError(f"orders: expected one of {list(get_args(Orders))}, got {orders!r}")
        self._both = orders == "both"
        if self._both and shuffle:
            raise ValueError("both display orders are for evaluation, in turn; a shuffled epoch has balanced ones")
        self._places = 2 * size if self._both else size
        super().__init__(_Sized(self._places), num_replicas=ranks, rank=rank, shuffle=shuffle, seed=seed)
        self._size = size
        self._seed = seed
        self._shuffle = shuffle
        self._rank = rank
        self._ranks = ranks
        self._curriculum = curriculum
        self._next_epoch = 0

    def __len__(self) -> int:
        return self._places // self._ranks if self._shuffle else -(-self._places // self._ranks)

    @property
    def ranks(self) -> int:
        """Processes that share the epoch."""
        return self._ranks

    def __iter__(self) -> "EpochPass":
        return EpochPass(self)

    @property
    def next_epoch(self) -> int:
        """The epoch that the next pass takes up."""
        return self._next_epoch

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the places of every epoch; a saved position means nothing under another identity."""
        known: dict[str, Any] = {"size": self._size, "seed": self._seed, "shuffle": self._shuffle}
        if self._curriculum is not None:
            known |= self._curriculum.identity
        return known | {"both_orders": True} if self._both else known

    def begin(self, epoch: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The pairs of an epoch in order, and their labels; the pass after this one takes up the epoch that follows."""
        self._next_epoch = epoch + 1 if self._shuffle else 0
        rng = np.random.default_rng([self._seed, epoch])
        labels = rng.permutation(self._size) % 2
        indices = self._indices(rng, epoch) if self._shuffle else np.arange(self._size)
        labels = labels[indices]
        if self._both:
            indices = np.repeat(indices, 2)
            labels = np.stack([labels, 1 - labels], axis=1).reshape(-1)
        if not self._shuffle:  # as many for each rank; the repeated ones are marked
            missing = len(self) * self._ranks - self._places
            indices = np.concatenate([indices, ~np.resize(indices, missing)])
            labels = np.concatenate([labels, np.resize(labels, missing)])
        own = slice(self._rank, len(self) * self._ranks, self._ranks)
        return indices[own], labels[own]

    def _indices(self, rng: np.random.Generator, epoch: int) -> npt.NDArray[np.int64]:
        """The pairs of a shuffled epoch in order."""
        return rng.permutation(self._size) if self._curriculum is None else self._curriculum.order(rng, epoch)


class _Sized(Dataset[Place]):
    """All that a ``DistributedSampler`` asks of its data."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __len__(self) -> int:
        return self._size


class EpochPass(Iterator[Place]):
    """One pass over an epoch of an order; its position can be saved and taken up again in another process.

    Args:
        order: the order that is passed through.
    """

    def __init__(self, order: EpochOrder) -> None:
        self._order = order
        self._epoch: int | None = None  # until the first place is asked for
        self._position = 0

    def __next__(self) -> Place:
        epoch = self._begin(self._order.next_epoch) if self._epoch is None else self._epoch
        if self._position == len(self._order):
            raise StopIteration
        place = int(self._indices[self._position]), int(self._labels[self._position]), epoch
        self._position += 1
        return place

    def state_dict(self) -> dict[str, Any]:
        """The epoch, the number of places handed out on all ranks together, and what the order is of."""
        epoch = self._order.next_epoch if self._epoch is None else self._epoch
        return {"epoch": epoch, "position": self._position * self._order.ranks, **self._order.identity}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state.

        Raises:
            ValueError: The state was saved by an order of another size, seed or kind, whose places are others; or by
                so many processes that its position falls between two of this one's steps.
        """
        saved = {key: value for key, value in state.items() if key not in ("epoch", "position")}
        if saved != self._order.identity:
            raise ValueError(
                f"cannot go on in the middle of an epoch: the checkpoint's data has {saved}, this run's has "
                f"{self._order.identity}; resume with the same data, or start a new run from the checkpoint's weights"
            )
        self._begin(state["epoch"])
        self._position, rest = divmod(state["position"], self._order.ranks)
        if rest:
            raise ValueError(
                f"cannot go on in the middle of an epoch: {state['position']} pairs were used, which "
                f"{self._order.ranks} processes cannot share evenly; resume with as many processes as before"
            )

    def _begin(self, epoch: int) -> int:
        self._epoch = epoch
        self._indices, self._labels = self._order.begin(epoch)
        return epoch


TrainingSource = PairSource | RatedSource | ListSource
"""What can be trained on: pairs, images that were rated one by one, or ranked lists."""


class ShownPairs(Dataset[Shown]):
    """A source of pairs, each fetched in the display order that its place asks for."""

    def __init__(self, pairs: PairSource) -> None:
        self._pairs = pairs

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, place: Place) -> ShownPair:
        index, label, epoch = place
        counted = index >= 0
        index = index if counted else ~index
        return ShownPair(pair := self._pairs[index], first_shown(pair, label), index, epoch, counted)


class ShownImages(Dataset[Shown]):
    """A source of rated images; one image has no display order."""

    def __init__(self, rated: RatedSource) -> None:
        self._rated = rated

    def __len__(self) -> int:
        return len(self._rated)

    def __getitem__(self, place: Place) -> ShownImage:
        index, _, epoch = place
        rated = self._rated[index]
        return ShownImage(
            prompt=rated.prompt,
            image=rated.image,
            name=f"rating {rated.rating_id}",
            index=index,
            share=rated.share,
            columns=rated.columns,
            epoch=epoch,
        )


class ShownLists(Dataset[Shown]):
    """A source of ranked lists, each shown in an order that its place alone decides."""

    def __init__(self, lists: ListSource) -> None:
        self._lists = lists

    def __len__(self) -> int:
        return len(self._lists)

    def __getitem__(self, place: Place) -> ShownList:
        index, label, epoch = place
        ranked = self._lists[index]
        order = np.random.default_rng([index, label, epoch]).permutation(len(ranked.images))
        return ShownList(ranked, tuple(order.tolist()), index, epoch)


def shown_items(source: TrainingSource) -> "ShownPairs | ShownImages | ShownLists":
    """What is trained on, item by item, as it is shown."""
    if isinstance(source, RatedSource):
        return ShownImages(source)
    return ShownLists(source) if isinstance(source, ListSource) else ShownPairs(source)


def first_shown(pair: PreferencePair, label: int) -> Side:
    """The side that is displayed first where this label is to be the right one; of a tie, image a counts as right."""
    preferred: Side = pair.preferred or "a"
    other: Side = "b" if preferred == "a" else "a"
    return preferred if label == 0 else other
