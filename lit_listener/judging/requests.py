"""What a judge is asked, checked, with its images read.

A request knows nothing of models. A judge's form (``judging/forms``) says which questions it comes down to (``Plan``),
and makes a result of the thoughts about them: so requests of any kind can be answered in one batch.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from PIL.Image import Image

from lit_listener.judging.anchors import Anchor
from lit_listener.judging.forms import Form
from lit_listener.judging.pictures import ImageLike, picture
from lit_listener.judging.plans import Asking, Plan
from lit_listener.judging.results import Comparison, Ranking

Result_co = TypeVar("Result_co", covariant=True)


class Request(Protocol[Result_co]):
    """What a judge can be asked."""

    def asking(self) -> Asking:
        """What it says beside its images, checked.

        Raises:
            TypeError: an option is of another type.
            ValueError: an option is out of its range.
        """

    def plan(self, form: Form) -> "Plan[Result_co]":
        """Check the request, read its images, and say what is to be thought about.

        Args:
            form: how the judge that is asked goes about its work.

        Raises:
            FileNotFoundError: an image file is not there.
            TypeError: an image is of an unknown kind.
            ValueError: the request cannot be answered.
        """


@dataclass(frozen=True, eq=False)
class CompareRequest:
    """Which of two images is better? See ``Judge.compare``."""

    prompt: str
    image_a: ImageLike
    image_b: ImageLike
    rollouts: int = 1
    both_orders: bool = True
    seed: int = 0
    listen: bool = False

    def asking(self) -> Asking:
        """What it says beside its images, checked."""
        return _checked(Asking(self.prompt, self.rollouts, self.both_orders, self.seed, self.listen))

    def plan(self, form: Form) -> Plan[Comparison]:
        """What the form makes of it."""
        asking = self.asking()
        return form.compare(asking, picture(self.image_a, "image_a"), picture(self.image_b, "image_b"))


@dataclass(frozen=True, eq=False)
class RankRequest:
    """How good are these images? See ``Judge.rank``."""

    prompt: str
    images: Iterable[ImageLike]
    rollouts: int = 1
    anchor: Anchor = None
    both_orders: bool = True
    seed: int = 0
    listen: bool = False

    def asking(self) -> Asking:
        """What it says beside its images, checked."""
        return _checked(Asking(self.prompt, self.rollouts, self.both_orders, self.seed, self.listen))

    def plan(self, form: Form) -> Plan[Ranking]:
        """What the form makes of it."""
        asking = self.asking()
        if isinstance(self.images, str | Path | Image):
            raise TypeError(f"images: expected a list of images, got one {type(self.images).__name__}: give [image]")
        return form.rank(
            asking, [picture(image, f"images[{place}]") for place, image in enumerate(self.images)], self.anchor
        )


def _checked(asking: Asking) -> Asking:
    if not isinstance(asking.prompt, str):
        raise TypeError(f"prompt: expected a text, got {type(asking.prompt).__name__}")
    if not asking.prompt.strip():
        raise ValueError("prompt: expected the text that the images were made from, got an empty one")
    for name, number, least in (("rollouts", asking.rollouts, 1), ("seed", asking.seed, None)):
        if not isinstance(number, int) or isinstance(number, bool):
            raise TypeError(f"{name}: expected a whole number, got {number!r}")
        if least is not None and number < least:
            raise ValueError(f"{name}: expected at least {least}, got {number}")
    return asking
