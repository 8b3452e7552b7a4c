"""Who may come in: how many requests are held at once, and how many bytes of them.

Everything is counted before it is parsed, so that no request, and no number of them, fills the memory.
"""

import asyncio
import contextlib
import threading

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lit_listener.judging.server.errors import Refusal, busy
from lit_listener.judging.server.limits import MIB, Limits

_DISCARDING_S = 10.0


class Lease:
    """The bytes that one request holds."""

    def __init__(self, admission: "Admission") -> None:
        self._admission = admission
        self._held = 0
        self._ended = False
        self._lock = threading.Lock()

    def take(self, size: int) -> None:
        """Hold so many bytes more.

        Raises:
            Refusal: one request may not hold so many (413), all together do not leave so many (429), or the request was
                answered meanwhile, as it is when it takes too long (504).
        """
        most = self._admission.limits.max_held_mib * MIB // 2
        with self._lock:
            if self._ended:  # a thread goes on reading what nobody waits for: what it took would never be given back
                raise Refusal(504, "timeout", "the request ended before it was read")
            if self._held + size > most:
                raise Refusal(
                    413,
                    "too_large",
                    f"expected a request of at most {most // MIB} MiB, its images decoded, got more: send fewer or "
                    "smaller images at once",
                )
            self._admission.hold(size)
            self._held += size

    def give_back(self) -> None:
        """Hold nothing any more, and never again."""
        with self._lock:
            self._ended = True
            self._admission.hold(-self._held)
            self._held = 0


class Admission:
    """Counts what is held.

    Args:
        limits: how much may be.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.inside = 0
        """Requests held."""
        self.reading = 0
        """Those of them that are still being read."""
        self.stopping = False
        """Whether nobody new is let in."""
        self.held = 0
        """Bytes of bodies and decoded images that they hold."""
        self._lock = threading.Lock()

    def hold(self, size: int) -> None:
        """Count bytes held; below 0: given back."""
        with self._lock:
            if size > 0 and self.held + size > self.limits.max_held_mib * MIB:
                raise busy(
                    f"the requests held already fill the {self.limits.max_held_mib} MiB that the server has for them: "
                    "ask again later",
                    5,
                )
            self.held += size

    def come_in(self) -> Lease:
        """Let a request in.

        Raises:
            Refusal: the server is full (429), or stopping (503).
        """
        if self.stopping:
            raise Refusal(
                503, "stopping", "the server is stopping: ask again later, or another one", {"Retry-After": "5"}
            )
        if self.inside >= self.limits.max_queue:
            raise busy(f"the server holds max_queue={self.limits.max_queue} requests already: ask again later", 1)
        self.inside += 1
        return Lease(self)

    def leave(self, lease: Lease) -> None:
        """A request was answered."""
        self.inside -= 1
        lease.give_back()


class BodyLimit:
    """ASGI layer that counts the bytes of every body, whether or not its length was told.

    Args:
        app: what comes after it.
        limits: the bounds.
    """

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._most = limits.max_body_mib * MIB

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, up to the limit."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        headers = dict(scope["headers"])
        told = headers.get(b"content-length", b"")
        if told.isdigit() and int(told) > self._most:
            if b"expect" not in headers:  # who waits for leave to send has sent nothing yet
                await self._discard(receive)
            raise self._refusal()
        came = 0

        async def counted() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > self._most:
                if message.get("more_body", False):
                    await self._discard(receive)
                raise self._refusal()
            return message

        return await self._app(scope, counted, send)

    def _refusal(self) -> Refusal:
        most = self._most // MIB
        return Refusal(
            413, "too_large", f"expected a body of at most {most} MiB, got more: send fewer or smaller images at once"
        )

    async def _discard(self, receive: Receive) -> None:
        """Read on for a while: most clients read no answer before they have sent all."""
        came = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DISCARDING_S):
                while came < self._most:
                    message = await receive()
                    came += len(message.get("body", b""))
                    if not message.get("more_body", False):
                        return
