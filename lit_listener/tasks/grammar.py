"""The form of a reply: which labels an answer may give, how it spells them, and whether thoughts come first.

``<think>…</think><answer>1</answer>`` is the papers' form. Others write the label within words (``<answer>Image 1 is
better</answer>``), or answer without a thought (``<answer>1</answer>``). A ``Grammar`` says which, once; whatever
reads, writes or completes a reply asks it.

The label's *place* is where a model's probabilities of the labels are read: behind the words that all answers begin
with. Whether the space at their end belongs to the label's token is the tokenizer's affair. Where a reply is read,
either is taken. Where one is led up to the label, the space is written if the labels are numbers, and left to the label
if they are words: the tokenizers of Qwen2 and its successors cut ``Image 1`` into ``Image``, a space and ``1``, but
``Image A`` into ``Image`` and `` A``.
"""

import re
from dataclasses import dataclass

ANSWER_OPENS = b"<answer>"
ANSWER_CLOSES = b"</answer>"
THINK_OPENS = b"<think>"
THINK_CLOSES = b"</think>"
TAG = re.compile(rb"</?(?:think|answer)>")

_SLOT = "{label}"
_TEXT_TAG = re.compile(TAG.pattern.decode())
_CHAT_TOKEN = re.compile(r"<\|(\w+)\|>")


@dataclass(frozen=True)
class Grammar:
    """The form that a reply has to keep, byte for byte but for white space (of ASCII) around its blocks and answer.

    Raises:
        ValueError: there are fewer than two labels, one cannot be told from another, or the answer has no one place
            for them.
    """

    labels: tuple[str, ...]
    """What an answer may choose among. One may not begin another ("1", "10"): their probabilities are read at the
    first token, where the two look alike."""
    answer: str = _SLOT
    """What stands in the answer block: words with ``{label}`` once in them."""
    thinks: bool = True
    """Whether ``<think>…</think>`` comes first. Without, the answer block is the whole reply."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", _checked_labels(self.labels))
        answer = self.answer
        if not isinstance(answer, str) or answer.count(_SLOT) != 1 or answer != answer.strip() or "<" in answer:
            raise ValueError(
                f"answer must be words with {_SLOT} exactly once, without '<' and without white space at its ends, "
                f"got {answer!r}"
            )
        if self.before_label != self.before_label.rstrip() and len(set(self._are_numbers)) > 1:
            raise ValueError(
                f"labels: behind the words {self.before_label!r} all must be numbers or none, for tokenizers treat the "
                f"space before a number in another way, got {self.labels}"
            )

    @property
    def spellings(self) -> tuple[str, ...]:
        """The whole answer for each label: "Image 1 is better"."""
        return tuple(self.answer.replace(_SLOT, label) for label in self.labels)

    @property
    def before_label(self) -> str:
        """The words that all answers begin with, and the white space behind them."""
        return self.answer[: self.answer.index(_SLOT)]

    @property
    def opens(self) -> str:
        """What leads to the label's place: the answer's tag and the words before the label."""
        return ANSWER_OPENS.decode() + (self.before_label if all(self._are_numbers) else self.before_label.rstrip())

    @property
    def _are_numbers(self) -> list[bool]:
        return [label[0].isdecimal() for label in self.labels]

    @property
    def tags(self) -> list[bytes]:
        """The tags of a reply, in their order."""
        blocks = [ANSWER_OPENS, ANSWER_CLOSES]
        return [THINK_OPENS, THINK_CLOSES, *blocks] if self.thinks else blocks

    def reply(self, trace: str, answer: int) -> str:
        """A whole reply.

        Args:
            trace: the thoughts; left out where the grammar has none.
            answer: index of the label.
        """
        thoughts = f"<think>{trace}</think>" if self.thinks else ""
        return f"{thoughts}<answer>{self.spellings[answer]}</answer>"

    def opening(self, trace: str) -> str:
        """A reply with these thoughts, up to the label's place; tags and chat tokens in them are cut out."""
        if not self.thinks:
            return self.opens
        return f"<think>{_CHAT_TOKEN.sub('', _TEXT_TAG.sub('', trace))}</think>{self.opens}"

    def label_index(self, content: bytes) -> int | None:
        """Index of the label that the content of an answer block gives, or None."""
        stripped = content.strip()
        return next((index for index, text in enumerate(self.spellings) if text.encode() == stripped), None)

    def place(self, content: bytes) -> int | None:
        """Where in an answer block, closed or not, the label's place is.

        Args:
            content: the bytes behind the block's tag.

        Returns:
            The number of bytes before it; None where the block does not begin with the words before the label.
        """
        before = self.before_label.encode()
        if not before:
            return 0  # white space belongs to the label: it may be fused with it
        given = content.lstrip()
        return len(content) - len(given) + len(before.rstrip()) if given.startswith(before) else None

    def beyond_repair(self, raw: bytes) -> bool:
        """Whether a reply that begins so cannot keep the grammar any more, whatever follows.

        Args:
            raw: the bytes of the reply so far.
        """
        tags = list(TAG.finditer(raw))
        if [tag[0] for tag in tags] != self.tags[: len(tags)]:
            return True
        ends = [0, *(tag.end() for tag in tags)]
        starts = [*(tag.start() for tag in tags), len(raw)]
        pieces = [raw[a:b] for a, b in zip(ends, starts, strict=True)]
        if not self.thinks:  # as if an empty think block had been written
            pieces = [b"", b"", *pieces]
        written = len(pieces) - 1  # tags
        before, _, between, answer, after = [*pieces, b"", b"", b"", b""][:5]
        opened, closed = written > 2, written > 3
        return (
            not _can_become(before, THINK_OPENS, done=written > 0)
            or not _can_become(between, ANSWER_OPENS, done=opened)
            or (closed and self.label_index(answer) is None)
            or (opened and not closed and not any(_can_close(answer, text.encode()) for text in self.spellings))
            or bool(after.strip())
        )

    def closing(self, raw: bytes) -> tuple[int, str]:
        """How a reply without a label's place is led to one.

        Its thoughts are kept, and nothing behind them: what follows has come to no answer, and may be anything. Where
        they were not closed they end where an answer block begins, or with the reply (less a tag that was begun
        there). Nothing is kept where the grammar has no thoughts.

        Args:
            raw: the bytes of the reply.

        Returns:
            How many of the bytes are kept, and the text that follows them, after which the label would stand.
        """
        if not self.thinks:
            return 0, self.opens
        closed = raw.find(THINK_CLOSES)
        if closed >= 0:
            return closed + len(THINK_CLOSES), self.opens
        opened = raw.find(ANSWER_OPENS)
        begun = max(size for size in range(len(THINK_CLOSES)) if raw.endswith(THINK_CLOSES[:size]))
        return opened if opened >= 0 else len(raw) - begun, THINK_CLOSES.decode() + self.opens


def _checked_labels(labels: tuple[str, ...]) -> tuple[str, ...]:
    texts = isinstance(labels, list | tuple) and all(isinstance(label, str) for label in labels)
    if not texts or len(labels) < 2:
        raise ValueError(f"labels must be two texts or more, got {labels!r}; in YAML, write numbers in quotation marks")
    for place, label in enumerate(labels):
        if not label or label != label.strip() or "<" in label:
            raise ValueError(f"a label must be text without '<' and without white space at its ends, got {label!r}")
        for other in (*labels[:place], *labels[place + 1 :]):
            if other.startswith(label):
                raise ValueError(
                    f"labels: {label!r} begins {other!r}, and their probabilities are read at the first token, where "
                    "the two look alike; choose other labels, such as the letters A, B, C"
                )
    return tuple(labels)


def _can_become(space: bytes, tag: bytes, *, done: bool) -> bool:
    """Whether this is white space, and, where the tag after it is not there yet, perhaps the tag's beginning."""
    return not space.strip() or (not done and tag.startswith(space.lstrip()))


def _can_close(answer: bytes, spelling: bytes) -> bool:
    """Whether an answer block that is still open may come to hold this answer alone."""
    given = answer.lstrip()
    if len(given) <= len(spelling):
        return spelling.startswith(given)
    return given.startswith(spelling) and _can_become(given[len(spelling) :], ANSWER_CLOSES, done=False)
