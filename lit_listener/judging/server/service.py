"""From a request to its answer: reads it, has it judged, and waits no longer than somebody listens."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect

from lit_listener.judging.judge import Judge
from lit_listener.judging.server.admission import Admission, Lease
from lit_listener.judging.server.batching import Batcher
from lit_listener.judging.server.context import context_of, log_line
from lit_listener.judging.server.errors import Refusal
from lit_listener.judging.server.limits import Limits
from lit_listener.judging.server.metrics import Metrics
from lit_listener.judging.server.reading import Understood, unanswerable, understand
from lit_listener.judging.server.wire import Question

_READERS = 4
_JSON, _FORM = "application/json", "multipart/form-data"


class Readable(Protocol):
    """A request that was understood."""

    @property
    def told(self) -> dict[str, int]:
        """What the log says of it."""


Read = TypeVar("Read", bound=Readable)
"""What a request is understood as."""


class Queue(Protocol):
    """Requests that wait for a batch."""

    @property
    def waiting(self) -> int:
        """How many."""

    def close(self) -> None:
        """Answer them, and end."""


class Service:
    """One judge, and all that stands between it and the network.

    Args:
        judge: who answers.
        limits: what requests are held to.
        batch_wait_s: seconds that a batch waits for requests that are being read.
    """

    def __init__(self, judge: Judge, limits: Limits, batch_wait_s: float) -> None:
        self.judge = judge
        self.limits = limits
        self.admission = Admission(limits)
        self.metrics = Metrics(lambda: self.waiting, lambda: self.admission.inside)
        self.batcher = Batcher(
            judge,
            batch_wait_s,
            on_the_way=lambda: self.admission.reading > 0,
            report=self.metrics.batch,
        )
        self._queues: list[Queue] = [self.batcher]
        self._readers = ThreadPoolExecutor(_READERS, "lit_listener-reading")

    @property
    def waiting(self) -> int:
        """Requests of which something has yet to be taken into a batch."""
        return sum(queue.waiting for queue in self._queues)

    def also_batched_by(self, queue: Queue) -> None:
        """Count and close another queue too."""
        self._queues.append(queue)

    async def answer(self, request: Request, kind: type[Question]) -> tuple[Any, Any]:
        """Answer a request.

        Args:
            request: its bytes have yet to come.
            kind: what is asked for.

        Returns:
            the question, and the judge's result.

        Raises:
            Refusal: it is not answered.
        """

        def read(body: bytes, content_type: str, lease: Lease) -> Understood:
            return understand(body, content_type, kind, self.judge, self.limits, lease)

        understood, result = await self.answered(request, read, lambda understood: self.batcher.submit(understood.plan))
        return understood.asked, result

    async def answered(
        self,
        request: Request,
        read: Callable[[bytes, str, Lease], Read],
        submit: Callable[[Read], "Future[Any]"],
        *,
        only_json: bool = False,
    ) -> tuple[Read, Any]:
        """Answer a request of any kind.

        Args:
            request: its bytes have yet to come.
            read: understands its body, of a content type, as far as a lease goes; called in a thread.
            submit: has it answered.
            only_json: whether forms are refused.

        Returns:
            what it was understood as, and its answer.

        Raises:
            Refusal: it is not answered.
        """
        content_type = _content_type(request, (_JSON,) if only_json else (_JSON, _FORM))
        lease = self.admission.come_in()
        limit_s = self.limits.timeout_s
        try:
            async with asyncio.timeout(limit_s) as clock:
                understood = await self._understood(request, read, content_type, lease)
                future = submit(understood)
                context = context_of(request.scope)
                context.told |= understood.told
                log_line("accepted", request_id=context.request_id, queue=self.waiting, **understood.told)
                return understood, await _awaited(future, request)
        except TimeoutError:
            if not clock.expired():
                raise
            raise Refusal(
                504,
                "timeout",
                f"the answer was not ready within timeout_s={limit_s:g}: ask for fewer images or rollouts, or later",
            ) from None
        finally:
            self.admission.leave(lease)

    async def _understood(
        self, request: Request, read: Callable[[bytes, str, Lease], Read], content_type: str, lease: Lease
    ) -> Read:
        with self._reading():
            parts: list[bytes] = []
            try:
                async for part in request.stream():
                    lease.take(len(part))
                    parts.append(part)
            except ClientDisconnect:
                raise _client_gone("it had sent its request") from None
            whole = b"".join(parts)
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._readers, read, whole, content_type, lease)

    @contextlib.contextmanager
    def _reading(self) -> Any:
        self.admission.reading += 1
        try:
            yield
        finally:
            self.admission.reading -= 1

    @contextlib.asynccontextmanager
    async def running(self, _: Any) -> AsyncIterator[None]:
        """The app's lifespan: at its end all that was accepted is answered."""
        yield
        self.admission.stopping = True
        for queue in self._queues:
            await asyncio.get_running_loop().run_in_executor(None, queue.close)
        self._readers.shutdown(wait=False)


def _content_type(request: Request, known: tuple[str, ...]) -> str:
    given = request.headers.get("content-type", "")
    if given.partition(";")[0].strip().lower() not in known:
        raise Refusal(
            415, "unknown_content_type", f"expected a Content-Type of {' or '.join(known)}, got {given[:100]!r}"
        )
    return given


async def _awaited(future: "Future[Any]", request: Request) -> Any:
    """The result, unless the client goes; then, and when this is cancelled, the future is cancelled too."""
    answer = asyncio.wrap_future(future)
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise _client_gone("its answer was ready")
        return answer.result()
    except ValueError as error:
        raise unanswerable(error) from error
    finally:
        gone.cancel()
        answer.cancel()


def _client_gone(before: str) -> Refusal:
    return Refusal(499, "client_gone", f"the client went away before {before}")


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
