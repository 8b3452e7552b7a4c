"""A proxy between a client and a server that delays, refuses or cuts what goes through it, as it is told."""

import contextlib
import http.client
import http.server
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Fault:
    """What happens to a request in place of an answer; status 0 cuts the connection."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b'{"error": {"message": "a fault"}}'


class FaultyProxy:
    """Passes requests on to ``target``, a port of this machine.

    Args:
        target: the port; may be changed.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.delay_s = 0.0
        self.fault: Callable[[int], Fault | None] = lambda _: None
        """What befalls the n-th request, from 0."""
        self.requests: list[tuple[str, str, bytes, dict[str, str]]] = []
        """Method, path, body and headers of each."""
        self.answered = 0
        self.under_way = self.most_under_way = 0
        self.lock = threading.Lock()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"


class _Server(http.server.ThreadingHTTPServer):
    request_queue_size = 512
    daemon_threads = True


class _Handler(http.server.BaseHTTPRequestHandler):
    proxy: FaultyProxy
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def handle_any(self) -> None:
        proxy = self.proxy
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with proxy.lock:
            number = len(proxy.requests)
            proxy.requests.append((self.command, self.path, body, dict(self.headers)))
            proxy.under_way += 1
            proxy.most_under_way = max(proxy.most_under_way, proxy.under_way)
        try:
            if proxy.delay_s:
                time.sleep(proxy.delay_s)
            fault = proxy.fault(number)
            if fault is None:
                self.pass_on(body)
            elif fault.status:
                self.answer(fault.status, fault.headers, fault.body)
            else:
                self.cut()
        finally:
            with proxy.lock:
                proxy.under_way -= 1

    do_GET = do_POST = handle_any

    def pass_on(self, body: bytes) -> None:
        onward = http.client.HTTPConnection("127.0.0.1", self.proxy.target, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
        try:
            with contextlib.closing(onward):
                onward.request(self.command, self.path, body or None, headers)
                response = onward.getresponse()
                content = response.read()
        except (OSError, http.client.HTTPException):
            self.cut()
            return
        with self.proxy.lock:
            self.proxy.answered += 1
        kept = {name: value for name, value in response.getheaders() if name.lower() == "retry-after"}
        self.answer(response.status, kept, content)

    def answer(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
        with contextlib.suppress(OSError):  # whoever asked may have gone
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

    def cut(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *args: object) -> None:
        pass


@contextlib.contextmanager
def faulty_proxy(target: int) -> Iterator[FaultyProxy]:
    proxy = FaultyProxy(target)
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"proxy": proxy}))
    proxy.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
