"""Which of several images do written thoughts call the best one? By rule, in English.

Only a claim about all the others counts: "image 3 is the best", "the winner is the third image", "I would choose image
3", "image 3 beats the others". "Image 3 is better than image 1" says nothing of the rest, and states no verdict. The
rest is in ``tasks/verdict_rules.py``.
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

_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
_SHORT_ORDINALS = ("1st", "2nd", "3rd", "4th", "5th", "6th", "7th", "8th", "9th", "10th")
_NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBERED = rf"{NUMBERED_NOUN}(?:\d+|{'|'.join(_NUMBERS)}|(?-i:[A-Z]))\b"
_IMAGE = rf"(?:\bthe\s+)?(?:\b(?:{'|'.join(_ORDINALS + _SHORT_ORDINALS)})\b(?:\s+{NOUN}\b)?|\b{_NUMBERED})"
_OTHERS = r"(?:all|both|every|each|any|the\s+(?:others?|rest)|its\s+rivals)\b"
_BEST = (
    rf"(?:best(?!\s+{PARTIAL}\b)|better\s+than\s+{_OTHERS}|preferred(?!\s+(?:to|over)\b)|most\s+(?:preferable|suitable)"
    r"|strongest|winner|favou?rite|closest\s+(?:to|match))"
)
_MOST = r"(?:best|most\s+(?:closely|accurately|faithfully|precisely|fully))"
_WHOLE = r"(?=\s*(?:$|[^\w\s]|(?:for|as|here|overall|due|on|with|by|given)\b))"
_CHOICE = rf"(?:\b(?:best|preferred|winning|strongest)\s+(?:image|picture|one|choice|option|match|fit)|{CHOICE_WORD})"
_SUBJECT = re.compile(
    rf"{OF_A_PART}(?P<image>{_IMAGE}){ADVERBS}"
    rf"(?:{IS}{FILLER}\s+(?:{_BEST}|{ONE_PREFERRED})\b"
    rf"|wins\b|(?:beats|outperforms|surpasses)\s+{_OTHERS}|best\s+{FITS}|{FITS}\b.*?\b{_MOST}(?!\s+(?:lit|drawn))\b)",
    re.IGNORECASE,
)
_OBJECT = re.compile(rf"(?:{PEOPLE_PREFER}|{_CHOICE}{CHOSEN})\s+(?P<image>{_IMAGE}){_WHOLE}", re.IGNORECASE)
_ALTERNATIVE = re.compile(rf"{_IMAGE}\s+or\s+{_IMAGE}", re.IGNORECASE)


def list_verdicts(labels: tuple[str, ...]) -> VerdictRules:
    """The rules for up to as many images as there are labels.

    Args:
        labels: The answer's labels in displayed order. "Image 3" is the one with the label 3, and the third where no
            label is called so.
    """
    return VerdictRules(_SUBJECT, _OBJECT, _ALTERNATIVE, _image_index, labels)


def _image_index(name: str, trace: str, labels: Sequence[str]) -> int | None:
    """Which image a name means, as `_IMAGE` matches it; None for one that there is no label for."""
    words = name.split()
    for word in words:
        for ordinals in (_ORDINALS, _SHORT_ORDINALS):
            if word.lower() in ordinals:
                return _known(ordinals.index(word.lower()), labels)
    number = re.sub(r"^.*?(\d+)$", r"\1", words[-1])  # "#3", "image3"
    if number.lower() in _NUMBERS:
        number = str(_NUMBERS.index(number.lower()) + 1)
    if number in labels:
        return labels.index(number)
    return _known(int(number) - 1, labels) if number.isdecimal() else None


def _known(index: int, labels: Sequence[str]) -> int | None:
    """An index, if there is a label for it."""
    return index if 0 <= index < len(labels) else None
