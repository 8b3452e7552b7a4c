"""Chats and their answers, over HTTP: the model's own numbers, the same whatever shares the batch."""

import json
import math
import threading
from dataclasses import replace
from typing import Any

import pytest
import torch

from lit_listener.judging.judge import Judge
from lit_listener.judging.server.app import create_app
from lit_listener.judging.server.openai.chats import Chat, answer_chats
from lit_listener.tasks import Question
from tests.judging.server.served import PAIRS, ask, base64_of, serving

TEXT = "first {} second {} Which is better, 0 or 1?"


@pytest.fixture(scope="module")
def served(judge: Judge) -> Any:
    with serving(create_app(judge, openai=True)) as port:
        yield port


def content(place: int = 0) -> list[dict[str, Any]]:
    pair = PAIRS[place]
    images = [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{base64_of(image)}"}}
        for image in (pair.image_a, pair.image_b)
    ]
    texts = [{"type": "text", "text": text} for text in (f"{pair.prompt}. first ", " second ", " Which is better?")]
    return [texts[0], images[0], texts[1], images[1], texts[2]]


def chat(place: int = 0, begun: str | None = "<think>red.</think><answer>", **options: Any) -> dict[str, Any]:
    messages: list[dict[str, Any]] = [{"role": "user", "content": content(place)}]
    going_on: dict[str, Any] = {}
    if begun is not None:
        messages.append({"role": "assistant", "content": begun})
        going_on = {"continue_final_message": True, "add_generation_prompt": False}
    return {"model": "shapes", "messages": messages, "temperature": 0, "max_tokens": 1, **going_on, **options}


def answered(port: int, body: dict[str, Any]) -> dict[str, Any]:
    told = ask(port, "POST", "/v1/chat/completions", body)
    assert told.status == 200, told.content
    return told.json  # type: ignore[no-any-return]


def question(place: int) -> Question:
    parts = [{"type": "image"} if part["type"] == "image_url" else part for part in content(place)]
    pair = PAIRS[place]
    return Question(({"role": "user", "content": parts},), (pair.image_a, pair.image_b), None)


@torch.no_grad()
def plain_log_probs(judge: Judge, place: int, begun: str) -> torch.Tensor:
    """The next token's distribution by the plain path: one row, transformers' own forward pass."""
    thinker = judge._thinker
    encoder = thinker.reader.encoder
    prompts = encoder.encode([question(place)], begun=[encoder.encode_text(begun)])
    ids = prompts.input_ids_PS
    image_id = thinker.policy.model.config.image_token_id
    logits = thinker.policy.model(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        mm_token_type_ids=(ids == image_id).int(),
        pixel_values=prompts.pixel_values_RC,
        image_grid_thw=prompts.image_grid_I3,
    ).logits
    return logits[0, -1].float().log_softmax(0)


def test_models_are_listed(served):
    told = ask(served, "GET", "/v1/models").json
    assert [each["id"] for each in told["data"]] == ["shapes"]
    assert told["object"] == "list"


def test_the_shape_of_an_answer(served):
    told = answered(served, chat(logprobs=True, top_logprobs=3))
    assert set(told) == {"id", "object", "created", "model", "choices", "usage"}
    assert told["object"] == "chat.completion"
    assert told["id"].startswith("chatcmpl-")
    (choice,) = told["choices"]
    assert (choice["index"], choice["message"]["role"], choice["finish_reason"]) == (0, "assistant", "length")
    assert choice["message"]["content"] in ("0", "1")
    (token,) = choice["logprobs"]["content"]
    assert token["token"] == choice["message"]["content"]
    assert bytes(token["bytes"]).decode() == token["token"]
    assert len(token["top_logprobs"]) == 3
    assert token["top_logprobs"][0] == {name: token[name] for name in ("token", "bytes", "logprob")}
    usage = told["usage"]
    assert usage["completion_tokens"] == 1
    assert usage["total_tokens"] == usage["prompt_tokens"] + 1


@pytest.mark.parametrize("begun", ["<think>red.</think><answer>", "", "<think>first: "])
def test_log_probabilities_are_the_models_own_unscaled(served, judge, begun):
    expected = plain_log_probs(judge, 1, begun)
    spelled = judge._thinker.reader.token_bytes(list(range(judge._thinker.policy.vocabulary.size)))
    for temperature, tokens in ((0, 1), (1, 1), (0.5, 3)):
        body = chat(1, begun, logprobs=True, top_logprobs=20, temperature=temperature, max_tokens=tokens)
        first = answered(served, body)["choices"][0]["logprobs"]["content"][0]
        top = expected.topk(20)
        assert [bytes(each["bytes"]) for each in first["top_logprobs"]] == [spelled[n] for n in top.indices.tolist()]
        torch.testing.assert_close(
            torch.tensor([each["logprob"] for each in first["top_logprobs"]]), top.values, atol=1e-4, rtol=0
        )
        assert bytes(first["bytes"]) in spelled


def test_log_probabilities_of_every_token_of_a_longer_answer(served, judge):
    told = answered(served, chat(2, "<think>", logprobs=True, top_logprobs=2, max_tokens=6))
    tokens = told["choices"][0]["logprobs"]["content"]
    assert len(tokens) == told["usage"]["completion_tokens"] == 6
    assert "".join(token["token"] for token in tokens) == told["choices"][0]["message"]["content"]
    begun = "<think>"
    for token in tokens:  # at temperature 0 each is the likeliest
        best = plain_log_probs(judge, 2, begun).max()
        assert token["logprob"] == pytest.approx(float(best), abs=1e-4)
        assert token["top_logprobs"][0]["token"] == token["token"]
        begun += token["token"]


def test_a_whole_judgement_ends_by_itself(served):
    told = answered(served, chat(3, None, max_tokens=200, logprobs=True))
    (choice,) = told["choices"]
    assert choice["finish_reason"] == "stop"
    assert choice["message"]["content"].startswith("<think>")
    assert choice["message"]["content"].endswith("</answer>")
    assert choice["logprobs"]["content"][-1]["token"].startswith("<|")  # the end token is told of, and no part of it
    assert choice["logprobs"]["content"][0]["top_logprobs"] == []
    assert (
        answered(served, chat(3, None, max_completion_tokens=200, max_tokens=None))["choices"][0]["message"]
        == (choice["message"])
    )


def test_a_seed_decides_what_is_drawn(served):
    texts = [
        answered(served, chat(4, None, max_tokens=40, temperature=1, seed=seed))["choices"][0]["message"]["content"]
        for seed in (0, 0, 1, 2, 3)
    ]
    assert texts[0] == texts[1]
    assert len(set(texts)) > 1
    assert answered(served, chat(4, None, max_tokens=40, temperature=1))["choices"][0]["message"]["content"] == texts[0]


def test_an_answer_does_not_depend_on_what_is_asked_with_it(served):
    bodies = [
        chat(place % 4, begun, logprobs=True, top_logprobs=5, **options)
        for place in range(8)
        for begun in ("<think>red.</think><answer>", "<think>blue circles, crisp.</think><answer>")
        for options in ({}, {"max_tokens": 9, "temperature": 1, "seed": place}, {"max_tokens": 5})
    ]
    alone = [answered(served, body) for body in bodies]
    together: dict[int, dict[str, Any]] = {}
    threads = [
        threading.Thread(target=lambda n=n: together.__setitem__(n, answered(served, bodies[n])))  # type: ignore[misc]
        for n in range(len(bodies))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for n, expected in enumerate(alone):
        one, other = expected["choices"][0], together[n]["choices"][0]
        assert other["message"] == one["message"]
        assert together[n]["usage"] == expected["usage"]
        for token, same in zip(other["logprobs"]["content"], one["logprobs"]["content"], strict=True):
            assert token["token"] == same["token"]
            assert token["logprob"] == pytest.approx(same["logprob"], abs=1e-4)


def forwards(judge: Judge) -> tuple[list[tuple[int, ...]], Any]:
    shapes: list[tuple[int, ...]] = []
    hook = judge._thinker.policy.language_model.register_forward_hook(
        lambda _, __, kwargs, ___: shapes.append(tuple(kwargs["inputs_embeds"].shape[:2])), with_kwargs=True
    )
    return shapes, hook


def one_token(place: int, begun: str) -> Chat:
    return Chat(question(place), bytes([place]), begun, 1, 0.0, 0, 20)


def test_replies_about_one_question_share_its_pass(judge):
    thinker = judge._thinker
    begun = ["<think>red.</think><answer>", "<think>a</think><answer>", "", "<think>two</think><answer>"]
    shapes, hook = forwards(judge)
    try:
        answers = answer_chats(thinker, [one_token(place, text) for text in begun for place in (0, 1)])
    finally:
        hook.remove()
    encoder = thinker.reader.encoder
    prompt = int(encoder.encode([question(0), question(1)]).lengths_P.max())
    written = sum(len(encoder.encode_text(text)) + 1 for text in begun)
    assert shapes == [(2, prompt + written)]  # each prompt once, each beginning, and a place for each next token
    for n, answer in enumerate(answers):
        expected = plain_log_probs(judge, n % 2, begun[n // 2])
        assert answer.tokens is not None
        assert answer.tokens[0].log_prob == pytest.approx(float(expected.max()), abs=1e-4)


def test_groups_of_very_unequal_size_do_not_fill_each_other_up(judge):
    chats = [one_token(0, f"<think>{n}</think><answer>") for n in range(9)]
    chats += [one_token(1, "<answer>"), one_token(2, "<answer>"), one_token(2, "<think>"), one_token(3, "<answer>")]
    shapes, hook = forwards(judge)
    try:
        answers = answer_chats(judge._thinker, chats)
    finally:
        hook.remove()
    assert [rows for rows, _ in shapes] == [1, 3]
    alone = [answer_chats(judge._thinker, [each])[0] for each in chats]
    for one, other in zip(answers, alone, strict=True):
        assert one.text == other.text
        assert one.prompt_tokens == other.prompt_tokens
        assert one.tokens is not None
        assert other.tokens is not None
        assert one.tokens[0].log_prob == pytest.approx(other.tokens[0].log_prob, abs=1e-4)


def test_tokens_that_are_never_drawn_are_told_of_all_the_same(judge, monkeypatch):
    """The likeliest token is made one that the policy must not write: it is told of, and another is chosen."""
    thinker = judge._thinker
    best = int(plain_log_probs(judge, 0, "<answer>").argmax())
    never = replace(thinker.policy.vocabulary, suppressed_ids=torch.tensor([best]))
    monkeypatch.setattr(thinker.policy, "vocabulary", never)
    (answer,) = answer_chats(thinker, [one_token(0, "<answer>")])
    assert answer.tokens is not None
    spelled = thinker.reader.token_bytes([best])[0]
    assert answer.tokens[0].top[0].spelling == spelled
    assert answer.text.encode() != spelled


def test_requests_are_counted_and_logged_as_others_are(served, caplog):
    caplog.set_level("INFO", "lit_listener.server")
    told = ask(served, "POST", "/v1/chat/completions", chat(), {"X-Request-ID": "mine"})
    assert told.json["id"] == "chatcmpl-mine"
    assert "event=accepted request_id=mine" in caplog.text
    assert "images=2 completions=1" in caplog.text
    figures = ask(served, "GET", "/metrics").content.decode()
    assert 'lit_listener_requests_total{route="/v1/chat/completions",status="200"}' in figures


def test_probabilities_of_the_judge_and_of_the_chat_agree(served, judge):
    """The judge's own p(second) after a trace is what a chat's labels give, renormalised."""
    pair = PAIRS[5]
    trace = judge.compare(pair.prompt, pair.image_a, pair.image_b, both_orders=False).traces[0]
    template = judge._thinker.task.encode(_shown(pair)).messages
    assert trace.first == "a"
    images = [content(5)[1], content(5)[3]]
    messages = [
        {
            "role": each["role"],
            "content": [images.pop(0) if part["type"] == "image" else part for part in each["content"]],
        }
        for each in template
    ]
    begun = trace.text[: trace.text.rindex("<answer>") + len("<answer>")]
    body = chat(5, begun, logprobs=True, top_logprobs=20)
    body["messages"] = [*messages, body["messages"][-1]]
    top = answered(served, body)["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
    p = {label: sum(math.exp(t["logprob"]) for t in top if t["token"] in (label, f" {label}")) for label in "01"}
    assert p["0"] / (p["0"] + p["1"]) == pytest.approx(trace.p_a, abs=1e-3)


def _shown(pair: Any) -> Any:
    from lit_listener.data.shown import ShownPair  # noqa: PLC0415

    return ShownPair(pair, "a", 0)


def test_without_the_option_there_is_no_such_address(port):
    assert ask(port, "POST", "/v1/chat/completions", chat()).status == 404
    assert ask(port, "GET", "/v1/models").status == 404
    assert json.loads(ask(port, "GET", "/v1/models").content)["error"]["code"] == "not_found"
