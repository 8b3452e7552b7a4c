"""The record of questions on their way through a step, and a packed pass over some of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lit_listener.data.shown import Shown
from lit_listener.vlm.backbone import Backbone, Scores
from lit_listener.vlm.completions import Completions
from lit_listener.vlm.encoding import PromptBatch
from lit_listener.vlm.packing import pack
from lit_listener.vlm.passes import Pass
from lit_listener.vlm.streams import ItemKey


@dataclass(frozen=True)
class Asked:
    """P questions as a model sees them: prompts and their image features."""

    shown: Sequence[Shown]
    """What each question is about."""
    keys: list[ItemKey]
    labels: Sequence[int | None]
    """Index of the right label of each question; None where it is unknown."""
    prompts: PromptBatch
    features_MD: Tensor

    def select(self, prompts: slice) -> "Asked":
        """Some of the prompts with their features."""
        return Asked(
            shown=self.shown[prompts],
            keys=self.keys[prompts],
            labels=self.labels[prompts],
            prompts=self.prompts.select(prompts),
            features_MD=self.prompts.features_of(prompts, self.features_MD),
        )

    def picked(self, places: Sequence[int]) -> "Asked":
        """Prompts at these places, with their features; one may be picked several times."""
        features = [self.prompts.features_of(slice(place, place + 1), self.features_MD) for place in places]
        return Asked(
            shown=[self.shown[place] for place in places],
            keys=[self.keys[place] for place in places],
            labels=[self.labels[place] for place in places],
            prompts=self.prompts.picked(places),
            features_MD=torch.cat(features),
        )


def packed_scores(
    backbone: Backbone,
    asked: Asked,
    completions: Completions,
    each: Pass,
    temperature: float,
    *,
    encode_images: bool = False,
    **reads: Any,
) -> Scores:
    """One packed pass of policy or reference over the completions of a pass.

    Args:
        backbone: the model.
        asked: P prompts and their image features.
        completions: their N completions.
        each: which of them.
        temperature: what they were sampled with.
        encode_images: encode the images in this pass, for the gradients of the vision tower.
        reads: what else is read (``Backbone.score``).
    """
    asked = asked.select(each.prompts)
    return backbone.score(
        pack(asked.prompts, completions.select(each.rows)),
        backbone.image_features(asked.prompts) if encode_images else asked.features_MD,
        temperature=temperature,
        **reads,
    )
