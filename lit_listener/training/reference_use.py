"""Who uses the frozen reference in training, and how it may follow the policy.

The reference anchors the KL term and, by default, listens. Where it does neither, it is not there: no copy is held and
no pass is made. It may also be taken anew from the policy every so many steps, so that KL is measured from a policy
that is not too old (the hard update of TR-DPO, Gorbatovski et al. 2024).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from lit_listener.tasks import Transcript
from lit_listener.training.step_report import require_finite
from lit_listener.vlm.asked import Asked
from lit_listener.vlm.backbone import Backbone, Scores
from lit_listener.vlm.completions import Completions
from lit_listener.vlm.listeners import Listener
from lit_listener.vlm.reference import Reference
from lit_listener.vlm.sharding import only_shards


class HasReference(Protocol):
    """A module with the named step that asks the reference."""

    def reference_scores(
        self, asked: Asked, completions: Completions, transcripts: Sequence[Transcript]
    ) -> Scores | None:
        """The reference's word."""


class Anchored:
    """The reference is asked about every rollout."""

    makes_a_pass = True

    def scores(
        self, module: HasReference, asked: Asked, completions: Completions, transcripts: Sequence[Transcript]
    ) -> Scores | None:
        """Its word on the completions, once it is known to be numbers."""
        scores = module.reference_scores(asked, completions, transcripts)
        if scores is not None:
            require_finite("the reference's log-probabilities", scores.log_probs_NT[completions.mask_NT])
        return scores


class Free:
    """Nobody reads the reference, and no pass of it is made."""

    makes_a_pass = False

    def scores(
        self, module: HasReference, asked: Asked, completions: Completions, transcripts: Sequence[Transcript]
    ) -> Scores | None:
        """None."""
        return None


def use_of_reference(listener: Listener, kl_weight: float) -> Anchored | Free:
    """What a training step does with the reference."""
    return Anchored() if kl_weight > 0 or listener.reads_reference else Free()


def is_read(listeners: Iterable[Listener | None]) -> bool:
    """Whether any of some listeners reads the reference, in training or in its stead in evaluation."""
    known = [listener for listener in listeners if listener is not None]
    return any(listener.reads_reference or listener.in_evaluation.reads_reference for listener in known)


class ReferenceRefresh(ABC):
    """How the reference follows the policy."""

    refreshes: bool = True
    """Whether it does, so that it is a copy of its own whose weights a checkpoint holds."""

    @abstractmethod
    def check(self, listener: Listener, kl_weight: float) -> None:
        """Refuse, at construction, what it would make no sense with.

        Raises:
            ValueError: it does not go with this listener, or with this weight of the KL term.
        """

    @abstractmethod
    def __call__(self, policy: Backbone, reference: Reference | None, step: int) -> None:
        """What is done after so many optimizer steps."""


class KeepReference(ReferenceRefresh):
    """The reference stays what it was."""

    refreshes = False

    def check(self, listener: Listener, kl_weight: float) -> None:
        """It goes with everything."""

    def __call__(self, policy: Backbone, reference: Reference | None, step: int) -> None:
        """Nothing."""


class RefreshEvery(ReferenceRefresh):
    """Takes the policy's weights for the reference's every so many optimizer steps.

    The reference is then a copy of its own, of which a checkpoint holds the weights: with adapters, a second adapter.

    Args:
        steps: optimizer steps between two copies; at least 1.
    """

    def __init__(self, steps: int) -> None:
        if steps < 1:
            raise ValueError(f"model.reference_refresh.steps: expected at least 1 optimizer step, got {steps}")
        self.steps = steps

    def check(self, listener: Listener, kl_weight: float) -> None:
        """Refuse a reference that listens, or that nothing is measured from.

        Raises:
            ValueError: the listener would change with the policy that it judges; or there is no KL term.
        """
        if is_read([listener]):
            raise ValueError(
                f"model.reference_refresh: {type(listener).__name__} hears with the reference (in evaluation, if not "
                "in training), which would become the policy that it is to judge; name a ModelListener as "
                "model.listener"
            )
        if not kl_weight > 0:
            raise ValueError(
                "model.reference_refresh: with model.objective.kl_weight 0 nothing is measured from the reference; "
                "leave it out, or set a weight above 0"
            )

    def __call__(self, policy: Backbone, reference: Reference | None, step: int) -> None:
        """Copy, if it is due after so many optimizer steps."""
        if step % self.steps == 0 and reference is not None:
            for backbone in filter(None, (policy, reference.copy)):
                only_shards(backbone)
            with torch.no_grad():
                for own, frozen in counterparts(policy, reference).values():
                    frozen.copy_(own)


def counterparts(policy: Backbone, reference: Reference) -> dict[str, tuple[Tensor, Tensor]]:
    """The policy's trained weights and the reference's, by the names that the latter have in the training module."""
    own = dict(policy.named_parameters())
    trained = [name for name, parameter in own.items() if parameter.requires_grad]
    if reference.copy is not None:
        frozen = dict(reference.copy.named_parameters())
        return {f"reference.copy.{name}": (own[name], frozen[name]) for name in trained}
    names = {name: name.replace(".default.", ".reference.") for name in trained}
    return {f"policy.{other}": (own[name], own[other]) for name, other in names.items()}
