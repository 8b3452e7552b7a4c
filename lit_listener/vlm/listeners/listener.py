"""What a listener is: a frozen model that hears a chain of thought without its answer, and says what it now thinks.

What it is given is a ``Hearing``, and its word is ``Heard``: the probability of each answer label.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lit_listener.data.shown import Shown
from lit_listener.tasks import Task, Transcript
from lit_listener.vlm.backbone import Scores
from lit_listener.vlm.completions import Completions
from lit_listener.vlm.passes import InPasses, at_once
from lit_listener.vlm.streams import ItemKey


def never() -> bool:
    """Nobody asked to stop."""
    return False


@dataclass(frozen=True)
class Rescored:
    """Completions that were not sampled but written down, and what a model would answer after each."""

    completions: Completions
    places: Sequence[int]
    """Each one's answer place."""
    scores: Scores | None
    """None of a reference that is not there."""


Rescore = Callable[[Sequence[str]], Rescored]
"""Scores the answer after each of N texts; the texts end where the answer stands."""


@dataclass(frozen=True)
class Hearing:
    """What a listener is given: N = P x G completions and what is known of them."""

    shown: Sequence[Shown]
    """What the P questions are about."""
    keys: Sequence[ItemKey]
    """The P questions' random-stream keys."""
    labels: Sequence[int | None]
    """The right label's index of each of the P; None where it is unknown."""
    completions: Completions
    transcripts: Sequence[Transcript]
    trace_bytes: Sequence[bytes]
    """The N completions up to the answer's place (all of it where there is none)."""
    trace_ids: Sequence[Sequence[int]]
    """The same as the reasoner's token ids."""
    reference: Scores | None
    """The reference's word on them; None where no reference was asked, and only a model of its own can hear."""
    in_passes: InPasses = at_once
    """Cuts a listener's own scoring into passes that fit."""
    rescore: Rescore | None = None
    """The reference's word on other texts about the same questions; None where no reference can be asked."""
    stop_asked: Callable[[], bool] = never
    """Whether the run was asked to stop: who waits for something that may never come gives up then."""

    @property
    def group_size(self) -> int:
        """Completions a question."""
        return len(self.transcripts) // len(self.shown)

    @property
    def readable_N(self) -> Tensor:
        """True where a completion has an answer place, and so a p(correct)."""
        return torch.tensor([transcript.answer_token is not None for transcript in self.transcripts])


@dataclass(frozen=True)
class Heard:
    """A listener's word on N completions."""

    p_label_NL: Tensor
    """Probability of each answer label, renormalised over the labels; meaningless where unreadable."""
    readable_N: Tensor
    discarded_mass_N: Tensor
    """Probability that went to tokens that are no label, before renormalising."""

    @classmethod
    def joined(cls, parts: Sequence["Heard"]) -> "Heard":
        """A listener's word on completions that it heard one part after another."""
        return cls(
            torch.cat([part.p_label_NL for part in parts]),
            torch.cat([part.readable_N for part in parts]),
            torch.cat([part.discarded_mass_N for part in parts]),
        )

    def p_correct_N(self, labels_N: Tensor) -> Tensor:
        """The probability of the right image, p_corr of Eq. 5."""
        return self.p_label_NL.gather(1, labels_N[:, None]).squeeze(1)


class Listener(nn.Module, ABC):
    """A frozen judge of other models' thoughts."""

    reads_reference: bool = True
    """Whether it reads the reference's scores; where nobody does and there is no KL penalty, no reference is loaded."""

    def prepare(self, task: Task, tokenizer: object) -> None:
        """Load what is needed, once, before training.

        Args:
            task: the task whose labels are read.
            tokenizer: the reasoner's tokenizer.
        """

    @property
    def in_evaluation(self) -> "Listener":
        """Who listens in validation and test: itself; for a control, whose word says nothing, the reference."""
        return self

    def metrics(self) -> dict[str, float]:
        """What the last hearing took, for the step's log: the same keys each time; by default nothing."""
        return {}

    @abstractmethod
    def hear(self, hearing: Hearing) -> Heard:
        """Score N completions. An exception stops the run: a failure never becomes a number."""
