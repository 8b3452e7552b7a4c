"""One request: kept connections, cut ones, keys and addresses."""

import contextlib
import http.client
import json
import socket
import ssl
import threading
import time

import pytest

from lit_listener.vlm.listeners.remote.endpoint import Endpoint
from tests.vlm.listeners.faulty_proxy import Fault, faulty_proxy

FOUND = Fault(200, {}, b'{"data": []}')


@pytest.fixture
def proxy():
    with faulty_proxy(9) as proxy:
        proxy.fault = lambda _: FOUND
        yield proxy


@contextlib.contextmanager
def listening(answers):
    """A server that gives each connection's bytes to a function."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection:
                        answers(connection)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]


def test_a_body_in_pieces_arrives_whole_and_the_key_in_its_header(proxy):
    reply = Endpoint(proxy.url + "/", "secret", 5).post("/chat", [b'{"a": ', b'"b"', b"}"])
    assert (reply.status, reply.content) == (200, FOUND.body)
    method, path, body, headers = proxy.requests[0]
    assert (method, path, json.loads(body)) == ("POST", "/v1/chat", {"a": "b"})
    assert headers["Authorization"] == "Bearer secret"


def test_without_a_key_none_is_sent(proxy):
    Endpoint(proxy.url, None, 5).get("/models")
    assert proxy.requests[0][:2] == ("GET", "/v1/models")
    assert "Authorization" not in proxy.requests[0][3]


def test_a_connection_is_kept():
    ports = set()

    def answers(connection):
        with connection.makefile("rb") as file:
            while file.readline():
                while file.readline() not in (b"\r\n", b""):
                    pass
                ports.add(connection.getpeername()[1])
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with listening(answers) as port:
        endpoint = Endpoint(f"http://127.0.0.1:{port}", None, 5)
        assert [endpoint.get("/").content for _ in range(4)] == [b"ok"] * 4
    assert len(ports) == 1


def test_a_kept_connection_that_was_closed_meanwhile_is_no_failure():
    def answers(connection):
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with listening(answers) as port:
        endpoint = Endpoint(f"http://127.0.0.1:{port}", None, 5)
        for _ in range(3):
            assert endpoint.get("/").content == b"ok"
            time.sleep(0.05)  # for the other side to close


def test_a_silent_server_is_waited_for_so_long_and_no_longer():
    with listening(lambda connection: time.sleep(3)) as port:
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            Endpoint(f"http://127.0.0.1:{port}", None, 0.3).get("/")
        assert time.monotonic() - started < 2


def test_hanging_up_wakes_who_waits():
    with listening(lambda connection: time.sleep(5)) as port:
        endpoint = Endpoint(f"http://127.0.0.1:{port}", None, 60)
        threading.Timer(0.3, endpoint.hang_up).start()
        started = time.monotonic()
        with pytest.raises((OSError, http.client.HTTPException)):
            endpoint.get("/")
        assert time.monotonic() - started < 3


def test_an_endless_answer_is_cut():
    def answers(connection):
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        with contextlib.suppress(OSError):
            while True:
                connection.sendall(b"x" * 2**20)

    with listening(answers) as port, pytest.raises(http.client.HTTPException, match="more than 16777216 bytes"):
        Endpoint(f"http://127.0.0.1:{port}", None, 5).get("/")


def test_a_redirection_is_not_followed(proxy):
    proxy.fault = lambda _: Fault(302, {"Location": "http://127.0.0.1:1/elsewhere"}, b"")
    assert Endpoint(proxy.url, "secret", 5).get("/models").status == 302
    assert len(proxy.requests) == 1


def test_certificates_are_verified():
    tls = Endpoint("https://localhost/v1", None, 5)._tls
    assert tls.verify_mode is ssl.CERT_REQUIRED
    assert tls.check_hostname


@pytest.mark.parametrize("url", ["", "127.0.0.1:8000", "ftp://host/v1", "http://", "http://host/v1?a=b", "file:///x"])
def test_what_is_no_address_is_refused(url):
    with pytest.raises(ValueError, match=r"base_url: expected an address such as http://127.0.0.1:8000/v1, got"):
        Endpoint(url, None, 5)


@pytest.mark.parametrize("url", ["https://{}host/v1", "ftp://{}host/v1", "https://{}host/v1?a=b", "{}host/v1"])
def test_a_password_in_the_address_is_refused_and_not_repeated(url):
    with pytest.raises(ValueError, match="base_url: expected no user or password") as refused:
        Endpoint(url.format("me:secret@"), None, 5)
    assert "secret" not in str(refused.value)
