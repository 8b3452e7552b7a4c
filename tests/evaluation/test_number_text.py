import math

import pytest

from lit_listener.evaluation.number_text import bounds_text, footnotes, mean_text
from lit_listener.evaluation.results import Measured, undefined
from lit_listener.evaluation.statistics import Interval

NAN = float("nan")


def measured(unit, mean, low=NAN, high=NAN):
    return Measured(Interval(mean, low, high), 4, 2, unit, "no interval" if math.isnan(low) else "")


@pytest.mark.parametrize(
    ("unit", "numbers", "mean", "bounds"),
    [
        ("share", (0.5634, 0.5401, 0.5849), "56.3%", "[54.0, 58.5]"),
        ("share", (1.0, 1.0, 1.0), "100.0%", "[100.0, 100.0]"),
        ("probability", (0.1234, 0.1, 0.15), "0.123", "[0.100, 0.150]"),
        ("points", (0.0124, -0.0004, 0.0251), "+1.2", "[+0.0, +2.5]"),  # -0.04 points is no negative zero
        ("points", (-0.0124, -0.03, -0.001), "-1.2", "[-3.0, -0.1]"),
        ("tokens", (23.44, 20.0, 1234.56), "23.4", "[20.0, 1,234.6]"),
        ("count", (123.0, 123.0, 123.0), "123", ""),
        ("count", (12345.0, 12000.0, 13000.0), "12,345", "[12,000, 13,000]"),
        ("number", (3.0, 3.0, 3.0), "3.00", ""),
        ("number", (3.0, 2.5, 3.5), "3.00", "[2.50, 3.50]"),
        ("number", (0.5,), "0.500", ""),
        ("number", (0.0312,), "0.0312", ""),
        ("number", (0.0000312,), "3.12e-05", ""),
        ("number", (0.0,), "0.00", ""),
        ("number", (-4.257,), "-4.26", ""),
    ],
)
def test_units(unit, numbers, mean, bounds):
    cell = measured(unit, *numbers)
    assert (mean_text(cell), bounds_text(cell)) == (mean, bounds)


def test_what_is_not_there():
    nothing = undefined("no pair counts here", "points")
    assert (mean_text(nothing), bounds_text(nothing)) == ("–", "")
    alone = measured("share", 0.25)
    assert (mean_text(alone), bounds_text(alone)) == ("25.0%", "")


def test_footnotes_are_numbered_as_they_appear():
    cells = [undefined("b"), measured("share", 0.5, 0.4, 0.6), undefined("a"), undefined("b")]
    assert footnotes(cells) == {"b": 1, "a": 2}
    assert footnotes([]) == {}
