"""Absolute rating: how well would people rate one image for its prompt? Labels 1 … n, for Eq. 3 of the papers.

The score of an image is its expected rating under the model's probabilities of the labels, its place on the scale from
0 (the lowest rating) to 1 (the highest): s = sum of r_i p(r_i | C), Gambashidze et al. 2025, Eq. 3; "Soft rewards"
paper, section 3. Two images of one prompt are compared by their scores, each rated by itself.

Rewards are those of the papers: form, exact match, and approximate match (1, 0.75 and 0.5 at a distance of 0, 1 and 2
ratings, then 0). Letters: N completions, L labels, K parts of a pair.
"""

import math
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from lit_listener.data.records import Side
from lit_listener.data.shown import OtherKindError, Shown, ShownImage, ShownPair
from lit_listener.objective import expected_rating
from lit_listener.tasks.pairwise import DEFAULT_SYSTEM
from lit_listener.tasks.rating_verdicts import RatingVerdicts
from lit_listener.tasks.transcript import Transcript
from lit_listener.tasks.worded import WordedTask, grammar_of
from lit_listener.tasks.wording_file import resolved

_ASKED = """\
An image was generated from a text prompt. Decide how people would rate it for this prompt, on a scale from \
{{ lowest }} (worst) to {{ highest }} (best).

Prompt: {prompt}

Image:
{image}

"""
DEFAULT_TEMPLATE = (
    _ASKED
    + """\
{% if thinks %}
Think before you answer:
- What does the prompt ask for (objects, numbers, colours, positions, actions, written text, style)?
- How well does the image match it? What is missing, wrong or added?
- How good is the image as an image (sharpness, anatomy, artefacts, composition, appeal)?
- All in all, how would people rate it?

Write your thoughts inside <think></think>, and end them with your rating, as in "I rate it {{ highest }}". Then write \
your answer inside <answer></answer>.

Reply in exactly this form, and with nothing else:
<think>your thoughts</think><answer>{{ answers | join(" or ") }}</answer>
{%- else %}
Reply in exactly this form, and with nothing else:
<answer>{{ answers | join(" or ") }}</answer>
{%- endif %}"""
)
DEFAULT_RETELLING = (
    _ASKED
    + """\
Somebody has explained how good the image is. The explanation may be right or wrong. First repeat it word for word, \
then look at the image yourself and give your own rating inside <answer></answer>: {{ answers | join(" or ") }}."""
)
DEFAULT_CONTINUATION = "Somebody's explanation: {trace}\n\nMy own rating: <answer>"


@runtime_checkable
class RatesImages(Protocol):
    """A task that asks about one image at a time, and so scores it without another beside it."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The ratings, the lowest first."""

    def score(self, p_label_NL: Tensor) -> Tensor:
        """The expected rating's place on the scale, ``[N]`` in [0, 1], by the probabilities of the labels."""


@runtime_checkable
class NearMisses(Protocol):
    """A task whose answers can be nearly right."""

    def approximate_reward(self, transcripts: Sequence[Transcript], shown: Sequence[Shown]) -> list[float]:
        """The reward for an answer near the right one, one a transcript; ``shown`` says what each is about."""


class AbsoluteRating(WordedTask):
    """The question how well people would rate one image for its prompt."""

    def __init__(  # noqa: PLR0913, PLR0917  # one option a part of the wording keeps a config flat
        self,
        ratings: int = 5,
        labels: Sequence[str] | None = None,
        template: str = DEFAULT_TEMPLATE,
        system: str | None = DEFAULT_SYSTEM,
        retelling: str = DEFAULT_RETELLING,
        continuation: str = DEFAULT_CONTINUATION,
        approximate: Sequence[float] = (1.0, 0.75, 0.5),
        answer: str = "{label}",
        thinks: bool = True,
        file: str | None = None,
    ) -> None:
        """Take the scale and the wording of the question.

        Args:
            ratings: How many ratings the scale has; at least 2.
            labels: What the ratings are called in answers, the lowest first; by default 1, 2, 3, … Each must be one
                token of the model, so that a scale of ten or more needs labels of its own: 0 to 9, or letters.
            template: The reasoner's question, with ``{prompt}`` and ``{image}`` once each; ``{{ lowest }}`` and
                ``{{ highest }}`` name the ends of the scale, ``{{ answers }}`` all answers.
            system: The system message; None for no such message (some chat templates then add one of their own).
            retelling: A listener's question, with the same slots and names.
            continuation: The opening of the listener's reply, with ``{trace}`` once, and ``<answer>`` at its end.
            approximate: The approximate-match reward at a distance of 0, 1, 2, … ratings; 0 beyond. Each in [0, 1],
                none above the one before it.
            answer: What stands in the answer block, with ``{label}`` once.
            thinks: Whether thoughts in ``<think></think>`` come first.
            file: A YAML file with these options in the place of them.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If the scale is none, or an option is not what it should be, or is given beside a file.
        """
        given: dict[str, Any] = {"ratings": ratings, "labels": labels, "template": template, "system": system}
        given |= {"retelling": retelling, "continuation": continuation, "approximate": approximate}
        options = resolved(AbsoluteRating, {**given, "answer": answer, "thinks": thinks, "file": file})
        self.approximate = _falling(options.pop("approximate"))
        options["labels"] = _scale(options.pop("ratings"), options["labels"])
        super().__init__(options, ("image",), RatingVerdicts(grammar_of(options).labels))
        self._places_L = torch.linspace(0.0, 1.0, len(self.labels))

    def names(self, shown: Shown) -> dict[str, Any]:
        """What templates may name: the whole scale, and its ends."""
        labels = list(self.labels)
        own = {**super().names(shown), "labels": labels, "answers": list(self.grammar.spellings)}
        return {**own, "lowest": labels[0], "highest": labels[-1]}

    def label_of(self, shown: Shown) -> int | None:
        """Index of the rating that is nearest to people's, half a rating rounded up; None where nobody rated it.

        People's ratings may be means, or on another scale: what counts is the place on it, ``shown.share``.
        """
        share = _an_image(shown).share
        return None if share is None else self._nearest(share)

    # ---- rewarding -------------------------------------------------------------------------------------------------

    def refuse_undecided(self, shown: Shown) -> None:
        """Refuse an image that nobody rated.

        Raises:
            ValueError: If it is one.
        """
        _rated(shown)

    def accuracy_reward(self, transcripts: Sequence[Transcript], shown: Sequence[Shown]) -> list[float]:
        """Exact match: 1 where the last closed answer is people's rating, in a wrong form too; else 0.

        Args:
            transcripts: What was read from the completions.
            shown: The image that each is about.

        Raises:
            ValueError: If there are not as many images as transcripts, or nobody rated one of them.
        """
        return [float(distance == 0) for distance in self._distances(transcripts, shown)]

    def approximate_reward(self, transcripts: Sequence[Transcript], shown: Sequence[Shown]) -> list[float]:
        """Approximate match: what ``approximate`` says of the distance in ratings; 0 without an answer.

        Args:
            transcripts: What was read from the completions.
            shown: The image that each is about.

        Raises:
            ValueError: If there are not as many images as transcripts, or nobody rated one of them.
        """
        return [
            self.approximate[distance] if distance is not None and distance < len(self.approximate) else 0.0
            for distance in self._distances(transcripts, shown)
        ]

    def agreement(self, p_label_NL: Tensor, shown: Sequence[Shown]) -> Tensor:
        """1 − |s − s*|: how near the expected rating is to people's, both as places on the scale.

        Args:
            p_label_NL: Probability of each label, shape [N, L].
            shown: The image that each row is about.

        Returns:
            Shape [N], in [0, 1].

        Raises:
            ValueError: If nobody rated one of the images.
        """
        shares_N = torch.tensor([_rated(each) for each in shown], device=p_label_NL.device, dtype=p_label_NL.dtype)
        return 1.0 - (self.score(p_label_NL) - shares_N).abs()

    # ---- judging ---------------------------------------------------------------------------------------------------

    def score(self, p_label_NL: Tensor) -> Tensor:
        """The expected rating (Eq. 3), the lowest rating as 0 and the highest as 1.

        Args:
            p_label_NL: Probability of each label, shape [N, L].

        Returns:
            Shape [N], in [0, 1].
        """
        places_L = self._places_L.to(p_label_NL.device)
        return expected_rating(p_label_NL.log(), places_L).clamp(0.0, 1.0)  # rounding may lead out of it

    def parts(self, pair: ShownPair) -> tuple[Shown, ...]:
        """The two images in displayed order, each to be rated by itself.

        An image of a ranked list has the same name in every pair of the list, so that it is asked about once.
        """
        second: Side = "b" if pair.first == "a" else "a"
        return tuple(
            ShownImage(
                prompt=pair.prompt,
                image=image,
                name=_name(pair, side),
                index=pair.index,
                columns=pair.columns,
                epoch=pair.epoch,
                counted=pair.counted,
            )
            for image, side in zip(pair.images, (pair.first, second), strict=True)
        )

    def p_second(self, p_label_KL: Tensor) -> float:
        """½ + ½(s₂ − s₁): above a half where the second image's expected rating is higher."""
        first, second = self.score(p_label_KL).tolist()
        return 0.5 + 0.5 * (float(second) - float(first))

    def verdict(self, answers: Sequence[int | None]) -> int | None:
        """Index of the image that was rated higher; None where both have one rating, or one has none."""
        first, second = answers
        return None if first is None or second is None or first == second else int(second > first)

    def in_words(self, answer: int) -> str:
        """The rating and its scale: 4 (on a scale from 1 to 5).

        Raises:
            IndexError: the answer is no label's index.
        """
        return f"{self.labels[answer]} (on a scale from {self.labels[0]} to {self.labels[-1]})"

    def _nearest(self, share: float) -> int:
        """Index of the rating at a place on the scale, half a rating rounded up."""
        return math.floor(share * (len(self.labels) - 1) + 0.5)

    def _distances(self, transcripts: Sequence[Transcript], shown: Sequence[Shown]) -> list[int | None]:
        """How many ratings each answer is from people's; None where no answer can be read."""
        if len(transcripts) != len(shown):
            raise ValueError(f"a reward needs one image a transcript, got {len(shown)} for {len(transcripts)}")
        right = [self._nearest(_rated(each)) for each in shown]
        return [
            None if transcript.answer is None else abs(transcript.answer - label)
            for transcript, label in zip(transcripts, right, strict=True)
        ]


def _an_image(shown: Shown) -> ShownImage:
    if not isinstance(shown, ShownImage):
        raise OtherKindError(
            f"AbsoluteRating asks about one image at a time, got {shown.name} ({type(shown).__name__}): train on a "
            "source of rated images (ImageRewardRatings, ShapesRatings), or choose the task that goes with this source"
        )
    return shown


def _rated(shown: Shown) -> float:
    """People's rating as its place on the scale."""
    image = _an_image(shown)
    if image.share is None:
        raise ValueError(
            f"{image.name} has no rating by people, so no answer about it is right; rate it, or leave it out"
        )
    return image.share


def _name(pair: ShownPair, side: Side) -> str:
    """What tells one image of a pair from all others."""
    listed = pair.pair.listed
    if listed is None:
        return f"image {side} of {pair.name}"
    return f"image {listed.item_a if side == 'a' else listed.item_b} of list {listed.list_id}"


def _scale(ratings: int, labels: Sequence[str] | None) -> tuple[str, ...]:
    """The ratings' labels, checked."""
    if isinstance(ratings, bool) or not isinstance(ratings, int) or ratings < 2:
        raise ValueError(f"ratings: expected a whole number of at least 2, got {ratings!r}")
    scale = tuple(str(rating) for rating in range(1, ratings + 1)) if labels is None else tuple(labels)
    if len(scale) != ratings:
        raise ValueError(f"labels: expected one for each of ratings={ratings}, got {len(scale)}; set ratings to match")
    return scale


def _falling(approximate: Sequence[float]) -> tuple[float, ...]:
    steps = tuple(float(step) for step in approximate)
    if not steps or any(not 0.0 <= step <= 1.0 for step in steps) or list(steps) != sorted(steps, reverse=True):
        raise ValueError(f"approximate: expected rewards in [0, 1] that do not rise with the distance, got {steps}")
    return steps
