"""Listwise: which of several images of one prompt do people like best? All are shown at once, and judged in one pass.

The labels' probabilities at the answer's one place are a score for each image. By Luce's choice axiom the preference
between two of them does not depend on the rest: p(i over j) = p_i / (p_i + p_j) (Luce, Individual Choice Behavior,
1959). That all candidates are scored in one forward pass, and trained by a softmax over them, is as in "You Only Judge
Once" (Yang et al. 2026, arXiv 2604.10966); there the scores come from a value head behind each candidate, here from the
labels' tokens, so that the judge may think first.

Labels of images that are not shown have no say: what probability they get is left out, and the rest renormalised.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from lit_listener.data.records import RankedList
from lit_listener.data.shown import OtherKindError, Shown, ShownList, ShownPair
from lit_listener.tasks.list_verdicts import list_verdicts
from lit_listener.tasks.pairwise import DEFAULT_CONTINUATION, DEFAULT_SYSTEM
from lit_listener.tasks.task import Task
from lit_listener.tasks.transcript import Transcript
from lit_listener.tasks.worded import WordedTask, grammar_of
from lit_listener.tasks.wording_file import resolved

_ASKED = """\
{{ labels | length }} images were generated from the same text prompt. Decide which of them people would like best \
for this prompt.

Prompt: {prompt}

{% for label in labels %}
Image {{ label }}:
{image}
{% endfor %}

"""
DEFAULT_TEMPLATE = (
    _ASKED
    + """\
{% if thinks %}
Think before you answer:
- What does the prompt ask for (objects, numbers, colours, positions, actions, written text, style)?
- How well does each image match it? What is missing, wrong or added?
- How good is each image as an image (sharpness, anatomy, artefacts, composition, appeal)?
- All in all, which image would most people like best?

Write your thoughts inside <think></think>; call the images "image {{ labels[0] }}", "image {{ labels[1] }}" and so \
on, and say which one is the best. Then write its answer inside <answer></answer>.

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
Somebody has explained how the images compare. The explanation may be right or wrong. First repeat it word for word, \
then look at the images yourself and give your own answer for the best one inside <answer></answer>: \
{{ answers | join(" or ") }}."""
)


@runtime_checkable
class ChoosesAmongImages(Task, Protocol):
    """A task that asks for the best of several displayed images, and so scores all of them in one pass."""

    @property
    def max_images(self) -> int:
        """How many images can be shown at once."""

    def scores(self, p_label_NL: Tensor, count: int) -> Tensor:
        """The probability of each of ``count`` displayed images to be the best, ``[N, count]``; a row sums to 1."""


class Listwise(WordedTask):
    """The question which of several displayed images people like best."""

    def __init__(  # one option a part of the wording keeps a config flat
        self,
        template: str = DEFAULT_TEMPLATE,
        system: str | None = DEFAULT_SYSTEM,
        retelling: str = DEFAULT_RETELLING,
        continuation: str = DEFAULT_CONTINUATION,
        labels: tuple[str, ...] = ("1", "2", "3", "4", "5", "6", "7", "8", "9"),
        answer: str = "{label}",
        thinks: bool = True,
        file: str | None = None,
    ) -> None:
        """Take the wording of the question.

        Args:
            template: The reasoner's question, with ``{prompt}`` once, and ``{image}`` once in a loop over the images
                shown: ``{% for label in labels %}Image {{ label }}: {image}{% endfor %}``.
            system: The system message; None for no such message.
            retelling: A listener's question, with the same slots and names.
            continuation: The opening of the listener's reply, with ``{trace}`` once, and ``<answer>`` at its end.
            labels: The labels of the first image, the second, and so on; each one token. There may be no more images
                than labels: for more than nine take letters.
            answer: What stands in the answer block, with ``{label}`` once: ``Image {label}``, say.
            thinks: Whether thoughts in ``<think></think>`` come first.
            file: A YAML file with these options in the place of them, or the name of a bundled wording.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If an option is not what it should be, or if others are given beside a file.
        """
        given: dict[str, Any] = {"template": template, "system": system, "retelling": retelling}
        given |= {"continuation": continuation, "labels": labels, "answer": answer, "thinks": thinks, "file": file}
        options = resolved(Listwise, given)
        super().__init__(options, ("image",), list_verdicts(grammar_of(options).labels))

    @property
    def max_images(self) -> int:
        """How many images can be shown at once."""
        return len(self.labels)

    def label_of(self, shown: Shown) -> int | None:
        """Index of the displayed image that people rank best, the first of several that share that rank.

        None where all images tie. Rewards heed the ranks of all images, and not this label alone.
        """
        ranks = self._list(shown).ranks
        return ranks.index(min(ranks)) if len(set(ranks)) > 1 else None

    # ---- rewarding -------------------------------------------------------------------------------------------------

    def refuse_undecided(self, shown: Shown) -> None:
        """Refuse a list whose images all tie.

        Raises:
            ValueError: If it is one.
        """
        self._decided(shown)

    def accuracy_reward(self, transcripts: Sequence[Transcript], shown: Sequence[Shown]) -> list[float]:
        """The share of the other images that people rank strictly below the answer; those that tie with it left out.

        1 for the best image and 0 for the worst; 0 too where no answer can be read, or one that is not shown.

        Args:
            transcripts: What was read from the completions.
            shown: The list that each is about.

        Raises:
            ValueError: If there are not as many lists as transcripts, or all images of a list tie.
        """
        if len(transcripts) != len(shown):
            raise ValueError(f"accuracy_reward needs one list a transcript, got {len(shown)} for {len(transcripts)}")
        return [
            _share_beaten(transcript.answer, self._decided(each).ranks)
            for transcript, each in zip(transcripts, shown, strict=True)
        ]

    def agreement(self, p_label_NL: Tensor, shown: Sequence[Shown]) -> Tensor:
        """The mean probability of the better image over a list's pairs, ties left out; of two images, p_corr of Eq. 5.

        Args:
            p_label_NL: Probability of each label, shape [N, L].
            shown: The list that each row is about.

        Returns:
            Shape [N], in [0, 1].

        Raises:
            ValueError: If all images of a list tie.
        """
        rows = []
        for p_L, each in zip(p_label_NL, shown, strict=True):
            pairs = torch.tensor(list(_ordered_pairs(self._decided(each).ranks)), device=p_label_NL.device)
            rows.append(_shares(p_L[pairs])[:, 0].mean())  # p(better over worse), by Luce's choice axiom
        return torch.stack(rows)

    # ---- judging -----------------------------------------------------------------------------------------------------

    def scores(self, p_label_NL: Tensor, count: int) -> Tensor:
        """Each displayed image's share of the probability of the labels of images shown.

        Args:
            p_label_NL: Probability of each label, shape [N, L].
            count: How many images are shown.

        Returns:
            Shape [N, count], in displayed order; a row sums to 1, and is level where all its probabilities vanish.

        Raises:
            ValueError: If so many images cannot be shown.
        """
        if not 1 <= count <= self.max_images:
            raise ValueError(f"expected 1 to {self.max_images} images, as many as there are labels, got {count}")
        return _shares(p_label_NL[:, :count])

    def parts(self, pair: ShownPair) -> tuple[Shown, ...]:
        """The pair as one list of two images, in the pair's display order."""
        of = pair.pair
        rank_a, rank_b = {"a": (1.0, 2.0), "b": (2.0, 1.0), None: (1.0, 1.0)}[of.preferred]
        ranked = RankedList(
            prompt=of.prompt,
            images=(of.image_a, of.image_b),
            ranks=(rank_a, rank_b),
            list_id=of.pair_id,
            prompt_id=of.prompt_id,
            generators=(of.generator_a, of.generator_b),
            category=of.category,
            columns=of.columns,
        )
        order = (0, 1) if pair.first == "a" else (1, 0)
        return (ShownList(ranked, order, pair.index, pair.epoch, pair.counted),)

    def p_second(self, p_label_KL: Tensor) -> float:
        """The second label's share of the first two labels' probability."""
        return float(self.scores(p_label_KL[:1], 2)[0, 1])

    def verdict(self, answers: Sequence[int | None]) -> int | None:
        """The answer, if it is one of the two images."""
        return answers[0] if answers[0] in (0, 1) else None

    def in_words(self, answer: int) -> str:
        """The label and what it means: 3 (image 3 is the best).

        Raises:
            IndexError: the answer is no label's index.
        """
        return f"{self.labels[answer]} (image {self.labels[answer]} is the best)"

    def _list(self, shown: Shown) -> ShownList:
        if not isinstance(shown, ShownList):
            raise OtherKindError(
                f"{type(self).__name__} asks about ranked lists of images, got {shown.name} ({type(shown).__name__}): "
                "train on a source of lists, or choose the task that goes with this source"
            )
        if not 2 <= len(shown.images) <= self.max_images:
            raise ValueError(
                f"{shown.name} has {len(shown.images)} images; expected 2 to {self.max_images}, as many as there are "
                f"labels: {self.labels}. Give more labels (letters, say), or leave such lists out"
            )
        return shown

    def _decided(self, shown: Shown) -> ShownList:
        """A list in which people rank at least one image above another."""
        listed = self._list(shown)
        if len(set(listed.ranks)) == 1:
            raise ValueError(
                f"{listed.name}: all its images tie, so that no answer is right; leave it out of data.train"
            )
        return listed


def _share_beaten(answer: int | None, ranks: Sequence[float]) -> float:
    """Of the images that do not tie with the answer, the share of those ranked below it."""
    if answer is None or answer >= len(ranks):
        return 0.0
    others = [rank for rank in ranks if rank != ranks[answer]]
    return sum(rank > ranks[answer] for rank in others) / len(others)


def _ordered_pairs(ranks: Sequence[float]) -> Iterator[tuple[int, int]]:
    """(better, worse) of all pairs of images that do not tie."""
    for i, j in combinations(range(len(ranks)), 2):
        if ranks[i] != ranks[j]:
            yield (i, j) if ranks[i] < ranks[j] else (j, i)


def _shares(p_NI: Tensor) -> Tensor:
    """Each row divided by its sum; level, even where all its probabilities are too small for a float."""
    sum_N1 = p_NI.sum(1, keepdim=True)
    return torch.where(sum_N1 > 0, p_NI / torch.where(sum_N1 > 0, sum_N1, 1.0), 1 / p_NI.shape[1])
