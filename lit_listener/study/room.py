"""How far a judge is below somebody who knows what is drawn: whether the paper's gains have a place here at all."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from lit_listener.evaluation.crossed import Crossed, crossed, crossed_difference
from lit_listener.evaluation.statistics import Interval
from lit_listener.study import papers
from lit_listener.study.judgements import (
    GRPO,
    HELD_IN,
    HELD_OUT,
    INSTRUCT,
    Judgements,
    Keep,
    every,
    is_clear,
)
from lit_listener.study.papers import Published
from lit_listener.study.truth import knowing_correct

_GAINS: tuple[tuple[str, str, str, str, Keep, Published], ...] = (
    ("zero_shot_instruct", INSTRUCT, "held-in", HELD_IN, every, papers.GRPO.less(papers.ZERO_SHOT)),
    ("listener_in_domain", GRPO, "held-in", HELD_IN, every, papers.LISTENER.less(papers.GRPO)),
    ("listener_out_of_domain", GRPO, "held-out", HELD_OUT, every, papers.MOST_GAINED),
    (
        "listener_out_of_domain_clear",
        GRPO,
        "clear held-out pairs",
        HELD_OUT,
        is_clear,
        papers.LISTENER_WITH.less(papers.GRPO_WITH),
    ),
)
"""Claim, the arm that is to be surpassed, where, on which pairs, and by how much in the paper."""


@dataclass(frozen=True)
class Room:
    """What is left to gain over an arm, and what the paper gains."""

    claim: str
    """The claim's key."""
    over: str
    """Name of the arm."""
    where: str
    gain: Published
    left: Interval
    """How far the arm is below somebody who knows what is drawn."""

    @property
    def none(self) -> bool:
        """Whether a gain as large as the paper's has no place."""
        return self.left.high < self.gain.value

    @property
    def sentence(self) -> str:
        """The room with its numbers."""
        left = self.left
        gain = f"a gain of {100 * self.gain.value:.1f} points, the paper's{' largest' if self.gain.at_most else ''}"
        if self.none:
            says = f"{gain}, has no place here, so that not finding it says nothing against the paper"
        elif left.low >= self.gain.value:
            says = f"there is room for {gain}"
        else:
            says = f"whether there is room for {gain}, cannot be told"
        much = f"{100 * left.mean:.1f} points [{100 * left.low:.1f}, {100 * left.high:.1f}]"
        return f"**Room over {self.over} ({self.where}).** It is {much} below somebody who knows what is drawn: {says}."


def rooms(judged: Judgements) -> Iterator[Room]:
    """The room for each gain of the paper, where it is known what is drawn."""
    for claim, arm, where, source, keep, gain in _GAINS:
        if arm in judged:
            left = crossed_difference(knowing(judged, source, keep), judged.mean_at(arm, source, keep=keep))
            if not math.isnan(left.low):
                yield Room(claim, judged.name(arm), where, gain, left)


def knowing(judged: Judgements, source: str, keep: Keep = every) -> Crossed:
    """How often somebody is right who knows what is drawn, on each pair of a source; of no seed."""
    pairs = [pair for pair in judged.pairs(source) if keep(pair)]
    return crossed([[knowing_correct(pair) for pair in pairs]], [[pair.prompt_id for pair in pairs]])
