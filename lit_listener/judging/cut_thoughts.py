"""A completion cut into its sentences, and what is left of it with some of them alone.

All of it is on bytes, as completions are read (``tasks.transcript``): characters may straddle tokens. White space
around the thoughts, and what stands before the first sentence and behind the last one, belongs to the form and stays.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from lit_listener.tasks.transcript import thoughts_place


@dataclass(frozen=True)
class Variant:
    """A completion with some of its sentences left out: its beginning, and what then follows."""

    kept: int
    """Bytes of the completion that are kept as they were."""
    rest: bytes
    """What follows them."""


@dataclass(frozen=True)
class CutThoughts:
    """A completion up to its answer's place, and where its sentences are.

    Args:
        raw: its bytes.
        cut: cuts a text into sentences that, put together again, are the text (``Task.sentences``).
    """

    raw: bytes
    cut: Callable[[str], Sequence[str]]

    @cached_property
    def place(self) -> slice:
        """Where the thoughts are; nowhere, at the end, where no think block was opened."""
        return thoughts_place(self.raw) or slice(len(self.raw), len(self.raw))

    @cached_property
    def sentences(self) -> tuple[slice, ...]:
        """Where each sentence is, without white space around it; marks alone belong to the sentence before them."""
        found: list[slice] = []
        at = self.place.start
        for piece in self.cut(self.raw[self.place].decode("utf-8", errors="surrogateescape")):
            written = piece.encode("utf-8", errors="surrogateescape")
            start, end = at + len(written) - len(written.lstrip()), at + len(written.rstrip())
            at += len(written)
            if any(letter.isalnum() for letter in piece):
                found.append(slice(start, end))
            elif found and start < end:
                found[-1] = slice(found[-1].start, end)
        return tuple(found)

    @property
    def thinking(self) -> str:
        """The thoughts, decoded as they are elsewhere."""
        return self._text(self.place)

    def in_characters(self, sentence: slice) -> tuple[str, int, int]:
        """A sentence's text, and its place among the characters of ``thinking``."""
        text, start = self._text(sentence), len(self._text(slice(self.place.start, sentence.start)))
        return text, start, start + len(text)

    def beginnings(self) -> list[Variant]:
        """The completion with its first k sentences, for k = 0 … n; the last is the completion itself."""
        if not self.sentences:
            return [self._whole]
        rest = self.raw[self.sentences[-1].stop :]
        places = [self.sentences[0].start, *(sentence.stop for sentence in self.sentences[:-1])]
        return [*(Variant(place, rest) for place in places), self._whole]

    def without_each(self) -> list[Variant]:
        """The completion without each of its sentences."""
        found = []
        for number, sentence in enumerate(self.sentences):
            if number > 0:
                found.append(Variant(self.sentences[number - 1].stop, self.raw[sentence.stop :]))
            else:  # the white space before the next one goes too: it would open the thoughts
                then = self.sentences[1].start if len(self.sentences) > 1 else sentence.stop
                found.append(Variant(sentence.start, self.raw[then:]))
        return found

    @property
    def _whole(self) -> Variant:
        return Variant(len(self.raw), b"")

    def _text(self, place: slice) -> str:
        return self.raw[place].decode("utf-8", errors="replace")


def retold(ids: Sequence[int], token_bytes: Sequence[bytes], variant: Variant) -> tuple[list[int], bytes]:
    """The tokens of a completion that a variant keeps, and the bytes to be tokenised behind them.

    Tokens are kept up to the last one before the cut that begins with a space: tokenizers put no word and its space
    apart, so that what follows is read there as it would be in the whole text. (The cut itself is no such place: the
    full stop in ``fit.</think>`` is one token with ``</``.)

    Args:
        ids: the completion's tokens.
        token_bytes: the bytes of each.
        variant: what is kept of it.
    """
    keeps_all = not variant.rest and variant.kept == sum(map(len, token_bytes))
    if keeps_all:
        return list(ids), b""
    whole, taken, at = 0, 0, 0
    for number, piece in enumerate(token_bytes):
        if at >= variant.kept:
            break
        if piece.startswith(b" "):
            whole, taken = number, at
        at += len(piece)
    return list(ids[:whole]), b"".join(token_bytes)[taken : variant.kept] + variant.rest
