"""Pairwise preference: which of two images do people prefer for a prompt? Labels 0 and 1, for Eq. 4 of the paper.

The question is worded by a template, so that a large instruct model gets careful instructions and a tiny one a few
words. Absolute ratings are another task.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lit_listener.data.shown import Shown, ShownPair, a_pair
from lit_listener.tasks import image_names
from lit_listener.tasks.transcript import Transcript
from lit_listener.tasks.verdicts import pair_verdicts
from lit_listener.tasks.worded import WordedTask, grammar_of
from lit_listener.tasks.wording_file import resolved

DEFAULT_SYSTEM = "You are a careful judge of images that were generated from a text prompt."
DEFAULT_TEMPLATE = """\
Two images were generated from the same text prompt. Decide which of the two people would prefer for this prompt.

Prompt: {prompt}

First image:
{image_0}
Second image:
{image_1}

{% if thinks %}
Think before you answer:
- What does the prompt ask for (objects, numbers, colours, positions, actions, written text, style)?
- How well does each image match it? What is missing, wrong or added?
- How good is each image as an image (sharpness, anatomy, artefacts, composition, appeal)?
- All in all, which image would more people prefer?

Write your thoughts inside <think></think>; call the images "the first image" and "the second image", and say which \
one is better. Then write your answer inside <answer></answer>: {{ answers[0] }} if the first image is better, \
{{ answers[1] }} if the second image is better.

Reply in exactly this form, and with nothing else:
<think>your thoughts</think><answer>{{ answers[0] }} or {{ answers[1] }}</answer>
{%- else %}
Write your answer inside <answer></answer>: {{ answers[0] }} if the first image is better, {{ answers[1] }} if the \
second image is better.

Reply in exactly this form, and with nothing else:
<answer>{{ answers[0] }} or {{ answers[1] }}</answer>
{%- endif %}"""
DEFAULT_RETELLING = """\
Two images were generated from the same text prompt. Decide which of the two people would prefer for this prompt.

Prompt: {prompt}

First image:
{image_0}
Second image:
{image_1}

Somebody has explained how the two images compare. The explanation may be right or wrong. First repeat it word for \
word, then look at the images yourself and give your own answer inside <answer></answer>: {{ answers[0] }} if the \
first image is better, {{ answers[1] }} if the second image is better."""
DEFAULT_CONTINUATION = "Somebody's explanation: {trace}\n\nMy own answer: <answer>"


class PairwisePreference(WordedTask):
    """The question which of two displayed images people prefer."""

    def __init__(  # one option a part of the wording keeps a config flat
        self,
        template: str = DEFAULT_TEMPLATE,
        system: str | None = DEFAULT_SYSTEM,
        retelling: str = DEFAULT_RETELLING,
        continuation: str = DEFAULT_CONTINUATION,
        labels: tuple[str, ...] = ("0", "1"),
        answer: str = "{label}",
        thinks: bool = True,
        file: str | None = None,
    ) -> None:
        """Take the wording of the question.

        Args:
            template: The reasoner's question, with ``{prompt}``, ``{image_0}`` and ``{image_1}`` once each; other
                single braces are plain text. ``{{ … }}`` and ``{% … %}`` are Jinja, which may name any column of the
                data (see docs/tasks.md).
            system: The system message, with Jinja as well; None for no such message (some chat templates then add one
                of their own).
            retelling: A listener's question, with the same slots and names. The trace is no part of it, so that all
                traces about a pair share it.
            continuation: The opening of the listener's reply, with ``{trace}`` once, and ``<answer>`` at its end; the
                words that come before the label are added to it.
            labels: The answer's label for the first displayed image, and that for the second; each one token.
            answer: What stands in the answer block, with ``{label}`` once: ``Image {label} is better``, say.
            thinks: Whether thoughts in ``<think></think>`` come first; without, the answer block is the whole reply.
            file: A YAML file with these options in the place of them, or the name of a bundled wording:
                unified_reward_think, r1_image_labels.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If a slot is missing, repeated or out of order, if a text holds a chat token or is no Jinja, if
                labels or answer leave open what is meant, or if other options are given beside a file.
        """
        given: dict[str, Any] = {"template": template, "system": system, "retelling": retelling}
        given |= {"continuation": continuation, "labels": labels, "answer": answer, "thinks": thinks, "file": file}
        options = resolved(PairwisePreference, given)
        labels = grammar_of(options).labels
        if len(labels) != 2:
            raise ValueError(f"labels must be two, one for each image, got {labels}")
        super().__init__(options, ("image_0", "image_1"), pair_verdicts(labels))

    def label_of(self, shown: Shown) -> int | None:
        """Index of the displayed image that people prefer, or None for a tie."""
        return a_pair(shown, type(self).__name__).label

    # ---- rewarding -------------------------------------------------------------------------------------------------

    def refuse_undecided(self, shown: Shown) -> None:
        """Refuse a tie, which has no right image.

        Raises:
            ValueError: If the pair is one.
        """
        self._decided(shown)

    def accuracy_reward(self, transcripts: Sequence[Transcript], shown: Sequence[Shown]) -> list[float]:
        """1 where the last closed answer is right, in a wrong form too; else 0.

        Args:
            transcripts: What was read from the completions.
            shown: The pair that each is about.

        Raises:
            ValueError: If there are not as many pairs as transcripts, or a pair is a tie.
        """
        if len(transcripts) != len(shown):
            raise ValueError(f"accuracy_reward needs one pair a transcript, got {len(shown)} for {len(transcripts)}")
        labels = [self._decided(each) for each in shown]
        return [float(transcript.answer == label) for transcript, label in zip(transcripts, labels, strict=True)]

    def agreement(self, p_label_NL: Tensor, shown: Sequence[Shown]) -> Tensor:
        """The probability of the preferred image, p_corr of Eq. 5.

        Args:
            p_label_NL: Probability of each label, shape [N, 2].
            shown: The pair that each row is about.

        Returns:
            Shape [N], in [0, 1].

        Raises:
            ValueError: If a pair is a tie.
        """
        labels_N = torch.tensor([self._decided(each) for each in shown], device=p_label_NL.device)
        return p_label_NL.gather(1, labels_N[:, None]).squeeze(1)

    # ---- judging a pair --------------------------------------------------------------------------------------------

    def parts(self, pair: ShownPair) -> tuple[Shown, ...]:
        """The pair itself: one question tells which image is better."""
        return (pair,)

    def p_second(self, p_label_KL: Tensor) -> float:
        """The probability of label 1 (Eq. 4), of the one question that is asked."""
        return float(p_label_KL[0, 1])

    def verdict(self, answers: Sequence[int | None]) -> int | None:
        """The answer of the one question."""
        return answers[0]

    def swap_images(self, trace: str) -> str | None:
        """The thoughts as they would be about the same images in the other order; None where that is not sure."""
        first, second = self.labels
        return image_names.swap_images(trace, (first, second))

    def in_words(self, answer: int) -> str:
        """The label and what it means: 0 (the first image is better).

        Raises:
            IndexError: the answer is no label's index.
        """
        return f"{self.labels[answer]} (the {('first', 'second')[answer]} image is better)"

    def _decided(self, shown: Shown) -> int:
        """The right label of a pair."""
        pair = a_pair(shown, type(self).__name__)
        if pair.label is None:
            raise ValueError(f"{pair.name} is a tie: it has no right image; drop ties from data.train")
        return pair.label
