"""What a form is: how comparisons and rankings come down to questions of one kind."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lit_listener.data.records import Side
from lit_listener.judging.anchors import Anchor
from lit_listener.judging.pictures import Picture
from lit_listener.judging.plans import Asking, Plan
from lit_listener.judging.results import Comparison, Ranking
from lit_listener.judging.thoughts import Showing


@dataclass(frozen=True)
class Look:
    """Two images in one display order."""

    showing: Showing
    p_a: Callable[[tuple[float, ...]], float]
    """Makes p(A preferred) of the labels' probabilities."""


class Form(ABC):
    """One way of comparing and ranking; chosen once, by the judge's task.

    A showing may display any number of images: one to be rated, two to be compared, or a list to choose from.
    """

    scores_alone: bool
    """Whether one image alone, without an anchor, has a score."""

    @abstractmethod
    def compare(self, asking: Asking, image_a: Picture, image_b: Picture) -> Plan[Comparison]:
        """What is to be thought about to compare two images."""

    @abstractmethod
    def rank(self, asking: Asking, images: Sequence[Picture], anchor: Anchor) -> Plan[Ranking]:
        """What is to be thought about to rank images.

        Raises:
            IndexError: the anchor's place is none of the images'.
            ValueError: there are too few images or too many, or the anchor is none that this form can use.
        """

    def look(self, asking: Asking, image_a: Picture, image_b: Picture, first: Side) -> Look:
        """Two images as a trace about them was shown them.

        Args:
            asking: the prompt, and how it is asked about.
            image_a: image A.
            image_b: image B.
            first: which of them is displayed first.

        Raises:
            ValueError: this form displays no two images beside each other.
        """
        raise ValueError(
            "heat: expected a judge that compares two images at once; this one rates each by itself, so that no trace "
            "of it is about a pair"
        )
