"""Grammars meet a real tokenizer: the label stands where its probability is read, whatever the form of the reply."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lit_listener.tasks import Grammar, parse_transcript
from lit_listener.vlm.encoding import Reader, label_token_ids
from lit_listener.vlm.loading import PolicySpec, load_backbone

GRAMMARS = [
    Grammar(("0", "1")),
    Grammar(("0", "1"), thinks=False),
    Grammar(("1", "2"), "Image {label} is better"),
    Grammar(("1", "2", "3", "4"), "Image {label}", thinks=False),
    Grammar(("A", "B"), "({label})"),
    Grammar(("y", "n")),
]


@pytest.fixture(scope="module")
def reader() -> Reader:
    return load_backbone("shapes-instruct", PolicySpec("shapes-instruct"))[1]


@pytest.mark.parametrize("grammar", GRAMMARS, ids=lambda grammar: grammar.reply("", 0))
def test_the_label_is_read_where_it_is_written(reader, grammar):
    label_ids = label_token_ids(reader.tokenizer, grammar.labels)

    @settings(max_examples=60, deadline=None)
    @given(
        st.text(max_size=30).filter(lambda text: "<" not in text),
        st.integers(0, len(grammar.labels) - 1),
        st.booleans(),
    )
    def check(thought: str, answer: int, spaced: bool) -> None:
        reply = grammar.reply(thought, answer)
        reply = reply.replace("</think>", "</think>\n") if spaced else reply
        ids = reader.encoder.encode_text(reply, special=False)
        transcript = parse_transcript(reader.token_bytes(ids), grammar, truncated=False)
        assert (transcript.outcome, transcript.answer) == ("ok", answer)
        assert transcript.answer_token is not None
        assert ids[transcript.answer_token] in label_ids[answer]

    check()


@pytest.mark.parametrize("grammar", GRAMMARS, ids=lambda grammar: grammar.reply("", 0))
@pytest.mark.parametrize("raw", ["", "<think>a red circle", "<think>a</think>", "<think>a</think><answer>Im", "red <"])
def test_a_completion_that_is_led_to_an_answer_goes_on_with_the_labels_token(reader, grammar, raw):
    kept, text = grammar.closing(raw.encode())
    led_up = reader.encoder.encode_text(raw.encode()[:kept].decode() + text, special=False)
    rest_of_reply = grammar.reply("", 1).rpartition(grammar.opens)[2]
    rest = reader.encoder.encode_text(rest_of_reply, special=False)
    assert rest[0] in label_token_ids(reader.tokenizer, grammar.labels)[1]
    whole = reader.encoder.encode_text(raw.encode()[:kept].decode() + text + rest_of_reply, special=False)
    assert whole == [*led_up, *rest]  # as a model that was trained on whole replies has seen it
    transcript = parse_transcript(reader.token_bytes([*led_up, *rest]), grammar, truncated=False)
    assert (transcript.answer, transcript.answer_token) == (1, len(led_up))


def test_a_label_of_several_tokens_is_refused_with_a_way_out(reader):
    message = r"lacks the answer label '10': expected one known token, got .*\. Choose other labels \(letters, say"
    with pytest.raises(ValueError, match=message):
        label_token_ids(reader.tokenizer, Grammar(("10", "20")).labels)
    with pytest.raises(ValueError, match="lacks the answer label 'yes'"):  # " yes" is a token here, and "yes" is none
        label_token_ids(reader.tokenizer, Grammar(("yes", "no")).labels)
