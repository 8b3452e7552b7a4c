"""Batching: one thread asks the model, for all requests that wait.

Requests are cut into questions, and a batch is filled with those of as many requests as fit. They take turns, so
that a long ranking does not hold up a short comparison behind it. Answers do not depend on what shares a batch. Where a
batch fails, each request in it is asked by itself, and the one at fault alone hears of it. What nobody waits for any
longer is dropped before its next turn.
"""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, ClassVar

from lit_listener.judging.plans import Plan
from lit_listener.judging.server.threads import BatchingThreads, BatchReport, answer, fail
from lit_listener.judging.thoughts import Showing, Thought

_TURNS = 4  # in a full batch, at least so many requests have a turn before one has its second


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
                concluded = self.plan.conclude(self.thoughts)
            except Exception as error:  # whatever it is, somebody waits to hear it
                fail(self.future, error)
            else:
                answer(self.future, concluded)


@dataclass(frozen=True)
class _Turn:
    job: _Job
    showings: list[Showing]

    @property
    def future(self) -> "Future[Any]":
        return self.job.future


class Batcher(BatchingThreads[_Job, _Turn, list[list[Thought]]]):
    """Answers plans, many at once; its arguments are those of ``BatchingThreads``."""

    name: ClassVar[str] = "lit_listener-batching"

    def submit(self, plan: Plan[Any]) -> "Future[Any]":
        """Have a plan answered. Cancel the future to have it dropped.

        Raises:
            RuntimeError: the batcher is closed.
        """
        job = _Job(plan)
        if not plan.showings:  # one image that is its own anchor
            job.think([])
        else:
            self._put(job)
        return job.future

    def _full(self) -> bool:
        completions = 0
        for job in self._jobs:
            completions += sum(showing.rollouts for showing in job.plan.showings[job.taken :])
            if completions >= self._judge.batch_size:
                return True
        return False

    def _take(self) -> list[_Turn]:
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

    def _ask(self, parts: Sequence[_Turn]) -> list[list[list[Thought]]]:
        showings = [showing for turn in parts for showing in turn.showings]
        thoughts = iter([each for several in self._judge.thoughts(showings) for each in several])
        return [[next(thoughts) for _ in turn.showings] for turn in parts]

    def _settle(self, parts: Sequence[_Turn], answers: Sequence[list[list[Thought]]], seconds: float) -> BatchReport:
        for turn, thoughts in zip(parts, answers, strict=True):
            turn.job.think(thoughts)
        flat = [thought for of_turn in answers for of_showing in of_turn for thought in of_showing]
        return BatchReport(
            requests=len({id(turn.job) for turn in parts}),
            completions=len(flat),
            forced=sum(thought.forced for thought in flat),
            seconds=seconds,
        )
