"""Which sentence of a trace moves the listener, and how far.

The listener (Gambashidze et al. 2025, section 4.3) gives the reward one number for a whole trace. Here it hears the
trace's first k sentences for every k from 0 to n, each time with the answer's place right behind them, and says p_k.
What a sentence adds to what was said before it is its *gain*, p_k - p_(k-1); gains add up to p_n - p_0.

A gain answers: what did the listener learn here? A sentence that repeats another one has none. The other question, what
would be missing without it, is answered by leaving it out of the whole trace: *missed*, p_n less the probability
without it. Of two sentences that say the same neither is missed. What is missed does not add up to anything.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class SentenceHeat:
    """One sentence, and what it does to a listener's probability."""

    text: str
    """As it is written, without white space around it."""
    start: int
    """Its place in the thoughts, in characters from 0."""
    end: int
    p_before: float
    """The listener's probability, having heard the sentences before this one."""
    p_after: float
    """The same, having heard this one too."""
    missed: float | None = None
    """Its probability after the whole trace, less that without this sentence; None where nobody asked."""

    @property
    def gain(self) -> float:
        """What it adds to the probability; below 0 where it takes from it."""
        return self.p_after - self.p_before


@dataclass(frozen=True)
class Heat:
    """What each sentence of a trace does to a listener's probability of one image."""

    thinking: str
    """The thoughts."""
    p_start: float
    """The listener's probability with no thoughts at all."""
    p_end: float
    """The listener's probability having heard all of them."""
    sentences: tuple[SentenceHeat, ...]
    """In the order of the text; none where there are no thoughts."""

    @property
    def hottest(self) -> SentenceHeat | None:
        """The sentence that moves the listener most, up or down; the first of several; None without sentences."""
        return max(self.sentences, key=lambda sentence: abs(sentence.gain), default=None)

    def to_dict(self) -> dict[str, Any]:
        """Everything, gains included, as JSON has it."""
        sentences = [{**asdict(sentence), "gain": sentence.gain} for sentence in self.sentences]
        return {"thinking": self.thinking, "p_start": self.p_start, "p_end": self.p_end, "sentences": sentences}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> "Heat":
        """The record of which ``to_dict`` gave this.

        Raises:
            KeyError: a field is missing.
            TypeError: a sentence has other fields.
        """
        sentences = ({name: x for name, x in each.items() if name != "gain"} for each in given["sentences"])
        told = tuple(SentenceHeat(**sentence) for sentence in sentences)
        return cls(given["thinking"], given["p_start"], given["p_end"], told)
