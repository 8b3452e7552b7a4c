"""Chains of thought as a judge's results hold them: frozen records, each with what it amounts to."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from lit_listener.data.records import Side


@dataclass(frozen=True)
class Trace:
    """One chain of thought about two images, and what it amounts to."""

    first: Side
    """Which of the two images was displayed first: the trace's "first image"."""
    rollout: int
    """Which of the k completions in this display order, from 0."""
    text: str
    """The completion as it was written."""
    thinking: str
    """Its thoughts."""
    answer: Side | None
    """The image it answers with; None where no answer can be read."""
    p_a: float
    """Probability that image A is preferred, read off the answer labels' logits (Eq. 4)."""
    forced: bool
    """Whether the trace led to no answer's place, was closed (``</think><answer>``), and the labels were read there."""
    outcome: str
    """How the completion came out (``lit_listener.tasks.Outcome``); "ok" if it keeps the form."""
    contradicts: bool
    """Whether the thoughts state one verdict and the answer gives the other."""
    tokens: int
    """Length of the completion, end token included."""
    listener_p_a: float | None = None
    """The listener's probability that image A is preferred, having read the thoughts without their answer."""


@dataclass(frozen=True)
class RatingTrace:
    """One chain of thought about one image, and what it amounts to."""

    rollout: int
    """Which of the k completions about the image, from 0."""
    text: str
    """The completion as it was written."""
    thinking: str
    """Its thoughts."""
    answer: str | None
    """The rating it answers with, by its label; None where no answer can be read."""
    score: float
    """The expected rating's place on the scale, in [0, 1], read off the answer labels' logits (Eq. 3)."""
    forced: bool
    """Whether the trace led to no answer's place, was closed (``</think><answer>``), and the labels were read there."""
    outcome: str
    """How the completion came out (``lit_listener.tasks.Outcome``); "ok" if it keeps the form."""
    contradicts: bool
    """Whether the thoughts state one rating and the answer gives another."""
    tokens: int
    """Length of the completion, end token included."""
    listener_score: float | None = None
    """The listener's expected rating on the same scale, having read the thoughts without their answer."""


@dataclass(frozen=True)
class ListTrace:
    """One chain of thought about all images of a list, and what it amounts to."""

    order: tuple[int, ...]
    """The images' places in displayed order: order[0] was displayed first."""
    rollout: int
    """Which of the k completions in this display order, from 0."""
    text: str
    """The completion as it was written."""
    thinking: str
    """Its thoughts."""
    answer: int | None
    """Place of the image it answers with; None where no answer can be read, or it is none of the images."""
    scores: tuple[float, ...]
    """For each image, by its place, the probability of being the best, read off the answer labels' logits; their sum
    is 1."""
    forced: bool
    """Whether the trace led to no answer's place, was closed (``</think><answer>``), and the labels were read there."""
    outcome: str
    """How the completion came out (``lit_listener.tasks.Outcome``); "ok" if it keeps the form."""
    contradicts: bool
    """Whether the thoughts call one image the best and the answer another."""
    tokens: int
    """Length of the completion, end token included."""
    listener_scores: tuple[float, ...] | None = None
    """The listener's probabilities, like ``scores``, having read the thoughts without their answer."""

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON has it."""
        return {name: list(each) if isinstance(each, tuple) else each for name, each in asdict(self).items()}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> "ListTrace":
        """The record of which ``to_dict`` gave this.

        Raises:
            TypeError: it has other fields.
        """
        fields: dict[str, Any] = {name: tuple(each) if isinstance(each, list) else each for name, each in given.items()}
        return cls(**fields)
