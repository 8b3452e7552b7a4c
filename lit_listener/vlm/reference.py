"""The frozen model beside a policy: a copy of its own, or the policy itself with its adapters switched."""

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager

import torch
from torch import nn

from lit_listener.vlm.backbone import Backbone


class Reference(nn.Module):
    """The frozen model that anchors the KL term and, by default, listens.

    Args:
        backbone: where it is computed: a frozen copy, or the policy itself with its adapters switched.
        switch: makes the policy the reference for the time of a ``with`` block; None for a copy.
    """

    def __init__(self, backbone: Backbone, switch: AbstractContextManager[None] | None = None) -> None:
        super().__init__()
        self.switch = switch
        self._backbone = [backbone] if switch else []  # no second registration of the policy as a child
        self.copy = None if switch else backbone

    @contextlib.contextmanager
    def active(self) -> Iterator[Backbone]:
        """The reference's backbone, in eval mode, without gradients; the mode it was in is restored."""
        backbone = self._backbone[0] if self.copy is None else self.copy
        training = backbone.training
        with torch.no_grad(), self.switch or contextlib.nullcontext():
            try:
                yield backbone.eval()
            finally:
                backbone.train(training)
