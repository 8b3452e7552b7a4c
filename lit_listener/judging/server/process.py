"""The process that serves: its socket, its signals and its end."""

import contextlib
import logging
import math
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

import uvicorn
from fastapi import FastAPI

from lit_listener.judging.server.service import Service

_PORTS = 2**16
_KEEP_ALIVE_S = 60  # longer than clients usually keep a connection that they do not use
_TO_SEND_S = 30  # that clients may take to read their answers, once the last is ready


def bind(host: str, port: int) -> socket.socket:
    """A socket with this address, which nobody can reach before it is served.

    Args:
        host: name or address.
        port: 0 for any that is free.

    Raises:
        OSError: the address cannot be had.
        ValueError: there are no such ports.
    """
    if not 0 <= port < _PORTS:  # resolvers would wrap it round
        raise ValueError(f"port: expected a number from 0 to {_PORTS - 1}, got {port}")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # without the protocol asyncio does not see that it is TCP, and each answer waits for Nagle's algorithm (40 ms)
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise OSError(f"host: expected a name or address of this machine, got {host!r} ({error})") from error
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
    except OSError as error:
        listening.close()
        raise OSError(f"cannot serve at {host}:{port} ({error}): choose another --port, or 0 for a free one") from error
    return listening


def serve_app(app: FastAPI, listening: socket.socket, ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT, and then answer what was accepted. A second signal ends at once.

    Args:
        app: see ``create_app``.
        listening: a bound socket.
        ready: called once requests are accepted.

    Raises:
        OSError: another process has begun to listen at the same address meanwhile.
    """
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="on",
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=math.ceil(app.state.service.limits.timeout_s) + _TO_SEND_S,
        ws="none",
    )
    try:
        _Server(config, app.state.service, ready).run(sockets=[listening])
    finally:
        listening.close()


def log_to_stderr() -> None:
    """Show the log of requests, a line each."""
    log = logging.getLogger("lit_listener.server")
    log.setLevel(logging.INFO)
    log.propagate = False
    if not log.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S"))
        log.addHandler(handler)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, service: Service, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._service = service
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Uvicorn's own would raise the signal again at the end, and the exit status would tell of a failure."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {each: signal.signal(each, self.handle_exit) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            os._exit(128 + sig)  # at once: threads that judge would be waited for
        self._service.admission.stopping = True
        self.should_exit = True
