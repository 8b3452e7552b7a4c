"""Images by themselves: each is rated once, and images are compared by their expected ratings (Eq. 3).

No image is displayed beside another, so that there is no display order, no anchor, and a score means the same in every
ranking of one judge: N images take N questions.
"""

from collections.abc import Sequence

import torch

from lit_listener.data.shown import ShownImage
from lit_listener.judging.anchors import Anchor
from lit_listener.judging.forms.form import Form
from lit_listener.judging.pictures import Picture
from lit_listener.judging.plans import Asking, Plan
from lit_listener.judging.results import Comparison, Ranking, Rating
from lit_listener.judging.thoughts import Showing, Thought
from lit_listener.judging.traces import RatingTrace
from lit_listener.tasks import RatesImages


class ImageForm(Form):
    """Rates every image by itself.

    Args:
        task: how answers become ratings.
    """

    scores_alone = True

    def __init__(self, task: RatesImages) -> None:
        self._task = task

    def compare(self, asking: Asking, image_a: Picture, image_b: Picture) -> Plan[Comparison]:
        """One showing for each image; ``both_orders`` means nothing here."""

        def conclude(thoughts: Sequence[Sequence[Thought]]) -> Comparison:
            rating_a, rating_b = (self._rating(each) for each in thoughts)
            return Comparison(
                prompt=asking.prompt,
                p_a=0.5 + 0.5 * (rating_a.score - rating_b.score),
                traces=(),
                rollouts=asking.rollouts,
                both_orders=False,
                seed=asking.seed,
                ratings=(rating_a, rating_b),
            )

        return Plan([_showing(asking, image) for image in (image_a, image_b)], conclude)

    def rank(self, asking: Asking, images: Sequence[Picture], anchor: Anchor) -> Plan[Ranking]:
        """One showing for each image."""
        if anchor is not None:
            raise ValueError(
                "anchor: this judge rates each image by itself, so that scores compare without an anchor; leave it out"
            )
        if not images:
            raise ValueError("images: expected at least one image, got none")

        def conclude(thoughts: Sequence[Sequence[Thought]]) -> Ranking:
            ratings = tuple(self._rating(each) for each in thoughts)
            return Ranking(
                prompt=asking.prompt,
                scores=tuple(rating.score for rating in ratings),
                anchor=None,
                anchor_choice="none",
                comparisons=(None,) * len(ratings),
                rollouts=asking.rollouts,
                both_orders=False,
                seed=asking.seed,
                ratings=ratings,
            )

        return Plan([_showing(asking, image) for image in images], conclude)

    def _rating(self, thoughts: Sequence[Thought]) -> Rating:
        traces = tuple(self._trace(thought, rollout) for rollout, thought in enumerate(thoughts))
        labels = self._task.labels
        return Rating(
            score=sum(trace.score for trace in traces) / len(traces),
            lowest=labels[0],
            highest=labels[-1],
            traces=traces,
        )

    def _trace(self, thought: Thought, rollout: int) -> RatingTrace:
        def score(p_label: tuple[float, ...]) -> float:
            return float(self._task.score(torch.tensor([p_label], dtype=torch.float64))[0])

        said, heard = thought.transcript, thought.listener_p_label
        return RatingTrace(
            rollout=rollout,
            text=said.text,
            thinking=said.think or "",
            answer=None if said.answer is None else self._task.labels[said.answer],
            score=score(thought.p_label),
            forced=thought.forced,
            outcome=str(said.outcome),
            contradicts=thought.contradicts,
            tokens=thought.tokens,
            listener_score=None if heard is None else score(heard),
        )


def _showing(asking: Asking, image: Picture) -> Showing:
    """One image, which nobody has rated yet."""
    shown = ShownImage(asking.prompt, image.image, "the image to judge", index=0)
    return Showing(shown, (image,), asking.rollouts, asking.seed, asking.listen)
