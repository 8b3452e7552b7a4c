"""Features of images that were encoded before: within a batch, and, if memory is given for it, in earlier ones.

Ranked lists show a picture in several pairs, and every epoch shows all of them again; where the vision tower is frozen,
its features are the same each time. A picture is known by its patches and their grid, so that scaling, order and place
do not matter. The features themselves are not changed by it: only the rows of other images in the same pass differ.
"""

import hashlib
import math
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from lit_listener.vlm import ranks
from lit_listener.vlm.backbone import Backbone
from lit_listener.vlm.encoding import PromptBatch

_SAMPLED_ROWS = 8
"""Patch rows by which images that may be the same are found; they are compared whole."""


class ImageCache:
    """Encodes images, each picture of a batch once, and keeps features in the host's memory, the latest used.

    To know a picture again its patches are hashed (SHA-256, about 15 ms for an image of 1024x1024); without memory for
    features, pictures of one batch are compared instead, which costs next to nothing.

    Args:
        mib: memory for features, in MiB; 0 keeps none.
        frozen: whether the vision tower stays as it is.

    Raises:
        ValueError: features would be kept of a tower that changes.

    Attributes:
        hits: images whose features were kept from an earlier batch.
        bytes_kept: memory that the kept features take; never above the bound.
    """

    def __init__(self, mib: float = 0.0, *, frozen: bool = True) -> None:
        if mib and not frozen:
            raise ValueError(
                f"model.memory.cached_features_mib: features ({mib} MiB of them) cannot be kept while training changes "
                "them; set it to 0, or model.policy.train_vision to false"
            )
        self.bound = int(mib * 2**20)
        self.hits = 0
        self.bytes_kept = 0
        self._kept: OrderedDict[Hashable, Tensor] = OrderedDict()

    def features(self, backbone: Backbone, prompts: PromptBatch, patches_RC: Tensor) -> Tensor:
        """The features of a batch's images, as ``Backbone.image_features`` gives them.

        With a sharded tower all ranks must call this as often.

        Args:
            backbone: whose vision tower encodes; the same one each time, and frozen where features are kept.
            prompts: the batch, on the backbone's device.
            patches_RC: its patch rows, on the host.

        Returns:
            features ``[M, D]`` on the backbone's device.
        """
        grids_I = [tuple(grid) for grid in prompts.image_grid_I3.tolist()]
        patches_I = patches_RC.split([math.prod(grid) for grid in grids_I])
        named = _digests if self.bound else _first_alike
        names_I = named(patches_I, grids_I)
        found: dict[Hashable, Tensor] = {}
        missing: dict[Hashable, int] = {}
        for place, name in enumerate(names_I):
            if name in self._kept:
                self._kept.move_to_end(name)
                found[name] = self._kept[name].to(backbone.device)
                self.hits += 1
            else:
                missing.setdefault(name, place)
        if not self.bound or ranks.any_rank(bool(missing)):
            # a rank that needs none encodes one all the same: the others may wait for its part of the weights
            encoded = _encoded(backbone, prompts, list(missing.values()) or [0])
            for name, features_MD in zip(missing, encoded, strict=False):
                found[name] = features_MD
                self._keep(name, features_MD)
        return torch.cat([found[name] for name in names_I])

    def _keep(self, name: Hashable, features_MD: Tensor) -> None:
        """Keep a copy, and forget what was not used for longest until there is room for it."""
        size = features_MD.nelement() * features_MD.element_size()
        if size > self.bound:
            return
        while self.bytes_kept + size > self.bound:
            _, forgotten = self._kept.popitem(last=False)
            self.bytes_kept -= forgotten.nelement() * forgotten.element_size()
        self._kept[name] = features_MD.to("cpu", copy=True)  # a view would keep the whole batch
        self.bytes_kept += size


def _encoded(backbone: Backbone, prompts: PromptBatch, images: Sequence[int]) -> tuple[Tensor, ...]:
    """The features of some of the batch's images, each apart."""
    patches_I = prompts.image_grid_I3.prod(-1).tolist()
    if len(images) < len(patches_I):
        rows = prompts.pixel_values_RC.split(patches_I)
        prompts = replace(  # only images are read of it
            prompts,
            pixel_values_RC=torch.cat([rows[image] for image in images]),
            image_grid_I3=prompts.image_grid_I3[list(images)],
        )
    features_MD = backbone.image_features(prompts)
    merged = len(prompts.pixel_values_RC) // len(features_MD)
    parts: tuple[Tensor, ...] = features_MD.split([patches_I[image] // merged for image in images])
    return parts


def _digests(patches_I: Sequence[Tensor], grids_I: Sequence[tuple[int, ...]]) -> Sequence[Hashable]:
    """What pictures are known by in every batch: their patches' bytes and their grid, hashed."""
    digests = [hashlib.sha256(repr(grid).encode()) for grid in grids_I]
    for digest, patches_RC in zip(digests, patches_I, strict=True):
        digest.update(_bytes(patches_RC))
    return [digest.digest() for digest in digests]


def _first_alike(patches_I: Sequence[Tensor], grids_I: Sequence[tuple[int, ...]]) -> Sequence[Hashable]:
    """For each image the place of the first one with the same patches and grid."""
    alike: dict[Hashable, list[int]] = {}
    first_I: list[int] = []
    for place, (patches_RC, grid) in enumerate(zip(patches_I, grids_I, strict=True)):
        sample = patches_RC[:: max(1, len(patches_RC) // _SAMPLED_ROWS)]
        candidates = alike.setdefault((grid, bytes(_bytes(sample))), [])
        same = next((other for other in candidates if torch.equal(patches_I[other], patches_RC)), None)
        if same is None:
            candidates.append(place)
        first_I.append(place if same is None else same)
    return first_I


def _bytes(patches_RC: Tensor) -> memoryview:
    return patches_RC.contiguous().view(torch.uint8).numpy().data
