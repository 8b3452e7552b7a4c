"""Requests that fail: what is repeated, how long, and what ends the waiting."""

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from lit_listener.vlm.listeners import ListenerFailedError
from lit_listener.vlm.listeners.listener import never
from lit_listener.vlm.listeners.remote import patience as module
from lit_listener.vlm.listeners.remote.endpoint import Endpoint, Reply
from lit_listener.vlm.listeners.remote.patience import Patience


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(module, "_FIRST_WAIT_S", 0.01)


def patient(patience_s=5.0, concurrency=8):
    return Patience(Endpoint("http://127.0.0.1:9/v1", None, 1.0), concurrency, patience_s)


def sending(*outcomes):
    """A request with these outcomes, the last of them for ever."""
    left = list(outcomes)

    def send():
        outcome = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome if isinstance(outcome, Reply) else Reply(outcome, {}, b"yes")

    return send


def read(reply):
    if reply.status != 200:
        raise ListenerFailedError(f"refused with {reply.status}")
    return reply.content


@pytest.mark.parametrize(
    "failing", [408, 429, 500, 502, 503, 504, ConnectionRefusedError("no"), TimeoutError("slow"), BrokenPipeError()]
)
def test_what_may_pass_is_repeated(failing):
    asked = patient().ask([sending(failing, failing, 200)], read, never)
    assert asked.answers == [b"yes"]
    assert asked.retries == 2
    assert asked.latency_s > 0


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
def test_a_refusal_is_final(status):
    asked = patient().ask([sending(status, 200)], read, never)
    assert str(asked.failure) == f"refused with {status}"
    assert asked.retries == 0
    assert asked.answers is None


def test_answers_are_in_the_order_of_the_requests():
    sends = [sending(*[503] * (n % 3), Reply(200, {}, bytes([n]))) for n in range(40)]
    assert patient().ask(sends, read, never).answers == [bytes([n]) for n in range(40)]


def test_patience_ends_when_nothing_is_answered():
    started = time.monotonic()
    asked = patient(0.5).ask([sending(ConnectionRefusedError("nobody there"))] * 20, read, never)
    assert 0.4 < time.monotonic() - started < 3
    assert "nothing was answered for 0.5 seconds (model.listener.patience_s)" in str(asked.failure)
    assert "nobody there" in str(asked.failure)


def test_a_server_that_answers_others_is_waited_for():
    """One request fails for longer than patience lasts, while others are answered all the time."""
    until = time.monotonic() + 1.2

    def failing():
        return Reply(503 if time.monotonic() < until else 200, {}, b"late")

    def slow():
        time.sleep(0.1)
        return Reply(200, {}, b"yes")

    asked = patient(0.5, concurrency=2).ask([failing, *[slow] * 14], read, never)
    assert asked.failure is None
    assert asked.answers[0] == b"late"


@pytest.mark.parametrize("given", ["0.4", "date"])
def test_retry_after_is_heeded(given):
    if given == "date":  # of whole seconds
        given = format_datetime(datetime.now(UTC) + timedelta(seconds=1.6), usegmt=True)
    started = time.monotonic()
    patient().ask([sending(Reply(429, {"retry-after": given}, b""), 200)], read, never)
    assert 0.35 < time.monotonic() - started < 3


@pytest.mark.parametrize("given", ["soon", "-3", "nan"])
def test_a_retry_after_that_is_no_time_counts_for_nothing(given):
    started = time.monotonic()
    assert patient().ask([sending(Reply(429, {"retry-after": given}, b""), 200)], read, never).answers
    assert time.monotonic() - started < 0.5


def test_waits_grow_and_differ(monkeypatch):
    waits = []
    round_ = module._Round(100.0)
    monkeypatch.setattr(round_.over, "wait", waits.append)  # other tests' threads wait too
    assert round_.answered(sending(*[500] * 12, 200), read) == b"yes"
    assert len(waits) == 12
    for n, waited in enumerate(waits):
        usual = min(0.01 * 2**n, 15)  # 0.01, doubled each time up to 15, and within a half of it
        assert 0.5 * usual <= waited <= 1.5 * usual
    assert len(set(waits)) == 12


def test_who_is_asked_to_stop_stops_while_the_server_does_not_answer():
    started = time.monotonic()
    asked = patient(60).ask([sending(503)] * 3, read, lambda: time.monotonic() - started > 0.5)
    assert time.monotonic() - started < 3
    assert asked.stopped
    assert asked.failure is None
    assert asked.answers is None


def test_a_server_that_answers_is_heard_to_the_end():
    def slow():
        time.sleep(0.6)
        return Reply(200, {}, b"yes")

    asked = patient().ask([slow], read, lambda: True)
    assert asked.answers == [b"yes"]
    assert not asked.stopped


def test_a_fault_of_our_own_is_no_failure_of_the_server():
    def broken(reply):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        patient().ask([sending(200)], broken, never)


def test_one_refusal_ends_the_others():
    started = time.monotonic()
    asked = patient(60).ask([sending(503)] * 6 + [sending(400)], read, never)
    assert str(asked.failure) == "refused with 400"
    assert time.monotonic() - started < 3


def test_whoever_waits_is_told_why(monkeypatch):
    monkeypatch.setattr(module, "_TELL_AFTER_S", 0.1)
    with pytest.warns(UserWarning, match=r"has not answered for .*nobody there.*model\.listener\.patience_s"):
        asked = patient(1.0).ask([sending(ConnectionRefusedError("nobody there"))], read, never)
    assert asked.failure is not None
