"""What a judge says: frozen records, each number with the traces it was made of, and ``to_dict()`` for machines."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from lit_listener.data.records import Side
from lit_listener.judging.traces import ListTrace, RatingTrace, Trace

AnchorChoice = Literal["seed", "place", "image", "callable", "none"]
"""How the anchor of a ranking was chosen: at random by the seed, named by its place, or given as an image, by itself or
by a callable; none where each image was rated by itself, or all were judged at once."""
_HOW = ("rollouts", "both_orders", "seed")


@dataclass(frozen=True)
class Rating:
    """How people would rate one image for a prompt, by itself."""

    score: float
    """The expected rating's place on the scale, in [0, 1]: the mean over rollouts."""
    lowest: str
    """The label of the lowest rating, whose score is 0."""
    highest: str
    """The label of the highest rating, whose score is 1."""
    traces: tuple[RatingTrace, ...]
    """The traces it is the mean of."""

    @property
    def listener_score(self) -> float | None:
        """The listener's score, a mean like ``score``; None where nobody listened."""
        heard = [trace.listener_score for trace in self.traces if trace.listener_score is not None]
        return sum(heard) / len(heard) if heard else None

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON has it."""
        return {
            "score": self.score,
            "listener_score": self.listener_score,
            "lowest": self.lowest,
            "highest": self.highest,
            "traces": [asdict(trace) for trace in self.traces],
        }

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> "Rating":
        """The record of which ``to_dict`` gave this.

        Raises:
            KeyError: a field is missing.
            TypeError: a trace has other fields.
        """
        traces = tuple(RatingTrace(**trace) for trace in given["traces"])
        return cls(given["score"], given["lowest"], given["highest"], traces)


@dataclass(frozen=True)
class Comparison:
    """Which of two images people would prefer for a prompt."""

    prompt: str
    p_a: float
    """Probability that image A is preferred: the mean over rollouts and, where both were shown, display orders.

    Of images rated by themselves: ½ + ½ (score of A − score of B).
    """
    traces: tuple[Trace, ...]
    """The traces it is the mean of: the rollouts with A first, then those with B first; none where there are
    ratings."""
    rollouts: int
    both_orders: bool
    seed: int
    ratings: tuple[Rating, Rating] | None = None
    """The ratings of A and B, where the judge rates each image by itself."""

    @property
    def preferred(self) -> Side | None:
        """The image that is preferred; None where both are exactly level."""
        return None if self.p_a == 0.5 else "a" if self.p_a > 0.5 else "b"

    @property
    def flipped(self) -> bool | None:
        """Whether the two display orders prefer different images; None where only one was shown."""
        if not self.both_orders or self.ratings is not None:
            return None
        a_first, b_first = (
            sum(trace.p_a for trace in self.traces if trace.first == side) / self.rollouts for side in ("a", "b")
        )
        return (a_first > 0.5) != (b_first > 0.5)

    @property
    def listener_p_a(self) -> float | None:
        """The listener's probability that image A is preferred, made like ``p_a``; None where nobody listened."""
        if self.ratings is not None:
            score_a, score_b = (rating.listener_score for rating in self.ratings)
            return None if score_a is None or score_b is None else 0.5 + 0.5 * (score_a - score_b)
        heard = [trace.listener_p_a for trace in self.traces if trace.listener_p_a is not None]
        return sum(heard) / len(heard) if heard else None

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON has it."""
        return {
            "prompt": self.prompt,
            "p_a": self.p_a,
            "preferred": self.preferred,
            "flipped": self.flipped,
            "listener_p_a": self.listener_p_a,
            "rollouts": self.rollouts,
            "both_orders": self.both_orders,
            "seed": self.seed,
            "traces": [asdict(trace) for trace in self.traces],
            "ratings": _told(self.ratings),
        }

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> "Comparison":
        """The record of which ``to_dict`` gave this.

        Raises:
            KeyError: a field is missing.
            TypeError: a trace has other fields.
        """
        traces = tuple(Trace(**trace) for trace in given["traces"])
        ratings = _ratings(given)
        pair = None if ratings is None else (ratings[0], ratings[1])
        return cls(traces=traces, ratings=pair, **{name: given[name] for name in ("prompt", "p_a", *_HOW)})


class Scored:
    """Images with scores, of which the higher is better."""

    scores: tuple[float, ...]

    @property
    def order(self) -> tuple[int, ...]:
        """The images' places, best first; of equal scores the earlier image first."""
        return tuple(sorted(range(len(self.scores)), key=lambda place: -self.scores[place]))

    @property
    def ranks(self) -> tuple[int, ...]:
        """Each image's rank: 1 is best."""
        places = self.order
        return tuple(places.index(image) + 1 for image in range(len(places)))


@dataclass(frozen=True)
class Ranking(Scored):
    """How good images are for a prompt, each compared with one anchor (the papers' method, N - 1 comparisons).

    Scores compare only within a ranking, or among rankings against one named anchor. A judge that rates each image by
    itself has no anchor, and all its scores compare. One that looks at all images at once needs no anchor; its scores
    compare only within a ranking.
    """

    prompt: str
    scores: tuple[float, ...]
    """For each image the probability that it is preferred to the anchor; 0.5 for the anchor. Of images rated by
    themselves: the ratings' scores. Of images judged at once: the probability of being the best, the mean over rollouts
    and display orders; their sum is 1."""
    anchor: int | None
    """The anchor's place among the images; None where it is none of them, or there is none."""
    anchor_choice: AnchorChoice
    comparisons: tuple[Comparison | None, ...]
    """For each image, as image A, its comparison with the anchor; None for the anchor, and where there is none."""
    rollouts: int
    both_orders: bool
    seed: int
    ratings: tuple[Rating, ...] | None = None
    """For each image its rating, where the judge rates each by itself."""
    list_traces: tuple[ListTrace, ...] | None = None
    """The traces about all images, where they were judged at once: the rollouts in the order given, then those in
    reversed order."""

    @property
    def traces(self) -> tuple[tuple[Trace, ...], ...]:
        """For each image the traces of its comparison with the anchor, where it is image A; none for the anchor.

        Those of rated images are with their ``ratings``, and those about all images are ``list_traces``.
        """
        return tuple(comparison.traces if comparison else () for comparison in self.comparisons)

    @property
    def listener_scores(self) -> tuple[float, ...] | None:
        """The listener's scores of images that were judged at once, made like ``scores``; None where nobody listened.

        What it says of other images is with their comparisons and ratings.
        """
        heard = [trace.listener_scores for trace in self.list_traces or () if trace.listener_scores is not None]
        return tuple(sum(each) / len(each) for each in zip(*heard, strict=True)) if heard else None

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON has it."""
        return {
            "prompt": self.prompt,
            "scores": list(self.scores),
            "order": list(self.order),
            "ranks": list(self.ranks),
            "anchor": self.anchor,
            "anchor_choice": self.anchor_choice,
            "rollouts": self.rollouts,
            "both_orders": self.both_orders,
            "seed": self.seed,
            "comparisons": [comparison and comparison.to_dict() for comparison in self.comparisons],
            "ratings": _told(self.ratings),
            "listener_scores": self.listener_scores and list(self.listener_scores),
            "list_traces": None if self.list_traces is None else [trace.to_dict() for trace in self.list_traces],
        }

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> "Ranking":
        """The record of which ``to_dict`` gave this; earlier versions know no ``list_traces``.

        Raises:
            KeyError: a field is missing.
            TypeError: a trace has other fields.
        """
        comparisons = tuple(each and Comparison.from_dict(each) for each in given["comparisons"])
        named = {name: given[name] for name in ("prompt", "anchor", "anchor_choice", *_HOW)}
        listed = given.get("list_traces")
        return cls(
            scores=tuple(given["scores"]),
            comparisons=comparisons,
            ratings=_ratings(given),
            list_traces=None if listed is None else tuple(ListTrace.from_dict(each) for each in listed),
            **named,
        )


def _told(ratings: Sequence[Rating] | None) -> list[dict[str, Any]] | None:
    return None if ratings is None else [rating.to_dict() for rating in ratings]


def _ratings(given: Mapping[str, Any]) -> tuple[Rating, ...] | None:
    """The ratings in a result's dict; earlier versions have none."""
    ratings = given.get("ratings")
    return None if ratings is None else tuple(Rating.from_dict(each) for each in ratings)
