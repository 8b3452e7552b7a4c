"""The records that cross the floors: images that people judged, and these as they are shown.

The label of a pair is always the index of the *displayed* image that people prefer (0: the first one shown, 1: the
second).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

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


class Shown(Protocol):
    """What a question is asked about: images made for one prompt, in the order in which a model sees them."""

    @property
    def prompt(self) -> str:
        """What the images were made from."""

    @property
    def images(self) -> tuple[Image, ...]:
        """The images in displayed order."""

    @property
    def columns(self) -> Mapping[str, Any]:
        """Further columns of the data row."""

    @property
    def name(self) -> str:
        """What messages call it: "pair 17"."""

    @property
    def identity(self) -> tuple[str | int, ...]:
        """What tells it from all else that is judged, its display order included."""

    @property
    def index(self) -> int:
        """Its place in its data set."""

    @property
    def epoch(self) -> int:
        """The epoch in which it is shown."""

    @property
    def counted(self) -> bool:
        """False for what is judged twice, only to keep several processes in step: it enters no figure."""


@dataclass(frozen=True, eq=False)
class ShownPair:
    """A pair in the order in which a model sees it."""

    pair: PreferencePair
    first: Side
    """Which image is displayed first."""
    index: int
    """The pair's place in its data set."""
    epoch: int = 0
    counted: bool = True
    """False for a pair that is judged twice, only to keep several processes in step: it enters no figure."""

    @property
    def images(self) -> tuple[Image, Image]:
        """The two images in displayed order."""
        pair = self.pair
        return (pair.image_a, pair.image_b) if self.first == "a" else (pair.image_b, pair.image_a)

    @property
    def label(self) -> int | None:
        """Index of the displayed image that people prefer, or None for a tie."""
        preferred = self.pair.preferred
        return None if preferred is None else int(preferred != self.first)

    @property
    def prompt(self) -> str:
        """What the images were made from."""
        return self.pair.prompt

    @property
    def columns(self) -> Mapping[str, Any]:
        """Further columns of the data row."""
        return self.pair.columns

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"pair {self.pair.pair_id}"

    @property
    def identity(self) -> tuple[str | int, ...]:
        """The pair, and which image is displayed first."""
        return (self.pair.pair_id, self.first)


@dataclass(frozen=True, eq=False)
class ShownImage:
    """One image, to be judged by itself."""

    prompt: str
    image: Image
    name: str
    index: int
    share: float | None = None
    """People's rating as its place on the rating's scale, in [0, 1]; None where nobody rated the image."""
    columns: Mapping[str, Any] = field(default_factory=dict)
    epoch: int = 0
    counted: bool = True

    @property
    def images(self) -> tuple[Image, ...]:
        """The image alone."""
        return (self.image,)

    @property
    def identity(self) -> tuple[str | int, ...]:
        """Its name."""
        return (self.name,)


@dataclass(frozen=True, eq=False)
class ShownList:
    """A ranked list in the order in which a model sees its images."""

    ranked: "RankedList"
    order: tuple[int, ...]
    """Which image of the list is displayed first, second, and so on."""
    index: int
    epoch: int = 0
    counted: bool = True

    @property
    def prompt(self) -> str:
        """What the images were made from."""
        return self.ranked.prompt

    @property
    def images(self) -> tuple[Image, ...]:
        """The images in displayed order."""
        return tuple(self.ranked.images[place] for place in self.order)

    @property
    def ranks(self) -> tuple[float, ...]:
        """People's ranks in displayed order; 1 is best, and equal ranks are ties."""
        return tuple(self.ranked.ranks[place] for place in self.order)

    @property
    def columns(self) -> Mapping[str, Any]:
        """Further columns of the data row."""
        return self.ranked.columns

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"list {self.ranked.list_id}"

    @property
    def identity(self) -> tuple[str | int, ...]:
        """The list, and its display order."""
        return (self.ranked.list_id, *self.order)


@dataclass(frozen=True, eq=False)
class Demonstration:
    """What is shown, with the thoughts and the answer a model shall learn to write (supervised fine-tuning)."""

    shown: Shown
    trace: str
    answer: int
    """Index of the label the demonstration answers with; of a pair: of the displayed image."""


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


class OtherKindError(TypeError, ValueError):
    """Something is about pairs, images or lists, and was shown another of these; it is an option that is wrong."""


def a_pair(shown: Shown, who: str) -> ShownPair:
    """What is shown, if it is a pair.

    Args:
        shown: what is shown.
        who: who asks about pairs alone.

    Raises:
        OtherKindError: it is something else.
    """
    if not isinstance(shown, ShownPair):
        raise OtherKindError(
            f"{who} is about pairs of images, got {shown.name} ({type(shown).__name__}): choose a source of pairs, or "
            "what goes with this source"
        )
    return shown


class Demonstrator(ABC):
    """Writes, or looks up, the thoughts and the answer to learn."""

    @abstractmethod
    def __call__(self, shown: Shown) -> Demonstration:
        """The demonstration for what is shown, in this epoch.

        Thoughts that were written about one display order are shown in it, whatever order they are asked for.
        """

    def places(self, pairs: PairSource) -> Sequence[int] | None:
        """The places of the pairs that there are demonstrations for, in order; None: for all of them.

        Raises:
            ValueError: there are none, or they are of other pairs.
        """
        return None
