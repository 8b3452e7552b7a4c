"""Which rating do written thoughts give the image as a whole? By rule, in English.

A clause states a rating if it says so of the whole image: "I rate it 4", "my rating is 4", "Overall: 4 out of 5". What
is said of a part ("4 out of 5 for the colours", "sharpness: 3"), on another scale ("8 out of 10" where there are five
ratings), between two ratings ("3 or 4", "3.5"), denied or asked states none. The last rating stated wins.

The rules are after precision: an odd wording gives None rather than a guess.
"""

import re
from collections.abc import Sequence

from lit_listener.tasks.verdict_rules import without_claims

_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_PEOPLE = r"(?:i|we|they|people|most|users|viewers|voters|humans|everyone|raters|annotators)"
_WOULD = r"(?:'d|(?:\s+(?:would|will|do|should|must|\w+ly|also|still|thus|therefore))*)"
_IT = r"(?:it|this|(?:the|this)\s+(?:image|picture|photo|photograph|illustration|rendering|one|result))"
_A = r"(?:\s+(?:as|with|at|about|an?|the|solid|clear|rating|score|grade|mark|of|only|just))*"
_SCORE = r"(?:rating|score|grade|mark|verdict|answer|label)"
_SENTENCE = re.compile(r"(?:[^.!?\n;]|\.(?=\d))+[.!?;]*\n*|[.!?\n;]+")
_CLAUSE = re.compile(
    r",(?=\s)|\s[-–—]+\s(?!\d)|\b(?:but|while|whereas|although|though|however|yet|so|therefore|thus|hence|because|since)\b",
    re.IGNORECASE,
)
_VOID = re.compile(
    r"\b(?:not|never|neither|nor|cannot|hardly|barely|scarcely|nobody|none"
    r"|no(?!\s+(?:doubt|question)))\b|n't\b",
    re.IGNORECASE,
)
_OPEN = re.compile(r"\b(?:whether|if|unless|either)\b|\?\s*$", re.IGNORECASE)  # leaves all of its sentence open
_EMPHASIS = re.compile(r"[*_`\"“”]")


class RatingVerdicts:
    """The rules for one scale.

    Args:
        labels: the ratings, the worst first, as answers spell them; numbers may be written out as words too.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        spelled = {label.casefold(): index for index, label in enumerate(labels)}
        for index, label in enumerate(labels):
            if label.isdecimal() and int(label) < len(_NUMBERS):
                spelled.setdefault(_NUMBERS[int(label)], index)
        self._places = spelled
        # a letter counts in its own case alone, so that the article "a" is no rating
        kinds = [re.escape(word) if len(word) > 1 or word.isdecimal() else f"(?-i:{re.escape(labels[place])})"
                 for word, place in spelled.items()]  # fmt: skip
        rating = rf"(?P<rating>{'|'.join(sorted(kinds, key=len, reverse=True))})(?![\w%])"
        top = re.escape(labels[-1])
        ends = rf"""(?:\s*(?:/|out\s+of|of)\s*{top}(?![\w%]|[.]\d))?(?:\s+(?:stars?|points?))?
            (?=\s*(?:$|[^\w\s./]|[.](?!\d)|(?:overall|here|all\s+in\s+all|in\s+total|for\s+(?:it|this)(?!\s+\w))\b))
            (?!\s*[-–—]\s*\d)"""
        number = rf"{rating}{ends}"
        self._claim = re.compile(
            rf"""(?:
            \b{_PEOPLE}{_WOULD}\s+(?:rate|give|score|grade|mark)s?\s+{_IT}{_A}
            |^\s*(?:(?:and|so|then|all\s+in\s+all|overall|in\s+total)\s+)*{_IT}\s+(?:\w+ly\s+)?
                (?:gets|deserves|earns|merits|receives|rates|scores|is\s+(?:rated|worth|given)){_A}
            |^\s*(?:(?:and|so|then|my|the|its|final|overall|total|correct|right)\s+)*{_SCORE}(?:\s+(?:here|overall))?
                \s*(?:[:=]|\s(?:is|would\s+be|should\s+be)\b)(?:\s+(?:\w+ly|an?|just))*
            |^\s*(?:(?:and|so|then)\s+)*(?:overall|all\s+in\s+all|in\s+total)\s*:?{_A}
            )\s+{number}""",
            re.IGNORECASE | re.VERBOSE,
        )
        self._scored = re.compile(
            rf"^\s*(?:(?:it|this)\s+is\s+|(?:an?|overall)\s+)*{rating}\s*(?:/|out\s+of)\s*{top}\s*[.!]*\s*$",
            re.IGNORECASE,
        )

    def sentences(self, trace: str) -> list[str]:
        """The trace cut where a sentence ends, not at the point of "4.5": put together again, the pieces are it."""
        return _SENTENCE.findall(trace)

    def stated(self, trace: str) -> int | None:
        """Index of the rating that the thoughts give the image.

        Args:
            trace: The text of the think block.

        Returns:
            0 for the lowest rating; None where no rating is stated.
        """
        verdict = None
        for sentence in self.sentences(trace):
            if _OPEN.search(sentence):
                continue
            for clause in _clauses(sentence):
                if not _VOID.search(clause):
                    for match in self._claims(clause):
                        verdict = self._places[match["rating"].casefold()]
        return verdict

    def strip(self, trace: str) -> str:
        """The thoughts without the sentences that state a rating, or state that it is another.

        Args:
            trace: The text of the think block.

        Returns:
            The remaining sentences as they were written, without white space around the whole.
        """
        return without_claims(
            self.sentences(trace),
            _clauses,
            lambda clause: bool(self._claims(clause) or self._claims(re.sub(r"\s+", " ", _VOID.sub("", clause)))),
        )

    def _claims(self, clause: str) -> list[re.Match[str]]:
        """The places of a clause that rate the whole image, in the order of the text."""
        claims = [*self._claim.finditer(clause), *self._scored.finditer(clause)]
        return sorted(claims, key=lambda match: match.start("rating"))


def _clauses(sentence: str) -> list[str]:
    """The clauses of a sentence, without emphasis marks."""
    return _CLAUSE.split(_EMPHASIS.sub("", sentence).replace("’", "'"))
