"""What a model is shown: a pair, an image or a ranked list in its display order; and what it shall learn to say of it.

The label of a pair is always the index of the *displayed* image that people prefer (0: the first one shown, 1: the
second).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from PIL.Image import Image

from lit_listener.data.records import PairSource, PreferencePair, RankedList, Side


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

    ranked: RankedList
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
