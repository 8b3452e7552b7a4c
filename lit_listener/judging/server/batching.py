"""Batching: one thread asks the model, for all requests that wait.

Requests are cut into questions, and a batch is filled with those of as many requests as fit. They take turns, so
that a long ranking does not hold up a short comparison behind it. Answers do not depend on what shares a batch. Where a
batch fails, each request in it is asked by itself, and the one at fault alone hears of it. What nobody waits for any
longer is dropped before its next turn.
"""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from typing import Any

from lit_listener.judging.judge import Judge
from lit_listener.judging.plans import Plan
from lit_listener.judging.thoughts import Showing, Thought

_TURNS = 4  # in a full batch, at least so many requests have a turn before one has its second


@dataclass(frozen=True)
class BatchReport:
    """What a batch was."""

    requests: int
    completions: int
    forced: int
    seconds: float


@dataclass(eq=False)
class _Job:
    """A request, and how far it is."""

    plan: Plan[Any]
    future: "Future[Any]" = field(default_factory=Future)
    taken: int = 0
    thoughts: list[list[Thought]] = field(default_factory=list)

    @property
    def left(self) -> int:
        return len(self.plan.showings) - self.taken

    def take(self, completions: int) -> list[Showing]:
        """The next showings, of so many completions together; at least one."""
        start, room = self.taken, completions
        while self.left and (self.taken == start or self.plan.showings[self.taken].rollouts <= room):
            room -= self.plan.showings[self.taken].rollouts
            self.taken += 1
        return list(self.plan.showings[start : self.taken])

    def think(self, thoughts: Sequence[list[Thought]]) -> None:
        """Take in what was thought; with the last of it the request is answered."""
        self.thoughts.extend(thoughts)
        if len(self.thoughts) == len(self.plan.showings):
            try:
                answer = self.plan.conclude(self.thoughts)
            except Exception as error:  # whatever it is, somebody waits to hear it
                self.fail(error)
            else:
                with contextlib.suppress(InvalidStateError):  # nobody waits for it any more
                    self.future.set_result(answer)

    def fail(self, error: Exception) -> None:
        with contextlib.suppress(InvalidStateError):
            self.future.set_exception(error)


@dataclass(frozen=True)
class _Turn:
    job: _Job
    showings: list[Showing]


class Batcher:
    """Answers plans, many at once.

    Args:
        judge: who answers.
        wait_s: seconds that a batch which is not full waits for requests that are on their way.
        on_the_way: whether there are such.
        report: is told of each batch, by the batching thread.
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
        self._thread: threading.Thread | None = None
        self._closing = False

    @property
    def waiting(self) -> int:
        """Requests of which something has yet to be taken into a batch."""
        return len(self._jobs)

    def submit(self, plan: Plan[Any]) -> "Future[Any]":
        """Have a plan answered. Cancel the future to have it dropped.

        Raises:
            RuntimeError: the batcher is closed.
        """
        job = _Job(plan)
        if not plan.showings:  # one image that is its own anchor
            job.think([])
            return job.future
        with self._changed:
            if self._closing:
                raise RuntimeError("the batching thread has ended")
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="lit_listener-batching", daemon=True)
                self._thread.start()
            self._jobs.append(job)
            self._changed.notify()
        return job.future

    def close(self) -> None:
        """Answer what waits, and end."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._jobs:
                    if self._closing:
                        return
                    self._changed.wait()
                self._gather()
                turns = self._turns()
            if turns:
                self._run(turns)

    def _gather(self) -> None:
        """Wait a moment for what is on its way, if the batch is not full."""
        until = time.monotonic() + self._wait_s
        while not self._full() and self._on_the_way() and (left := until - time.monotonic()) > 0:
            self._changed.wait(left)

    def _full(self) -> bool:
        completions = 0
        for job in self._jobs:
            completions += sum(showing.rollouts for showing in job.plan.showings[job.taken :])
            if completions >= self._judge.batch_size:
                return True
        return False

    def _turns(self) -> list[_Turn]:
        """Take a batch off the queue."""
        turns: list[_Turn] = []
        room = self._judge.batch_size
        share = max(1, room // _TURNS)
        while self._jobs:
            job = self._jobs.popleft()
            if job.future.done():  # cancelled, or failed at another turn
                continue
            if turns and job.plan.showings[job.taken].rollouts > room:
                self._jobs.appendleft(job)
                break
            turns.append(_Turn(job, job.take(min(share, room))))
            room -= sum(showing.rollouts for showing in turns[-1].showings)
            if job.left:
                self._jobs.append(job)
        return turns

    def _run(self, turns: Sequence[_Turn]) -> None:
        started = time.perf_counter()
        try:
            thoughts = self._think([showing for turn in turns for showing in turn.showings])
        except Exception as error:  # a request's fault is told to whoever sent it
            if len(turns) == 1:
                turns[0].job.fail(error)
                return
            for turn in turns:  # once more, each alone
                if not turn.job.future.done():
                    self._run([turn])
            return
        left = iter(thoughts)
        for turn in turns:
            turn.job.think([next(left) for _ in turn.showings])
        flat = [thought for each in thoughts for thought in each]
        self._report(
            BatchReport(
                requests=len({id(turn.job) for turn in turns}),
                completions=len(flat),
                forced=sum(thought.forced for thought in flat),
                seconds=time.perf_counter() - started,
            )
        )

    def _think(self, showings: list[Showing]) -> list[list[Thought]]:
        return [each for thoughts in self._judge.thoughts(showings) for each in thoughts]
