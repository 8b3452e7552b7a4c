"""Batching of chats: those that wait are answered together.

As with judgements (``server.batching``): answers do not depend on what shares a batch but for the last digits of
log-probabilities; where a batch fails, each chat in it is asked by itself, and the one at fault alone hears of it; what
nobody waits for any longer is dropped. With ``batch_size`` 1 the last digits too are always the same.
"""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from functools import partial

from lit_listener.judging.judge import Judge
from lit_listener.judging.server.batching import BatchReport
from lit_listener.judging.server.openai.chats import Chat, ChatAnswer, answer_chats

_WORTHWHILE = 16
"""Chats of a batch: fewer are not dealt out to several threads."""

_Job = tuple[Chat, "Future[ChatAnswer]"]


class ChatBatcher:
    """Answers chats, many at once.

    Args:
        judge: whose model answers.
        wait_s: seconds that a batch which is not full waits for requests that are on their way.
        on_the_way: whether there are such.
        report: is told of each batch.
    """

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
        """Chats that are not in a batch yet."""
        return len(self._jobs)

    def submit(self, chat: Chat) -> "Future[ChatAnswer]":
        """Have a chat answered. Cancel the future to have it dropped.

        Raises:
            RuntimeError: the batcher is closed.
        """
        future: Future[ChatAnswer] = Future()
        with self._changed:
            if self._closing:
                raise RuntimeError("the batching threads have ended")
            if not self._threads:
                self._threads = [
                    threading.Thread(target=self._work, name="lit_listener-chats", daemon=True)
                    for _ in range(self._judge.batches_at_once)
                ]
                for thread in self._threads:
                    thread.start()
            self._jobs.append((chat, future))
            self._changed.notify()
        return future

    def close(self) -> None:
        """Answer what waits, and end."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._jobs:
                    if self._closing:
                        return
                    self._changed.wait()
                until = time.monotonic() + self._wait_s
                while (
                    len(self._jobs) < self._judge.batch_size
                    and self._on_the_way()
                    and (left := until - time.monotonic()) > 0
                ):
                    self._changed.wait(left)
                jobs = self._batch()
            if jobs:
                self._run(jobs)

    def _batch(self) -> list[_Job]:
        """Take a batch off the queue: what is there is shared among the threads, unless it is little."""
        share = -(-len(self._jobs) // len(self._threads))
        most = min(self._judge.batch_size, max(_WORTHWHILE, share))
        jobs: list[_Job] = []
        while self._jobs and len(jobs) < most:
            job = self._jobs.popleft()
            if not job[1].done():  # nobody waits for it any more
                jobs.append(job)
        return jobs

    def _run(self, jobs: Sequence[_Job]) -> None:
        started = time.perf_counter()
        try:
            answers = self._judge.computed(partial(answer_chats, chats=[chat for chat, _ in jobs]))
        except Exception as error:  # a request's fault is told to whoever sent it
            if len(jobs) == 1:
                with contextlib.suppress(InvalidStateError):
                    jobs[0][1].set_exception(error)
                return
            for job in jobs:  # once more, each alone
                if not job[1].done():
                    self._run([job])
            return
        for (_, future), answer in zip(jobs, answers, strict=True):
            with contextlib.suppress(InvalidStateError):  # nobody waits for it any more
                future.set_result(answer)
        self._report(BatchReport(len(jobs), len(jobs), 0, time.perf_counter() - started))
