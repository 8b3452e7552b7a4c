"""What a request comes down to: questions to think about, and what is made of the thoughts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from lit_listener.judging.thoughts import Showing, Thought

Result_co = TypeVar("Result_co", covariant=True)


@dataclass(frozen=True)
class Plan(Generic[Result_co]):
    """Questions to think about, and what is made of the thoughts."""

    showings: Sequence[Showing]
    conclude: Callable[[Sequence[Sequence[Thought]]], Result_co]
    """Takes for each of the showings the thoughts about it."""


@dataclass(frozen=True)
class Asking:
    """What all requests say: the prompt, and how it is asked about."""

    prompt: str
    rollouts: int
    both_orders: bool
    seed: int
    listen: bool
