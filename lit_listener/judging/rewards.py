"""A reward function for training text-to-image models, in the shape that flow_grpo calls.

``fn(images, prompts, metadata) -> (scores, {})``. The images of one prompt in a batch are ranked together; against a
given anchor every image is scored by itself, so that rewards of one prompt agree between processes. So they do of a
judge that rates images, which needs no anchor.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch

from lit_listener.judging.anchors import Anchor
from lit_listener.judging.pictures import ImageLike, Picture, picture
from lit_listener.judging.results import Ranking

RewardFunction: TypeAlias = Callable[[Any, Sequence[str], Any], tuple[list[float], dict[str, Any]]]


class RankMany(Protocol):
    """Ranks lists of images: a judge's method, or a client's."""

    def __call__(
        self, lists: Sequence[tuple[str, list[ImageLike]]], *, progress: bool, **options: Any
    ) -> Sequence[Ranking]:
        """A ranking for each (prompt, images)."""


def reward_function(
    rank_many: RankMany, anchor: Anchor, options: Mapping[str, Any], scores_alone: Callable[[], bool]
) -> RewardFunction:
    """The reward function of a judge.

    Args:
        rank_many: ranks lists of images.
        anchor: None; or an image, or a callable from prompt to image.
        options: those of ``rank``.
        scores_alone: whether one image alone has a score, without an anchor; asked where it matters.

    Raises:
        TypeError: the anchor is a place, which says nothing of a batch.
    """
    if isinstance(anchor, int):
        raise TypeError(f"reward_fn: anchor: expected an image or a callable from prompt to image, got {anchor!r}")

    def reward(images: Any, prompts: Sequence[str], metadata: Any = None) -> tuple[list[float], dict[str, Any]]:
        """Score a batch.

        Args:
            images: ``torch`` NCHW float in [0, 1], ``numpy`` NHWC uint8, or N images in any form.
            prompts: the prompt of each image.
            metadata: not read.

        Returns:
            a score for each image, the higher the better, and an empty dict.

        Raises:
            TypeError: the prompts are one text.
            ValueError: there are not as many prompts as images, or a prompt has one image and there is no anchor.
        """
        pictures, prompts = read_batch(images, prompts)
        places: dict[str, list[int]] = {}
        for place, prompt in enumerate(prompts):
            places.setdefault(prompt, []).append(place)
        alone = [prompt for prompt, its in places.items() if len(its) == 1]
        if alone and anchor is None and not scores_alone():
            raise ValueError(
                f"{len(alone)} prompts have one image in this batch, for instance {alone[0]!r}, and nothing to compare "
                "it with: put all images of a prompt into one batch, or give an anchor: reward_fn(anchor=...)"
            )
        lists: list[tuple[str, list[ImageLike]]] = [
            (prompt, [pictures[place] for place in its]) for prompt, its in places.items()
        ]
        rankings = rank_many(lists, progress=False, anchor=anchor, **options)
        scores = [0.0] * len(pictures)
        for its, ranking in zip(places.values(), rankings, strict=True):
            for place, score in zip(its, ranking.scores, strict=True):
                scores[place] = score
        return scores, {}

    return reward


def read_batch(images: Any, prompts: Sequence[str]) -> tuple[list[Picture], Sequence[str]]:
    """The images of a batch, read, and the prompt of each.

    Args:
        images: ``torch`` NCHW float in [0, 1], ``numpy`` NHWC uint8, or N images in any form.
        prompts: the prompt of each image.

    Raises:
        TypeError: the prompts are one text.
        ValueError: there are not as many prompts as images, or an image cannot be read.
    """
    pictures = [picture(image, f"images[{place}]") for place, image in enumerate(_each(images))]
    if isinstance(prompts, str):
        raise TypeError(f"prompts: expected a list, one for each image, got one text: give [prompt] * {len(pictures)}")
    if len(prompts) != len(pictures):
        raise ValueError(
            f"expected one prompt for each image, got {len(prompts)} prompts for {len(pictures)} images; the "
            "images of one prompt repeat it"
        )
    return pictures, prompts


def _each(images: Any) -> list[Any]:
    """The images of a batch, one by one."""
    channels_last = isinstance(images, torch.Tensor) and images.ndim == 4 and images.shape[1] not in (1, 3)
    if channels_last or (isinstance(images, torch.Tensor | np.ndarray) and images.ndim != 4):
        raise ValueError(
            f"expected a batch of images, [N, 3, height, width] (torch) or [N, height, width, 3] (numpy), got "
            f"{list(images.shape)}"
        )
    return list(images)
