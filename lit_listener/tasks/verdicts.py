"""Which of two images do written thoughts call the better one? By rule, in English.

A trace is cut into sentences and clauses, and a clause states a verdict if it says so of a whole image ("the first
image is better", "I prefer the second one", "image 2 fits the prompt better"), not of a part of it ("the first has
better light", "the colour of the second image is better"). Negated, open and asked clauses ("the first is not better",
"whether the first is better", "is the first better?") state none. The last verdict wins.

The rules are after precision: an odd wording gives None rather than a guess. Pronouns, "the former" and "the left one"
are not resolved.
"""

import re

_NOUN = r"(?:image|picture|photo|photograph|one|option|candidate|version|illustration|rendering)"
_NUMBERED = r"(?:image|picture|photo|option|candidate)\s*(?:number\s+|no\s+|\#\s*)?(?:[012]|one|two|(?-i:[AB]))\b"
_IMAGE = rf"(?:\bthe\s+)?(?:\b(?:first|second|1st|2nd)\b(?:\s+{_NOUN}\b)?|\b{_NUMBERED})"
# Words that may stand between a verb and the verdict: "is clearly the better one", "seems to be by far the best".
# No two alternatives match one word: with two, a policy that repeats itself would make the search exponential.
_FILLER = r"(?:\s+(?:\w+ly|the|a|an|my|much|far|by\s+far|still|also|overall|thus|then|even|just|somewhat|to\s+be|as))*"
_IS = (
    r"(?:(?:would|should|will|must)\s+(?:\w+ly\s+)?be|is|was|looks|seems|appears|feels|remains"
    r"|(?:turns|comes|stands)\s+out)"
)
_PARTIAL = r"(?:lit|drawn|composed|rendered|detailed|defined|colou?red|focused|framed|textured|in\s+terms)"
_WORTH = (
    rf"(?:better(?!\s+{_PARTIAL}\b)|best|preferred|preferable|more\s+(?:preferable|suitable)|superior|stronger|winner"
    r"|favou?rite|closer\s+(?:to|match))"
)
_PREFER = r"(?:prefer|choose|pick|favou?r|select|go\s+with|vote\s+for|like)"
_PEOPLE = r"(?:i|we|they|people|most|users|viewers|voters|humans|everyone|raters|annotators)"
_WOULD = r"(?:\s+(?:would|will|do|should|must|\w+ly|also|still))*"
_ONE_PREFERRED = rf"(?:one|image)\s+(?:that\s+|which\s+)?(?:most\s+|more\s+)?{_PEOPLE}{_WOULD}\s+{_PREFER}"
_FITS = r"(?:fits|matches|follows|suits|captures|reflects|satisfies|fulfil?ls|represents|adheres|aligns|meets|answers)"
_MORE = r"(?:better|best|more\s+(?:closely|accurately|faithfully|precisely|fully))"
# "I prefer the first", and not "I prefer the first circle".
_WHOLE = r"(?=\s*(?:$|[^\w\s]|(?:to|over|for|as|here|than|and|overall|due|on|with|by|rather|instead|given)\b))"
_OF_A_PART = r"(?P<part>\b(?:in|of|from|on|for|at|with|by|than)\s+)?"
_CHOICE = (
    r"(?:\b(?:better|best|preferred|superior|winning|stronger)\s+(?:image|picture|one|choice|option|match|fit)"
    r"|\b(?:winner|verdict|choice|answer|preference|pick|conclusion|favou?rite))(?:\s+(?:here|overall))?"
)

_SUBJECT = re.compile(
    rf"{_OF_A_PART}(?P<image>{_IMAGE})(?:\s+(?:\w+ly|also|still|overall))*\s+"
    rf"(?:{_IS}{_FILLER}\s+(?:{_WORTH}|(?P<worse>worse|inferior)|{_ONE_PREFERRED})\b"
    rf"|(?:wins|beats|outperforms|surpasses)\b|better\s+{_FITS}|{_FITS}\b.*?\b{_MORE}(?!\s+(?:lit|drawn))\b)",
    re.IGNORECASE,
)
_OBJECT = re.compile(
    rf"(?:\b{_PEOPLE}{_WOULD}\s+{_PREFER}"
    rf"|{_CHOICE}\s*(?::|\s(?:is|would\s+be|goes\s+to|leans\s+(?:to|towards?)|falls\s+on)\b){_FILLER})\s+(?P<image>{_IMAGE}){_WHOLE}",
    re.IGNORECASE,
)
_LABEL = re.compile(r"\b(?:answer|label)\s*(?::|\b(?:is|should\s+be|would\s+be)\b)\s*(?P<label>[01])\b", re.IGNORECASE)
_VOID = re.compile(
    r"\b(?:not|never|neither|nor|cannot|hardly|barely|scarcely|equally|nobody|none|whether|if"
    r"|no(?!\s+(?:doubt|question)))\b|n't\b",
    re.IGNORECASE,
)
_ALTERNATIVE = re.compile(rf"{_IMAGE}\s+or\s+{_IMAGE}", re.IGNORECASE)
_SENTENCE = re.compile(r"[^.!?\n;]+[.!?;]*\n*|[.!?\n;]+")
_CLAUSE = re.compile(
    r",|\s[-–—]+\s|\b(?:but|while|whereas|although|though|however|yet|so|therefore|thus|hence|because|since)\b",
    re.IGNORECASE,
)
_ASIDE = re.compile(
    r",\s*(?:which|with|having|showing|despite|not|although|though|while|unlike|however|therefore|in\s+my)\b[^,]*,"
    rf"\s*(?={_IS}\b|{_FITS}\b|wins\b)",
    re.IGNORECASE,
)
_EMPHASIS = re.compile(r"[*_`\"“”]")
_COUNTS_FROM_ZERO = re.compile(
    r"\b(?:image|picture|photo|option|candidate)\s*(?:number\s+|no\s+|\#\s*)?0\b", re.IGNORECASE
)


def stated_verdict(trace: str) -> int | None:
    """Index of the displayed image that the thoughts call the better one.

    "Image 1" is the first image, as in ordinary English, unless the trace also speaks of an "image 0"; "the answer is
    1" names the label.

    Args:
        trace: The text of the think block.

    Returns:
        0 for the first image, 1 for the second, None where no verdict is stated.
    """
    from_zero = _COUNTS_FROM_ZERO.search(trace) is not None
    verdict = None
    for sentence in _SENTENCE.findall(trace):
        if sentence.rstrip().endswith("?"):
            continue
        for clause in _clauses(sentence):
            if _VOID.search(clause) or _ALTERNATIVE.search(clause):
                continue
            for match in _claims(clause):
                verdict = _verdict(match.groupdict(), from_zero)
    return verdict


def strip_verdicts(trace: str) -> str:
    """The thoughts without the sentences that state a verdict, or state that it is not so.

    Args:
        trace: The text of the think block.

    Returns:
        The remaining sentences as they were written, without white space around the whole.
    """
    kept = [
        sentence
        for sentence in _SENTENCE.findall(trace)
        if not any(_claims(_VOID.sub("", clause)) for clause in _clauses(sentence))
    ]
    return "".join(kept).strip()


def _clauses(sentence: str) -> list[str]:
    """The clauses of a sentence, without emphasis marks and without asides between an image and its verb."""
    plain = _EMPHASIS.sub("", sentence).replace("’", "'")
    return _CLAUSE.split(_ASIDE.sub(" ", plain))


def _claims(clause: str) -> list[re.Match[str]]:
    """The places of a clause that call a whole image better (or worse), in the order of the text."""
    claims = [match for match in _SUBJECT.finditer(clause) if not match["part"]]
    claims += [*_OBJECT.finditer(clause), *_LABEL.finditer(clause)]
    return sorted(claims, key=lambda match: match.end())


def _verdict(groups: dict[str, str | None], from_zero: bool) -> int:
    """Index of the image that a claim calls the better one."""
    if label := groups.get("label"):
        return int(label)
    index = _image_index(groups["image"] or "", from_zero)
    return 1 - index if groups.get("worse") else index


def _image_index(name: str, from_zero: bool) -> int:
    """0 or 1 for the name of an image, as `_IMAGE` matches it."""
    words = name.lower().split()
    if any(word in ("first", "1st") for word in words):
        return 0
    if any(word in ("second", "2nd") for word in words):
        return 1
    number = re.sub(r".*?(0|1|2|one|two|a|b)$", r"\1", words[-1])
    if number == "1" and from_zero:
        return 1
    return 0 if number in ("0", "1", "one", "a") else 1
