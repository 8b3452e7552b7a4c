"""Asks a server over HTTP: repeats what may pass, and turns each failure into an exception that says what to do.

Every question may be repeated: a judge's answer depends on nothing but the question. Repeated are answers 429, 502, 503
and 504, refused and broken connections; not an answer that does not come in time, which would only ask for more of what
is slow already.
"""

import json
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ReadTimeoutError
from urllib3.util import Retry

_PASSING = (429, 502, 503, 504)
_FIRST_WAIT_S, _LONGEST_WAIT_S, _LONGEST_RETRY_AFTER_S = 0.5, 15.0, 60
_CONNECT_S = 10.0


@dataclass(frozen=True)
class Connection:
    """Where a server is, and how patiently it is asked. Safe to use from several threads and forked processes.

    Args:
        base_url: its address, such as http://127.0.0.1:8000.
        token: its bearer token; None where it asks for none.
        timeout: seconds to wait for an answer, above 0.
        retries: how often a question is repeated at most, from 0.

    Raises:
        ValueError: one of them cannot be used.
    """

    base_url: str
    token: str | None = field(repr=False)
    timeout: float
    retries: int
    _own: threading.local = field(init=False, repr=False, compare=False, default_factory=threading.local)

    def __post_init__(self) -> None:
        address = urlsplit(self.base_url)
        if address.scheme not in ("http", "https") or not address.hostname or address.query or address.fragment:
            raise ValueError(f"base_url: expected an address such as http://127.0.0.1:8000, got {self.base_url!r}")
        object.__setattr__(self, "base_url", self.base_url.rstrip("/"))
        if self.token is not None and not (self.token.isascii() and self.token.isprintable() and self.token.strip()):
            raise ValueError("token: expected printable ASCII characters, got others or none (a line break, perhaps?)")
        if not 0 < self.timeout < float("inf"):
            raise ValueError(f"timeout: expected seconds above 0, got {self.timeout}")
        if self.retries < 0:
            raise ValueError(f"retries: expected 0 or more, got {self.retries}")

    def get(self, path: str) -> dict[str, Any]:
        """Fetch what stands at a path; see ``post`` for what is raised."""
        return self._ask("GET", path, None)

    def post(self, path: str, question: Mapping[str, Any]) -> dict[str, Any]:
        """Ask a question as JSON.

        Raises:
            ConnectionError: the server cannot be reached, is no judge's, or stays busy.
            PermissionError: it asks for another token.
            RuntimeError: it failed itself.
            TimeoutError: no answer came in time.
            ValueError: it refuses the question; the message is its own.
        """
        return self._ask("POST", path, json.dumps(question, allow_nan=False).encode())

    def _ask(self, method: str, path: str, body: bytes | None) -> dict[str, Any]:
        url = self.base_url + path
        try:
            response = self._session().request(
                method,
                url,
                data=body,
                headers={"Content-Type": "application/json"} if body is not None else {},
                timeout=(min(_CONNECT_S, self.timeout), self.timeout),
                allow_redirects=False,  # a POST would go on as a GET
            )
        except requests.ReadTimeout as error:
            raise TimeoutError(
                f"{url}: no answer within {self.timeout:g} s: ask for fewer rollouts or images at once, or give a "
                "longer timeout=..."
            ) from error
        except requests.RequestException as error:
            raise ConnectionError(
                f"cannot reach the judge at {self.base_url} (tried {self.retries + 1} times): is it running "
                f"(python -m lit_listener serve), and is base_url right? {error}"
            ) from error
        return _read(response, self.base_url)

    def __reduce__(self) -> tuple[type["Connection"], tuple[Any, ...]]:
        return Connection, (self.base_url, self.token, self.timeout, self.retries)  # sockets stay behind

    def _session(self) -> requests.Session:
        """The session of this thread of this process: a forked process must not share its parent's sockets."""
        if getattr(self._own, "process", None) != os.getpid():
            self._own.process, self._own.session = os.getpid(), self._new_session()
        session: requests.Session = self._own.session
        return session

    def _new_session(self) -> requests.Session:
        session = requests.Session()
        session.auth = self._authorize  # even without a token: else a password in ~/.netrc would be sent
        session.trust_env = not _is_loopback(urlsplit(self.base_url).hostname or "")  # no proxy leads to this machine
        adapter = HTTPAdapter(
            max_retries=_Patience(
                total=self.retries,
                allowed_methods=None,
                status_forcelist=_PASSING,
                backoff_factor=_FIRST_WAIT_S,
                backoff_max=_LONGEST_WAIT_S,
                backoff_jitter=_FIRST_WAIT_S,
                raise_on_status=False,  # the last answer says why
            )
        )
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        return session

    def _authorize(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self.token is not None:
            request.headers["Authorization"] = f"Bearer {self.token}"
        return request


class _Patience(Retry):
    """Repeats everything but a question that was not answered in time, and waits no longer than is bearable."""

    def increment(self, *args: Any, **kwargs: Any) -> "_Patience":
        if isinstance(kwargs.get("error"), ReadTimeoutError):
            raise kwargs["error"]
        return super().increment(*args, **kwargs)

    def parse_retry_after(self, retry_after: str) -> float:
        return min(super().parse_retry_after(retry_after), _LONGEST_RETRY_AFTER_S)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _read(response: requests.Response, base_url: str) -> dict[str, Any]:
    """An answer's JSON object, or the exception that its status stands for."""
    try:
        content = response.json()
    except ValueError:
        content = None
    if response.status_code == 200 and isinstance(content, dict):
        return content
    raise _failure(response.status_code, content, base_url)


def _failure(status: int, content: Any, base_url: str) -> Exception:
    try:
        said, request = content["error"]["message"], content["request_id"]
    except (KeyError, TypeError):
        return ConnectionError(
            f"{base_url} answered {status}, and not as a judge's server does: is base_url right, and is there a proxy "
            "between?"
        )
    if status == 401:
        return PermissionError(f"{base_url}: {said} (JudgeClient(..., token=...))")
    if status in (429, 502, 503):
        return ConnectionError(f"{base_url} still takes no request ({status}): {said}; try later, or more retries=...")
    if status == 504:
        return TimeoutError(f"{base_url}: {said}")
    if 400 <= status < 500:
        return ValueError(said)
    return RuntimeError(f"{base_url} failed ({status}): {said}; its log has more under request_id={request}")
