"""When two judgements are the same: texts and choices exactly, probabilities up to float32's rounding.

Which requests share a batch changes how sums are rounded, and nothing else.
"""

from typing import Any

from lit_listener.judging.results import Comparison, Ranking

TOLERANCE = 1e-5


def assert_same(given: Any, expected: Any) -> None:
    """Both are results, or lists of them, or numbers of them."""
    if isinstance(expected, Comparison | Ranking):
        assert type(given) is type(expected)
        given, expected = given.to_dict(), expected.to_dict()
    if isinstance(expected, float):
        assert type(given) is float
        assert abs(given - expected) <= TOLERANCE
    elif isinstance(expected, dict):
        assert given.keys() == expected.keys()
        for name, value in expected.items():
            assert_same(given[name], value)
    elif isinstance(expected, list | tuple):
        assert len(given) == len(expected)
        for one, other in zip(given, expected, strict=True):
            assert_same(one, other)
    else:
        assert given == expected
