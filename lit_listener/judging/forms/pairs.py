"""Pairs: two images are displayed side by side, in both orders; a list is ranked against one anchor (Eq. 4)."""

from collections.abc import Sequence
from functools import partial

import torch

from lit_listener.data.records import PreferencePair, Side
from lit_listener.data.shown import ShownPair
from lit_listener.judging.anchors import Anchor, choose_anchor
from lit_listener.judging.forms.form import Form, Look
from lit_listener.judging.pictures import Picture
from lit_listener.judging.plans import Asking, Plan
from lit_listener.judging.results import Comparison, Ranking
from lit_listener.judging.thoughts import Showing, Thought
from lit_listener.judging.traces import Trace
from lit_listener.tasks import Task

_ORDERS: tuple[tuple[Side, Side], ...] = (("a", "b"), ("b", "a"))


class PairForm(Form):
    """Compares two images at once, and every image of a list with the anchor.

    Args:
        task: how a pair is shown, and how the answer becomes a probability; it asks one question about a pair.
    """

    scores_alone = False

    def __init__(self, task: Task) -> None:
        self._task = task

    def compare(self, asking: Asking, image_a: Picture, image_b: Picture) -> Plan[Comparison]:
        """One showing for each display order."""
        images: dict[Side, Picture] = {"a": image_a, "b": image_b}
        orders = _ORDERS if asking.both_orders else _ORDERS[:1]
        showings = [self._showing(asking, images[first], images[second]) for first, second in orders]

        def conclude(thoughts: Sequence[Sequence[Thought]]) -> Comparison:
            traces = tuple(
                self._trace(thought, order, rollout)
                for order, each in zip(orders, thoughts, strict=True)
                for rollout, thought in enumerate(each)
            )
            return Comparison(
                prompt=asking.prompt,
                p_a=sum(trace.p_a for trace in traces) / len(traces),
                traces=traces,
                rollouts=asking.rollouts,
                both_orders=asking.both_orders,
                seed=asking.seed,
            )

        return Plan(showings, conclude)

    def rank(self, asking: Asking, images: Sequence[Picture], anchor: Anchor) -> Plan[Ranking]:
        """The showings of each image's comparison with the anchor."""
        chosen = choose_anchor(anchor, asking.prompt, images, asking.seed)
        plans = [
            None if place == chosen.place else self.compare(asking, image, chosen.image)
            for place, image in enumerate(images)
        ]

        def conclude(thoughts: Sequence[Sequence[Thought]]) -> Ranking:
            left = iter(thoughts)
            comparisons = tuple(plan.conclude([next(left) for _ in plan.showings]) if plan else None for plan in plans)
            return Ranking(
                prompt=asking.prompt,
                scores=tuple(comparison.p_a if comparison else 0.5 for comparison in comparisons),
                anchor=chosen.place,
                anchor_choice=chosen.choice,
                comparisons=comparisons,
                rollouts=asking.rollouts,
                both_orders=asking.both_orders,
                seed=asking.seed,
            )

        return Plan([showing for plan in plans if plan for showing in plan.showings], conclude)

    def look(self, asking: Asking, image_a: Picture, image_b: Picture, first: Side) -> Look:
        """Two images in one display order."""
        images = (image_a, image_b) if first == "a" else (image_b, image_a)
        return Look(self._showing(asking, *images), partial(self._p_a, first))

    def _p_a(self, first: Side, p_label: tuple[float, ...]) -> float:
        """The probability that image A is preferred, with this one displayed first."""
        p_second = self._task.p_second(torch.tensor([p_label], dtype=torch.float64))
        return 1 - p_second if first == "a" else p_second

    def _showing(self, asking: Asking, first: Picture, second: Picture) -> Showing:
        """Two images in the order in which they are displayed, as the task shows them; nobody has voted yet."""
        pair = PreferencePair(asking.prompt, first.image, second.image, 0.5, 0, "to judge", "")
        (shown,) = self._task.parts(ShownPair(pair, "a", index=0))
        return Showing(shown, (first, second), asking.rollouts, asking.seed, asking.listen)

    def _trace(self, thought: Thought, order: tuple[Side, Side], rollout: int) -> Trace:
        """A thought about a displayed pair, told of images A and B."""
        p_a = partial(self._p_a, order[0])
        said, heard = thought.transcript, thought.listener_p_label
        answer = self._task.verdict([said.answer])
        return Trace(
            first=order[0],
            rollout=rollout,
            text=said.text,
            thinking=said.think or "",
            answer=None if answer is None else order[answer],
            p_a=p_a(thought.p_label),
            forced=thought.forced,
            outcome=str(said.outcome),
            contradicts=thought.contradicts,
            tokens=thought.tokens,
            listener_p_a=None if heard is None else p_a(heard),
        )
