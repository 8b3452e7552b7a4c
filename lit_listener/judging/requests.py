"""What a judge is asked, and how that comes down to pairs of images, each displayed in an order.

A request knows nothing of models. It says which displayed pairs are to be thought about (``Showing``), and makes a
result of the thoughts about them: so requests of any kind can be answered in one batch.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from PIL.Image import Image

from lit_listener.data.records import Side
from lit_listener.judging.anchors import Anchor, choose_anchor
from lit_listener.judging.pictures import ImageLike, Picture, picture
from lit_listener.judging.results import Comparison, Ranking, Trace
from lit_listener.judging.thoughts import Showing, Thought

Result_co = TypeVar("Result_co", covariant=True)
_ORDERS: tuple[tuple[Side, Side], ...] = (("a", "b"), ("b", "a"))


class Request(Protocol[Result_co]):
    """What a judge can be asked."""

    def plan(self) -> "Plan[Result_co]":
        """Check the request, read its images, and say what is to be thought about.

        Raises:
            FileNotFoundError: an image file is not there.
            TypeError: an image is of an unknown kind.
            ValueError: the request cannot be answered.
        """


@dataclass(frozen=True)
class Plan(Generic[Result_co]):
    """Displayed pairs to think about, and what is made of the thoughts."""

    showings: Sequence["Showing"]
    conclude: Callable[[Sequence[Sequence["Thought"]]], Result_co]
    """Takes for each of the showings the thoughts about it."""


@dataclass(frozen=True, eq=False)
class CompareRequest:
    """Which of two images is better? See ``Judge.compare``."""

    prompt: str
    image_a: ImageLike
    image_b: ImageLike
    rollouts: int = 1
    both_orders: bool = True
    seed: int = 0
    listen: bool = False

    def plan(self) -> Plan[Comparison]:
        """One showing for each display order."""
        _check(self.prompt, self.rollouts, self.seed)
        images: dict[Side, Picture] = {
            "a": picture(self.image_a, "image_a"),
            "b": picture(self.image_b, "image_b"),
        }
        orders = _ORDERS if self.both_orders else _ORDERS[:1]
        showings = [
            Showing(self.prompt, images[first], images[second], self.rollouts, self.seed, self.listen)
            for first, second in orders
        ]
        return Plan(showings, self._conclude)

    def _conclude(self, thoughts: Sequence[Sequence[Thought]]) -> Comparison:
        by_order = list(zip(_ORDERS, thoughts, strict=False))
        traces = tuple(
            _trace(thought, order, rollout) for order, each in by_order for rollout, thought in enumerate(each)
        )
        return Comparison(
            prompt=self.prompt,
            p_a=sum(trace.p_a for trace in traces) / len(traces),
            traces=traces,
            rollouts=self.rollouts,
            both_orders=self.both_orders,
            seed=self.seed,
        )


@dataclass(frozen=True, eq=False)
class RankRequest:
    """How good are these images, against one anchor? See ``Judge.rank``."""

    prompt: str
    images: Iterable[ImageLike]
    rollouts: int = 1
    anchor: Anchor = None
    both_orders: bool = True
    seed: int = 0
    listen: bool = False

    def plan(self) -> Plan[Ranking]:
        """The showings of each image's comparison with the anchor."""
        _check(self.prompt, self.rollouts, self.seed)
        if isinstance(self.images, str | Path | Image):
            raise TypeError(f"images: expected a list of images, got one {type(self.images).__name__}: give [image]")
        images = [picture(image, f"images[{place}]") for place, image in enumerate(self.images)]
        chosen = choose_anchor(self.anchor, self.prompt, images, self.seed)
        plans: list[Plan[Comparison] | None] = [
            None
            if place == chosen.place
            else CompareRequest(
                self.prompt, image, chosen.image, self.rollouts, self.both_orders, self.seed, self.listen
            ).plan()
            for place, image in enumerate(images)
        ]

        def conclude(thoughts: Sequence[Sequence[Thought]]) -> Ranking:
            left = iter(thoughts)
            comparisons = tuple(plan.conclude([next(left) for _ in plan.showings]) if plan else None for plan in plans)
            return Ranking(
                prompt=self.prompt,
                scores=tuple(comparison.p_a if comparison else 0.5 for comparison in comparisons),
                anchor=chosen.place,
                anchor_choice=chosen.choice,
                comparisons=comparisons,
                rollouts=self.rollouts,
                both_orders=self.both_orders,
                seed=self.seed,
            )

        return Plan([showing for plan in plans if plan for showing in plan.showings], conclude)


def _check(prompt: str, rollouts: int, seed: int) -> None:
    if not isinstance(prompt, str):
        raise TypeError(f"prompt: expected a text, got {type(prompt).__name__}")
    if not prompt.strip():
        raise ValueError("prompt: expected the text that the images were made from, got an empty one")
    for name, number, least in (("rollouts", rollouts, 1), ("seed", seed, None)):
        if not isinstance(number, int) or isinstance(number, bool):
            raise TypeError(f"{name}: expected a whole number, got {number!r}")
        if least is not None and number < least:
            raise ValueError(f"{name}: expected at least {least}, got {number}")


def _trace(thought: Thought, order: tuple[Side, Side], rollout: int) -> Trace:
    """A thought about a displayed pair, told of images A and B."""

    def p_a(p_second: float) -> float:
        return 1 - p_second if order[0] == "a" else p_second

    said, heard = thought.transcript, thought.listener_p_second
    return Trace(
        first=order[0],
        rollout=rollout,
        text=said.text,
        thinking=said.think or "",
        answer=None if said.answer is None else order[said.answer],
        p_a=p_a(thought.p_second),
        forced=thought.forced,
        outcome=str(said.outcome),
        contradicts=thought.contradicts,
        tokens=thought.tokens,
        listener_p_a=None if heard is None else p_a(heard),
    )
