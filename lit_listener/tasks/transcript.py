"""Reading a completion: its thoughts, its answer, and the token at which the answer stands.

The grammar (``tasks/grammar.py``) is strict: ``<think>…</think><answer>label</answer>``, say, with white space (of
ASCII) allowed before, between and after the blocks and around the answer. The answer is what the *last closed* answer
block holds and nothing else: a label that merely occurs in the text is never taken for one.

All of it works on the bytes of the tokens that were sampled. Tags straddle tokens (``.</``, ``think``, ``><``,
``answer``, ``>``, ``1``) and characters straddle them too, and text that is tokenised anew need not give back the
tokens the model wrote.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from lit_listener.tasks.grammar import ANSWER_OPENS, TAG, THINK_CLOSES, THINK_OPENS, Grammar

_CLOSED_ANSWER = re.compile(rb"<answer>((?:(?!</?answer>).)*)</answer>", re.DOTALL)


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
    """Something other than white space precedes the first block; thoughts too, where the grammar has none."""
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

    Set for a bad label and for an answer left open too, if the words before the label are there: the labels'
    probabilities can be read there all the same.
    """

    @property
    def well_formed(self) -> bool:
        """Whether the completion keeps the grammar and ended by itself."""
        return self.outcome is Outcome.OK


def parse_transcript(token_bytes: Sequence[bytes], grammar: Grammar, *, truncated: bool) -> Transcript:
    """Read one completion.

    Args:
        token_bytes: The bytes of every completion token, without the end token.
        grammar: The form of a reply.
        truncated: Whether the completion reached the length limit without an end token.

    Returns:
        What was read, with `answer` an index into the grammar's labels.
    """
    raw = b"".join(token_bytes)
    closed = next(reversed(list(_CLOSED_ANSWER.finditer(raw))), None)  # only the last one counts
    answer = None if closed is None else grammar.label_index(closed[1])
    return Transcript(
        text=raw.decode("utf-8", errors="replace"),
        outcome=Outcome.TRUNCATED if truncated else _outcome(raw, closed, answer, grammar),
        think=_think(raw),
        answer=answer,
        answer_token=_answer_token(token_bytes, raw, closed, grammar),
    )


def _outcome(raw: bytes, closed: re.Match[bytes] | None, answer: int | None, grammar: Grammar) -> Outcome:
    """The outcome of a completion that ended by itself; see `Outcome` for the order of the checks."""
    if closed is None:
        return Outcome.NO_ANSWER
    if answer is None:
        return Outcome.BAD_LABEL
    if not grammar.thinks:
        return _outcome_of_answer_alone(raw, closed)
    think_start = raw.find(THINK_OPENS, 0, closed.start())
    if think_start < 0 or raw.find(THINK_CLOSES, think_start) < 0:
        return Outcome.NO_THINK
    tags = list(TAG.finditer(raw))
    if [tag[0] for tag in tags] != grammar.tags or raw[tags[1].end() : tags[2].start()].strip():
        return Outcome.REPEATED_TAGS
    return _outcome_around(raw[:think_start], raw[closed.end() :])


def _outcome_of_answer_alone(raw: bytes, closed: re.Match[bytes]) -> Outcome:
    """The outcome where the grammar has no thoughts: a think block is other text."""
    tags = [tag[0] for tag in TAG.finditer(raw) if tag[0] not in (THINK_OPENS, THINK_CLOSES)]
    return Outcome.REPEATED_TAGS if len(tags) > 2 else _outcome_around(raw[: closed.start()], raw[closed.end() :])


def _outcome_around(before: bytes, after: bytes) -> Outcome:
    """The outcome of a completion whose blocks are as they should be, by what stands before and after them."""
    if before.strip():
        return Outcome.LEADING_TEXT
    return Outcome.TRAILING_TEXT if after.strip() else Outcome.OK


def _answer_token(
    token_bytes: Sequence[bytes], raw: bytes, closed: re.Match[bytes] | None, grammar: Grammar
) -> int | None:
    """Index of the token at the label's place, in the last closed answer block or else the last one opened."""
    opened = closed.start() if closed is not None else raw.rfind(ANSWER_OPENS)
    if opened < 0:
        return None
    start = opened + len(ANSWER_OPENS)
    place = grammar.place(raw[start:] if closed is None else closed[1])
    return None if place is None else _token_at(token_bytes, raw, start + place)


def thoughts_place(raw: bytes) -> slice | None:
    """Where in a completion's bytes the inside of the first think block is, closed or not; None without one."""
    start = raw.find(THINK_OPENS)
    if start < 0:
        return None
    start += len(THINK_OPENS)
    end = raw.find(THINK_CLOSES, start)
    if end < 0:
        end = raw.find(ANSWER_OPENS, start)
    return slice(start, end if end >= 0 else len(raw))


def _think(raw: bytes) -> str | None:
    """The text inside the first think block."""
    place = thoughts_place(raw)
    return None if place is None else raw[place].decode("utf-8", errors="replace")


def _token_at(token_bytes: Sequence[bytes], raw: bytes, place: int) -> int | None:
    """Index of the first token past `place` that is more than white space, if only white space lies between.

    A space fused with the label (`` 1``) belongs to the label's token, and a line feed fused with the tag to
    the tag's: either way what was written before the returned token ends with the tag and white space. A label or a
    quotation mark fused with the tag (``>1``, ``>"``) leaves no such token. The same holds behind the words that come
    before the label, if the grammar has any.
    """
    start = 0
    for index, piece in enumerate(token_bytes):
        if start >= place and piece.strip():
            return None if raw[place:start].strip() else index
        start += len(piece)
    return None
