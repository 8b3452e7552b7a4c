"""What is made of a ranking's scores alone: the same of a judge in this process and of one at a distance."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, TypeVar

from lit_listener.judging.anchors import Anchor
from lit_listener.judging.pictures import ImageLike
from lit_listener.judging.results import Scored

Image = TypeVar("Image", bound=ImageLike)


class Scores(ABC):
    """A judge's methods that need no more of a ranking than its scores."""

    @abstractmethod
    def _scored(self, prompt: str, images: Iterable[ImageLike], **options: Any) -> Scored:
        """A ranking of which the scores are read; its traces need not be there."""

    def score(self, prompt: str, images: Iterable[ImageLike], anchor: Anchor = None, **options: Any) -> list[float]:
        """The scores of ``rank``, such as the probability that an image is preferred to the anchor."""
        return list(self._scored(prompt, images, anchor=anchor, **options).scores)

    def inference_rank(self, prompt: str, images: Iterable[ImageLike], **options: Any) -> tuple[list[int], list[float]]:
        """Ranks and scores in the form of ImageReward's method of this name.

        Returns:
            ``ranking``, in which ranking[i] is image i's rank and 1 is best, and ``rewards``, the scores of ``rank``.
        """
        ranking = self._scored(prompt, images, **options)
        return list(ranking.ranks), list(ranking.scores)

    def best_of(self, prompt: str, images: Iterable[Image], keep: int = 1, **options: Any) -> list[Image]:
        """The best of N images, best first: what is kept of N samples of a text-to-image model.

        Args:
            prompt: what the images were made from.
            images: N candidates.
            keep: how many to keep; at least 1.
            options: those of ``rank``.

        Raises:
            ValueError: ``keep`` is below 1 or above N.
        """
        candidates = list(images)
        if not 1 <= keep <= len(candidates):
            raise ValueError(f"keep: expected from 1 to {len(candidates)}, the number of images, got {keep}")
        return [candidates[place] for place in self._scored(prompt, candidates, **options).order[:keep]]
