"""The records that cross the floors: images that people judged, and the data sets they are fetched from.

How they are shown to a model is in ``shown``.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from PIL.Image import Image

Side = Literal["a", "b"]


@dataclass(frozen=True)
class ListPlaces:
    """Where the two images of a pair stand in the ranked list that the pair is of."""

    list_id: str
    item_a: int
    """Place in the list, from 0."""
    item_b: int
    rank_a: float
    """Rank in the list; 1 is best, and equal ranks are ties."""
    rank_b: float


@dataclass(frozen=True, eq=False)
class PreferencePair:
    """Two images made for one prompt, and how people voted between them."""

    prompt: str
    image_a: Image
    image_b: Image
    share_a: float
    """Share of the votes that went to image A, in [0, 1]; 0.5 is a tie."""
    votes: int
    """How many votes the share was taken over (0 where the source does not tell)."""
    pair_id: str
    prompt_id: str
    """Pairs with one prompt share it: intervals are clustered by it."""
    generator_a: str = ""
    generator_b: str = ""
    category: str = ""
    """What kind of prompt it is, where the source tells."""
    listed: ListPlaces | None = None
    """None where pairs come as pairs, not as ranked lists."""
    score_a: float | None = None
    """Another judge's score of image A, where the source has one; higher is better."""
    score_b: float | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)
    """Further columns of the data row, which a question's template may use (a user's taste, a rubric)."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.share_a <= 1.0:
            raise ValueError(f"pair {self.pair_id}: share_a must lie in [0, 1], got {self.share_a}")

    @property
    def preferred(self) -> Side | None:
        """The majority's image (y* of the paper), or None for a tie."""
        if self.share_a == 0.5:
            return None
        return "a" if self.share_a > 0.5 else "b"


class PairSource(ABC):
    """A data set of preference pairs, fetched one by one; images are decoded only then."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of pairs."""

    @abstractmethod
    def __getitem__(self, index: int) -> PreferencePair:
        """The pair at a place, from 0."""

    def prompt(self, index: int) -> str:
        """The prompt of the pair at a place; a source that can tell it without decoding the images does."""
        return self[index].prompt

    def agreement(self, index: int) -> float:
        """Share of the votes that went to the majority's image, in [0.5, 1]; told without decoding where it can be."""
        return majority_share(self[index].share_a)

    def list_of(self, index: int) -> int | None:
        """Number of the ranked list that the pair at a place is of; None where pairs come as pairs.

        Pairs of one list follow one another.
        """
        return None

    def ranked_lists(self) -> "ListSource | None":
        """The ranked lists that the pairs are made of, whole; None where pairs come as pairs.

        Raises:
            ValueError: The source keeps some of the pairs only, which whole lists would not heed.
        """
        return None


@dataclass(frozen=True, eq=False)
class RankedList:
    """Several images made for one prompt, and how people ranked them."""

    prompt: str
    images: tuple[Image, ...]
    ranks: tuple[float, ...]
    """1 is best, and equal ranks are ties."""
    list_id: str
    prompt_id: str
    generators: tuple[str, ...]
    category: str = ""
    scores: tuple[float, ...] | None = None
    """Another judge's scores of the images, where the source has them; higher is better."""
    items: tuple[int, ...] | None = None
    """The images' places in the list as names have them, where some were left out; None: 0, 1, 2, …"""
    columns: Mapping[str, Any] = field(default_factory=dict)
    """Further columns of the data row."""

    def __post_init__(self) -> None:
        known = (self.images, self.ranks, self.generators, self.scores, self.items)
        counts = {len(values) for values in known if values is not None}
        if len(counts) > 1:
            raise ValueError(
                f"list {self.list_id}: expected a rank, a generator, a score and a place for each image, got {counts}"
            )

    def pair(self, a: int, b: int) -> PreferencePair:
        """The pair of two of its images; its name is the one it has among the source's pairs.

        Args:
            a: which of ``images`` is image A, from 0.
            b: which one is image B.
        """
        better = self.ranks[b] - self.ranks[a]  # above 0 where A is ranked better
        item_a, item_b = (a, b) if self.items is None else (self.items[a], self.items[b])
        return PreferencePair(
            prompt=self.prompt,
            image_a=self.images[a],
            image_b=self.images[b],
            share_a=0.5 if better == 0 else float(better > 0),
            votes=0,
            pair_id=f"{self.list_id}-{item_a}-{item_b}",
            prompt_id=self.prompt_id,
            generator_a=self.generators[a],
            generator_b=self.generators[b],
            category=self.category,
            listed=ListPlaces(self.list_id, item_a, item_b, self.ranks[a], self.ranks[b]),
            score_a=None if self.scores is None else self.scores[a],
            score_b=None if self.scores is None else self.scores[b],
            columns=self.columns,
        )


class ListSource(ABC):
    """A data set of ranked lists, fetched one by one; images are decoded only then."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of lists, those of one image included."""

    @abstractmethod
    def __getitem__(self, index: int) -> RankedList:
        """The list at a place, from 0."""

    def prompt(self, index: int) -> str:
        """The prompt of the list at a place; a source that can tell it without decoding the images does."""
        return self[index].prompt

    @abstractmethod
    def size(self, index: int) -> int:
        """Number of images of the list at a place, told without decoding them."""

    def ranks(self, index: int) -> tuple[float, ...]:
        """The ranks of the list at a place; a source that can tell them without decoding the images does."""
        return self[index].ranks


@dataclass(frozen=True, eq=False)
class RatedImage:
    """An image made for a prompt, and how well people rated it on a scale."""

    prompt: str
    image: Image
    rating: float
    """The rating, on the scale from ``lowest`` to ``highest``."""
    lowest: float
    highest: float
    rating_id: str
    prompt_id: str
    """Images with one prompt share it: intervals are clustered by it."""
    generator: str = ""
    columns: Mapping[str, Any] = field(default_factory=dict)
    """Further columns of the data row."""

    def __post_init__(self) -> None:
        if not (self.lowest <= self.rating <= self.highest and self.lowest < self.highest):
            raise ValueError(
                f"rating {self.rating_id}: expected one from {self.lowest} to {self.highest}, got {self.rating}"
            )

    @property
    def share(self) -> float:
        """The rating's place on its scale, in [0, 1]."""
        return (self.rating - self.lowest) / (self.highest - self.lowest)


class RatedSource(ABC):
    """A data set of rated images, fetched one by one; images are decoded only then."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of rated images."""

    @abstractmethod
    def __getitem__(self, index: int) -> RatedImage:
        """The rated image at a place, from 0."""

    def prompt(self, index: int) -> str:
        """The prompt of the image at a place; a source that can tell it without decoding the image does."""
        return self[index].prompt


def majority_share(share_a: float) -> float:
    """Share of the votes on the majority's side, in [0.5, 1]."""
    return max(share_a, 1.0 - share_a)


_SHOWN = ("Demonstration", "Demonstrator", "OtherKindError", "Shown", "ShownImage", "ShownList", "ShownPair", "a_pair")


def __getattr__(name: str) -> Any:
    """What stood here before ``shown`` had it is still found here."""
    if name in _SHOWN:
        from lit_listener.data import shown  # noqa: PLC0415  # which builds on this module

        return getattr(shown, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
