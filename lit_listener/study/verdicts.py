"""What a claim is, and how it is decided: from the interval of one number, by a rule fixed before it is known.

Four verdicts. A claim *holds* or finds *the opposite* where the whole interval says so; it *does not hold* where the
interval has room for no effect and none for an effect as large as claimed; otherwise it *cannot be told* from so few
seeds and prompts. An interval of no width decides nothing: resampling knows only what it has seen.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from lit_listener.evaluation.number_text import bounds_text, mean_text
from lit_listener.evaluation.results import Measured
from lit_listener.study.judgements import Judgements
from lit_listener.study.papers import Published

Verdict = Literal["holds", "does not hold", "cannot be told", "the opposite"]
VERDICTS: tuple[Verdict, ...] = ("holds", "does not hold", "the opposite", "cannot be told")

SMALLEST = 0.01
"""One point: the effect looked for where the paper's text gives no number, or only the largest."""


@dataclass(frozen=True)
class Decision:
    """A verdict and why."""

    verdict: Verdict
    because: str
    """Ends a sentence: "the whole interval lies above 0"."""


class Rule(ABC):
    """Decides a claim about a difference of shares."""

    def decide(self, found: Measured) -> Decision:
        """The verdict on a number with its interval."""
        interval = found.interval
        if math.isnan(interval.mean):
            return Decision("cannot be told", found.reason)
        if math.isnan(interval.low) or math.isnan(interval.high):
            return Decision("cannot be told", f"there is no interval: {found.reason}")
        if interval.low == interval.high:
            return Decision("cannot be told", "every draw of seeds and prompts gives the same number")
        return self._decided(interval.low, interval.high)

    @property
    @abstractmethod
    def words(self) -> str:
        """The rule as a sentence."""

    @abstractmethod
    def _decided(self, low: float, high: float) -> Decision: ...


@dataclass(frozen=True)
class Above(Rule):
    """The difference is above 0."""

    claimed: float = SMALLEST
    """As large as the paper says, as a share; ``SMALLEST`` where it does not, or says "up to"."""

    @property
    def words(self) -> str:
        """The rule as a sentence."""
        return (
            f"Holds above 0; the opposite below 0; does not hold where the interval holds 0 and nothing from "
            f"{_points(self.claimed)} up."
        )

    def _decided(self, low: float, high: float) -> Decision:
        if low > 0.0:
            less = f", and below the {_points(self.claimed)} looked for" if high < self.claimed else ""
            return Decision("holds", f"the whole interval lies above 0{less}")
        if high < 0.0:
            return Decision("the opposite", "the whole interval lies below 0")
        if high < self.claimed:
            return Decision("does not hold", f"the interval holds 0 and nothing as large as {_points(self.claimed)}")
        return Decision("cannot be told", f"the interval holds both 0 and {_points(self.claimed)}")


@dataclass(frozen=True)
class AtMost(Rule):
    """The difference is no larger than a margin: a claim that something adds (almost) nothing."""

    margin: float
    """As a share, above 0."""

    @property
    def words(self) -> str:
        """The rule as a sentence."""
        return f"Holds where the interval stays below {_points(self.margin)}; does not hold where all of it is above."

    def _decided(self, low: float, high: float) -> Decision:
        if high < self.margin:
            return Decision("holds", f"the whole interval lies below {_points(self.margin)}")
        if low > self.margin:
            return Decision("does not hold", f"the whole interval lies above {_points(self.margin)}")
        return Decision("cannot be told", f"the interval holds {_points(self.margin)}, the most that counts as nothing")


@dataclass(frozen=True)
class Claim:
    """One thing that the paper says, or its review asks."""

    key: str
    says: str
    where: str
    paper: Published | None
    """The paper's difference, where its text has one."""
    compares: str
    """What the difference is of: "accuracy of GRPO less that of the start, held-in"."""
    rule: Rule
    arms: tuple[str, ...]
    take: Callable[[Judgements], Measured]


@dataclass(frozen=True)
class Finding:
    """A claim, what was measured, and the verdict."""

    claim: Claim
    ours: Measured
    decision: Decision

    @property
    def sentence(self) -> str:
        """The verdict with its numbers."""
        claim = self.claim
        paper = f"the paper has {claim.paper.points} ({claim.paper.where})" if claim.paper else ""
        paper = paper or "the paper's text has no number"
        first = claim.compares[0].upper() + claim.compares[1:]
        return f"{first}: {told(self.ours)}; {paper}. {self.decision.verdict.capitalize()}: {self.decision.because}."


def told(found: Measured) -> str:
    """A difference in words: "+1.2 points [+0.4, +2.0]"; "not measured" where it is not there."""
    if math.isnan(found.interval.mean):
        return "not measured"
    return f"{mean_text(found)} points {bounds_text(found)}".rstrip()


def _points(share: float) -> str:
    return f"{100 * share:+.1f} points"
