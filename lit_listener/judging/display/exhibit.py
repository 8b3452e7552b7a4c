"""The images of a judgement as they are shown to people: each with its name."""

from dataclasses import dataclass

from lit_listener.judging.pictures import Picture
from lit_listener.judging.results import Ranking


@dataclass(frozen=True, eq=False)
class Shown:
    """An image, and what it is called."""

    name: str
    picture: Picture


@dataclass(frozen=True, eq=False)
class Exhibit:
    """What was judged, and by which model."""

    model: str
    images: tuple[Shown, ...]
    anchor: Shown | None = None
    """The anchor of a ranking, where it was given as an image; it may be one of the images."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of all images."""
        return tuple(shown.name for shown in self.images)

    def anchor_of(self, ranking: Ranking) -> Shown | None:
        """The image that a ranking compared all others with; None where there is none.

        Raises:
            ValueError: it is none of the images, and not known.
        """
        if ranking.anchor_choice == "none":
            return None
        if ranking.anchor is not None:
            return self.images[ranking.anchor]
        if self.anchor is None:
            raise ValueError("the ranking's anchor is none of its images: expected it in the exhibit as well")
        return self.anchor
