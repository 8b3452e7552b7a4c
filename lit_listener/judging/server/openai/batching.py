"""Batching of chats: those that wait are answered together.

As with judgements (``server.batching``), answers do not depend on what shares a batch but for the last digits of
log-probabilities. With ``batch_size`` 1 the last digits too are always the same.
"""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

from lit_listener.judging.server.openai.chats import Chat, ChatAnswer, answer_chats
from lit_listener.judging.server.threads import BatchingThreads, BatchReport, answer

_WORTHWHILE = 16
"""Chats of a batch: fewer are not dealt out to several threads."""


@dataclass(frozen=True, eq=False)
class _Job:
    chat: Chat
    future: "Future[ChatAnswer]" = field(default_factory=Future)


class ChatBatcher(BatchingThreads[_Job, _Job, ChatAnswer]):
    """Answers chats, many at once; its arguments are those of ``BatchingThreads``."""

    name: ClassVar[str] = "lit_listener-chats"

    def submit(self, chat: Chat) -> "Future[ChatAnswer]":
        """Have a chat answered. Cancel the future to have it dropped.

        Raises:
            RuntimeError: the batcher is closed.
        """
        job = _Job(chat)
        self._put(job)
        return job.future

    @property
    def _at_once(self) -> int:
        return self._judge.batches_at_once

    def _full(self) -> bool:
        return len(self._jobs) >= self._judge.batch_size

    def _take(self) -> list[_Job]:
        """What is there is shared among the threads, unless it is little."""
        share = -(-len(self._jobs) // len(self._threads))
        most = min(self._judge.batch_size, max(_WORTHWHILE, share))
        jobs: list[_Job] = []
        while self._jobs and len(jobs) < most:
            job = self._jobs.popleft()
            if not job.future.done():  # nobody waits for it any more
                jobs.append(job)
        return jobs

    def _ask(self, parts: Sequence[_Job]) -> Sequence[ChatAnswer]:
        return self._judge.computed(partial(answer_chats, chats=[job.chat for job in parts]))

    def _settle(self, parts: Sequence[_Job], answers: Sequence[ChatAnswer], seconds: float) -> BatchReport:
        for job, said in zip(parts, answers, strict=True):
            answer(job.future, said)
        return BatchReport(len(parts), len(parts), 0, seconds)
