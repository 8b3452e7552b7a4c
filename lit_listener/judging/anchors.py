"""The anchor of a ranking: the image that every other is compared with, so that N images take N - 1 comparisons.

Gambashidze et al. 2025 draw it at random. Here the draw depends on seed, prompt and the images themselves, not on their
places: the same images in another order have the same anchor, and the same scores.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from lit_listener.judging.pictures import ImageLike, Picture, picture
from lit_listener.judging.results import AnchorChoice

Anchor: TypeAlias = int | ImageLike | Callable[[str], ImageLike] | None
"""The image that others are compared with: its place among them, an image, a callable from prompt to image, or None for
one of them that the seed chooses."""


@dataclass(frozen=True, eq=False)
class ChosenAnchor:
    """An anchor, and how it came to be one."""

    image: Picture
    place: int | None
    """Where it stands among the images; None where it is none of them."""
    choice: AnchorChoice


def choose_anchor(anchor: Anchor, prompt: str, images: Sequence[Picture], seed: int) -> ChosenAnchor:
    """The anchor that is meant.

    Args:
        anchor: see ``Anchor``.
        prompt: what the images were made from.
        images: the images to be ranked.
        seed: seed of the choice, where it is left open.

    Raises:
        IndexError: there is no image at the place.
        TypeError: the anchor is no place, image or callable.
        ValueError: there are no images, or one alone, and nothing to compare it with.
    """
    if not images:
        raise ValueError("images: expected at least one image, got none")
    if isinstance(anchor, bool):
        raise TypeError(f"anchor: expected a place, an image or a callable from prompt to image, got {anchor}")
    if isinstance(anchor, int):
        if not 0 <= anchor < len(images):
            raise IndexError(f"anchor: there is no image {anchor} among {len(images)}; places count from 0")
        return ChosenAnchor(images[anchor], anchor, "place")
    if anchor is None:
        if len(images) == 1:
            raise ValueError(
                "one image alone has nothing to be compared with: give more images, or an anchor to compare it with"
            )
        place = min(range(len(images)), key=lambda at: _lot(seed, prompt, images[at]))
        return ChosenAnchor(images[place], place, "seed")
    given = _called(anchor, prompt) if callable(anchor) else picture(anchor, "anchor")
    same = next((place for place, image in enumerate(images) if image.digest == given.digest), None)
    return ChosenAnchor(given, same, "callable" if callable(anchor) else "image")


def _called(anchor: Callable[[str], ImageLike], prompt: str) -> Picture:
    try:
        image = anchor(prompt)
    except Exception as error:  # whatever a user's function raises
        raise ValueError(
            f"anchor: the callable raised {type(error).__name__} for the prompt {prompt[:80]!r}: {error}"
        ) from error
    return picture(image, f"anchor, for the prompt {prompt[:80]!r}")


def _lot(seed: int, prompt: str, image: Picture) -> bytes:
    return hashlib.sha256(repr((seed, prompt, image.digest)).encode()).digest()
