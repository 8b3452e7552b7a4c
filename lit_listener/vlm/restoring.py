"""A policy with the weights that a run trained: what exporting and judging start from.

Only the policy is built, and what of its reference costs no second copy: neither data, trainer nor listener are needed,
nor the device of the training.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lit_listener.vlm.backbone import Backbone
from lit_listener.vlm.encoding import Reader
from lit_listener.vlm.loading import load, load_backbone
from lit_listener.vlm.reference import Reference
from lit_listener.vlm.specs import PolicySpec, ReferenceName

_PREFIX = "policy."  # of the policy's weights in the training module


@dataclass(frozen=True)
class Restored:
    """A policy with trained weights."""

    policy: Backbone
    reader: Reader
    adapter: Any = None
    """The peft model around the policy's; None where it has no adapters."""
    reference: Reference | None = None
    """The same model with its adapters switched; None where it has none."""
    shares_vision: bool = False
    """Whether the reference sees images as the policy does."""


def restore(
    spec: PolicySpec,
    weights: Mapping[str, Tensor],
    reference: ReferenceName = "base",
    place: torch.device | None = None,
) -> Restored:
    """The policy with a checkpoint's weights.

    Args:
        spec: the policy of the run that it is of, in the number format that is wanted now.
        weights: trained weights by their names in the training module.
        reference: what adapters are switched to for the reference.
        place: where 4-bit weights are to be; by default as in training.

    Raises:
        FileNotFoundError: the base is not there.
        ValueError: the weights are of another model than the specification's.
    """
    if spec.lora is not None:
        restored = with_adapter(spec, reference, place)
    else:
        policy, reader = load_backbone(spec.start or spec.base, spec, place=place)
        policy.requires_grad_(True)
        policy.vision_tower.requires_grad_(spec.train_vision)
        restored = Restored(policy, reader)
    take_weights(restored.policy, weights)
    return restored


def with_adapter(spec: PolicySpec, reference: ReferenceName, place: torch.device | None = None) -> Restored:
    """A base with the adapter that is ``spec.start``, or fresh ones; see ``restore``."""
    models = load(spec, reference, place=place)
    return Restored(models.policy, models.reader, models.adapter, models.reference, models.shares_vision)


def take_weights(policy: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy trained weights into a policy: exactly those that it trains."""
    weights = {name: weight for name, weight in weights.items() if not _of_reference(name)}
    own = {_PREFIX + name: parameter for name, parameter in policy.named_parameters() if parameter.requires_grad}
    _refuse("lacks", own.keys() - weights.keys())
    _refuse("has also", weights.keys() - own.keys())
    for name, parameter in own.items():
        if parameter.shape != weights[name].shape:
            raise ValueError(
                f"the checkpoint has {name} in the shape {list(weights[name].shape)}, the config's model in "
                f"{list(parameter.shape)}"
            )
        parameter.data.copy_(weights[name])


def _of_reference(name: str) -> bool:
    """Whether a weight is the reference's, which is in the checkpoint where it followed the policy."""
    return name.startswith("reference.") or ".reference." in name


def _refuse(what: str, names: Iterable[str]) -> None:
    found = sorted(names)
    if found:
        raise ValueError(
            f"the checkpoint holds other weights than the config's model trains: it {what} {len(found)} of them, for "
            f"instance {found[0]}"
        )
