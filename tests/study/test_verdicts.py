import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lit_listener.evaluation.results import Measured, undefined
from lit_listener.evaluation.statistics import Interval
from lit_listener.study.verdicts import VERDICTS, Above, AtMost, told


def found(low, high, mean=None):
    return Measured(Interval((low + high) / 2 if mean is None else mean, low, high), 10, 5, "points")


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.001, 0.02, "holds"),
        (0.001, 0.2, "holds"),
        (-0.03, -0.001, "the opposite"),
        (-0.03, 0.059, "does not hold"),  # room for nothing, and none for the 6 points claimed
        (-0.03, 0.06, "cannot be told"),
        (0.0, 0.07, "cannot be told"),
    ],
)
def test_above(low, high, verdict):
    assert Above(0.06).decide(found(low, high)).verdict == verdict


def test_a_smaller_effect_than_claimed_is_said():
    assert "below the +6.0 points looked for" in Above(0.06).decide(found(0.001, 0.02)).because
    assert "looked for" not in Above(0.06).decide(found(0.001, 0.2)).because


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-0.2, 0.016, "holds"),
        (-0.2, -0.1, "holds"),  # a loss adds nothing either
        (0.018, 0.03, "does not hold"),
        (0.0, 0.03, "cannot be told"),
    ],
)
def test_at_most(low, high, verdict):
    assert AtMost(0.017).decide(found(low, high)).verdict == verdict


@pytest.mark.parametrize("rule", [Above(0.01), AtMost(0.01)])
def test_what_is_not_there_or_has_no_width_decides_nothing(rule):
    assert rule.decide(undefined("no such arm", "points")).because == "no such arm"
    alone = Measured(Interval(0.5, math.nan, math.nan), 10, 1, "points", "a single prompt has no interval")
    assert rule.decide(alone).because == "there is no interval: a single prompt has no interval"
    assert rule.decide(found(0.5, 0.5)).verdict == "cannot be told"
    assert {rule.decide(each).verdict for each in (alone, undefined("x"))} == {"cannot be told"}


@given(low=st.floats(-1, 1), width=st.floats(1e-6, 1), claimed=st.floats(0.001, 0.5))
def test_a_narrower_interval_never_turns_a_verdict_round(low, width, claimed):
    wide, narrow = (Above(claimed).decide(found(low + cut, low + width - cut)) for cut in (0.0, width / 4))
    assert wide.verdict in VERDICTS
    assert wide.verdict in ("cannot be told", "does not hold") or narrow.verdict == wide.verdict


def test_told():
    assert told(found(0.004, 0.02)) == "+1.2 points [+0.4, +2.0]"
    assert told(undefined("no such arm")) == "not measured"
