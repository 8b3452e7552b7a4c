"""How a verdict is read out of written thoughts, by rule, in English: what pairs and lists of images have in common.

A trace is cut into sentences and clauses, and a clause states a verdict if it says so of a whole image, not of a part
of it. Negated, open and asked clauses state none. The last verdict wins.

The rules are after precision: an odd wording gives None rather than a guess. Pronouns, "the former" and "the left one"
are not resolved. Which words name an image, and which call it the better (or the best) one, is for those who make the
rules: ``tasks/verdicts.py`` for two images, ``tasks/list_verdicts.py`` for several.
"""

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

NOUN = r"(?:image|picture|photo|photograph|one|option|candidate|version|illustration|rendering)"
NUMBERED_NOUN = r"(?:image|picture|photo|option|candidate)\s*(?:number\s+|no\s+|\#\s*)?"
# Words that may stand between a verb and the verdict: "is clearly the better one", "seems to be by far the best".
# No two alternatives match one word: with two, a policy that repeats itself would make the search exponential.
FILLER = r"(?:\s+(?:\w+ly|the|a|an|my|much|far|by\s+far|still|also|overall|thus|then|even|just|somewhat|to\s+be|as))*"
IS = (
    r"(?:(?:would|should|will|must)\s+(?:\w+ly\s+)?be|is|was|looks|seems|appears|feels|remains"
    r"|(?:turns|comes|stands)\s+out)"
)
PARTIAL = r"(?:lit|drawn|composed|rendered|detailed|defined|colou?red|focused|framed|textured|in\s+terms)"
_PREFER = r"(?:prefer|choose|pick|favou?r|select|go\s+with|vote\s+for|like)"
_PEOPLE = r"(?:i|we|they|people|most|users|viewers|voters|humans|everyone|raters|annotators)"
_WOULD = r"(?:\s+(?:would|will|do|should|must|\w+ly|also|still))*"
PEOPLE_PREFER = rf"\b{_PEOPLE}{_WOULD}\s+{_PREFER}"
ONE_PREFERRED = rf"(?:one|image)\s+(?:that\s+|which\s+)?(?:most\s+|more\s+)?{_PEOPLE}{_WOULD}\s+{_PREFER}"
FITS = r"(?:fits|matches|follows|suits|captures|reflects|satisfies|fulfil?ls|represents|adheres|aligns|meets|answers)"
OF_A_PART = r"(?P<part>\b(?:in|of|from|on|for|at|with|by|than)\s+)?"
ADVERBS = r"(?:\s+(?:\w+ly|also|still|overall))*\s+"
CHOICE_WORD = r"\b(?:winner|verdict|choice|answer|preference|pick|conclusion|favou?rite)"
CHOSEN = rf"(?:\s+(?:here|overall))?\s*(?::|\s(?:is|would\s+be|goes\s+to|leans\s+(?:to|towards?)|falls\s+on)\b){FILLER}"

_VOID = re.compile(
    r"\b(?:not|never|neither|nor|cannot|hardly|barely|scarcely|equally|nobody|none|whether|if"
    r"|no(?!\s+(?:doubt|question)))\b|n't\b",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"[^.!?\n;]+[.!?;]*\n*|[.!?\n;]+")
_CLAUSE = re.compile(
    r",|\s[-–—]+\s|\b(?:but|while|whereas|although|though|however|yet|so|therefore|thus|hence|because|since)\b",
    re.IGNORECASE,
)
_ASIDE = re.compile(
    r",\s*(?:which|with|having|showing|despite|not|although|though|while|unlike|however|therefore|in\s+my)\b[^,]*,"
    rf"\s*(?={IS}\b|{FITS}\b|wins\b)",
    re.IGNORECASE,
)
_EMPHASIS = re.compile(r"[*_`\"“”]")


@dataclass(frozen=True)
class VerdictRules:
    """The patterns of a verdict, and which image the words in them mean."""

    subject: re.Pattern[str]
    """An image, and a verb that gives it the verdict; groups ``image``, ``part``, perhaps ``worse``."""
    object: re.Pattern[str]
    """Who chooses, and the image that is chosen; group ``image``."""
    alternative: re.Pattern[str]
    """One image or another: a clause that leaves it open."""
    image_index: Callable[[str, str, Sequence[str]], int | None]
    """Which image a name means, in a trace, among images with these labels."""
    labels: tuple[str, ...]
    """The answer's labels in displayed order."""

    def sentences(self, trace: str) -> list[str]:
        """The trace cut where a sentence ends: put together again, the pieces are the trace."""
        return _SENTENCE.findall(trace)

    def stated(self, trace: str) -> int | None:
        """Index of the displayed image that the thoughts call the better (or best) one.

        Args:
            trace: The text of the think block.

        Returns:
            0 for the first image; None where no verdict is stated.
        """
        verdict = None
        for sentence in self.sentences(trace):
            if sentence.rstrip().endswith("?"):
                continue
            for clause in _clauses(sentence):
                if self.alternative.search(clause):
                    continue
                for match in self._claims(clause):
                    if not _VOID.search(_without_label(clause, match)):
                        found = self._verdict(match.groupdict(), trace)
                        verdict = verdict if found is None else found
        return verdict

    def strip(self, trace: str) -> str:
        """The thoughts without the sentences that state a verdict, or state that it is not so.

        Args:
            trace: The text of the think block.

        Returns:
            The remaining sentences as they were written, without white space around the whole.
        """
        return without_claims(
            self.sentences(trace),
            _clauses,
            lambda clause: bool(self._claims(clause) or self._claims(_VOID.sub("", clause))),
        )

    def _claims(self, clause: str) -> list[re.Match[str]]:
        """The places of a clause that give a whole image the verdict, in the order of the text."""
        claims = [match for match in self.subject.finditer(clause) if not match["part"]]
        claims += [*self.object.finditer(clause), *_answer_label(self.labels).finditer(clause)]
        return sorted(claims, key=lambda match: match.end())

    def _verdict(self, groups: dict[str, str | None], trace: str) -> int | None:
        """Index of the image that a claim gives the verdict."""
        if label := groups.get("label"):
            return _label_index(label, self.labels)
        index = self.image_index(groups["image"] or "", trace, self.labels)
        return 1 - index if groups.get("worse") and index is not None else index


def without_claims(
    sentences: Sequence[str], clauses: Callable[[str], Sequence[str]], claims: Callable[[str], bool]
) -> str:
    """Sentences in which no clause makes a claim, put together again as they were written.

    Args:
        sentences: a text, cut up.
        clauses: cuts a sentence.
        claims: whether a clause makes a claim.

    Returns:
        The text without the others, and without white space around the whole.
    """
    return "".join(each for each in sentences if not any(claims(clause) for clause in clauses(each))).strip()


@functools.cache
def _answer_label(labels: tuple[str, ...]) -> re.Pattern[str]:
    """The answer's label, told as such: "the answer is 1"; a single letter counts in its own case only."""
    spelled = [re.escape(label) if len(label) > 1 else f"(?-i:{re.escape(label)})" for label in labels]
    return re.compile(
        rf"\b(?:answer|label)\s*(?::|\b(?:is|should\s+be|would\s+be)\b)\s*(?P<label>{'|'.join(spelled)})(?!\w)",
        re.IGNORECASE,
    )


def _label_index(found: str, labels: tuple[str, ...]) -> int:
    """The index of a label as ``_answer_label`` found it."""
    return labels.index(found) if found in labels else [label.casefold() for label in labels].index(found.casefold())


def _clauses(sentence: str) -> list[str]:
    """The clauses of a sentence, without emphasis marks and without asides between an image and its verb."""
    plain = _EMPHASIS.sub("", sentence).replace("’", "'")
    return _CLAUSE.split(_ASIDE.sub(" ", plain))


def _without_label(clause: str, match: re.Match[str]) -> str:
    """A clause without the label that a claim names: "the answer is no" denies nothing."""
    if not match.groupdict().get("label"):
        return clause
    start, end = match.span("label")
    return clause[:start] + clause[end:]
