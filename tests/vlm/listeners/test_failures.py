"""How a listener's failure ends a run of one process; ``tests/training/test_failing_ranks.py`` has those of several."""

import pytest

from lit_listener.vlm.listeners import ListenerFailedError
from lit_listener.vlm.listeners.failures import end_together
from lit_listener.vlm.stopping import StopRequested


def test_without_a_failure_it_goes_on():
    end_together(None)


def test_a_failure_is_raised_as_it_is():
    failure = ListenerFailedError("gone")
    with pytest.raises(ListenerFailedError) as raised:
        end_together(failure)
    assert raised.value is failure
    with pytest.raises(ListenerFailedError):
        end_together(failure, stopped=True)  # there is something to tell


def test_a_stop_is_a_stop():
    with pytest.raises(StopRequested):
        end_together(None, stopped=True)
