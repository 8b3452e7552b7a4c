"""Pairwise preference: which of two images do people prefer for a prompt? Labels 0 and 1, for Eq. 4 of the paper.

The question is worded by a template, so that a large instruct model gets careful instructions and a tiny one a few
words. Absolute ratings are another task.
"""

import re
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from lit_listener.data.records import Demonstration, Shown, ShownPair, a_pair
from lit_listener.tasks import verdicts
from lit_listener.tasks.task import Question
from lit_listener.tasks.transcript import Transcript, beyond_repair, closing, parse_transcript

DEFAULT_SYSTEM = "You are a careful judge of images that were generated from a text prompt."
DEFAULT_TEMPLATE = """\
Two images were generated from the same text prompt. Decide which of the two people would prefer for this prompt.

Prompt: {prompt}

First image:
{image_0}
Second image:
{image_1}

Think before you answer:
- What does the prompt ask for (objects, numbers, colours, positions, actions, written text, style)?
- How well does each image match it? What is missing, wrong or added?
- How good is each image as an image (sharpness, anatomy, artefacts, composition, appeal)?
- All in all, which image would more people prefer?

Write your thoughts inside <think></think>; call the images "the first image" and "the second image", and say which \
one is better. Then write your answer inside <answer></answer>: 0 if the first image is better, 1 if the second image \
is better.

Reply in exactly this form, and with nothing else:
<think>your thoughts</think><answer>0 or 1</answer>"""
DEFAULT_RETELLING = """\
Two images were generated from the same text prompt. Decide which of the two people would prefer for this prompt.

Prompt: {prompt}

First image:
{image_0}
Second image:
{image_1}

Somebody has explained how the two images compare. The explanation may be right or wrong. First repeat it word for \
word, then look at the images yourself and give your own answer inside <answer></answer>: 0 if the first image is \
better, 1 if the second image is better."""
DEFAULT_CONTINUATION = "Somebody's explanation: {trace}\n\nMy own answer: <answer>"

_FIELD = re.compile(r"(\{prompt\}|\{image_0\}|\{image_1\})")
_FIELDS = ("{prompt}", "{image_0}", "{image_1}")
_CHAT_TOKEN = re.compile(r"<\|(\w+)\|>")
_TAG = re.compile(r"</?(?:think|answer)>")
_ANSWER_BLOCK = re.compile(r"<answer>.*?(?:</answer>|\Z)", re.DOTALL)


class PairwisePreference:
    """The question which of two displayed images people prefer."""

    labels: ClassVar[tuple[str, ...]] = ("0", "1")

    def __init__(
        self,
        template: str = DEFAULT_TEMPLATE,
        system: str | None = DEFAULT_SYSTEM,
        retelling: str = DEFAULT_RETELLING,
        continuation: str = DEFAULT_CONTINUATION,
    ) -> None:
        """Take the wording of the question.

        Args:
            template: The reasoner's question, with ``{prompt}``, ``{image_0}`` and ``{image_1}`` once each; other
                braces are plain text.
            system: The system message; None for no such message (some chat templates then add one of their own).
            retelling: A listener's question, with the same fields. The trace is no part of it, so that all traces
                about a pair share it.
            continuation: The opening of the listener's reply, with ``{trace}`` once, and ``<answer>`` at its end.

        Raises:
            ValueError: If a field is missing, repeated or out of order, or if a text holds a chat token.
        """
        _refuse_chat_tokens(system or "", "system")
        _refuse_chat_tokens(continuation, "continuation")
        if continuation.count("{trace}") != 1 or not continuation.endswith("<answer>"):
            raise ValueError(
                f"continuation must hold {{trace}} exactly once and end with <answer>, got {continuation!r}"
            )
        self._template = _split(template, "template")
        self._retelling = _split(retelling, "retelling")
        self._system = system
        self._continuation = continuation

    def encode(self, shown: Shown) -> Question:
        """The question that the reasoner is asked.

        Args:
            shown: The pair, in the order in which it is displayed.

        Returns:
            The messages and the two images in displayed order.

        Raises:
            ValueError: If the pair's prompt holds a chat token such as ``<|image_pad|>``.
        """
        return self._ask(self._template, shown)

    def parse(self, token_bytes: Sequence[bytes], *, truncated: bool) -> Transcript:
        """Read a completion.

        Args:
            token_bytes: The bytes of every completion token, without the end token.
            truncated: Whether the completion reached the length limit without an end token.
        """
        return parse_transcript(token_bytes, self.labels, truncated=truncated)

    def beyond_repair(self, raw: bytes) -> bool:
        """Whether a completion that begins so cannot keep the grammar any more, whatever follows."""
        return beyond_repair(raw, self.labels)

    def format_reward(self, transcripts: Sequence[Transcript]) -> list[float]:
        """1 where the completion keeps the grammar and ended by itself, else 0."""
        return [float(transcript.well_formed) for transcript in transcripts]

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
        labels = [_decided(each) for each in shown]
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
        labels_N = torch.tensor([_decided(each) for each in shown], device=p_label_NL.device)
        return p_label_NL.gather(1, labels_N[:, None]).squeeze(1)

    def parts(self, pair: ShownPair) -> tuple[Shown, ...]:
        """The pair itself: one question tells which image is better."""
        return (pair,)

    def p_second(self, p_label_KL: Tensor) -> float:
        """The probability of label 1 (Eq. 4), of the one question that is asked."""
        return float(p_label_KL[0, 1])

    def verdict(self, answers: Sequence[int | None]) -> int | None:
        """The answer of the one question."""
        return answers[0]

    def write(self, demonstration: Demonstration) -> str:
        """The completion that a model shall learn to write.

        Raises:
            ValueError: If the trace holds a tag or a chat token, or if the answer is no label's index.
        """
        trace, answer = demonstration.trace, demonstration.answer
        if tag := _TAG.search(trace):
            raise ValueError(f"a demonstration's trace must not hold tags, got {tag[0]} in {trace!r}")
        _refuse_chat_tokens(trace, "a demonstration's trace")
        if answer not in range(len(self.labels)):
            raise ValueError(f"a demonstration's answer must be 0 or 1, got {answer}")
        return f"<think>{trace}</think><answer>{self.labels[answer]}</answer>"

    def stated_verdict(self, trace: str) -> int | None:
        """Index of the image that the thoughts call the better one, by rule; None where they call none so."""
        return verdicts.stated_verdict(trace)

    def contradicts(self, transcript: Transcript) -> bool:
        """Whether the thoughts state one verdict and the answer gives the other."""
        if transcript.think is None or transcript.answer is None:
            return False
        verdict = self.stated_verdict(transcript.think)
        return verdict is not None and verdict != transcript.answer

    def strip_verdicts(self, trace: str) -> str:
        """The thoughts without the sentences that speak of a verdict."""
        return verdicts.strip_verdicts(trace)

    def opening(self, trace: str) -> str:
        """A completion with these thoughts, up to the answer's place; tags in them are cut out, as are chat tokens."""
        return f"<think>{_CHAT_TOKEN.sub('', _TAG.sub('', trace))}</think><answer>"

    def closing(self, raw: bytes) -> tuple[int, str]:
        """How many bytes of a completion without an answer's place are kept, and the text that leads them to one."""
        return closing(raw)

    def in_words(self, answer: int) -> str:
        """The label and what it means: 0 (the first image is better).

        Raises:
            IndexError: the answer is no label's index.
        """
        return f"{self.labels[answer]} (the {('first', 'second')[answer]} image is better)"

    def retell_question(self, shown: Shown) -> Question:
        """The question that a listener is asked, without any trace: one prefix for all traces about the pair.

        Raises:
            ValueError: If the pair's prompt holds a chat token.
        """
        return self._ask(self._retelling, shown)

    def retell_continuation(self, trace: str) -> str:
        """The opening of the listener's reply: the trace as somebody's explanation, up to the label's place.

        Answers written inside the trace are cut out, for they would give the verdict away, and chat tokens spelled out
        by the reasoner are pulled apart (``<|im_end|>`` becomes ``< |im_end| >``), for they would end the reply. A
        trace never stops a run.
        """
        heard = _TAG.sub("", _ANSWER_BLOCK.sub("", trace))
        heard = _CHAT_TOKEN.sub(r"< |\1| >", heard)
        return self._continuation.replace("{trace}", heard.strip())

    def _ask(self, pieces: list[str], shown: Shown) -> Question:
        """Fill a split template."""
        pair = a_pair(shown, "PairwisePreference")
        _refuse_chat_tokens(pair.prompt, f"the prompt of {pair.name}")
        content: list[dict[str, Any]] = []
        for piece in pieces:
            if piece in ("{image_0}", "{image_1}"):
                content.append({"type": "image"})
                continue
            text = pair.prompt if piece == "{prompt}" else piece
            if content and content[-1]["type"] == "text":
                content[-1]["text"] += text
            elif text:
                content.append({"type": "text", "text": text})
        messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
        if self._system is not None:
            messages.insert(0, {"role": "system", "content": [{"type": "text", "text": self._system}]})
        return Question(messages=tuple(messages), images=pair.images, label=pair.label)


def _decided(shown: Shown) -> int:
    """The right label of a pair."""
    pair = a_pair(shown, "PairwisePreference")
    if pair.label is None:
        raise ValueError(f"{pair.name} is a tie: it has no right image; drop ties from data.train")
    return pair.label


def _split(template: str, name: str) -> list[str]:
    """Cut a template at its fields, which are checked first. Splitting once keeps braces in a prompt plain text."""
    _refuse_chat_tokens(template, name)
    for field in _FIELDS:
        if (count := template.count(field)) != 1:
            problem = "is missing" if count == 0 else f"occurs {count} times"
            raise ValueError(f"{name}: {field} {problem}; write {', '.join(_FIELDS)} exactly once each")
    if template.index("{image_0}") > template.index("{image_1}"):
        raise ValueError(f"{name}: {{image_1}} stands before {{image_0}}; the first displayed image must come first")
    return _FIELD.split(template)


def _refuse_chat_tokens(text: str, name: str) -> None:
    """Raise on text that a tokenizer would turn into control tokens."""
    if token := _CHAT_TOKEN.search(text):
        raise ValueError(
            f"{name} holds the chat token {token[0]}, which would break up the message or its image placeholders; "
            f"remove it from the text: {text[:200]!r}"
        )
