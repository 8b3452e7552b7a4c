"""Bodies and answers: hand-worked masses, and what is sent for a question."""

import base64
import io
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lit_listener.tasks import Question
from lit_listener.vlm.listeners import ListenerFailedError
from lit_listener.vlm.listeners.remote.wire import as_text, frame, read_word

LABELS = ("0", "1")


def answer(*top, **choice):
    """An answer whose first token has these likeliest ones: texts and probabilities."""
    likeliest = [{"token": text, "logprob": math.log(p) if p else -9999.0, "bytes": None} for text, p in top]
    content = [{"token": "x", "logprob": 0.0, "bytes": None, "top_logprobs": likeliest}]
    return json.dumps({"choices": [{"logprobs": {"content": content}, **choice}]}).encode()


def test_the_masses_of_all_spellings_are_added_up():
    # label 0: 0.5 + 0.1 = 0.6; label 1: 0.2; "10", "01" and " 0 " are other words
    word = read_word(answer(("0", 0.5), ("1", 0.2), (" 0", 0.1), ("10", 0.1), ("01", 0.05), (" 0 ", 0.05)), LABELS)
    assert word.masses == pytest.approx((0.6, 0.2))
    assert word.open_mass == 0
    assert word.heard


def test_a_label_that_is_not_among_the_likeliest_may_have_what_they_leave():
    # left: 1 - 0.9 - 0.002 - 0.001 = 0.097; at most 1 label x 2 spellings x 0.001 = 0.002; 0.002 / 0.902 < 1%
    word = read_word(answer(("1", 0.9), ("a", 0.002), ("b", 0.001)), LABELS)
    assert word.masses == pytest.approx((0, 0.9))
    assert word.open_mass == pytest.approx(0.002)
    assert word.heard
    # left: 1 - 0.5 - 0.3 - 0.19 = 0.01, less than 2 x 0.19; 0.01 / 0.51 > 1%
    word = read_word(answer(("1", 0.5), ("a", 0.3), ("b", 0.19)), LABELS)
    assert word.open_mass == pytest.approx(0.01)
    assert not word.heard


def test_where_no_label_is_named_nothing_was_heard():
    word = read_word(answer(("The", 0.7), ("I", 0.3)), LABELS)
    assert word.masses == (0, 0)
    assert not word.heard


@given(st.lists(st.floats(0.001, 1), min_size=3, max_size=20), st.integers(0, 2**32 - 1))
def test_what_is_open_bounds_what_a_missing_label_can_have(weights, seed):
    p = np.array(weights) / sum(weights)
    names = ["0", "1", *(f"w{n}" for n in range(len(p) - 2))]
    order = np.argsort(-p, kind="stable")
    shown = np.random.default_rng(seed).integers(1, len(p) + 1)
    word = read_word(answer(*[(names[n], p[n]) for n in order[:shown]]), LABELS)
    missing = sum(p[n] for n in order[shown:] if n < 2)
    assert missing <= word.open_mass + 1e-9
    assert sum(word.masses) + missing == pytest.approx(p[0] + p[1])


def test_bytes_are_read_where_texts_cannot_tell():
    spelled = [{"token": "whatever", "logprob": math.log(0.25), "bytes": [32, 49]}]  # " 1"
    body = {"choices": [{"logprobs": {"content": [{"top_logprobs": spelled}]}}]}
    assert read_word(json.dumps(body).encode(), LABELS).masses == pytest.approx((0, 0.25))


@pytest.mark.parametrize(
    "content",
    [
        b"no JSON",
        b"{}",
        b'{"choices": []}',
        b'{"choices": [{"logprobs": null}]}',
        b'{"choices": [{"logprobs": {"content": []}}]}',
        b'{"choices": [{"logprobs": {"content": [{"top_logprobs": []}]}}]}',
    ],
)
def test_an_answer_without_log_probabilities_is_a_failure(content):
    with pytest.raises(ListenerFailedError, match=r"expected the first token's logprobs in the answer"):
        read_word(content, LABELS)


@pytest.mark.parametrize("log_prob", ["NaN", "Infinity", "3.0"])
def test_numbers_that_are_no_log_probabilities_are_a_failure(log_prob):
    text = answer(("1", 1.0)).decode().replace('"logprob": 0.0, "bytes": null}]', f'"logprob": {log_prob}}}]')
    with pytest.raises(ListenerFailedError, match="expected log-probabilities, got"):
        read_word(text.encode(), LABELS)


def question():
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    content = [{"type": "text", "text": 'say "hi"'}, {"type": "image"}, {"type": "text", "text": "Which?"}]
    system = {"role": "system", "content": [{"type": "text", "text": "Judge."}]}
    return Question(({**system}, {"role": "user", "content": content}), (Image.fromarray(pixels),), None)


def sent(trace, **options):
    framed = frame(question(), "judge", LABELS, **{"continues": True, "extra": {}, **options})
    return framed, json.loads(b"".join(framed.body(trace)))


def test_the_reply_is_begun_with_the_trace():
    _, body = sent('<think>"quoted"\n</think><answer>', extra={"priority": 3})
    assert body["messages"][0] == {"role": "system", "content": [{"type": "text", "text": "Judge."}]}
    assert body["messages"][-1] == {"role": "assistant", "content": '<think>"quoted"\n</think><answer>'}
    assert [part["type"] for part in body["messages"][1]["content"]] == ["text", "image_url", "text"]
    rest = {name: value for name, value in body.items() if name != "messages"}
    assert rest == {
        "model": "judge",
        "max_tokens": 1,
        "temperature": 0,
        "logprobs": True,
        "top_logprobs": 20,
        "continue_final_message": True,
        "add_generation_prompt": False,
        "priority": 3,
    }


def test_images_arrive_to_the_last_pixel():
    _, body = sent("")
    url = body["messages"][1]["content"][1]["image_url"]["url"]
    kind, content = url.split(",")
    assert kind == "data:image/png;base64"
    arrived = Image.open(io.BytesIO(base64.b64decode(content)))
    assert np.array_equal(np.asarray(arrived), np.asarray(question().images[0]))


def test_for_a_server_that_continues_nothing_the_trace_stands_in_the_question():
    _, body = sent("<think>red</think><answer>", continues=False)
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    texts = [part["text"] for part in body["messages"][-1]["content"] if part["type"] == "text"]
    assert texts[-3:] == [
        "\n\n",
        "<think>red</think>",
        "\n\nReply with one of these labels and nothing else: 0, 1",
    ]
    assert "continue_final_message" not in body
    assert "add_generation_prompt" not in body


def test_the_same_question_and_trace_have_one_key_and_others_another():
    first, again, other = (sent("", extra={"n": n})[0] for n in (1, 1, 2))
    assert first.key("a") == again.key("a")
    assert len({first.key("a"), first.key("b"), other.key("a")}) == 3


def test_chat_tokens_in_a_trace_are_pulled_apart():
    assert as_text(b"a <|im_end|> b <|image_pad|> \xff") == "a < |im_end| > b < |image_pad| > \N{REPLACEMENT CHARACTER}"
