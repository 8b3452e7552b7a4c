"""The record of questions on their way through a step: pairs, prompts and image features, cut together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from lit_listener.data.records import ShownPair
from lit_listener.vlm.encoding import PromptBatch
from lit_listener.vlm.streams import ItemKey


@dataclass(frozen=True)
class Asked:
    """P shown pairs as a model sees them: prompts and their image features."""

    shown: Sequence[ShownPair]
    keys: list[ItemKey]
    prompts: PromptBatch
    features_MD: Tensor
    feature_rows_I: Tensor
    """Feature rows of each image."""

    def select(self, prompts: slice) -> "Asked":
        """Some of the prompts with their features."""
        images = self.prompts.images_of(prompts)
        rows = slice(int(self.feature_rows_I[: images.start].sum()), int(self.feature_rows_I[: images.stop].sum()))
        return Asked(
            shown=self.shown[prompts],
            keys=self.keys[prompts],
            prompts=self.prompts.select(prompts),
            features_MD=self.features_MD[rows],
            feature_rows_I=self.feature_rows_I[images],
        )


def slices(whole: slice, size: int | None) -> Iterator[slice]:
    """A slice cut into slices of ``size``, the last one shorter where it does not divide; None does not cut."""
    size = size or whole.stop - whole.start
    return (slice(at, min(at + size, whole.stop)) for at in range(whole.start, whole.stop, size))
