"""Who may ask: bearer tokens, and a watch against web pages that reach for a server on the reader's own machine."""

import hmac
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from lit_listener.judging.server.errors import Refusal

_GUARDED = ("/v1/", "/metrics")


class Token:
    """ASGI layer: judging and figures only with the token; page, health and documentation without.

    Args:
        app: what comes after it.
        token: the secret.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on if it has the token."""
        if scope["type"] == "http" and scope["path"].startswith(_GUARDED):
            kind, _, token = Headers(scope=scope).get("authorization", "").partition(" ")
            if kind.lower() != "bearer" or not hmac.compare_digest(token.strip().encode(), self._token):
                what = "none" if not kind else "another one"
                raise Refusal(
                    401,
                    "unauthorized",
                    f"expected the header 'Authorization: Bearer TOKEN' with this server's token, got {what}",
                    {"WWW-Authenticate": "Bearer"},
                )
        await self._app(scope, receive, send)


class OwnPages:
    """ASGI layer: no other web page may ask, by a name that it had pointed here (DNS rebinding) or by a form.

    Args:
        app: what comes after it.
        hosts: names that this server goes by; None for any.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str] | None) -> None:
        self._app = app
        self._hosts = None if hosts is None else {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on if it comes from no other page."""
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            host = _without_port(headers.get("host", "")).lower()
            if self._hosts is not None and host not in self._hosts:
                raise Refusal(
                    400,
                    "wrong_host",
                    f"expected the header Host to name one of {sorted(self._hosts)}, got {host[:100]!r}: this server "
                    "answers its own machine; a proxy before it must send such a Host",
                )
            if scope["path"].startswith(_GUARDED) and (site := _other_site(headers)):
                raise Refusal(
                    400, "other_site", f"expected a request of this server's own page, got one of another ({site[:80]})"
                )
        await self._app(scope, receive, send)


def _other_site(headers: Headers) -> str | None:
    """Which other site's page asks, by the headers that browsers alone send and pages cannot change; None for none."""
    site = headers.get("sec-fetch-site", "none")
    if site not in ("same-origin", "none"):
        return site
    origin = headers.get("origin")  # browsers send it alone where the server is reached by plain HTTP
    if origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
        return origin
    return None


def _without_port(host: str) -> str:
    name, _, port = host.rpartition(":")
    return name if name and port.isdigit() else host
