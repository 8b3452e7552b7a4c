"""Threads that answer what waits in batches: what judgements and chats have in common.

Where a batch fails, each request in it is asked by itself, and the one at fault alone hears of it. What nobody waits
for any longer is dropped.
"""

import contextlib
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from lit_listener.judging.judge import Judge


@dataclass(frozen=True)
class BatchReport:
    """What a batch was."""

    requests: int
    completions: int
    forced: int
    seconds: float


class Awaited(Protocol):
    """Something of a request, or a request, that somebody waits for."""

    @property
    def future(self) -> "Future[Any]":
        """What they wait for."""


_Job = TypeVar("_Job", bound=Awaited)
"""What waits in the queue."""
_Part = TypeVar("_Part", bound=Awaited)
"""What a batch is made of."""
_Answer = TypeVar("_Answer")
"""What the model says to a part."""


class BatchingThreads(ABC, Generic[_Job, _Part, _Answer]):
    """A queue, and the threads that answer it in batches; they start with the first job.

    Args:
        judge: whose model answers.
        wait_s: seconds that a batch which is not full waits for requests that are on their way.
        on_the_way: whether there are such.
        report: is told of each batch, by the thread that ran it.
    """

    name: ClassVar[str]
    """Name of the threads."""

    def __init__(
        self,
        judge: Judge,
        wait_s: float = 0.005,
        on_the_way: Callable[[], bool] = lambda: False,
        report: Callable[[BatchReport], None] = lambda _: None,
    ) -> None:
        self._judge = judge
        self._wait_s = wait_s
        self._on_the_way = on_the_way
        self._report = report
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._closing = False

    @property
    def waiting(self) -> int:
        """Requests of which something has yet to be taken into a batch."""
        return len(self._jobs)

    def close(self) -> None:
        """Answer what waits, and end."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    @property
    def _at_once(self) -> int:
        """How many threads there are."""
        return 1

    @abstractmethod
    def _full(self) -> bool:
        """Whether what waits fills a batch."""

    @abstractmethod
    def _take(self) -> list[_Part]:
        """Take a batch off the queue; it is empty where nobody waits for it any more."""

    @abstractmethod
    def _ask(self, parts: Sequence[_Part]) -> Sequence[_Answer]:
        """Have the model answer a batch: an answer for each part. Whatever it raises is a part's fault."""

    @abstractmethod
    def _settle(self, parts: Sequence[_Part], answers: Sequence[_Answer], seconds: float) -> BatchReport:
        """Hand the answers to those who wait."""

    def _put(self, job: _Job) -> None:
        with self._changed:
            if self._closing:
                raise RuntimeError("the batching threads have ended")
            if not self._threads:
                self._threads = [
                    threading.Thread(target=self._work, name=self.name, daemon=True) for _ in range(self._at_once)
                ]
                for thread in self._threads:
                    thread.start()
            self._jobs.append(job)
            self._changed.notify()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._jobs:
                    if self._closing:
                        return
                    self._changed.wait()
                self._gather()
                parts = self._take()
            if parts:
                self._run(parts)

    def _gather(self) -> None:
        """Wait a moment for what is on its way, if the batch is not full."""
        until = time.monotonic() + self._wait_s
        while not self._full() and self._on_the_way() and (left := until - time.monotonic()) > 0:
            self._changed.wait(left)

    def _run(self, parts: Sequence[_Part]) -> None:
        started = time.perf_counter()
        try:
            answers = self._ask(parts)
        except Exception as error:  # a request's fault is told to whoever sent it
            if len(parts) == 1:
                fail(parts[0].future, error)
                return
            for part in parts:  # once more, each alone
                if not part.future.done():
                    self._run([part])
            return
        self._report(self._settle(parts, answers, time.perf_counter() - started))


def answer(future: "Future[Any]", result: Any) -> None:
    """Tell whoever waits, if somebody still does."""
    with contextlib.suppress(InvalidStateError):
        future.set_result(result)


def fail(future: "Future[Any]", error: Exception) -> None:
    """Tell whoever waits what went wrong, if somebody still does."""
    with contextlib.suppress(InvalidStateError):
        future.set_exception(error)
