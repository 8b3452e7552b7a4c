"""A scorer as a judge: any function that scores images for a prompt, tested like a model that thinks.

Its rows hold no thoughts and no listener; everything that is computed from probabilities and answers holds for them.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import torch
from PIL.Image import Image

from lit_listener.data.records import PreferencePair, Side
from lit_listener.data.shown import ShownPair
from lit_listener.evaluation.judged_pairs import LEVEL
from lit_listener.evaluation.prediction import Prediction
from lit_listener.training.judged import shown_facts
from lit_listener.training.judging_module import JudgingModule

Scorer = Callable[[str, Sequence[Image]], Sequence[float]]
"""Scores of images for a prompt, one an image; higher is better."""
_LEAST = 2 * LEVEL
"""A probability differs from 0.5 by so much at least where scores differ at all: by more than what counts as level."""


@dataclass
class _Group:
    """The images of one pair, or of one ranked list: a unit of an evaluation, so that no score depends on the batch."""

    prompt: str
    images: list[Image] = field(default_factory=list)
    pair_ids: list[str] = field(default_factory=list)
    """The first pair that each image is met in, for messages."""


class ScorerJudge(JudgingModule):
    """Judges by scores: of a Python function, or of columns of the pairs' source.

    A pair's probability of the second image is sigmoid(score of the second - score of the first) (Bradley-Terry). The
    answer is the image with the higher score; where both are the same, the probability is exactly 0.5 and the answer,
    which has to be one or the other, is the first image: figures by probabilities count such a pair by their tie rule.

    Args:
        scorer: import path of a function (prompt, images) -> a score for each image, higher is better; it is given the
            two images of a pair, or all images of a ranked list that are compared. None: the scores that the source
            has in its columns.
    """

    def __init__(self, scorer: Scorer | None = None) -> None:
        super().__init__()
        self.scorer = scorer

    def judge(self, shown: Sequence[ShownPair], source: str = "") -> list[Prediction]:
        """A row for each pair that counts; the same whatever the batch.

        Raises:
            ValueError: a source without scores, or a scorer that gives too few, too many, NaN or infinite ones; the
                message names the pair.
        """
        counted = [each for each in shown if each.counted]
        scores = _source_scores(counted) if self.scorer is None else _scored(self.scorer, counted)
        return [scored_row(each, *both, source) for each, both in zip(counted, scores, strict=True)]

    def training_step(self, *args: Any, **kwargs: Any) -> NoReturn:
        """There is none.

        Raises:
            ValueError: whenever it is called.
        """
        _refuse_training()

    def configure_optimizers(self) -> NoReturn:
        """There are none, which ``fit`` finds out before it begins.

        Raises:
            ValueError: whenever it is called.
        """
        _refuse_training()

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Leave records as they are: images are the scorer's to move."""
        return batch


def preference(score_first: float, score_second: float) -> float:
    """The probability of the second image, by the Bradley-Terry model: sigmoid(score_second - score_first).

    Exactly 0.5 for equal scores and for no others; differences beyond some 37 give 1, beyond some -745 give 0.
    """
    if score_first == score_second:
        return 0.5
    difference = score_second - score_first
    odds = math.exp(-abs(difference))  # of the image with the lower score
    if difference > 0:
        return max(1.0 / (1.0 + odds), 0.5 + _LEAST)
    return min(odds / (1.0 + odds), 0.5 - _LEAST)


def scored_row(shown: ShownPair, score_first: float, score_second: float, source: str) -> Prediction:
    """The record of a pair that was judged by the scores of its displayed images.

    Raises:
        ValueError: a score is not finite.
    """
    score_first, score_second = (_finite(score, shown.pair.pair_id) for score in (score_first, score_second))
    return Prediction(
        **shown_facts(shown, source),
        rollout=0,
        answer=int(score_second > score_first),
        outcome="ok",
        p_second=preference(score_first, score_second),
        listener_p_second=None,
        listener_p_correct=None,
        contradicts=False,
        stated_verdict=None,
        length=0,
        truncated=False,
        trace="",
    )


def _source_scores(shown: Sequence[ShownPair]) -> list[tuple[float, float]]:
    """The scores of the displayed images, first and second, that their pairs brought along."""
    found = []
    for each in shown:
        pair = each.pair
        if pair.score_a is None or pair.score_b is None:
            raise ValueError(
                f"pair {pair.pair_id}: its source has no scores; name their columns in the source (scores of "
                "ImageRewardDB and HPDv2, score_a and score_b of PairTable), or a function as model.scorer"
            )
        scores = _finite(pair.score_a, pair.pair_id), _finite(pair.score_b, pair.pair_id)
        found.append(scores if each.first == "a" else scores[::-1])
    return found


def _scored(scorer: Scorer, shown: Sequence[ShownPair]) -> list[tuple[float, float]]:
    """The scores of the displayed images, first and second, each image scored once for its pair or list."""
    groups: dict[str, _Group] = {}
    known: dict[tuple[str, str | int], tuple[_Group, int]] = {}
    by_identity: dict[tuple[int, int], int] = {}
    sides: tuple[Side, Side] = ("a", "b")
    for each in shown:
        for side in sides:
            place, pair = image_place(each.pair, side), each.pair
            if place in known:
                continue
            group = groups.setdefault(place[0], _Group(pair.prompt))
            image = pair.image_a if side == "a" else pair.image_b
            number = by_identity.setdefault((id(group), id(image)), len(group.images))
            if number == len(group.images):
                group.images.append(image)
                group.pair_ids.append(pair.pair_id)
            known[place] = group, number
    scores = {id(group): _scores_of(scorer, group) for group in groups.values()}

    def score(pair: PreferencePair, side: Side) -> float:
        group, number = known[image_place(pair, side)]
        return scores[id(group)][number]

    return [(score(s.pair, s.first), score(s.pair, "b" if s.first == "a" else "a")) for s in shown]


def image_place(pair: PreferencePair, side: Side) -> tuple[str, str | int]:
    """What an image is known by: its list and its place there, or its pair and its side."""
    listed = pair.listed
    if listed is None:
        return f"pair {pair.pair_id}", side
    return f"list {listed.list_id}", listed.item_a if side == "a" else listed.item_b


def _scores_of(scorer: Scorer, group: _Group) -> list[float]:
    about = f"pair {group.pair_ids[0]} (prompt {group.prompt[:80]!r})"
    try:
        given: Any = scorer(group.prompt, tuple(group.images))
    except Exception as error:  # whatever a user's function raises
        raise RuntimeError(f"model.scorer: {about}: the scorer failed: {type(error).__name__}: {error}") from error
    try:
        scores = [float(score) for score in given]
    except (TypeError, ValueError) as error:
        raise ValueError(f"model.scorer: {about}: expected a number for each image, got {given!r}") from error
    if len(scores) != len(group.images):
        raise ValueError(f"model.scorer: {about}: expected {len(group.images)} scores, one an image, got {len(scores)}")
    return [_finite(score, pair_id) for score, pair_id in zip(scores, group.pair_ids, strict=True)]


def _finite(score: float, pair_id: str) -> float:
    if not math.isfinite(score):
        raise ValueError(f"pair {pair_id}: expected a finite score, got {score}; a judge that fails gives no number")
    return score


def _refuse_training() -> NoReturn:
    raise ValueError(
        "a ScorerJudge has nothing to train: use validate, test or predict with it, or name another model to fit"
    )
