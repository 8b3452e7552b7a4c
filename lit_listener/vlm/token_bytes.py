"""The bytes that token ids stand for.

Decoding a single token gives U+FFFD for a part of a character, and decoding many loses where one ends. The vocabulary
itself tells the bytes: a byte-level BPE writes each byte as one printable character (GPT-2's table), a sentencepiece
vocabulary writes a space as U+2581 and stray bytes as ``<0xAB>``. WordPiece and word-level vocabularies do not tell
where spaces were, and are refused.
"""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_SPACE = "▁"


class TokenBytes:
    """Looks up the bytes of token ids, for one tokenizer."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Read the tokenizer's vocabulary.

        Args:
            tokenizer: A byte-level BPE tokenizer (GPT-2, Qwen) or one of the sentencepiece kind (Llama, Gemma).

        Raises:
            ValueError: If the tokenizer is of neither kind.
        """
        spell = _speller(tokenizer)
        vocabulary: dict[str, int] = tokenizer.get_vocab()
        # An id may lie past the vocabulary's end (embeddings are padded) or in a gap of it: it stands for no bytes.
        self._bytes = [b""] * (max(vocabulary.values(), default=-1) + 1)
        for token, index in vocabulary.items():
            self._bytes[index] = spell(token)
        for index, added in tokenizer.added_tokens_decoder.items():
            self._bytes[index] = added.content.encode()

    def __call__(self, ids: Sequence[int]) -> list[bytes]:
        """The bytes of every id, in order.

        Args:
            ids: Token ids.

        Returns:
            One byte string an id; special and added tokens as they are written, ids past the vocabulary as ``b""``.

        Raises:
            ValueError: If an id is negative.
        """
        numbers = [int(index) for index in ids]
        if numbers and min(numbers) < 0:
            raise ValueError(f"token ids must not be negative, got {min(numbers)}; remove masked places (-100) first")
        return [self._bytes[index] if index < len(self._bytes) else b"" for index in numbers]


def _byte_characters() -> dict[str, int]:
    """GPT-2's table: the character that stands for each byte.

    Printable bytes of Latin-1 stand for themselves; the others take the characters from U+0100 on, in the bytes' order.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + place): byte for place, byte in enumerate(others)}


def _speller(tokenizer: PreTrainedTokenizerBase) -> Callable[[str], bytes]:
    """The rule by which this tokenizer's vocabulary writes bytes."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        pipeline = json.loads(backend.to_str())
        parts = [*_parts(pipeline.get("decoder")), *_parts(pipeline.get("pre_tokenizer"))]
        byte_level = any(part["type"] == "ByteLevel" for part in parts)
        spaced = any(part["type"] == "Metaspace" or part.get("pattern") == {"String": _SPACE} for part in parts)
        found = f"decoder and pre-tokenizer of {sorted({part['type'] for part in parts})}"
    else:
        byte_level, spaced = hasattr(tokenizer, "byte_decoder"), hasattr(tokenizer, "sp_model")
        found = "neither a byte_decoder nor an sp_model"
    if byte_level:
        return _spell_byte_level
    if spaced:
        return _spell_sentencepiece
    raise ValueError(
        f"cannot tell the bytes of {type(tokenizer).__name__}'s tokens: expected a byte-level BPE or a sentencepiece "
        f"vocabulary, found {found}"
    )


def _parts(node: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The steps of a tokenizer's decoder or pre-tokenizer, out of their sequences."""
    if node is None:
        return []
    if node["type"] != "Sequence":
        return [node]
    return [part for inner in node.get("decoders", node.get("pretokenizers", [])) for part in _parts(inner)]


_BYTES = _byte_characters()


def _spell_byte_level(token: str) -> bytes:
    """A token of characters from GPT-2's table; any other stands for its own text, as in the library's decoder."""
    if all(character in _BYTES for character in token):
        return bytes(_BYTES[character] for character in token)
    return token.encode()


def _spell_sentencepiece(token: str) -> bytes:
    """A token in which U+2581 writes a space, or one that writes a single byte in hexadecimal."""
    if match := _BYTE_TOKEN.fullmatch(token):
        return bytes([int(match[1], 16)])
    return token.replace(_SPACE, " ").encode()
