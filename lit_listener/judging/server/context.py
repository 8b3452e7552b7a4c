"""The outermost layer: request ids, log lines, figures, and an answer for every error.

Two log lines (logger ``lit_listener.server``) tell of a request: ``accepted`` when it can be answered and waits for it,
and ``answered`` at its end. A request that is refused has the second alone.
"""

import logging
import re
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lit_listener.judging.server.errors import Refusal, error_response
from lit_listener.judging.server.metrics import Metrics

LOG = logging.getLogger("lit_listener.server")
_SANE = re.compile(r"[A-Za-z0-9._-]{1,64}")
_QUIET = ("/health", "/metrics", "/page")  # asked all the time; refusals are told all the same


@dataclass
class RequestContext:
    """What is known of a request."""

    request_id: str
    told: dict[str, Any] = field(default_factory=dict)
    """What the log says of it."""


def context_of(scope: Scope) -> RequestContext:
    """The context of a request that came through the layer."""
    context: RequestContext = scope["state"]["context"]
    return context


def log_line(event: str, **values: Any) -> None:
    """One line of key=value pairs; no value has a space in it."""
    LOG.info("%s", " ".join([f"event={event}", *(f"{name}={value}" for name, value in values.items())]))


class Context:
    """ASGI layer around all others.

    Args:
        app: what comes after it.
        metrics: is told of each request.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, whatever happens."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        given = Headers(scope=scope).get("x-request-id", "")
        context = RequestContext(given if _SANE.fullmatch(given) else uuid.uuid4().hex)
        scope.setdefault("state", {})["context"] = context
        ending = _Ending(context, self._metrics, scope)

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                ending.status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = context.request_id
                headers["X-Content-Type-Options"] = "nosniff"
            elif not message.get("more_body", False):
                ending.tell()  # before the client has it all: who has an answer finds it in log and figures
            await send(message)

        try:
            await self._app(scope, receive, told)
        except Exception as error:
            refusal = _refusal(error, context)
            if ending.status:  # too late to say so
                raise
            context.told["code"] = refusal.code
            await error_response(refusal, context.request_id, scope["path"])(scope, receive, told)
        finally:
            ending.tell()
        return None


class _Ending:
    """Tells of a request's end, once."""

    def __init__(self, context: RequestContext, metrics: Metrics, scope: Scope) -> None:
        self.status = 0
        """0 where no answer was begun."""
        self._context = context
        self._metrics = metrics
        self._scope = scope
        self._started = time.perf_counter()
        self._told = False

    def tell(self) -> None:
        if self._told:
            return
        self._told = True
        seconds = time.perf_counter() - self._started
        # the route's template: made-up addresses make no figures of their own
        route = getattr(self._scope.get("route"), "path", "other")
        self._metrics.answered(route, self.status, seconds)
        if self.status >= 400 or not route.startswith(_QUIET):
            told = {"route": route, "status": self.status, "seconds": f"{seconds:.4f}", **self._context.told}
            log_line("answered", request_id=self._context.request_id, **told)


def _refusal(error: Exception, context: RequestContext) -> Refusal:
    if isinstance(error, Refusal):
        return error
    LOG.error("event=failed request_id=%s", context.request_id, exc_info=error)
    message = f"the judge failed at this request ({type(error).__name__}): its server's log tells why, by request_id"
    return Refusal(500, "internal_error", message)
