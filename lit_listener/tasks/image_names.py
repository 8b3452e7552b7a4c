"""Written thoughts about two images with their names changed over: what was said of the first is said of the second.

By rule, in English, and after precision: "the first image", "image 1", "the second is better", "the answer is 0" are
names; a trace in which a name may hide that no rule is sure of ("first, look up", "the left one") is left alone.
Changing over twice gives the same trace again.
"""

import functools
import re
from collections.abc import Callable
from typing import Protocol, runtime_checkable

_NOUN = r"(?:image|picture|photo|photograph|one|option|candidate|version|illustration|rendering)"
_ORDINAL = r"(?:first|second|1st|2nd)"
_NUMBERED = r"(?:image|picture|photo|option|candidate)\s*(?:number\s+|no\.?\s+|\#\s*)?"
_VERB = (
    r"(?:is|isn['’]t|was|wasn['’]t|has|hasn['’]t|had|does|doesn['’]t|did|would|will|should|must|can|shows?|looks?|seems?"
    r"|appears?|feels?|depicts?|contains?|displays?|features?|match(?:es)?|fits?|follows?|lacks?|misses|captures?"
    r"|includes?|remains?|wins|gets?|gives?|suits?|reflects?|meets|better|also|still|clearly|only)"
)
_NAMES = (
    rf"\b(?P<before_noun>{_ORDINAL})(?=\s+(?:\w+ly\s+)?{_NOUN}\b)"
    rf"|\b(?P<before_colon>{_ORDINAL})(?=\s*:)"
    rf"|\bthe\s+(?P<alone>{_ORDINAL})(?=\s+{_VERB}\b|['’]s\b|\s*(?:[.!?;)]|,\s|$)|\s+(?:and|or|than|but|because|over)\b)"
    rf"|\b{_NUMBERED}(?P<number>[012]|one|two|(?-i:[AB]))\b"
    r"|\b(?:answer|label)\s*(?::|\b(?:is|should\s+be|would\s+be)\b)\s*(?P<label>{labels})(?!\w)"
)
_IDIOMS = re.compile(r"\bat\s+first(?:\s+(?:glance|sight))?\b|\bfirst\s+of\s+all\b|\bfirst\s+glance\b", re.IGNORECASE)
_UNSURE = re.compile(
    rf"\b{_ORDINAL}\b"
    rf"|\b(?:left|right|top|bottom|upper|lower|last|next|previous|final|third)(?:[-\s]hand)?\s+{_NOUN}\b"
    rf"|\b{_NOUN}\s+(?:on|at|to)\s+(?:the\s+)?(?:left|right|top|bottom)\b"
    rf"|\b{_NUMBERED}\d|\bimages\s+(?:number\s+)?(?:\d|one\b|two\b|(?-i:[AB])\b)|\#\s*\d"
    r"|(?<![\w'’])(?-i:B)(?![\w'’])",
    re.IGNORECASE,
)
_OTHER = {"first": "second", "1st": "2nd", "one": "two", "a": "b"}
_OTHER |= {other: word for word, other in _OTHER.items()}
_FROM_ONE, _FROM_ZERO = {"1": "2", "2": "1"}, {"0": "1", "1": "0"}


@runtime_checkable
class NamesImages(Protocol):
    """A task that knows how traces name its two images."""

    def swap_images(self, trace: str) -> str | None:
        """The thoughts as they would be about the same images in the other order; None where that is not sure."""


def swap_images(trace: str, labels: tuple[str, str] = ("0", "1")) -> str | None:
    """Change the names of two images over.

    "Image 1" is the first image, as in ordinary English, unless the trace also speaks of an "image 0"; "the answer is
    1" names the label.

    Args:
        trace: the text of the think block.
        labels: the answer's label for the first image, and that for the second.

    Returns:
        The same text with "first" for "second" and so on; as it is where it names no image; None where a name may be
        meant that no rule is sure of.
    """
    names = _names(labels)
    numbers = {match["number"] for match in names.finditer(trace)}
    if "0" in numbers and ("1" not in numbers or "2" in numbers):
        return None  # an "image 1" alone would be the first again
    left = _IDIOMS.sub(" ", names.sub(_blank, trace))
    if _UNSURE.search(left):
        return None
    first, second = (label.lower() for label in labels)
    others = {
        "number": {**_OTHER, **(_FROM_ZERO if "0" in numbers else _FROM_ONE)},
        "label": {first: second, second: first},
    }
    return names.sub(_changed(others), trace)


@functools.cache
def _names(labels: tuple[str, str]) -> re.Pattern[str]:
    spelled = [re.escape(label) if len(label) > 1 else f"(?-i:{re.escape(label)})" for label in labels]
    return re.compile(_NAMES.replace("{labels}", "|".join(spelled)), re.IGNORECASE)


def _blank(match: re.Match[str]) -> str:
    return "·" * len(match[0])


def _changed(others: dict[str, dict[str, str]]) -> Callable[[re.Match[str]], str]:
    def change(match: re.Match[str]) -> str:
        group = next(name for name, text in match.groupdict().items() if text is not None)
        word, (start, stop) = match[group], match.span(group)
        other = others.get(group, _OTHER)[word.lower()]
        whole, offset = match[0], match.start()
        return whole[: start - offset] + _in_case_of(word, other) + whole[stop - offset :]

    return change


def _in_case_of(word: str, other: str) -> str:
    if word.isupper():
        return other.upper()
    return other.capitalize() if word[0].isupper() else other
