"""Many requests at once to a server that may be busy, restarting or gone: repeated, but not for ever.

Repeated are answers 408, 429 and 5xx, connections refused or broken, and answers that do not come. In between a request
waits longer each time (exponential back-off with jitter), or as long as the server's Retry-After says. It is given up
when nothing at all was answered for so long: a server that answers some requests is alive.
"""

import contextlib
import http.client
import random
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Generic, TypeVar

from lit_listener.vlm.listeners.failures import ListenerFailedError
from lit_listener.vlm.listeners.remote.endpoint import Endpoint, Reply

Read = TypeVar("Read")
Given = TypeVar("Given")
Send = Callable[[], Reply]

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.25, 15.0
_LOOK_EVERY_S = 0.2  # at whether the run was asked to stop
_UNWIND_S = 5.0  # for threads whose connections were cut
_TELL_AFTER_S = 5.0  # of silence: whoever watches a bar that stands still should know why


@dataclass(frozen=True)
class Asked(Generic[Read]):
    """The answers of a round, or why there are none, and what it took."""

    answers: Sequence[Read] | None
    failure: ListenerFailedError | None
    stopped: bool
    """The round was given up because the run was asked to stop."""
    retries: int
    latency_s: float
    """Mean seconds of a request that was answered, its waiting and repetitions included; NaN where none was."""


class Patience:
    """Asks an endpoint.

    Args:
        endpoint: whom.
        concurrency: most requests under way at once; at least 1.
        patience_s: seconds without any answer after which it is given up.
    """

    def __init__(self, endpoint: Endpoint, concurrency: int, patience_s: float) -> None:
        self.endpoint = endpoint
        self._patience_s = patience_s
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="lit_listener-remote")

    def ask(
        self, requests: Sequence[Send], read: Callable[[Reply], Read], stop_asked: Callable[[], bool]
    ) -> Asked[Read]:
        """Send requests, all at once, and wait for every answer.

        Args:
            requests: each sends one; may be called several times.
            read: takes an answer 200 apart; or raises ``ListenerFailedError``.
            stop_asked: whether the run was asked to stop; heeded only while the server leaves requests unanswered.
        """
        round_ = _Round(self._patience_s)
        futures = [self._threads.submit(round_.answered, send, read) for send in requests]
        stopped = told = False
        try:
            while not stopped:
                done, pending = wait(futures, _LOOK_EVERY_S, FIRST_EXCEPTION)
                if not pending or any(future.exception() for future in done):
                    break
                if not told and round_.struggling and round_.silent_s > min(_TELL_AFTER_S, self._patience_s):
                    told = True
                    warnings.warn(
                        f"the listener at {self.endpoint.base_url} has not answered for {round_.silent_s:.0f} s "
                        f"({round_.problem}); it is asked again, for up to {self._patience_s:g} s of silence "
                        "(model.listener.patience_s)",
                        stacklevel=2,
                    )
                stopped = round_.struggling and stop_asked()
        finally:  # Ctrl-C too comes by here
            if not all(future.done() for future in futures):
                self._break_off(round_, futures)
        failure = next((error for future in futures if (error := _failure_of(future))), None)
        answers = None if failure or stopped else [future.result() for future in futures]
        return Asked(answers, None if stopped else failure, stopped, round_.retries, round_.latency_s)

    def mapped(self, work: Callable[[Given], Read], given: Sequence[Given]) -> list[Read]:
        """Do work that needs no server on the same threads."""
        return list(self._threads.map(work, given))

    def _break_off(self, round_: "_Round", futures: Sequence["Future[Read]"]) -> None:
        round_.over.set()
        for future in futures:
            future.cancel()
        self.endpoint.hang_up()
        wait(futures, _UNWIND_S)


class _OverError(Exception):
    """The round has ended; nobody waits for this request."""


class _Round:
    """Requests that are patient together."""

    def __init__(self, patience_s: float) -> None:
        self.over = threading.Event()
        self.problem = ""
        """What the last try that failed ended in."""
        self.retries = 0
        self._patience_s = patience_s
        self._answered_at = time.monotonic()
        self._waiting = 0
        self._seconds: list[float] = []
        self._lock = threading.Lock()
        # a generator of its own: drawing from the shared one would change what a checkpoint keeps of it
        self._jitter = random.Random()

    @property
    def struggling(self) -> bool:
        """Whether some request failed and waits to be repeated."""
        return self._waiting > 0

    @property
    def silent_s(self) -> float:
        """Seconds since the last answer, or since the round began."""
        return time.monotonic() - self._answered_at

    @property
    def latency_s(self) -> float:
        return sum(self._seconds) / len(self._seconds) if self._seconds else float("nan")

    def answered(self, send: Send, read: Callable[[Reply], Read]) -> Read:
        """Send until there is an answer.

        Raises:
            ListenerFailedError: the server refuses the request, or nothing was answered for too long.
            _OverError: the round has ended.
        """
        started, backoff_s = time.monotonic(), _FIRST_WAIT_S
        while True:
            if self.over.is_set():
                raise _OverError
            try:
                reply = send()
            except (OSError, http.client.HTTPException) as error:
                problem, after_s = f"{type(error).__name__}: {error}", 0.0
            else:
                if not _passing(reply.status):
                    word = read(reply)
                    self._take_note(time.monotonic() - started)
                    return word
                problem, after_s = f"answer {reply.status}", _retry_after_s(reply)
            self._wait(max(after_s, backoff_s * self._jitter.uniform(0.5, 1.5)), problem)
            backoff_s = min(2 * backoff_s, _LONGEST_WAIT_S)

    def _take_note(self, seconds: float) -> None:
        with self._lock:
            self._answered_at = time.monotonic()
            self._seconds.append(seconds)

    def _wait(self, seconds: float, problem: str) -> None:
        """Wait before a repetition; not beyond the end of patience, which other requests' answers put off."""
        if self.over.is_set():
            raise _OverError
        with self._lock:
            self.problem = problem
            self.retries += 1
            self._waiting += 1
            left = self._answered_at + self._patience_s - time.monotonic()
        try:
            if left <= 0:
                raise ListenerFailedError(
                    f"nothing was answered for {self._patience_s:g} seconds (model.listener.patience_s); the last try "
                    f"ended in: {problem}"
                )
            if self.over.wait(min(seconds, left)):
                raise _OverError
        finally:
            with self._lock:
                self._waiting -= 1


def _passing(status: int) -> bool:
    return status in (408, 429) or status >= 500


def _retry_after_s(reply: Reply) -> float:
    """Seconds that the server asks to wait: a number, or a date; 0 where it says nothing that can be read."""
    given = reply.headers.get("retry-after", "")
    with contextlib.suppress(ValueError):
        return max(0.0, float(given))
    with contextlib.suppress(ValueError, TypeError):
        return max(0.0, (parsedate_to_datetime(given) - datetime.now(UTC)).total_seconds())
    return 0.0


def _failure_of(future: "Future[Read]") -> ListenerFailedError | None:
    """What failed in a request, other than the round's end; a fault of our own is raised."""
    if not future.done() or future.cancelled():
        return None
    error = future.exception()
    if error is None or isinstance(error, _OverError):
        return None
    if isinstance(error, ListenerFailedError):
        return error
    raise error
