"""A remote listener says what the same weights say at hand, asks once, and fails loudly. The server is our own."""

import json
import logging
import pickle
import random

import pytest
import torch

from lit_listener.data.shown import ShownPair
from lit_listener.tasks import PairwisePreference
from lit_listener.vlm.listeners import ListenerFailedError, ModelListener, RemoteListener
from lit_listener.vlm.loading import load_backbone
from lit_listener.vlm.specs import PolicySpec
from lit_listener.vlm.stopping import StopRequested
from tests.vlm.listeners.faulty_proxy import Fault, faulty_proxy
from tests.vlm.listeners.heard_shapes import TASK, hearing, shown

pytest.importorskip("fastapi")
UNREADABLE = "<think>red</think>"


@pytest.fixture(scope="module")
def served():
    from lit_listener.judging.judge import Judge  # noqa: PLC0415  # a floor above the listener's
    from lit_listener.judging.server.app import create_app  # noqa: PLC0415
    from tests.judging.server.served import serving  # noqa: PLC0415

    with serving(create_app(Judge.load("shapes-instruct"), openai=True)) as port:
        yield port


@pytest.fixture
def proxy(served):
    with faulty_proxy(served) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def reader():
    return load_backbone("shapes-instruct", PolicySpec("shapes-instruct"))[1]


@pytest.fixture(scope="module")
def heard_texts(reader):
    return hearing(reader, shown(6), 4)


def remote(proxy, reader, **options):
    listener = RemoteListener(proxy.url, "shapes-instruct", **options)
    listener.prepare(TASK, reader.tokenizer)
    return listener


def asked(proxy):
    return [json.loads(body) for method, _, body, _ in proxy.requests if method == "POST"][1:]  # the first was a probe


@pytest.mark.parametrize("context", ["own", "reasoner"])
def test_it_says_what_the_same_weights_say_at_hand(proxy, reader, heard_texts, context):
    said = remote(proxy, reader, context=context).hear(heard_texts)
    at_hand = ModelListener("shapes-instruct", context)
    at_hand.prepare(TASK, reader.tokenizer)
    expected = at_hand.hear(heard_texts)
    assert said.readable_N.all()
    torch.testing.assert_close(said.p_label_NL, expected.p_label_NL, atol=1e-3, rtol=0)
    torch.testing.assert_close(said.discarded_mass_N, expected.discarded_mass_N, atol=1e-3, rtol=0)
    assert float(said.p_label_NL.std()) > 0.05  # they do not all say the same


def test_a_server_that_continues_nothing_is_told_the_trace_in_the_question(proxy, reader, heard_texts):
    """The bundled model was not taught such questions; only what it is asked is looked at."""
    listener = remote(proxy, reader, continues=True)
    listener.continues = False
    with pytest.raises(ListenerFailedError, match=r"not among the 20 likeliest tokens after \d+ of 24 traces"):
        listener.hear(heard_texts)
    messages = asked(proxy)[0]["messages"]
    assert [message["role"] for message in messages] == ["user"]


def test_all_of_a_step_travels_together_and_the_same_is_asked_once(proxy, reader, heard_texts):
    proxy.delay_s = 0.3
    listener = remote(proxy, reader)
    first = listener.hear(heard_texts)
    distinct = {(n // 4, transcript.think) for n, transcript in enumerate(heard_texts.transcripts)}
    assert len(asked(proxy)) == len(distinct) < 24
    assert proxy.most_under_way == len(distinct)
    numbers = listener.metrics()
    assert numbers["remote/requests"] == len(distinct)
    assert numbers["remote/cached_share"] == pytest.approx(1 - len(distinct) / 24)
    assert numbers["remote/latency_s"] > 0.3
    assert numbers["remote/retries"] == numbers["remote/unheard_share"] == 0
    again = listener.hear(heard_texts)
    assert len(asked(proxy)) == len(distinct)
    assert listener.metrics()["remote/requests"] == 0
    assert listener.metrics()["remote/cached_share"] == 1
    assert set(listener.metrics()) == set(numbers)
    assert torch.equal(first.p_label_NL, again.p_label_NL)


def test_what_is_kept_is_bounded(proxy, reader, heard_texts):
    listener = remote(proxy, reader, cached_answers=3)
    listener.hear(heard_texts)
    assert len(listener._kept) == 3
    listener = remote(proxy, reader, cached_answers=0)
    listener.hear(heard_texts)
    assert not listener._kept


def test_no_more_requests_than_allowed_are_under_way(proxy, reader, heard_texts):
    proxy.delay_s = 0.02
    remote(proxy, reader, concurrency=3).hear(heard_texts)
    assert proxy.most_under_way == 3


def test_the_answer_is_never_sent(proxy, reader):
    texts = [f"<think>{think}</think><answer>{n}</answer>" for think in ("red", "a circle") for n in (0, 1)]
    for context in ("own", "reasoner"):
        listener = remote(proxy, reader, context=context)
        listener.hear(hearing(reader, shown(2), 2, texts))
        assert listener.metrics()["remote/requests"] == 2  # two traces, whatever was answered
    assert all(body["messages"][-1]["content"].endswith("</think><answer>") for body in asked(proxy)[:2])


def test_what_has_no_answers_place_is_not_asked_about(proxy, reader):
    texts = [UNREADABLE, "<think>the first is better.</think><answer>0</answer>"] * 2
    said = remote(proxy, reader).hear(hearing(reader, shown(2), 2, texts))
    assert said.readable_N.tolist() == [False, True, False, True]
    assert bool(said.p_label_NL.isfinite().all())
    proxy.requests.clear()
    said = remote(proxy, reader).hear(hearing(reader, shown(2), 2, [UNREADABLE] * 4))
    assert not said.readable_N.any()
    assert asked(proxy) == []


def likeliest(*tokens):
    content = [{"top_logprobs": [{"token": text, "logprob": log_prob} for text, log_prob in tokens]}]
    return json.dumps({"choices": [{"logprobs": {"content": content}}]}).encode()


def test_single_traces_after_which_no_label_is_named_are_unheard(proxy, reader, heard_texts):
    listener = remote(proxy, reader, concurrency=1, cached_answers=0)
    odd = len(proxy.requests) + 4
    proxy.fault = lambda n: Fault(200, {}, likeliest(("The", -0.1), ("An", -3.0))) if n == odd else None
    said = listener.hear(heard_texts)
    unheard = int((~said.readable_N).sum())
    assert 1 <= unheard < 12
    assert listener.metrics()["remote/unheard_share"] == pytest.approx(unheard / 24)


def test_hand_worked_probabilities(proxy, reader):
    # e^-1 = 0.36788 and e^-2 = 0.13534 for "0", e^-1.5 = 0.22313 for "1"
    # p(1) = 0.22313 / (0.36788 + 0.13534 + 0.22313) = 0.30720; discarded 1 - 0.72635 = 0.27365
    listener = remote(proxy, reader)
    proxy.fault = lambda _: Fault(200, {}, likeliest(("0", -1.0), ("1", -1.5), (" 0", -2.0)))
    said = listener.hear(hearing(reader, shown(1), 1))
    assert said.p_label_NL[0].tolist() == pytest.approx([0.69280, 0.30720], abs=1e-5)
    assert float(said.discarded_mass_N[0]) == pytest.approx(0.27365, abs=1e-5)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (Fault(400, {}, b'{"error": {"message": "no logprobs here"}}'), r"it refuses \(400\): no logprobs here"),
        (Fault(404, {}, b'{"detail": "Not Found"}'), r"it refuses \(404\): .*Not Found.*model.listener.base_url"),
        (Fault(200, {}, b'{"choices": [{"logprobs": null}]}'), "expected the first token's logprobs"),
        (Fault(200, {}, likeliest(("1", float("nan")))), "expected log-probabilities, got"),
    ],
)
def test_a_failure_stops_the_run(proxy, reader, heard_texts, fault, told):
    listener = remote(proxy, reader)
    proxy.fault = lambda _: fault
    with pytest.raises(ListenerFailedError, match=rf"the listener 'shapes-instruct' at {proxy.url}: .*{told}"):
        listener.hear(heard_texts)


def test_after_a_failure_it_can_be_asked_again(proxy, reader, heard_texts):
    listener = remote(proxy, reader, patience_s=0.5)
    expected = remote(proxy, reader).hear(heard_texts)
    proxy.fault = lambda _: Fault()
    with pytest.raises(ListenerFailedError, match=r"nothing was answered for 0\.5 seconds"):
        listener.hear(heard_texts)
    proxy.fault = lambda _: None
    torch.testing.assert_close(listener.hear(heard_texts).p_label_NL, expected.p_label_NL, atol=1e-5, rtol=0)


def test_a_run_that_is_asked_to_stop_does_not_wait_for_a_dead_server(proxy, reader):
    listener = remote(proxy, reader)
    proxy.fault = lambda _: Fault()
    with pytest.raises(StopRequested):
        listener.hear(hearing(reader, shown(2), 2, stop_asked=lambda: True))


def test_the_shared_random_streams_are_left_alone(proxy, reader, heard_texts):
    """A checkpoint keeps their states: to draw from them would change what follows."""
    listener = remote(proxy, reader)
    first = len(proxy.requests)
    proxy.fault = lambda n: Fault(503) if first <= n < first + 5 else None
    before = random.getstate(), torch.get_rng_state()
    listener.hear(heard_texts)
    assert listener.metrics()["remote/retries"] == 5
    assert random.getstate() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])


# ---- at a run's start ------------------------------------------------------------------------------------------------


def test_a_server_that_is_not_there_is_told_at_the_start(reader):
    listener = RemoteListener("http://127.0.0.1:9/v1", "judge", patience_s=0.3)
    with pytest.raises(ListenerFailedError, match=r"the listener 'judge' at http://127.0.0.1:9/v1: nothing was answer"):
        listener.prepare(TASK, reader.tokenizer)


def test_a_model_that_is_not_served_is_told_at_the_start(proxy, reader):
    with pytest.raises(ListenerFailedError, match=r"model.listener.model: expected one of \['shapes-instruct'\]"):
        RemoteListener(proxy.url, "another").prepare(TASK, reader.tokenizer)


def test_an_address_without_its_version_is_told_at_the_start(proxy, reader):
    with pytest.raises(ListenerFailedError, match=r"404.*model.listener.base_url \(with its version, /v1\)"):
        RemoteListener(proxy.url.removesuffix("/v1"), "shapes-instruct").prepare(TASK, reader.tokenizer)


def test_a_server_that_does_not_continue_a_reply_is_told_at_the_start(proxy, reader):
    proxy.fault = lambda n: Fault(200, {}, likeliest(("The", -0.1))) if n == 1 else None
    with pytest.warns(
        UserWarning, match=r"names none of \['0', '1'\] when it is asked to.*set model.listener.continues"
    ):
        remote(proxy, reader)


def test_a_server_without_log_probabilities_is_told_at_the_start(proxy, reader):
    proxy.fault = lambda n: Fault(200, {}, b'{"choices": [{"logprobs": null}]}') if n == 1 else None
    with pytest.raises(ListenerFailedError, match="expected the first token's logprobs in the answer"):
        remote(proxy, reader)


def test_labels_that_begin_with_one_another_are_refused(reader):
    class Ten(PairwisePreference):
        labels = ("1", "2", "10")

    with pytest.raises(ValueError, match="cannot tell the label '1' from the beginning of '10'"):
        RemoteListener("http://127.0.0.1:9/v1", "judge").prepare(Ten(), reader.tokenizer)


# ---- keys and options ------------------------------------------------------------------------------------------------


def test_the_key_is_sent_and_written_nowhere(proxy, reader, heard_texts, monkeypatch, caplog, recwarn):
    monkeypatch.setenv("MY_KEY", "sk-secret-123")
    caplog.set_level(logging.DEBUG)
    listener = remote(proxy, reader, api_key_env="MY_KEY")
    listener.hear(heard_texts)
    assert all(headers["Authorization"] == "Bearer sk-secret-123" for *_, headers in proxy.requests)
    proxy.fault = lambda _: Fault(401, {}, b'{"error": {"message": "wrong key: sk-secret-123"}}')
    with pytest.raises(ListenerFailedError, match=r"it refuses \(401\): wrong key: …; does the environment") as failed:
        listener.hear(hearing(reader, shown(8), 1))
    told = str(failed.value) + repr(failed.value.__cause__) + caplog.text + "".join(str(each) for each in recwarn)
    assert "sk-secret-123" not in told
    assert "sk-secret-123" not in repr(listener)


def test_a_key_that_is_not_there_is_told(reader, monkeypatch):
    monkeypatch.delenv("MY_KEY", raising=False)
    listener = RemoteListener("http://127.0.0.1:9/v1", "judge", api_key_env="MY_KEY")
    with pytest.raises(ValueError, match="api_key_env: expected the environment variable MY_KEY to hold a key"):
        listener.prepare(TASK, reader.tokenizer)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"concurrency": 0}, "model.listener.concurrency: expected at least 1 request, got 0"),
        ({"timeout_s": 0}, "model.listener.timeout_s: expected seconds above 0, got 0"),
        ({"patience_s": -1}, "model.listener.patience_s: expected seconds, at least 0, got -1"),
        ({"cached_answers": -1}, "model.listener.cached_answers: expected at least 0 answers, got -1"),
        ({"context": "both"}, "model.listener.context: expected own or reasoner, got 'both'"),
        ({"base_url": "127.0.0.1"}, "base_url: expected an address such as"),
    ],
)
def test_options_out_of_range_are_refused(options, told):
    with pytest.raises(ValueError, match=told):
        RemoteListener(**{"base_url": "http://127.0.0.1:9/v1", "model": "judge", **options})


def test_it_listens_itself_in_evaluation_and_has_no_weights():
    listener = RemoteListener("http://127.0.0.1:9/v1", "judge")
    assert listener.in_evaluation is listener
    assert not listener.state_dict()
    assert {name: value for name, value in listener.metrics().items() if value == 0} == {
        "remote/requests": 0,
        "remote/retries": 0,
    }
    pickle.loads(pickle.dumps(listener))  # as launchers of several processes do, before it is prepared


def test_nothing_is_heard_of_a_pair_that_cannot_be_worded(proxy, reader, heard_texts):
    pair = heard_texts.shown[0].pair
    broken = type(pair)(**{**vars(pair), "prompt": "a <|image_pad|>"})
    listener = remote(proxy, reader)
    given = hearing(reader, [ShownPair(broken, "a", 0)], 1, ["<think>a</think><answer>1</answer>"])
    with pytest.raises(ValueError, match="chat token"):
        listener.hear(given)
