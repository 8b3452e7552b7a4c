"""Which of two images do written thoughts call the better one? By rule, in English.

A clause states a verdict if it says so of a whole image ("the first image is better", "I prefer the second one", "image
2 fits the prompt better"), not of a part of it ("the first has better light", "the colour of the second image is
better"). Negated, open and asked clauses ("the first is not better", "whether the first is better", "is the first
better?") state none. The rest is in ``tasks/verdict_rules.py``.
"""

import re
from collections.abc import Sequence

from lit_listener.tasks.verdict_rules import (
    ADVERBS,
    CHOICE_WORD,
    CHOSEN,
    FILLER,
    FITS,
    IS,
    NOUN,
    NUMBERED_NOUN,
    OF_A_PART,
    ONE_PREFERRED,
    PARTIAL,
    PEOPLE_PREFER,
    VerdictRules,
)

_NUMBERED = rf"{NUMBERED_NOUN}(?:[012]|one|two|(?-i:[AB]))\b"
_IMAGE = rf"(?:\bthe\s+)?(?:\b(?:first|second|1st|2nd)\b(?:\s+{NOUN}\b)?|\b{_NUMBERED})"
_WORTH = (
    rf"(?:better(?!\s+{PARTIAL}\b)|best|preferred|preferable|more\s+(?:preferable|suitable)|superior|stronger|winner"
    r"|favou?rite|closer\s+(?:to|match))"
)
_MORE = r"(?:better|best|more\s+(?:closely|accurately|faithfully|precisely|fully))"
# "I prefer the first", and not "I prefer the first circle".
_WHOLE = r"(?=\s*(?:$|[^\w\s]|(?:to|over|for|as|here|than|and|overall|due|on|with|by|rather|instead|given)\b))"
_CHOICE = (
    r"(?:\b(?:better|best|preferred|superior|winning|stronger)\s+(?:image|picture|one|choice|option|match|fit)"
    rf"|{CHOICE_WORD})"
)
_SUBJECT = re.compile(
    rf"{OF_A_PART}(?P<image>{_IMAGE}){ADVERBS}"
    rf"(?:{IS}{FILLER}\s+(?:{_WORTH}|(?P<worse>worse|inferior)|{ONE_PREFERRED})\b"
    rf"|(?:wins|beats|outperforms|surpasses)\b|better\s+{FITS}|{FITS}\b.*?\b{_MORE}(?!\s+(?:lit|drawn))\b)",
    re.IGNORECASE,
)
_OBJECT = re.compile(rf"(?:{PEOPLE_PREFER}|{_CHOICE}{CHOSEN})\s+(?P<image>{_IMAGE}){_WHOLE}", re.IGNORECASE)
_ALTERNATIVE = re.compile(rf"{_IMAGE}\s+or\s+{_IMAGE}", re.IGNORECASE)
_COUNTS_FROM_ZERO = re.compile(rf"\b{NUMBERED_NOUN}0\b", re.IGNORECASE)


def pair_verdicts(labels: tuple[str, ...] = ("0", "1")) -> VerdictRules:
    """The rules for two images.

    "Image 1" is the first image, as in ordinary English, unless the trace also speaks of an "image 0"; "the answer is
    1" names the label.

    Args:
        labels: The answer's label for the first image, and that for the second.
    """
    return VerdictRules(_SUBJECT, _OBJECT, _ALTERNATIVE, _image_index, labels)


def stated_verdict(trace: str) -> int | None:
    """Index of the displayed image that the thoughts call the better one, where the labels are 0 and 1; or None."""
    return pair_verdicts().stated(trace)


def strip_verdicts(trace: str) -> str:
    """The thoughts without the sentences that speak of a verdict, where the labels are 0 and 1."""
    return pair_verdicts().strip(trace)


def _image_index(name: str, trace: str, labels: Sequence[str]) -> int:
    """0 or 1 for the name of an image, as `_IMAGE` matches it."""
    words = name.lower().split()
    if any(word in ("first", "1st") for word in words):
        return 0
    if any(word in ("second", "2nd") for word in words):
        return 1
    number = re.sub(r".*?(0|1|2|one|two|a|b)$", r"\1", words[-1])
    if number == "1" and _COUNTS_FROM_ZERO.search(trace):
        return 1
    return 0 if number in ("0", "1", "one", "a") else 1
