"""What the listener paper measured: its Tables 2 to 5 as typed records, so that ours stand beside them.

Gambashidze et al. 2025, "Listener-Rewarded Thinking in VLMs for Image Preferences": Qwen2.5-VL-7B, trained on 16% of
HPDv2, tested on ImageReward (in domain) and on Rapidata's human style preferences (out of domain). Its figures are
pictures; no number of theirs that the text does not give is here.
"""

import math
from dataclasses import dataclass

from lit_listener.evaluation.results import Measured, Unit
from lit_listener.evaluation.statistics import Interval

IN_DOMAIN = "ImageReward, test"
OUT_OF_DOMAIN = "Rapidata, 5,139 confident pairs"
NO_INTERVAL = "the paper gives no interval"
NOT_IN_PAPER = "the paper has no number"


@dataclass(frozen=True)
class Published:
    """A number of the paper."""

    value: float
    """A share, or a difference of shares: 0.654 for 65.4%."""
    where: str
    """Where it stands: "Table 3"."""
    error: float | None = None
    """What the paper gives behind its "±"; it does not say what kind of interval that is."""
    at_most: bool = False
    """Whether the paper says "up to" it: a smaller effect is then as the paper says too."""

    @property
    def points(self) -> str:
        """A difference in points: "+6.0", "up to +6.0"."""
        return f"{'up to ' if self.at_most else ''}{100 * self.value:+.1f}"

    def cell(self, unit: Unit = "share") -> Measured:
        """The number as a cell of a table."""
        if self.error is None:
            return Measured(Interval(self.value, math.nan, math.nan), 0, 0, unit, NO_INTERVAL)
        return Measured(Interval(self.value, self.value - self.error, self.value + self.error), 0, 0, unit)

    def less(self, other: "Published") -> "Published":
        """The difference from another of its numbers: derived, not printed; errors add up as if independent."""
        where = self.where if self.where == other.where else f"{self.where}, {other.where}"
        error = None
        if self.error is not None and other.error is not None:
            error = math.hypot(self.error, other.error)
        return Published(self.value - other.value, where, error)


ABS_SCORE_1, ABS_SCORE_3 = Published(0.654, "Table 2"), Published(0.658, "Table 2")
GRPO_1, GRPO_3 = Published(0.672, "Table 2"), Published(0.674, "Table 2")
LISTENER_1, LISTENER_3 = Published(0.674, "Table 2"), Published(0.677, "Table 2")

SINGLE_HUMAN = Published(0.653, "Table 3")
HPS_V2_1 = Published(0.668, "Table 3")
ZERO_SHOT = Published(0.554, "Table 3")
IMAGE_REWARD = Published(0.651, "Table 3")
ABS_SCORE = Published(0.654, "Table 3")
SFT = Published(0.669, "Table 3")
GRPO = Published(0.672, "Table 3")
LISTENER = Published(0.674, "Table 3")

CONTRADICTIONS_GRPO = Published(0.101, "Table 4")
CONTRADICTIONS_LISTENER = Published(0.083, "Table 4")

GRPO_WITH, GRPO_WITHOUT = Published(0.72, "Table 5", 0.012), Published(0.73, "Table 5", 0.012)
LISTENER_WITH, LISTENER_WITHOUT = Published(0.76, "Table 5", 0.012), Published(0.70, "Table 5", 0.012)

MOST_GAINED = Published(0.06, "abstract", at_most=True)
"""Over the reasoner without a listener, out of domain."""
