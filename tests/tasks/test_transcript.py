"""Completions are read strictly, and from the tokens' bytes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lit_listener.tasks import Outcome, Transcript, parse_transcript
from lit_listener.tasks.transcript import beyond_repair, closing

LABELS = ("0", "1")


def read(text: str, *, truncated: bool = False, labels: tuple[str, ...] = LABELS) -> Transcript:
    """Parse with one token a byte, the finest cut there is."""
    return parse_transcript([bytes([byte]) for byte in text.encode()], labels, truncated=truncated)


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
    labels = tuple(str(rating) for rating in range(1, 11))
    assert read("<think>a</think><answer> 10 </answer>", labels=labels).answer == 9
    assert read("<think>a</think><answer>1</answer>", labels=labels).answer == 0


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
    assert parse_transcript([token.encode() for token in tokens], LABELS, truncated=False).answer_token == expected


def test_a_bad_label_keeps_its_place():
    transcript = parse_transcript([b"<think>a</think><answer>", b"two", b"</answer>"], LABELS, truncated=False)
    assert (transcript.outcome, transcript.answer, transcript.answer_token) == (Outcome.BAD_LABEL, None, 1)


def test_characters_may_straddle_tokens():
    smile = "🙂".encode()
    tokens = [b"<think>", smile[:1], smile[1:3], smile[3:] + b"</think><answer>", b"1", b"</answer>"]
    transcript = parse_transcript(tokens, LABELS, truncated=False)
    assert (transcript.think, transcript.outcome, transcript.answer_token) == ("🙂", Outcome.OK, 4)


def test_bytes_that_are_no_utf8_are_replaced():
    transcript = parse_transcript(
        [b"<think>\xf0\x9f", b"</think><answer>", b"1", b"</answer>"], LABELS, truncated=False
    )
    assert transcript.think == "�"
    assert transcript.text == "<think>�</think><answer>1</answer>"
    assert transcript.answer_token == 2


def test_a_long_run_of_tags_is_read_in_linear_time():
    transcript = read("<answer>" * 20_000 + "</answer>" + "<think>" * 20_000)
    assert transcript.outcome is Outcome.BAD_LABEL


SPACE = st.text(" \n\t", max_size=2)
TAGS = ["<think>", "</think>", "<answer>", "</answer>"]
PIECES = [*TAGS, "<th", "</", "ink>", "answer>", "0", "1", "10", " ", "\n", "a", "<"]
GOOD = "<think>a</think><answer>1</answer>"


@given(st.lists(SPACE, min_size=5, max_size=5), st.text(max_size=8), st.sampled_from(["0", "1", "10"]))
def test_no_beginning_of_a_good_completion_is_given_up(spaces, thought, label):
    labels = ("0", "1", "10")
    a, b, c, d, e = spaces
    text = f"{a}<think>{thought}</think>{b}<answer>{c}{label}{d}</answer>{e}"
    if read(text, labels=labels).outcome == "ok":  # a thought may hold a tag
        raw = text.encode()
        assert not any(beyond_repair(raw[:end], labels) for end in range(len(raw) + 1))


@settings(max_examples=400)
@given(pieces=st.lists(st.sampled_from(PIECES), max_size=9), more=st.lists(st.sampled_from(PIECES), max_size=9))
def test_what_is_given_up_never_comes_to_good(pieces, more):
    raw = "".join(pieces)
    if beyond_repair(raw.encode(), LABELS):
        assert read(raw + "".join(more)).outcome != "ok"
        assert beyond_repair((raw + "".join(more)).encode(), LABELS)
    else:  # and what is not given up can be completed
        endings = [GOOD[at:] for at in (0, 7, 16, 24, 25, 34)]
        starts = [raw + tag[cut:] for tag in TAGS for cut in range(len(tag)) if not cut or raw.endswith(tag[:cut])]
        assert any(read(start + ending).outcome == "ok" for start in [raw, *starts] for ending in endings)


@pytest.mark.parametrize(
    ("raw", "hopeless"),
    [
        ("", False), ("Well", True), (" <thi", False), ("<thx", True), ("<think>anything <at all", False),
        ("<think>a<answer>", True), ("<think>a</think>b", True), ("<think>a</think> <ans", False),
        ("<think>a</think><answer>2", True), ("<think>a</think><answer> 1 </ans", False),
        ("<think>a</think><answer>1 is", True), ("<think>a</think><answer>1</answer> ", False),
        ("<think>a</think><answer>1</answer>.", True), ("<think>a</think><answer></answer>", True),
    ],
)  # fmt: skip
def test_what_is_beyond_repair(raw, hopeless):
    assert beyond_repair(raw.encode(), LABELS) is hopeless


@pytest.mark.parametrize(
    ("raw", "closed"),
    [
        ("", "</think><answer>"),
        ("<think>a cat", "<think>a cat</think><answer>"),
        ("<think>a cat</thi", "<think>a cat</think><answer>"),
        ("<think>a cat<", "<think>a cat</think><answer>"),
        ("<think>a cat</think>", "<think>a cat</think><answer>"),
        ("<think>a cat</think>\n", "<think>a cat</think><answer>"),
        ("<think>a cat</think><ans", "<think>a cat</think><answer>"),
        ("<think>a cat</think>the second", "<think>a cat</think><answer>"),
        ("<think>a cat<answer>", "<think>a cat</think><answer>"),
        ("<think>a cat</think><answer fit. 1</answer>0 fit. a dog.</think><answer>", "<think>a cat</think><answer>"),
        ("<think>a cat</think><answer>", "<think>a cat</think><answer>"),
        ("<think>a cat</think><answer> \n", "<think>a cat</think><answer>"),
        ('<think>a cat</think><answer>"1"</answer>', "<think>a cat</think><answer>"),
        ("no tags at all", "no tags at all</think><answer>"),
    ],
)
def test_how_a_completion_is_led_to_an_answers_place(raw, closed):
    kept, text = closing(raw.encode())
    assert raw.encode()[:kept].decode() + text == closed


@given(st.text(alphabet="<>/thinkanswer 01", max_size=40))
def test_wherever_a_completion_was_cut_an_answers_place_follows(raw):
    kept, text = closing(raw.encode())
    led_up = raw.encode()[:kept] + text.encode()
    place = parse_transcript([led_up, b"1", b"</answer>"], LABELS, truncated=False)
    assert (place.answer, place.answer_token) == (1, 1)
