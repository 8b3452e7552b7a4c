"""From a request to its answer: reads it, has it judged, and waits no longer than somebody listens."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

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
        self.metrics = Metrics(lambda: self.batcher.waiting, lambda: self.admission.inside)
        self.batcher = Batcher(
            judge,
            batch_wait_s,
            on_the_way=lambda: self.admission.reading > 0,
            report=self.metrics.batch,
        )
        self._readers = ThreadPoolExecutor(_READERS, "lit_listener-reading")

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
        content_type = _content_type(request)
        lease = self.admission.come_in()
        limit_s = self.limits.timeout_s
        try:
            async with asyncio.timeout(limit_s) as clock:
                understood = await self._understood(request, content_type, kind, lease)
                future = self.batcher.submit(understood.plan)
                told = {"images": understood.images, "completions": understood.completions}
                context = context_of(request.scope)
                context.told |= told
                log_line("accepted", request_id=context.request_id, queue=self.batcher.waiting, **told)
                return understood.asked, await _awaited(future, request)
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

    async def _understood(self, request: Request, content_type: str, kind: type[Question], lease: Lease) -> Understood:
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
            return await loop.run_in_executor(
                self._readers, understand, whole, content_type, kind, self.judge, self.limits, lease
            )

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
        await asyncio.get_running_loop().run_in_executor(None, self.batcher.close)
        self._readers.shutdown(wait=False)


def _content_type(request: Request) -> str:
    given = request.headers.get("content-type", "")
    if given.partition(";")[0].strip().lower() not in (_JSON, _FORM):
        raise Refusal(
            415, "unknown_content_type", f"expected a Content-Type of {_JSON} or {_FORM}, got {given[:100]!r}"
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
