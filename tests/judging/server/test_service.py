"""Queue, time-outs, clients that go, tokens, ids, figures: how the server holds requests."""

import json
import logging
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from lit_listener.judging.judge import Judge
from lit_listener.judging.server import app as app_module
from lit_listener.judging.server import reading as reading_module
from lit_listener.judging.server.app import create_app
from lit_listener.judging.server.limits import Limits
from tests.judging.server.served import PAIRS, ask, compare_body, rank_body, serving


def wait_until(told, seconds=20.0):
    until = time.monotonic() + seconds
    while not told():
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.01)


@pytest.fixture
def held(judge):
    """The model, held so that nothing is answered until it is let go."""
    let_go, think = threading.Event(), judge._batches._think

    def release():
        let_go.set()

    release.begun = threading.Event()
    judge._batches._think = lambda *asked: release.begun.set() or (let_go.wait() and think(*asked))
    yield release
    let_go.set()
    judge._batches._think = think


def test_a_full_queue_refuses_and_recovers(judge, held):
    app = create_app(judge, limits=Limits(max_queue=2))
    with serving(app) as port, ThreadPoolExecutor(2) as threads:
        first = [threads.submit(ask, port, "POST", "/v1/compare", compare_body(place)) for place in range(2)]
        wait_until(lambda: app.state.service.admission.inside == 2)
        refused = ask(port, "POST", "/v1/compare", compare_body(2))
        status, code, message = refused.error
        assert (status, code) == (429, "busy")
        assert int(refused.headers["retry-after"]) >= 1
        assert "max_queue=2" in message
        assert ask(port, "GET", "/health").status == 200
        held()
        assert [each.result().status for each in first] == [200, 200]
        assert ask(port, "POST", "/v1/compare", compare_body(2)).status == 200


def test_full_memory_refuses(judge, held):
    app = create_app(judge, limits=Limits(max_held_mib=1))
    app.state.service.admission.hold(2**20 - 1000)
    with serving(app) as port:
        refused = ask(port, "POST", "/v1/compare", compare_body(0))
        assert refused.error[:2] == (429, "busy")
        assert "retry-after" in refused.headers
        app.state.service.admission.hold(1000 - 2**20)
        held()
        assert ask(port, "POST", "/v1/compare", compare_body(0)).status == 200


def test_time_out(judge, held):
    app = create_app(judge, limits=Limits(timeout_s=0.5))
    with serving(app) as port:
        status, code, message = ask(port, "POST", "/v1/compare", compare_body(0)).error
        assert (status, code) == (504, "timeout")
        assert "timeout_s=0.5" in message
        # the second waits behind the first, which the model has begun with, and is dropped
        assert ask(port, "POST", "/v1/compare", compare_body(1)).status == 504
        thoughts = judge.thoughts
        asked = []
        judge.thoughts = lambda showings: asked.append(showings) or thoughts(showings)
        try:
            held()
            wait_until(lambda: app.state.service.batcher.waiting == 0)
        finally:
            del judge.thoughts
    assert asked == []
    assert app.state.service.admission.inside == 0


def test_what_is_read_on_after_a_time_out_is_not_held_for_ever(judge, monkeypatch):
    let_go, reading, ended = threading.Event(), threading.Event(), threading.Event()
    picture = reading_module.read_picture

    def slow(name, content, limits, lease):
        reading.set()
        assert let_go.wait(20)
        try:
            return picture(name, content, limits, lease)
        finally:
            ended.set()

    monkeypatch.setattr(reading_module, "read_picture", slow)
    app = create_app(judge, limits=Limits(timeout_s=0.5))
    with serving(app) as port:
        assert ask(port, "POST", "/v1/compare", compare_body(0)).error[:2] == (504, "timeout")
        assert reading.is_set()
        let_go.set()
        assert ended.wait(20)
        assert app.state.service.admission.held == 0


def test_who_goes_away_is_dropped(judge, held, caplog):
    app = create_app(judge)
    with serving(app) as port, caplog.at_level(logging.INFO, "lit_listener.server"):
        service = app.state.service
        body = json.dumps(compare_body(0)).encode()
        with socket.create_connection(("127.0.0.1", port)) as client:
            head = (
                f"POST /v1/compare HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
            )
            client.sendall(f"{head}\r\n\r\n".encode() + body)
            wait_until(lambda: service.admission.inside == 1 and "event=accepted" in caplog.text)
        wait_until(lambda: service.admission.inside == 0)
        held()
        assert ask(port, "POST", "/v1/compare", compare_body(1)).status == 200
    assert re.search("status=499 .*code=client_gone", caplog.text)


def test_who_goes_away_while_sending_is_no_failure(judge, caplog):
    app = create_app(judge)
    with serving(app) as port, caplog.at_level(logging.INFO, "lit_listener.server"):
        with socket.create_connection(("127.0.0.1", port)) as client:
            head = b"POST /v1/compare HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99"
            client.sendall(head + b"\r\n\r\n{")
            wait_until(lambda: app.state.service.admission.inside == 1)
        wait_until(lambda: "event=answered" in caplog.text)
    assert re.search("status=499 .*code=client_gone", caplog.text)
    assert "event=failed" not in caplog.text


def test_a_failure_of_the_judge_is_told_and_survived(judge, port, monkeypatch, caplog):
    def broken(*_):
        raise RuntimeError("secret detail")

    with monkeypatch.context() as patched:
        patched.setattr(Judge, "thoughts", broken)
        status, code, message = ask(port, "POST", "/v1/compare", compare_body(0)).error
    assert (status, code) == (500, "internal_error")
    assert "secret" not in message
    assert "secret detail" in caplog.text  # in the log, with where
    assert "Traceback" in caplog.text
    assert ask(port, "POST", "/v1/compare", compare_body(0)).status == 200


def test_one_request_at_fault_does_not_fail_the_others(judge, held):
    app = create_app(judge)
    with serving(app) as port, ThreadPoolExecutor(4) as threads:
        first = threads.submit(ask, port, "POST", "/v1/compare", compare_body(3))
        assert held.begun.wait(20)
        good = [threads.submit(ask, port, "POST", "/v1/compare", compare_body(place)) for place in range(2)]
        bad = threads.submit(ask, port, "POST", "/v1/compare", compare_body(2, prompt="x " * 4000))
        wait_until(lambda: app.state.service.batcher.waiting >= 3)
        held()
        assert [each.result().status for each in [first, *good]] == [200] * 3
        status, code, message = bad.result().error
    assert (status, code) == (422, "unanswerable")
    assert "tokens" in message


class TestToken:
    @pytest.mark.parametrize("given", [None, "Bearer wrong", "Bearer", "Basic c2VjcmV0", "secret", "Bearer sécret"])
    def test_refused(self, judge, given):
        headers = {} if given is None else {"Authorization": given.encode("latin-1")}
        with serving(create_app(judge, token="secret")) as port:
            for method, path in (("POST", "/v1/compare"), ("GET", "/metrics"), ("GET", "/v1/unknown")):
                refused = ask(port, method, path, "{", headers)
                assert refused.error[:2] == (401, "unauthorized")
                assert refused.headers["www-authenticate"] == "Bearer"

    def test_taken(self, judge):
        with serving(create_app(judge, token="secret\n")) as port:
            headers = {"Authorization": "Bearer secret"}
            assert ask(port, "POST", "/v1/compare", compare_body(0), headers).status == 200
            assert ask(port, "GET", "/metrics", headers=headers).status == 200
            for open_to_all in ("/health", "/docs", "/openapi.json"):
                assert ask(port, "GET", open_to_all).status == 200

    def test_empty(self, judge):
        with pytest.raises(ValueError, match="token: expected a secret"):
            create_app(judge, token=" ")


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost:8000", 200), ("127.0.0.1", 200), ("[::1]:9", 200), ("evil.example", 400), ("", 400), ("::1", 400)],
)
def test_hosts(judge, host, status):
    app = create_app(judge, hosts=["localhost", "127.0.0.1", "[::1]"])
    with serving(app) as port:
        answer = ask(port, "GET", "/health", headers={"Host": host})
    assert answer.status == status
    if status == 400:
        assert answer.error[1] == "wrong_host"


def test_other_pages(port):
    headers = {"Sec-Fetch-Site": "cross-site"}
    assert ask(port, "POST", "/v1/compare", "{", headers).error[:2] == (400, "other_site")
    by_plain_http = {"Origin": "http://evil.example"}
    assert ask(port, "POST", "/v1/compare", "{", by_plain_http).error[:2] == (400, "other_site")
    own_page = {"Sec-Fetch-Site": "same-origin", "Origin": f"http://127.0.0.1:{port}", "Host": f"127.0.0.1:{port}"}
    own = ask(port, "POST", "/v1/compare", compare_body(0), own_page)
    assert own.status == 200
    assert "access-control-allow-origin" not in own.headers


def test_request_ids_and_log(port, caplog):
    with caplog.at_level(logging.INFO, "lit_listener.server"):
        answer = ask(port, "POST", "/v1/rank", rank_body(0, 1, 2), {"X-Request-ID": "my-id_1.2"})
    assert answer.headers["x-request-id"] == "my-id_1.2"
    lines = [record.getMessage() for record in caplog.records if record.name == "lit_listener.server"]
    accepted, answered = (line for line in lines if "request_id=my-id_1.2" in line)
    assert re.fullmatch(r"event=accepted request_id=\S+ queue=\d+ images=3 completions=4", accepted)
    end = r"event=answered request_id=\S+ route=/v1/rank status=200 seconds=[\d.]+ images=3 completions=4"
    assert re.fullmatch(end, answered)


@pytest.mark.parametrize("given", ["a b", "x" * 65, "a\tb", "", "ä"])
def test_request_ids_that_are_not_sane(port, given):
    told = ask(port, "GET", "/health", headers={"X-Request-ID": given.encode("latin-1")}).headers["x-request-id"]
    assert re.fullmatch("[0-9a-f]{32}", told)


def test_metrics(judge):
    with serving(create_app(judge)) as port:
        for _ in range(2):
            ask(port, "POST", "/v1/compare", compare_body(0, rollouts=2))
        ask(port, "POST", "/v1/compare", {})
        ask(port, "GET", "/made/up")
        answer = ask(port, "GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    figures = dict(line.rsplit(" ", 1) for line in answer.content.decode().splitlines() if not line.startswith("#"))
    expected = {
        'lit_listener_requests_total{route="/v1/compare",status="200"}': 2,
        'lit_listener_requests_total{route="/v1/compare",status="422"}': 1,
        'lit_listener_requests_total{route="other",status="404"}': 1,
        'lit_listener_request_seconds_count{route="/v1/compare"}': 3,
        "lit_listener_batch_requests_sum": 2,
        "lit_listener_batch_completions_sum": 8,
        "lit_listener_completions_total": 8,
        "lit_listener_forced_traces_total": 0,
        "lit_listener_queue_length": 0,
        "lit_listener_requests_in_flight": 0,
    }
    assert {name: float(figures[name]) for name in expected} == expected


def test_figures_are_an_apps_own(judge):
    texts = [create_app(judge).state.service.metrics.text() for _ in range(2)]
    assert b'route="' not in texts[1]


def test_page(judge, port, tmp_path, monkeypatch):
    (tmp_path / "index.html").write_text("<!doctype html><title>judge</title>")
    (tmp_path / "page.js").write_text("let a")
    monkeypatch.setattr(app_module, "PAGE", tmp_path)
    page = ask(port, "GET", "/")
    assert (page.status, page.content) == (200, b"<!doctype html><title>judge</title>")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    script = ask(port, "GET", "/page/page.js")
    assert "javascript" in script.headers["content-type"]
    assert ask(port, "HEAD", "/").status == 200
    assert ask(port, "GET", "/page/other.js").error[0] == 404


def test_openapi_tells_both_bodies_and_all_errors(port):
    told = ask(port, "GET", "/openapi.json").json
    for path in ("/v1/compare", "/v1/rank", "/v1/score"):
        operation = told["paths"][path]["post"]
        assert set(operation["requestBody"]["content"]) == {"application/json", "multipart/form-data"}
        for status in ("400", "401", "404", "405", "413", "415", "422", "429", "500", "503", "504"):
            schema = operation["responses"][status]["content"]["application/json"]["schema"]
            assert schema == {"$ref": "#/components/schemas/ErrorAnswer"}
        assert "200" in operation["responses"]
    rank = told["paths"]["/v1/rank"]["post"]["requestBody"]["content"]
    as_json, as_form = (rank[kind]["schema"]["properties"]["images"] for kind in rank)
    assert (as_json["maxItems"], as_json["items"]["contentEncoding"]) == (64, "base64")
    assert as_form["items"]["format"] == "binary"


def test_docs_tell_all_and_ask_nobody(port):
    page = ask(port, "GET", "/docs", headers={"Host": "a<b>:1"})
    text = page.content.decode()
    assert page.headers["content-type"].startswith("text/html")
    assert "script" not in page.headers["content-security-policy"]
    for told in ("POST /v1/compare", "POST /v1/rank", "POST /v1/score", "GET /health", "GET /metrics", "anchor_image"):
        assert told in text
    assert "at most 16, default 1" in text
    assert "<script" not in text
    assert "<b>:1" not in text
    assert not re.search(r"(src|href)=.https?:", text)


def test_stopping(judge, held):
    app = create_app(judge)
    with serving(app) as port, ThreadPoolExecutor(1) as threads:
        accepted = threads.submit(ask, port, "POST", "/v1/compare", compare_body(0))
        wait_until(lambda: app.state.service.admission.inside == 1)
        app.state.service.admission.stopping = True
        refused = ask(port, "POST", "/v1/compare", compare_body(1))
        assert refused.error[:2] == (503, "stopping")
        assert "retry-after" in refused.headers
        assert ask(port, "GET", "/health").json["status"] == "stopping"
        held()
        pair = PAIRS[0]
        assert accepted.result().json == judge.compare(pair.prompt, pair.image_a, pair.image_b).to_dict()


def test_slow_bodies_time_out(judge):
    with (
        serving(create_app(judge, limits=Limits(timeout_s=0.5))) as port,
        socket.create_connection(("127.0.0.1", port)) as client,
    ):
        head = b"POST /v1/compare HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
        client.sendall(head)
        client.settimeout(10)
        assert b" 504 " in client.recv(1000)
    assert threading.active_count() < 50


def test_what_cannot_be_asked_is_refused_before_the_queue(judge, held):
    with serving(create_app(judge)) as port:  # the model answers nothing
        refused = ask(port, "POST", "/v1/compare", compare_body(0, prompt="a <|im_end|> b"), timeout=20)
    assert refused.error[:2] == (422, "unanswerable")
