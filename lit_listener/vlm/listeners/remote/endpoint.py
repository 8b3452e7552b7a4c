"""Where a server is, and one request to it: kept-alive connections, a thread each, that can be cut from outside.

Nothing is repeated here but a request on a kept connection that the server had closed meanwhile. Redirections and
proxies are not followed. Certificates are verified.
"""

import contextlib
import http.client
import os
import socket
import ssl
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

_CONNECT_S = 10.0
_MOST_BYTES = 16 * 2**20  # of an answer


@dataclass(frozen=True)
class Reply:
    """What a server answered."""

    status: int
    headers: Mapping[str, str]
    """By names in small letters."""
    content: bytes


class Endpoint:
    """A server's address.

    Args:
        base_url: address of the API with its version, such as http://127.0.0.1:8000/v1.
        key: bearer token; None for none.
        timeout_s: seconds that the server may stay silent.

    Raises:
        ValueError: the address is none, or holds a password.
    """

    def __init__(self, base_url: str, key: str | None, timeout_s: float) -> None:
        address = urlsplit(base_url)
        if "@" in (address.netloc or base_url):  # before anything that repeats the address
            raise ValueError("base_url: expected no user or password in it, got one: name api_key_env instead")
        if address.scheme not in ("http", "https") or not address.hostname or address.query or address.fragment:
            raise ValueError(f"base_url: expected an address such as http://127.0.0.1:8000/v1, got {base_url!r}")
        self.base_url = base_url.rstrip("/")
        self.timeout_s = timeout_s
        self._host, self._port, self._path = address.hostname, address.port, address.path.rstrip("/")
        self._tls = ssl.create_default_context() if address.scheme == "https" else None
        self._headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if key is not None:
            self._headers["Authorization"] = f"Bearer {key}"
        self._own = threading.local()
        self._open: set[http.client.HTTPConnection] = set()
        self._opening = threading.Lock()

    def get(self, path: str) -> Reply:
        """Fetch what stands at a path; see ``post``."""
        return self._ask("GET", path, ())

    def post(self, path: str, body: Sequence[bytes]) -> Reply:
        """Send JSON, in pieces, so that many requests can share what they have in common.

        Raises:
            OSError: the server cannot be reached, breaks off, or stays silent.
            http.client.HTTPException: what it says is no HTTP.
        """
        return self._ask("POST", path, body)

    def hang_up(self) -> None:
        """Cut all connections: whoever waits at one of them hears of it at once."""
        with self._opening:
            for connection in self._open:
                held = connection.sock  # its thread may let go of it meanwhile
                if held is not None:
                    with contextlib.suppress(OSError):
                        held.shutdown(socket.SHUT_RDWR)

    def _ask(self, method: str, path: str, body: Sequence[bytes]) -> Reply:
        kept = self._kept()
        if kept is not None:
            try:
                return self._exchange(kept, method, path, body)
            except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
                pass  # the server had closed it: not its fault
        return self._exchange(self._connected(), method, path, body)

    def _exchange(self, connection: http.client.HTTPConnection, method: str, path: str, body: Sequence[bytes]) -> Reply:
        headers = dict(self._headers)
        if body:
            headers |= {"Content-Type": "application/json", "Content-Length": str(sum(map(len, body)))}
        try:
            connection.request(method, self._path + path, body or None, headers)
            response = connection.getresponse()
            content = _whole(response)
        except BaseException:
            self._drop(connection)
            raise
        if response.will_close:
            self._drop(connection)
        return Reply(response.status, {name.lower(): value for name, value in response.getheaders()}, content)

    def _kept(self) -> http.client.HTTPConnection | None:
        """This thread's connection; a forked process must not share its parent's."""
        if getattr(self._own, "process", None) != os.getpid():
            self._own.process, self._own.connection = os.getpid(), None
        kept: http.client.HTTPConnection | None = self._own.connection
        return kept

    def _connected(self) -> http.client.HTTPConnection:
        connection = (
            http.client.HTTPConnection(self._host, self._port, timeout=_CONNECT_S)
            if self._tls is None
            else http.client.HTTPSConnection(self._host, self._port, timeout=_CONNECT_S, context=self._tls)
        )
        connection.connect()
        connection.sock.settimeout(self.timeout_s)
        # else the body's last piece waits for the acknowledgement of those before it (40 ms)
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._own.connection = connection
        with self._opening:
            self._open.add(connection)
        return connection

    def _drop(self, connection: http.client.HTTPConnection) -> None:
        self._own.connection = None
        with self._opening:
            self._open.discard(connection)
        connection.close()


def _whole(response: http.client.HTTPResponse) -> bytes:
    content = response.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise http.client.HTTPException(f"an answer of more than {_MOST_BYTES} bytes")
    return content
