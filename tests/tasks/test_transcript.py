"""Completions are read strictly, and from the tokens' bytes."""

import pytest

from lit_listener.tasks import Grammar, Outcome, Transcript, parse_transcript

PAPERS = Grammar(("0", "1"))


def read(text: str, *, truncated: bool = False, grammar: Grammar = PAPERS) -> Transcript:
    """Parse with one token a byte, the finest cut there is."""
    return parse_transcript([bytes([byte]) for byte in text.encode()], grammar, truncated=truncated)


@pytest.mark.parametrize(
    ("text", "outcome", "answer", "think"),
    [
        ("<think>a</think><answer>1</answer>", "ok", 1, "a"),
        (" \n<think>a\nb < c</think>\n\n<answer>\n0 </answer>\n", "ok", 0, "a\nb < c"),
        ("<think></think><answer>0</answer>", "ok", 0, ""),
        ("", "no_answer", None, None),
        ("the answer is 1", "no_answer", None, None),
        ("<think>a</think>1", "no_answer", None, "a"),
        ("<think>a</think><answer>1", "no_answer", None, "a"),
        ("<think>a<answer>1", "no_answer", None, "a"),
        ("<think>1</think></answer>", "no_answer", None, "1"),
        ("<think>a", "no_answer", None, "a"),
        ("<answer>1</answer>", "no_think", 1, None),
        ("<think>a<answer>1</answer>", "no_think", 1, "a"),
        ("<answer>1</answer><think>a</think>", "no_think", 1, "a"),
        ("a</think><answer>1</answer>", "no_think", 1, None),
        ("<think>a</think><answer>2</answer>", "bad_label", None, "a"),
        ("<think>a</think><answer></answer>", "bad_label", None, "a"),
        ("<think>a</think><answer>1 is better</answer>", "bad_label", None, "a"),
        ("<think>a</think><answer>01</answer>", "bad_label", None, "a"),
        ("<think>a</think><answer>1</answer><answer>x</answer>", "bad_label", None, "a"),
        ("<think>a</think><answer>1</answer>.", "trailing_text", 1, "a"),
        ("Well: <think>a</think><answer>1</answer>", "leading_text", 1, "a"),
        ("Well: <think>a</think><answer>1</answer>!", "leading_text", 1, "a"),
        ("<think>a</think>so<answer>1</answer>", "repeated_tags", 1, "a"),
        ("<think>a</think><think>b</think><answer>1</answer>", "repeated_tags", 1, "a"),
        ("<think>a</think></think><answer>1</answer>", "repeated_tags", 1, "a"),
        ("<think>a<answer>0</answer></think>", "repeated_tags", 0, "a<answer>0</answer>"),
        ("<think>a</think><answer>0</answer><answer>1</answer>", "repeated_tags", 1, "a"),
        ("<think>a</think><answer>0</answer><answer>1", "repeated_tags", 0, "a"),
        ("<think>a</think><answer>0<answer>1</answer>", "repeated_tags", 1, "a"),
        ("<think>a</think><answer>1</answer></answer>", "repeated_tags", 1, "a"),
        ("<think>a <answer>0</answer> b</think><answer>1</answer>", "repeated_tags", 1, "a <answer>0</answer> b"),
        ("<Think>a</Think><answer>1</answer>", "no_think", 1, None),
        ("<think>a</think><answer>\uff11</answer>", "bad_label", None, "a"),
    ],
)
def test_outcome_answer_and_thoughts(text, outcome, answer, think):
    transcript = read(text)
    assert (transcript.outcome, transcript.answer, transcript.think) == (outcome, answer, think)
    assert transcript.text == text
    assert transcript.well_formed == (outcome == "ok")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>a", None),
        ("<think>a</think><answer>1", None),
        ("<think>a</think><answer>1</answer>", 1),
        ("<answer>0</answer>", 0),
    ],
)
def test_truncation_outranks_every_other_outcome_and_leaves_the_answer_readable(text, answer):
    transcript = read(text, truncated=True)
    assert (transcript.outcome, transcript.answer) == (Outcome.TRUNCATED, answer)


def test_labels_are_compared_whole():
    grammar = Grammar(("yes", "no"))
    assert read("<think>a</think><answer> no </answer>", grammar=grammar).answer == 1
    assert read("<think>a</think><answer>nobody</answer>", grammar=grammar).outcome == "bad_label"
    assert read("<think>a</think><answer>No</answer>", grammar=grammar).outcome == "bad_label"


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        (["<think>", "a", ".</", "think", "><", "answer", ">", "1", "</", "answer", ">"], 7),
        (["<think>a</think><answer>", "1", "</answer>"], 1),
        (["<think>a</think><answer>", " 1", "</answer>"], 1),
        (["<think>a</think><answer>", " ", "\n", "1", "</answer>"], 3),
        (["<think>a</think><answer>", "1</answer>"], 1),
        (["<think>a</think><answer>", "10", "</answer>"], 1),
        # A line feed fused with the tag: what stands before the label is the tag and white space all the same.
        (["<think>a</think><answer", ">\n", "1", "\n</answer>"], 2),
        (["<think>a</think><answer", ">\n", " ", " 1", "\n</answer>"], 3),
        # Anything else fused with the tag: no token begins at the label's place.
        (["<think>a</think><answer", ">1", "</answer>"], None),
        (["<think>a</think><answer", '>"', "1", '"</answer>'], None),
        (["<think>a</think><answer", "> 1", "</answer>"], None),
        # An empty answer: its place is that of the closing tag.
        (["<think>a</think><answer>", "</", "answer>"], 1),
        # Tokens that stand for nothing (padded vocabulary ids) are passed over.
        (["<think>a</think><answer>", "", "1", "</answer>"], 2),
        # None closed: the last one opened.
        (["<answer>", "0", "<answer>", "1"], 3),
        (["<think>a</think><answer>", "1"], 1),
        (["<think>a</think><answer>", " "], None),
        (["<think>a</think><answer>"], None),
        (["<think>a</think>"], None),
        # The last closed one, not the last opened, nor a label that stands in the thoughts.
        (["<think>", "1", "</think><answer>", "0", "</answer><answer>", "1"], 3),
        (["<answer>", "0", "</answer>", "<answer>", "1", "</answer>"], 4),
        ([], None),
    ],
)
def test_the_answer_token_is_the_one_at_the_labels_place(tokens, expected):
    assert parse_transcript([token.encode() for token in tokens], PAPERS, truncated=False).answer_token == expected


def test_a_bad_label_keeps_its_place():
    transcript = parse_transcript([b"<think>a</think><answer>", b"two", b"</answer>"], PAPERS, truncated=False)
    assert (transcript.outcome, transcript.answer, transcript.answer_token) == (Outcome.BAD_LABEL, None, 1)


def test_characters_may_straddle_tokens():
    smile = "🙂".encode()
    tokens = [b"<think>", smile[:1], smile[1:3], smile[3:] + b"</think><answer>", b"1", b"</answer>"]
    transcript = parse_transcript(tokens, PAPERS, truncated=False)
    assert (transcript.think, transcript.outcome, transcript.answer_token) == ("🙂", Outcome.OK, 4)


def test_bytes_that_are_no_utf8_are_replaced():
    transcript = parse_transcript(
        [b"<think>\xf0\x9f", b"</think><answer>", b"1", b"</answer>"], PAPERS, truncated=False
    )
    assert transcript.think == "�"
    assert transcript.text == "<think>�</think><answer>1</answer>"
    assert transcript.answer_token == 2


def test_a_long_run_of_tags_is_read_in_linear_time():
    transcript = read("<answer>" * 20_000 + "</answer>" + "<think>" * 20_000)
    assert transcript.outcome is Outcome.BAD_LABEL
