"""Lists: all images are displayed at once, and each gets its probability of being the best from one pass.

After "You Only Judge Once" (Yang et al. 2026, arXiv 2604.10966), which scores all candidates of a prompt in one pass by
a value head; here the scores are the answer labels' probabilities, after thoughts. N images take one question, or two:
the second shows them in reversed order, so that a liking for one end of the list evens out. Other orders of the N! are
not shown.

Two images are compared as a list of two, and with a given anchor a list is ranked in such pairs: the way for more
images than there are labels.
"""

from collections.abc import Sequence

import torch

from lit_listener.data.records import RankedList
from lit_listener.data.shown import ShownList
from lit_listener.judging.anchors import Anchor
from lit_listener.judging.forms.pairs import PairForm
from lit_listener.judging.pictures import Picture
from lit_listener.judging.plans import Asking, Plan
from lit_listener.judging.results import Ranking
from lit_listener.judging.thoughts import Showing, Thought
from lit_listener.judging.traces import ListTrace
from lit_listener.tasks import ChoosesAmongImages


class ListForm(PairForm):
    """Ranks by one look at all images; compares two as a list of two.

    Args:
        task: how a list is shown, and how the answer becomes scores.
    """

    def __init__(self, task: ChoosesAmongImages) -> None:
        super().__init__(task)
        self._choice = task

    def rank(self, asking: Asking, images: Sequence[Picture], anchor: Anchor) -> Plan[Ranking]:
        """One showing of all images for each display order; with an anchor, those of comparisons with it.

        Raises:
            IndexError: the anchor's place is none of the images'.
            ValueError: there are no images, or one alone without an anchor, or more than labels without one.
        """
        if anchor is not None or len(images) < 2:  # of which none and one are refused there
            return super().rank(asking, images, anchor)
        self._check_count(len(images))
        given = tuple(range(len(images)))
        orders = (given, given[::-1]) if asking.both_orders else (given,)

        def conclude(thoughts: Sequence[Sequence[Thought]]) -> Ranking:
            traces = tuple(
                self._list_trace(thought, order, rollout)
                for order, each in zip(orders, thoughts, strict=True)
                for rollout, thought in enumerate(each)
            )
            return Ranking(
                prompt=asking.prompt,
                scores=tuple(sum(trace.scores[place] for trace in traces) / len(traces) for place in given),
                anchor=None,
                anchor_choice="none",
                comparisons=(None,) * len(given),
                rollouts=asking.rollouts,
                both_orders=asking.both_orders,
                seed=asking.seed,
                list_traces=traces,
            )

        return Plan([_showing_of_all(asking, images, order) for order in orders], conclude)

    def _check_count(self, images: int) -> None:
        most = self._choice.max_images
        if images > most:
            raise ValueError(
                f"images: this judge looks at all images at once, and takes {most} of them at most, as many as it has "
                f"labels; got {images}. Rank fewer, or give an anchor: then each is compared with it in a pair"
            )

    def _list_trace(self, thought: Thought, order: tuple[int, ...], rollout: int) -> ListTrace:
        """A thought about a displayed list, told of the images by their places."""

        def scores(p_label: tuple[float, ...]) -> tuple[float, ...]:
            p_label_1L = torch.tensor([p_label], dtype=torch.float64)
            displayed: list[float] = self._choice.scores(p_label_1L, len(order))[0].tolist()
            return tuple(displayed[order.index(place)] for place in range(len(order)))

        said, heard = thought.transcript, thought.listener_p_label
        return ListTrace(
            order=order,
            rollout=rollout,
            text=said.text,
            thinking=said.think or "",
            answer=None if said.answer is None or said.answer >= len(order) else order[said.answer],
            scores=scores(thought.p_label),
            forced=thought.forced,
            outcome=str(said.outcome),
            contradicts=thought.contradicts,
            tokens=thought.tokens,
            listener_scores=None if heard is None else scores(heard),
        )


def _showing_of_all(asking: Asking, images: Sequence[Picture], order: tuple[int, ...]) -> Showing:
    """A list in displayed order, which nobody has ranked yet."""
    count = len(images)
    ranked = RankedList(
        prompt=asking.prompt,
        images=tuple(image.image for image in images),
        ranks=(1.0,) * count,
        list_id="to judge",
        prompt_id="",
        generators=("",) * count,
    )
    shown = ShownList(ranked, order, index=0)
    return Showing(shown, tuple(images[place] for place in order), asking.rollouts, asking.seed, asking.listen)
