"""Reading a completion: its thoughts, its answer, and the token at which the answer stands.

The grammar is strict: ``<think>…</think><answer>label</answer>``, with white space (of ASCII) allowed before, between
and after the two blocks and around the label. The answer is what the *last closed* answer block holds and nothing else:
a label that merely occurs in the text is never taken for one.

All of it works on the bytes of the tokens that were sampled. Tags straddle tokens (``.</``, ``think``, ``><``,
``answer``, ``>``, ``1``) and characters straddle them too, and text that is tokenised anew need not give back the
tokens the model wrote.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

_TAG = re.compile(rb"</?(?:think|answer)>")
_ANSWER_OPENS = b"<answer>"
_THINK_OPENS = b"<think>"
_THINK_CLOSES = b"</think>"
_CLOSED_ANSWER = re.compile(rb"<answer>((?:(?!</?answer>).)*)</answer>", re.DOTALL)
_TAG_ORDER = [_THINK_OPENS, _THINK_CLOSES, _ANSWER_OPENS, b"</answer>"]


class Outcome(StrEnum):
    """How a completion came out.

    Where several faults meet, the first of this order is reported: TRUNCATED, then what leaves no answer to read
    (NO_ANSWER, BAD_LABEL), then faults of form (NO_THINK, REPEATED_TAGS, LEADING_TEXT, TRAILING_TEXT). So an answer was
    read under every fault of form.
    """

    OK = "ok"
    """The grammar is kept and the completion ended by itself. An empty think block is allowed."""
    NO_THINK = "no_think"
    """The answer can be read, but no closed think block was opened before it."""
    NO_ANSWER = "no_answer"
    """No closed answer block: none at all, or one that was opened and left open."""
    BAD_LABEL = "bad_label"
    """The last closed answer block holds something other than one of the labels."""
    TRAILING_TEXT = "trailing_text"
    """Something other than white space follows the answer block."""
    LEADING_TEXT = "leading_text"
    """Something other than white space precedes the think block."""
    REPEATED_TAGS = "repeated_tags"
    """A tag occurs more than once, the blocks are nested, or text stands between them."""
    TRUNCATED = "truncated"
    """No end token within the length limit, whatever else is right or wrong; a closed answer is still read."""


@dataclass(frozen=True)
class Transcript:
    """What was read from one completion."""

    text: str
    """The completion, decoded; bytes that are no UTF-8 become U+FFFD."""
    outcome: Outcome
    think: str | None
    """From the first ``<think>`` to the ``</think>`` after it; unclosed: up to the ``<answer>``, or to the end.

    None without a ``<think>``.
    """
    answer: int | None
    """Index of the label in the last closed answer block; None where that cannot be read."""
    answer_token: int | None
    """Index, among the completion's tokens, of the token at the label's place; None where no token begins there.

    Set for a bad label and for an answer left open too: the labels' probabilities can be read there all the same.
    """

    @property
    def well_formed(self) -> bool:
        """Whether the completion keeps the grammar and ended by itself."""
        return self.outcome is Outcome.OK


def parse_transcript(token_bytes: Sequence[bytes], labels: Sequence[str], *, truncated: bool) -> Transcript:
    """Read one completion.

    Args:
        token_bytes: The bytes of every completion token, without the end token.
        labels: The labels an answer may give, without white space around them.
        truncated: Whether the completion reached the length limit without an end token.

    Returns:
        What was read, with `answer` an index into `labels`.
    """
    raw = b"".join(token_bytes)
    closed = next(reversed(list(_CLOSED_ANSWER.finditer(raw))), None)  # only the last one counts
    answer = None if closed is None else _label_index(closed[1], labels)
    place = closed.start() if closed is not None else raw.rfind(_ANSWER_OPENS)
    return Transcript(
        text=raw.decode("utf-8", errors="replace"),
        outcome=Outcome.TRUNCATED if truncated else _outcome(raw, closed, answer),
        think=_think(raw),
        answer=answer,
        answer_token=None if place < 0 else _token_at(token_bytes, raw, place + len(_ANSWER_OPENS)),
    )


def beyond_repair(raw: bytes, labels: Sequence[str]) -> bool:
    """Whether a completion that begins so cannot keep the grammar any more, whatever follows.

    Args:
        raw: The bytes of the completion so far.
        labels: The labels an answer may give, without white space around them.
    """
    tags = list(_TAG.finditer(raw))
    if [tag[0] for tag in tags] != _TAG_ORDER[: len(tags)]:
        return True
    ends = [0, *(tag.end() for tag in tags)]
    starts = [*(tag.start() for tag in tags), len(raw)]
    pieces = [raw[a:b] for a, b in zip(ends, starts, strict=True)]
    before, _, between, answer, after = [*pieces, b"", b"", b"", b""][:5]
    opened, closed = len(tags) > 2, len(tags) > 3
    return (
        not _can_become(before, _THINK_OPENS, done=bool(tags))
        or not _can_become(between, _ANSWER_OPENS, done=opened)
        or (closed and _label_index(answer, labels) is None)
        or (opened and not closed and not any(_can_close(answer, label.encode()) for label in labels))
        or bool(after.strip())
    )


def closing(raw: bytes) -> tuple[int, str]:
    """How a completion without an answer's place is led to one.

    Its thoughts are kept, and nothing behind them: what follows has come to no answer, and may be anything. Where they
    were not closed they end where an answer block begins, or with the completion (less a tag that was begun there).

    Args:
        raw: The bytes of the completion.

    Returns:
        How many of the bytes are kept, and the text that follows them, after which the label would stand.
    """
    closed = raw.find(_THINK_CLOSES)
    if closed >= 0:
        return closed + len(_THINK_CLOSES), _ANSWER_OPENS.decode()
    opened = raw.find(_ANSWER_OPENS)
    begun = max(size for size in range(len(_THINK_CLOSES)) if raw.endswith(_THINK_CLOSES[:size]))
    return opened if opened >= 0 else len(raw) - begun, (_THINK_CLOSES + _ANSWER_OPENS).decode()


def _can_become(space: bytes, tag: bytes, *, done: bool) -> bool:
    """Whether this is white space, and, where the tag after it is not there yet, perhaps the tag's beginning."""
    return not space.strip() or (not done and tag.startswith(space.lstrip()))


def _can_close(answer: bytes, label: bytes) -> bool:
    """Whether an answer block that is still open may come to hold this label alone."""
    given = answer.lstrip()
    if len(given) <= len(label):
        return label.startswith(given)
    return given.startswith(label) and _can_become(given[len(label) :], _TAG_ORDER[3], done=False)


def _label_index(content: bytes, labels: Sequence[str]) -> int | None:
    """Index of the label that the answer block holds, or None."""
    stripped = content.strip()
    return next((index for index, label in enumerate(labels) if label.encode() == stripped), None)


def _outcome(raw: bytes, closed: re.Match[bytes] | None, answer: int | None) -> Outcome:
    """The outcome of a completion that ended by itself; see `Outcome` for the order of the checks."""
    if closed is None:
        return Outcome.NO_ANSWER
    if answer is None:
        return Outcome.BAD_LABEL
    think_start = raw.find(_THINK_OPENS, 0, closed.start())
    if think_start < 0 or raw.find(_THINK_CLOSES, think_start) < 0:
        return Outcome.NO_THINK
    tags = list(_TAG.finditer(raw))
    if [tag[0] for tag in tags] != _TAG_ORDER or raw[tags[1].end() : tags[2].start()].strip():
        return Outcome.REPEATED_TAGS
    if raw[:think_start].strip():
        return Outcome.LEADING_TEXT
    return Outcome.TRAILING_TEXT if raw[closed.end() :].strip() else Outcome.OK


def _think(raw: bytes) -> str | None:
    """The text inside the first think block, closed or not."""
    start = raw.find(_THINK_OPENS)
    if start < 0:
        return None
    start += len(_THINK_OPENS)
    end = raw.find(_THINK_CLOSES, start)
    if end < 0:
        end = raw.find(_ANSWER_OPENS, start)
    return raw[start : end if end >= 0 else len(raw)].decode("utf-8", errors="replace")


def _token_at(token_bytes: Sequence[bytes], raw: bytes, place: int) -> int | None:
    """Index of the first token past `place` that is more than white space, if only white space lies between.

    A space fused with the label (`` 1``) belongs to the label's token, and a line feed fused with the tag to
    the tag's: either way what was written before the returned token ends with the tag and white space. A label or a
    quotation mark fused with the tag (``>1``, ``>"``) leaves no such token.
    """
    start = 0
    for index, piece in enumerate(token_bytes):
        if start >= place and piece.strip():
            return None if raw[place:start].strip() else index
        start += len(piece)
    return None
