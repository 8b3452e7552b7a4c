"""The process that serves: its start, its signals, its end."""

import importlib.util
import signal
import socket
import threading
import time

import pytest

from lit_listener.judging.server import run
from lit_listener.judging.server.run import serve
from tests.judging.server.processes import server_process
from tests.judging.server.served import PAIRS, ask, compare_body, differences


@pytest.mark.slow
def test_sigterm_under_load_answers_all_that_was_accepted(judge):
    answers, unanswered = {}, set()

    def client(number, port):
        for turn in range(1000):
            place = (number + turn) % 16
            name = f"client{number}-{turn}-{place}"
            try:
                answer = ask(port, "POST", "/v1/compare", compare_body(place, seed=number), {"X-Request-ID": name})
            except OSError:
                unanswered.add(name)
                return
            if answer.status == 503:
                unanswered.add(name)
                return
            answers[name] = (place, number, answer)

    with server_process() as served:
        threads = [threading.Thread(target=client, args=(number, served.port)) for number in range(12)]
        for thread in threads:
            thread.start()
        while len(answers) < 12:
            time.sleep(0.01)
        assert served.end() == 0
        for thread in threads:
            thread.join(60)
    accepted = served.ids("accepted")
    assert len(accepted) >= 12
    assert accepted == served.ids("answered") - unanswered
    assert accepted <= set(answers)
    assert not accepted & unanswered
    expected = {}
    for place, seed, answer in answers.values():
        if (place, seed) not in expected:
            pair = PAIRS[place]
            expected[place, seed] = judge.compare(pair.prompt, pair.image_a, pair.image_b, seed=seed).to_dict()
        assert answer.status == 200
        assert differences(answer.json, expected[place, seed], within=1e-5) == []


@pytest.mark.slow
def test_one_process_through_its_life(tmp_path):
    (tmp_path / "token").write_text("secret\n")
    with server_process(token_file=str(tmp_path / "token"), max_images=3) as served:
        port = served.port
        assert served.address == f"http://127.0.0.1:{port}"
        assert ask(port, "GET", "/health").json["model"] == "shapes"
        assert ask(port, "GET", "/health", headers={"Host": "evil.example"}).error[1] == "wrong_host"
        assert ask(port, "GET", "/metrics").error[0] == 401
        token = {"Authorization": "Bearer secret"}
        assert ask(port, "POST", "/v1/compare", compare_body(0, listen=True), token).json["listener_p_a"] is not None
        with pytest.raises(OSError, match=rf"cannot serve at 127.0.0.1:{port} .*choose another --port"):
            serve(model="no such model", port=port)  # before the model is looked for
        idle = socket.create_connection(("127.0.0.1", port))  # keeps no server from its end
        assert served.end(signal.SIGINT, seconds=10) == 0
        idle.close()


@pytest.mark.slow
def test_a_second_signal_ends_at_once():
    with server_process() as served:
        rollouts = {"rollouts": 16, "listen": True}
        threads = [
            threading.Thread(target=_asks_in_vain, args=(served.port, compare_body(place, **rollouts)))
            for place in range(12)
        ]
        for thread in threads:
            thread.start()
        while len(served.ids("accepted")) < 12:
            time.sleep(0.01)
        served.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert served.process.poll() is None
        started = time.monotonic()
        assert served.end() == 128 + signal.SIGTERM
        assert time.monotonic() - started < 1
        for thread in threads:
            thread.join(30)


def _asks_in_vain(port, body):
    try:
        ask(port, "POST", "/v1/compare", body)
    except OSError:
        return


@pytest.mark.slow
def test_an_open_server_without_a_token_is_warned_of():
    with server_process(host="0.0.0.0") as served:
        assert any(line.startswith("warning: 0.0.0.0 is no loopback address") for line in served.log)
        assert ask(served.port, "GET", "/health", headers={"Host": "any.example"}).status == 200
    with server_process(host="0.0.0.0", env={"LIT_LISTENER_TOKEN": "secret"}) as served:
        assert not any("warning:" in line for line in served.log)
        assert ask(served.port, "POST", "/v1/compare", compare_body(0)).error[0] == 401


def test_errors_of_use(tmp_path, monkeypatch):
    with pytest.raises(
        OSError, match=r"host: expected a name or address of this machine, got .no\.such\.host\.invalid"
    ):
        serve(model="shapes", host="no.such.host.invalid")
    with pytest.raises(ValueError, match="port: expected a number from 0 to 65535, got 70000"):
        serve(model="shapes", port=70_000)
    with pytest.raises(ValueError, match="max_queue: expected a number above 0, got 0"):
        serve(model="shapes", port=0, max_queue=0)
    (tmp_path / "token").write_text(" \n")
    with pytest.raises(ValueError, match="token: expected a token, got nothing"):
        serve(model="shapes", port=0, token_file=tmp_path / "token")
    monkeypatch.setenv("LIT_LISTENER_TOKEN", "")
    with pytest.raises(ValueError, match="LIT_LISTENER_TOKEN: expected a token"):
        serve(model="shapes", port=0)
    with pytest.raises(FileNotFoundError):
        serve(model="shapes", port=0, token_file=tmp_path / "none")


def test_missing_packages(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(run.importlib.util, "find_spec", lambda name: None if name == "uvicorn" else find(name))
    with pytest.raises(ImportError, match=r"serve needs uvicorn: pip install 'lit-listener\[serve\]'"):
        serve(model="shapes")


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False)],
)
def test_loopback(host, loopback):
    assert run._is_loopback(host) is loopback
