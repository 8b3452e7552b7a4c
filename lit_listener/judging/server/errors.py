"""Refusals: how the server says no, and the one shape that every error has on the wire."""

from collections.abc import Mapping
from typing import Any

from fastapi.responses import JSONResponse

STATUSES: Mapping[int, str] = {
    400: "The body cannot be read as what it says it is.",
    401: "The bearer token is missing or wrong.",
    404: "There is no such address.",
    405: "The address knows other methods.",
    413: "The body is larger than the server takes.",
    415: "The body is neither JSON nor a form.",
    422: "The request cannot be answered as it is.",
    429: "The server holds as many requests as it takes; Retry-After tells when to ask again.",
    500: "The judge failed; the server's log tells why.",
    503: "The server is stopping; Retry-After tells when to ask again.",
    504: "The answer was not ready in time.",
}
"""The statuses of errors, and what each means."""
_OPENAI = ("/v1/chat/", "/v1/models")
_OPENAI_TYPES = {401: "authentication_error", 429: "rate_limit_error"}


class Refusal(Exception):
    """A request is not answered.

    Args:
        status: HTTP status.
        code: a word for machines, in snake case.
        message: what was expected, what arrived and what to do.
        headers: further headers of the answer.
    """

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})


def busy(message: str, retry_after_s: int) -> Refusal:
    """Too much is held already: 429."""
    return Refusal(429, "busy", message, {"Retry-After": str(retry_after_s)})


def error_response(refusal: Refusal, request_id: str, path: str = "") -> JSONResponse:
    """A refusal as it goes over the wire: at addresses of OpenAI's shape in that shape.

    Args:
        refusal: what is said.
        request_id: the request's.
        path: the address that was asked.
    """
    if path.startswith(_OPENAI):
        return _in_openai_shape(refusal, request_id)
    body: dict[str, Any] = {
        "error": {"code": refusal.code, "message": refusal.message},
        "request_id": request_id,
    }
    return JSONResponse(body, refusal.status, refusal.headers)


def _in_openai_shape(refusal: Refusal, request_id: str) -> JSONResponse:
    status = 400 if refusal.status == 422 else refusal.status  # what is wrong with a request has one status there
    kind = _OPENAI_TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    error = {"message": refusal.message, "type": kind, "param": None, "code": refusal.code}
    return JSONResponse({"error": error, "request_id": request_id}, status, refusal.headers)
