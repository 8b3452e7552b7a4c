import json
import os
import pickle
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from lit_listener.judging.client.connection import Connection, _Patience


class Scripted(ThreadingHTTPServer):
    """A real server that answers what it was told to, in turn: a status with headers and body, "drop" or "sleep"."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answering)
        self.script, self.asked = [], []
        self.url = f"http://127.0.0.1:{self.server_port}"

    def says(self, *answers):
        self.script = list(answers)


class Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Scripted

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append((self.command, self.path, dict(self.headers), body))
        answer = self.server.script.pop(0) if self.server.script else (200, {}, {"fine": True})
        if answer == "drop":
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        if answer == "sleep":
            time.sleep(0.6)
            answer = (200, {}, {"fine": "late"})
        status, headers, content = answer
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST

    def log_message(self, *args):
        pass


@pytest.fixture
def server() -> Iterator[Scripted]:
    scripted = Scripted()
    thread = threading.Thread(target=scripted.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield scripted
    scripted.shutdown()
    scripted.server_close()
    thread.join()


def refusal(status, message="what to do", **headers):
    return (status, headers, {"error": {"code": "some_code", "message": message}, "request_id": "r-17"})


def asked(server, retries=3, timeout=5.0, token=None):
    return Connection(server.url, token, timeout, retries).post("/v1/rank", {"prompt": "two stars"})


def test_a_question_arrives_as_json_and_so_does_the_answer(server):
    server.says((200, {}, {"p_a": 0.1 + 0.2}))
    assert asked(server) == {"p_a": 0.1 + 0.2}
    method, path, headers, body = server.asked[0]
    assert (method, path, headers["Content-Type"]) == ("POST", "/v1/rank", "application/json")
    assert json.loads(body) == {"prompt": "two stars"}
    assert "Authorization" not in headers
    assert Connection(server.url + "/", None, 5.0, 0).get("/health") == {"fine": True}
    assert server.asked[1][:2] == ("GET", "/health")


def test_a_busy_server_is_asked_again_when_it_says(server):
    server.says(refusal(429, **{"Retry-After": "1"}), refusal(429, **{"Retry-After": "1"}))
    started = time.monotonic()
    assert asked(server) == {"fine": True}
    assert time.monotonic() - started >= 2.0
    assert len(server.asked) == 3
    assert {body for *_, body in server.asked} == {server.asked[0][3]}


@pytest.mark.parametrize("passing", ["drop", refusal(502), refusal(503), refusal(504)], ids=str)
def test_what_may_pass_is_repeated(server, passing):
    server.says(passing)
    assert asked(server) == {"fine": True}
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("answer", "kind", "message", "times"),
    [
        (refusal(400, "send JSON"), ValueError, "^send JSON$", 1),
        (refusal(422, "rollouts: expected 1 to 16, got 17"), ValueError, "^rollouts: expected 1 to 16, got 17$", 1),
        (refusal(413, "64 MiB at most"), ValueError, "64 MiB at most", 1),
        (refusal(401, "send the token"), PermissionError, r"send the token .*token=", 1),
        (refusal(500, "unexpected"), RuntimeError, r"failed \(500\): unexpected; .*request_id=r-17", 1),
        (refusal(429, "queue is full"), ConnectionError, r"takes no request \(429\): queue is full; try later", 2),
        (refusal(503, "stopping"), ConnectionError, r"takes no request \(503\): stopping", 2),
        (refusal(504, "took over 9 s"), TimeoutError, "took over 9 s", 2),
        ((404, {}, b"<h1>nginx</h1>"), ConnectionError, "answered 404, and not as a judge's server does", 1),
        ((200, {}, b"<h1>Welcome</h1>"), ConnectionError, "answered 200, and not as a judge's", 1),
        ((200, {}, ["a", "list"]), ConnectionError, "answered 200, and not as a judge's", 1),
        ((307, {"Location": "https://example.org/"}, b""), ConnectionError, "answered 307, and not as", 1),
        ("drop", ConnectionError, r"cannot reach the judge at http://127.*tried 2 times.*lit_listener serve", 2),
    ],
)
def test_each_failure_says_what_to_do(server, answer, kind, message, times):
    server.says(answer, answer)
    with pytest.raises(kind, match=message) as raised:
        asked(server, retries=1)
    assert type(raised.value) is kind
    assert len(server.asked) == times


def test_an_answer_that_is_late_is_not_asked_for_again(server):
    server.says("sleep")
    with pytest.raises(TimeoutError, match=r"no answer within 0.2 s: ask for fewer .*timeout="):
        asked(server, timeout=0.2)
    assert len(server.asked) == 1


def test_a_server_that_is_away_is_given_up_on():
    with socket.socket() as taken:  # bound and not listening: refuses
        taken.bind(("127.0.0.1", 0))
        started = time.monotonic()
        with pytest.raises(ConnectionError, match=r"cannot reach the judge .*tried 3 times"):
            Connection(f"http://127.0.0.1:{taken.getsockname()[1]}", None, 5.0, retries=2).get("/health")
        assert time.monotonic() - started < 5  # 0 s, then 1 to 1.5 s


def test_waits_are_bounded():
    assert _Patience().parse_retry_after("7") == 7
    assert _Patience().parse_retry_after("86400") == 60


def test_the_token_is_the_only_password_that_is_sent(server, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setattr("lit_listener.judging.client.connection._is_loopback", lambda _: False)
    asked(server)
    asked(server, token="a token")
    assert [headers.get("Authorization") for _, _, headers, _ in server.asked] == [None, "Bearer a token"]


def test_no_proxy_stands_before_this_machine(server, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert asked(server, retries=0) == {"fine": True}


def test_threads_and_forked_processes_have_sessions_of_their_own(server, monkeypatch):
    connection = Connection(server.url, "a token", 5.0, 0)
    own = connection._session()
    assert connection._session() is own
    others = []
    thread = threading.Thread(target=lambda: others.append(connection._session()))
    thread.start()
    thread.join()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    others.append(connection._session())
    assert len({id(session) for session in (own, *others)}) == 3


def test_it_can_be_sent_to_another_process_and_keeps_its_token_to_itself(server):
    connection = Connection(server.url, "a token", 5.0, 0)
    connection.get("/health")
    sent = pickle.loads(pickle.dumps(connection))
    assert sent == connection
    sent.get("/health")
    assert server.asked[1][2]["Authorization"] == "Bearer a token"
    assert "a token" not in repr(connection)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"base_url": "127.0.0.1:8000"}, "base_url: expected an address such as http://127.0.0.1:8000, got '127"),
        ({"base_url": "file:///etc"}, "base_url"),
        ({"base_url": "http://"}, "base_url"),
        ({"token": ""}, "token: expected printable ASCII"),
        ({"token": "x\r\nHost: y"}, "token: expected printable ASCII"),
        ({"timeout": 0.0}, "timeout: expected seconds above 0, got 0"),
        ({"timeout": float("nan")}, "timeout"),
        ({"retries": -1}, "retries: expected 0 or more, got -1"),
    ],
)
def test_what_cannot_be_used_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Connection(**{"base_url": "http://127.0.0.1:8000", "token": None, "timeout": 5.0, "retries": 5, **change})
