"""Measured numbers as people read them, the same in the terminal and on a page: "56.3%" and "[54.0, 58.5]"."""

import math
from collections.abc import Callable, Mapping

from lit_listener.evaluation.results import Measured, Unit

NOT_THERE = "–"
"""Stands where a number is not defined."""


def mean_text(measured: Measured) -> str:
    """The number with its unit; ``NOT_THERE`` where it is not defined."""
    mean = measured.interval.mean
    return NOT_THERE if math.isnan(mean) else _MEANS[measured.unit](mean)


def bounds_text(measured: Measured) -> str:
    """The interval in brackets, as many digits as the number; empty where there is none, or none to tell of.

    A count (or a plain number) that equals both its bounds is exact: it is shown without them.
    """
    interval = measured.interval
    if any(math.isnan(bound) for bound in (interval.mean, interval.low, interval.high)):
        return ""
    if measured.unit in ("count", "number") and interval.low == interval.mean == interval.high:
        return ""
    write = _BOUNDS.get(measured.unit, _MEANS[measured.unit])
    return f"[{write(interval.low)}, {write(interval.high)}]"


def footnotes(cells: list[Measured]) -> dict[str, int]:
    """The numbers, from 1, of the reasons why some cells have no number or no interval, in order of appearance."""
    told = (cell for cell in cells if cell.unit != "count" or math.isnan(cell.interval.mean))  # counts have no interval
    reasons = dict.fromkeys(cell.reason for cell in told if cell.reason)
    return {reason: number for number, reason in enumerate(reasons, start=1)}


def _rounded(number: float, digits: int) -> float:
    # Adding 0.0 turns a rounded -0.0 into 0.0, which would otherwise be shown as "-0.0".
    return round(number, digits) + 0.0


def _hundredfold(share: float) -> str:
    return f"{_rounded(100 * share, 1):.1f}"


def _points(difference: float) -> str:
    return f"{_rounded(100 * difference, 1):+.1f}"


def _number(number: float) -> str:
    """Two decimals, but three significant digits below 1: 0.0312 is another p-value than 0.0349."""
    if number == 0 or abs(number) >= 1:
        return f"{number:,.2f}"
    return f"{number:.3f}" if abs(number) >= 0.1 else f"{number:.3g}"


_MEANS: Mapping[Unit, Callable[[float], str]] = {
    "share": lambda share: f"{_hundredfold(share)}%",
    "probability": lambda probability: f"{_rounded(probability, 3):.3f}",
    "points": _points,
    "tokens": lambda tokens: f"{_rounded(tokens, 1):,.1f}",
    "count": lambda count: f"{_rounded(count, 0):,.0f}",
    "number": _number,
}
_BOUNDS: Mapping[Unit, Callable[[float], str]] = {"share": _hundredfold}
"""Where bounds are written otherwise than the number: one sign of percent is enough."""
