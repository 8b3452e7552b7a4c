"""What tasks have in common that word a question by templates and read one label from the reply.

The wording comes from options or from a file; the reply keeps a ``Grammar``. What is asked about, who is right and how
a label becomes a preference is for each task to say.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from lit_listener.data.shown import Demonstration, Shown
from lit_listener.tasks.grammar import TAG, Grammar
from lit_listener.tasks.task import Question
from lit_listener.tasks.transcript import Transcript, parse_transcript
from lit_listener.tasks.wording import CHAT_TOKEN, Text, refuse_chat_tokens

_TAG = re.compile(TAG.pattern.decode())
_ANSWER_BLOCK = re.compile(r"<answer>.*?(?:</answer>|\Z)", re.DOTALL)


class Verdicts(Protocol):
    """How verdicts are read out of thoughts (``VerdictRules``, or rules of a task's own)."""

    def sentences(self, trace: str) -> list[str]:
        """The trace cut where a sentence ends; put together again, the pieces are the trace."""

    def stated(self, trace: str) -> int | None:
        """Index of the label that the thoughts argue for; None where they state no verdict."""

    def strip(self, trace: str) -> str:
        """The thoughts without the sentences that speak of a verdict."""


class WordedTask(ABC):
    """A question put into words by templates, whose reply names a label.

    Args:
        options: The task's options: template, system, retelling, continuation, labels, answer and thinks.
        image_slots: Names of the slots that images go into.
        verdicts: How verdicts are read out of thoughts.

    Raises:
        ValueError: If an option is not what it should be; the message names it.
    """

    def __init__(self, options: Mapping[str, Any], image_slots: tuple[str, ...], verdicts: Verdicts) -> None:
        self.grammar = grammar_of(options)
        self._verdicts = verdicts
        self._template = Text(options["template"], "template", image_slots)
        self._retelling = Text(options["retelling"], "retelling", image_slots)
        self._system = None if options["system"] is None else Text(options["system"], "system")
        self._continuation = Text(options["continuation"], "continuation").source
        if self._continuation.count("{trace}") != 1 or not self._continuation.endswith("<answer>"):
            raise ValueError(
                f"continuation must hold {{trace}} exactly once and end with <answer>, got {self._continuation!r}"
            )

    @property
    def labels(self) -> tuple[str, ...]:
        """The texts that an answer may choose among."""
        return self.grammar.labels

    # ---- asking ----------------------------------------------------------------------------------------------------

    def encode(self, shown: Shown) -> Question:
        """The question that the reasoner is asked.

        Args:
            shown: What is asked about, in the order in which it is displayed.

        Returns:
            The messages and the images in displayed order.

        Raises:
            TypeError: If the task does not ask about such things.
            ValueError: If the prompt or a column holds a chat token such as ``<|image_pad|>``, or a column that the
                wording asks for is missing.
        """
        return self._ask(self._template, shown)

    def retell_question(self, shown: Shown) -> Question:
        """The question that a listener is asked, without any trace: one prefix for all traces about what is shown.

        Raises:
            TypeError: If the task does not ask about such things.
            ValueError: If the wording cannot be filled.
        """
        return self._ask(self._retelling, shown)

    def retell_continuation(self, trace: str) -> str:
        """The opening of the listener's reply: the trace as somebody's explanation, up to the label's place.

        Answers written inside the trace are cut out, for they would give the verdict away, and chat tokens spelled out
        by the reasoner are pulled apart (``<|im_end|>`` becomes ``< |im_end| >``), for they would end the reply. A
        trace never stops a run.
        """
        heard = _TAG.sub("", _ANSWER_BLOCK.sub("", trace))
        heard = CHAT_TOKEN.sub(r"< |\1| >", heard)
        before, after = self._continuation.removesuffix("<answer>").split("{trace}")
        return before + heard.strip() + after + self.grammar.opens

    def write(self, demonstration: Demonstration) -> str:
        """The completion that a model shall learn to write; without the thoughts, where the grammar has none.

        Raises:
            ValueError: If the trace holds a tag or a chat token, or if the answer is no label's index.
        """
        trace, answer = demonstration.trace, demonstration.answer
        if tag := _TAG.search(trace):
            raise ValueError(f"a demonstration's trace must not hold tags, got {tag[0]} in {trace!r}")
        refuse_chat_tokens(trace, "a demonstration's trace")
        if answer not in range(len(self.labels)):
            raise ValueError(
                f"a demonstration's answer must be the index of one of the labels {self.labels}, 0 to "
                f"{len(self.labels) - 1}, got {answer}"
            )
        return self.grammar.reply(trace, answer)

    def opening(self, trace: str) -> str:
        """A completion with these thoughts, up to the answer's place; tags in them are cut out, as are chat tokens."""
        return self.grammar.opening(trace)

    def closing(self, raw: bytes) -> tuple[int, str]:
        """How many bytes of a completion without an answer's place are kept, and the text that leads them to one."""
        return self.grammar.closing(raw)

    # ---- reading ---------------------------------------------------------------------------------------------------

    def parse(self, token_bytes: Sequence[bytes], *, truncated: bool) -> Transcript:
        """Read a completion.

        Args:
            token_bytes: The bytes of every completion token, without the end token.
            truncated: Whether the completion reached the length limit without an end token.
        """
        return parse_transcript(token_bytes, self.grammar, truncated=truncated)

    def beyond_repair(self, raw: bytes) -> bool:
        """Whether a completion that begins so cannot keep the grammar any more, whatever follows."""
        return self.grammar.beyond_repair(raw)

    def sentences(self, trace: str) -> list[str]:
        """The thoughts cut where a sentence ends, as verdicts are looked for in them; nothing is left out."""
        return self._verdicts.sentences(trace)

    def stated_verdict(self, trace: str) -> int | None:
        """Index of the label that the thoughts argue for, by rule; None where they state no verdict."""
        return self._verdicts.stated(trace)

    def contradicts(self, transcript: Transcript) -> bool:
        """Whether the thoughts state one verdict and the answer gives the other."""
        if transcript.think is None or transcript.answer is None:
            return False
        verdict = self.stated_verdict(transcript.think)
        return verdict is not None and verdict != transcript.answer

    def strip_verdicts(self, trace: str) -> str:
        """The thoughts without the sentences that speak of a verdict."""
        return self._verdicts.strip(trace)

    def format_reward(self, transcripts: Sequence[Transcript]) -> list[float]:
        """1 where the completion keeps the grammar and ended by itself, else 0."""
        return [float(transcript.well_formed) for transcript in transcripts]

    # ---- what each task says ---------------------------------------------------------------------------------------

    @abstractmethod
    def label_of(self, shown: Shown) -> int | None:
        """Index of the right label; None where it is unknown.

        Raises:
            TypeError: If the task does not ask about such things.
        """

    def names(self, shown: Shown) -> dict[str, Any]:
        """What templates may name beside the prompt and the columns: the labels of what is shown, say."""
        grammar = self.grammar
        count = min(len(grammar.labels), max(2, len(shown.images)))
        return {
            "labels": list(grammar.labels[:count]),
            "answers": list(grammar.spellings[:count]),
            "thinks": grammar.thinks,
        }

    def _ask(self, text: Text, shown: Shown) -> Question:
        """Fill a text."""
        label, own = self.label_of(shown), self.names(shown)
        content: list[dict[str, Any]] = []
        for place, piece in enumerate(text.fill(shown, own)):
            if place % 2:
                content.append({"type": "image"})
            elif piece:
                content.append({"type": "text", "text": piece})
        slots = sum(part["type"] == "image" for part in content)
        if slots != len(shown.images):
            raise ValueError(
                f"{text.name}, filled for {shown.name}, has {slots} image slots for {len(shown.images)} images: each "
                "image needs its slot, whatever the columns say"
            )
        messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
        if self._system is not None:
            said = "".join(self._system.fill(shown, own))
            messages.insert(0, {"role": "system", "content": [{"type": "text", "text": said}]})
        return Question(messages=tuple(messages), images=shown.images, label=label)


def grammar_of(options: Mapping[str, Any]) -> Grammar:
    """The form of a reply, by a task's options.

    Raises:
        ValueError: If labels, answer or thinks are not what they should be.
    """
    if not isinstance(options["thinks"], bool):
        raise ValueError(f"thinks must be true or false, got {options['thinks']!r}")  # noqa: TRY004  # an option is wrong
    return Grammar(options["labels"], options["answer"], options["thinks"])
