"""A listener without a preference for a place: it hears each trace about the images in both display orders.

With the images changed over, a trace that says "the first image" is false; it is heard in the other order only where
the task can change its words over too. Other traces are heard in their own order alone, and counted.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch

from lit_listener.data.shown import Shown, ShownPair
from lit_listener.tasks import Task
from lit_listener.tasks.image_names import NamesImages
from lit_listener.vlm.listeners.listener import Heard, Hearing, Listener
from lit_listener.vlm.listeners.rewritten import Rewriter


class BothOrdersListener(Listener):
    """Hears each trace twice, with the images and their names changed over the second time, and takes the mean.

    It costs the other listener's hearing twice. ``listener/one_order_share`` in the log tells how many traces were
    heard in their own order alone, because a name in them is not sure (see ``tasks.image_names``).

    Args:
        listener: who hears; it needs a model of its own, since the reference has read one order alone.
    """

    reads_reference = False

    def __init__(self, listener: Listener) -> None:
        super().__init__()
        if listener.reads_reference:
            raise ValueError(
                "model.listener: BothOrdersListener needs a listener with a model of its own, since the reference has "
                f"read the images in one order alone, got {type(listener).__name__}: name the reference's model, "
                "ModelListener(model, context: reasoner)"
            )
        self.listener = listener
        self._one_order_share = float("nan")

    def prepare(self, task: Task, tokenizer: object) -> None:
        """Prepare the other listener.

        Raises:
            ValueError: the task does not know how traces name images.
        """
        if not isinstance(task, NamesImages):
            raise ValueError(  # noqa: TRY004  # an option is wrong, not an argument's type
                f"model.listener: BothOrdersListener needs a task that can change images' names over in a trace, such "
                f"as PairwisePreference, and {type(task).__name__} cannot; take the listener by itself"
            )
        self.listener.prepare(task, tokenizer)
        self.names = task
        self.rewritten = Rewriter(task, tokenizer)

    @property
    def in_evaluation(self) -> Listener:
        """Itself; of a control, who listens for it."""
        other = self.listener.in_evaluation
        return self if other is self.listener else other

    def metrics(self) -> dict[str, float]:
        """The other's numbers of the second hearing, and how many traces were heard in one order alone."""
        return {**self.listener.metrics(), "listener/one_order_share": self._one_order_share}

    def hear(self, hearing: Hearing) -> Heard:
        """The mean of both words, the second with its labels changed back."""
        own = self.listener.hear(hearing)
        thoughts = [self.names.swap_images(transcript.think or "") for transcript in hearing.transcripts]
        other = self.listener.hear(
            self.rewritten(
                hearing,
                thoughts,
                shown=[_changed_over(shown) for shown in hearing.shown],
                labels=_changed_back(hearing.labels, own.p_label_NL.shape[1]),
            )
        )
        both_N = own.readable_N & other.readable_N
        mean_NL = (own.p_label_NL + other.p_label_NL.flip(1)) / 2
        mean_N = (own.discarded_mass_N + other.discarded_mass_N) / 2
        alone_N = own.readable_N & ~both_N
        self._one_order_share = float(alone_N.sum() / own.readable_N.sum())  # NaN where nothing was heard
        return Heard(
            p_label_NL=torch.where(both_N[:, None], mean_NL, own.p_label_NL),
            readable_N=own.readable_N,
            discarded_mass_N=torch.where(both_N, mean_N, own.discarded_mass_N),
        )


def _changed_over(shown: Shown) -> ShownPair:
    """A pair in the other display order.

    Raises:
        ValueError: it is no pair.
    """
    if not isinstance(shown, ShownPair):
        raise ValueError(  # noqa: TRY004  # an option is wrong, not an argument's type
            f"model.listener: BothOrdersListener hears of pairs alone, got {shown.name}; take the listener by itself"
        )
    return replace(shown, first="b" if shown.first == "a" else "a")


def _changed_back(labels: Sequence[int | None], count: int) -> list[int | None]:
    return [None if label is None else count - 1 - label for label in labels]
