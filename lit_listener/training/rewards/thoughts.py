"""Terms that look at how the thoughts are written: their verdict, their repetitions, their script."""

import sys
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from lit_listener.tasks import Transcript
from lit_listener.training.rewards.term import Judged, RewardTerm
from lit_listener.training.rewards.weights import Weight


class ContradictionPenalty(RewardTerm):
    """-1 where the thoughts state one verdict and the answer gives another (``Task.contradicts``), else 0.

    The papers name such a term as future work: their listener lessens contradictions, but is not asked about them.
    """

    def __call__(self, judged: Judged) -> Tensor:
        """Shape [N]."""
        return torch.tensor([-float(judged.task.contradicts(transcript)) for transcript in judged.transcripts])


class Repetition(RewardTerm):
    """Minus the share of the thoughts' word n-grams that were there before.

    Args:
        words: n, words of an n-gram; at least 1.
        weight: what thoughts that repeat one n-gram without end cost, in units of reward.
    """

    def __init__(self, words: int = 3, weight: float | Weight = 1.0) -> None:
        super().__init__(weight)
        if words < 1:
            raise ValueError(f"Repetition: words: expected at least 1 word an n-gram, got {words}")
        self.words = words

    def __call__(self, judged: Judged) -> Tensor:
        """In (-1, 0]; 0 for thoughts of fewer than n words. Shape [N]."""
        return torch.tensor([-repeated_share(_thoughts(each), self.words) for each in judged.transcripts])


class LanguageConsistency(RewardTerm):
    """The share of the thoughts' letters that are of the wanted scripts; 1 for thoughts without letters.

    A script is what a letter's Unicode name begins with: LATIN, CYRILLIC, CJK, HIRAGANA, HANGUL, ARABIC. It tells
    Russian thoughts from English ones, but not French ones from English ones: no language is looked for.

    Args:
        scripts: the scripts that thoughts may be written in; null takes all that the prompt is written in.
        weight: what it is multiplied by.
    """

    def __init__(self, scripts: list[str] | None = None, weight: float | Weight = 1.0) -> None:
        super().__init__(weight)
        self.scripts = None if scripts is None else frozenset(name.upper() for name in scripts)
        if self.scripts is not None and (unknown := sorted(self.scripts - _known_scripts())):
            raise ValueError(
                f"LanguageConsistency: scripts: {unknown[0]!r} is no script; expected such as LATIN, CYRILLIC, CJK, "
                "HIRAGANA, KATAKANA, HANGUL, ARABIC, DEVANAGARI"
            )

    def __call__(self, judged: Judged) -> Tensor:
        """In [0, 1], shape [N]."""
        shares = []
        for transcript, shown in zip(judged.transcripts, judged.shown, strict=True):
            wanted = _scripts(shown.prompt).keys() if self.scripts is None else self.scripts
            found = _scripts(_thoughts(transcript))
            inside = sum(count for name, count in found.items() if name in wanted or not wanted)
            shares.append(inside / found.total() if found else 1.0)
        return torch.tensor(shares)


def repeated_share(text: str, words: int) -> float:
    """The share of a text's word n-grams that occurred in it before, in [0, 1)."""
    written = text.lower().split()
    grams: Sequence[tuple[str, ...]] = [tuple(written[at : at + words]) for at in range(len(written) - words + 1)]
    return 1.0 - len(set(grams)) / len(grams) if grams else 0.0


def _thoughts(transcript: Transcript) -> str:
    """What was thought; where no thoughts were marked as such, all that was written."""
    return transcript.text if transcript.think is None else transcript.think


def _scripts(text: str) -> Counter[str]:
    """How many letters of each script a text has."""
    return Counter(_script(letter) for letter in text if letter.isalpha())


@lru_cache(maxsize=65536)
def _script(letter: str) -> str:
    words = unicodedata.name(letter, "").split()
    return next((word for word in words if word not in ("FULLWIDTH", "HALFWIDTH")), "")


@lru_cache(maxsize=1)
def _known_scripts() -> frozenset[str]:
    letters = (chr(code) for code in range(sys.maxunicode + 1))
    return frozenset(_script.__wrapped__(letter) for letter in letters if letter.isalpha())
