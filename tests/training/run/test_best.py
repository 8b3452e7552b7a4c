"""Which checkpoints are kept as the best."""

import pytest

from lit_listener.training.run.best import Best


@pytest.mark.parametrize(("mode", "kept", "dropped"), [("max", {"c", "b"}, ["a"]), ("min", {"a", "d"}, ["c", "b"])])
def test_the_best_two_of_four(mode, kept, dropped):
    best = Best(2, mode)
    assert best.compare("a", 0.1) == []
    assert best.compare("c", 0.5) == []
    gone = best.compare("b", 0.3) + best.compare("d", 0.2)
    assert set(best.scores) == kept
    assert gone == dropped


def test_of_equal_ones_the_earlier_is_kept():
    best = Best(1, "max", {"a": 0.5})
    assert best.compare("b", 0.5) == []
    assert best.scores == {"a": 0.5}


def test_what_is_no_number_is_never_among_the_best():
    best = Best(2, "max")
    best.compare("a", float("nan"))
    assert best.scores == {}


def test_one_that_is_measured_again_counts_once():
    best = Best(2, "max", {"a": 0.5, "b": 0.4})
    assert best.compare("a", 0.1) == []
    assert best.scores == {"b": 0.4, "a": 0.1}
