"""The form of a reply: what keeps it, what may still come to keep it, and where its label stands."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lit_listener.tasks import Grammar, Transcript, parse_transcript

PAPERS = Grammar(("0", "1"))
ALONE = Grammar(("0", "1"), thinks=False)
WORDS = Grammar(("1", "2"), "Image {label} is better")
NAMED = Grammar(("A", "B", "C"), "Image {label}")
GRAMMARS = [PAPERS, ALONE, WORDS, NAMED, Grammar(("yes", "no"), "({label})", thinks=False)]
TAGS = ["<think>", "</think>", "<answer>", "</answer>"]


def read(text: str | bytes, grammar: Grammar = PAPERS) -> Transcript:
    """Parse with one token a byte, the finest cut there is."""
    raw = text if isinstance(text, bytes) else text.encode()
    return parse_transcript([bytes([byte]) for byte in raw], grammar, truncated=False)


# ---- the record ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (("0",), "labels must be two texts or more"),
        ([0, 1], "labels must be two texts or more, got .* in YAML, write numbers in quotation marks"),
        ("01", "labels must be two texts or more, got '01'"),
        (("0", ""), "a label must be text .*, got ''"),
        (("0", " 1"), "a label must be text .*, got ' 1'"),
        (("0", "<b>"), "a label must be text without '<'"),
        (("1", "2", "1"), "labels: '1' begins '1'"),
        (("1", "2", "10"), "labels: '1' begins '10', .* choose other labels, such as the letters A, B, C"),
    ],
)
def test_labels_that_cannot_be_told_apart_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        Grammar(labels)


@pytest.mark.parametrize("answer", ["", "Image", "{label} {label}", " {label}", "{label}\n", "<b>{label}", 3])
def test_an_answer_with_no_one_place_for_the_label_is_refused(answer):
    with pytest.raises(ValueError, match=r"answer must be words with \{label\} exactly once"):
        Grammar(("0", "1"), answer)


def test_behind_a_space_numbers_and_words_do_not_mix():
    with pytest.raises(ValueError, match=r"labels: behind the words 'Image ' all must be numbers or none, .*'B'"):
        Grammar(("1", "B"), "Image {label}")
    assert Grammar(("1", "B")).opens == "<answer>"


def test_a_list_of_labels_becomes_a_tuple_and_grammars_are_equal():
    assert Grammar(["0", "1"]) == PAPERS  # type: ignore[arg-type]  # as YAML gives them
    assert hash(Grammar(["0", "1"])) == hash(PAPERS)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("grammar", "reply", "opening"),
    [
        (PAPERS, "<think>so</think><answer>1</answer>", "<think>so</think><answer>"),
        (ALONE, "<answer>1</answer>", "<answer>"),
        (WORDS, "<think>so</think><answer>Image 2 is better</answer>", "<think>so</think><answer>Image "),
        (NAMED, "<think>so</think><answer>Image B</answer>", "<think>so</think><answer>Image"),
        (GRAMMARS[4], "<answer>(no)</answer>", "<answer>("),
    ],
)
def test_a_reply_and_its_opening(grammar, reply, opening):
    assert grammar.reply("so", 1) == reply
    assert grammar.opening("so") == opening
    assert reply.startswith(opening)


def test_an_opening_holds_no_tags_of_the_thoughts():
    assert WORDS.opening("a</think><answer>1<|im_end|>b") == "<think>a1b</think><answer>Image "


# ---- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("grammar", "text", "outcome", "answer"),
    [
        (WORDS, "<think>a</think>\n<answer>Image 2 is better</answer>", "ok", 1),
        (WORDS, "<think>a</think><answer> Image 1 is better\n</answer>", "ok", 0),
        (WORDS, "<think>a</think><answer>Image 3 is better</answer>", "bad_label", None),
        (WORDS, "<think>a</think><answer>image 1 is better</answer>", "bad_label", None),
        (WORDS, "<think>a</think><answer>Image  1 is better</answer>", "bad_label", None),
        (WORDS, "<think>a</think><answer>Image 1</answer>", "bad_label", None),
        (WORDS, "<think>a</think><answer>1</answer>", "bad_label", None),
        (WORDS, "<think>Image 1 is better</think><answer>It is.</answer>", "bad_label", None),
        (WORDS, "<think>a <answer>Image 1 is better</answer></think><answer>Image 2 is better</answer>",
         "repeated_tags", 1),
        (ALONE, "<answer>1</answer>", "ok", 1),
        (ALONE, " \n<answer> 0</answer>\n", "ok", 0),
        (ALONE, "", "no_answer", None),
        (ALONE, "1", "no_answer", None),
        (ALONE, "<answer>1", "no_answer", None),
        (ALONE, "<answer>2</answer>", "bad_label", None),
        (ALONE, "So: <answer>1</answer>", "leading_text", 1),
        (ALONE, "<think>a</think><answer>1</answer>", "leading_text", 1),
        (ALONE, "<answer>1</answer>.", "trailing_text", 1),
        (ALONE, "<answer>1</answer><think>a</think>", "trailing_text", 1),
        (ALONE, "<answer>0</answer><answer>1</answer>", "repeated_tags", 1),
        (ALONE, "<answer>1</answer></answer>", "repeated_tags", 1),
        (ALONE, "<answer>0<answer>1</answer>", "repeated_tags", 1),
    ],
)  # fmt: skip
def test_outcomes_of_other_forms(grammar, text, outcome, answer):
    transcript = read(text, grammar)
    assert (transcript.outcome, transcript.answer) == (outcome, answer)


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        (["<think>a</think><answer>", "Image", " 2", " is", " better", "</answer>"], 2),
        (["<think>a</think><answer", ">Image", " 2", " is better</", "answer>"], 2),
        (["<think>a</think><answer>", "Image ", "2", " is better</answer>"], 2),
        (["<think>a</think><answer>", "Image", " ", "2", " is better</answer>"], 3),
        (["<think>a</think><answer>", "\n", "Image", " 2", " is better\n</answer>"], 3),
        (["<think>a</think><answer>", " Image", " 2", " is better</answer>"], 2),
        # Left open, and a label that there is not: the place is there all the same.
        (["<think>a</think><answer>", "Image", " 2"], 2),
        (["<think>a</think><answer>", "Image", " 7", " is better</answer>"], 2),
        # No place: other words, the words fused with the label, or nothing behind them.
        (["<think>a</think><answer>", "The", " 2", " is better</answer>"], None),
        (["<think>a</think><answer>", "Imagine", " 2", "</answer>"], None),
        (["<think>a</think><answer>", "Ima", "ge 2", " is better</answer>"], None),
        (["<think>a</think><answer>", "Image 2", " is better</answer>"], None),
        (["<think>a</think><answer>", "Image"], None),
        (["<think>a</think><answer>", "Image", "2", " is better</answer>"], None),
        (["<think>a</think><answer>", "2", "</answer>"], None),
        # The last closed one.
        (["<answer>", "Image", " 1", " is better</answer>", "<answer>", "Image", " 2", " is better</answer>"], 6),
    ],
)
def test_the_answer_token_stands_behind_the_words_before_the_label(tokens, expected):
    assert parse_transcript([token.encode() for token in tokens], WORDS, truncated=False).answer_token == expected


def test_a_label_in_brackets():
    grammar = Grammar(("yes", "no"), "({label})")
    tokens = [b"<think>a</think><answer", b">(", b"no", b")</", b"answer>"]
    transcript = parse_transcript(tokens, grammar, truncated=False)
    assert (transcript.answer, transcript.answer_token, transcript.outcome) == (1, 2, "ok")


@st.composite
def cut(draw: st.DrawFn, raw: bytes) -> list[bytes]:
    """Tokens that make up these bytes, cut anywhere, inside characters too."""
    places = draw(st.sets(st.integers(1, len(raw) - 1), max_size=len(raw) - 1)) if len(raw) > 1 else set()
    edges = [0, *sorted(places), len(raw)]
    return [raw[a:b] for a, b in itertools.pairwise(edges)]


@settings(max_examples=400)
@given(
    data=st.data(),
    grammar=st.sampled_from(GRAMMARS),
    thought=st.text(max_size=12).filter(lambda text: "<" not in text),
    space=st.sampled_from(["", " ", "\n"]),
)
def test_what_is_written_reads_back_under_any_tokenisation(data, grammar, thought, space):
    answer = data.draw(st.integers(0, len(grammar.labels) - 1))
    reply = grammar.reply(thought, answer).replace("<answer>", f"<answer>{space}")
    tokens = data.draw(cut(reply.encode()))
    transcript = parse_transcript(tokens, grammar, truncated=False)
    assert (transcript.outcome, transcript.answer) == ("ok", answer)
    assert transcript.think == (thought if grammar.thinks else None)
    place = transcript.answer_token
    # By counting: the bytes up to the label, and the tokens that begin between the words before it and the label.
    label_at = reply.encode().rindex(grammar.spellings[answer].encode()) + len(grammar.before_label.encode())
    words_end = len(reply.encode()[:label_at].rstrip()) if grammar.before_label else label_at - len(space)
    starts = [sum(map(len, tokens[:n])) for n in range(len(tokens))]
    holding = next(n for n, start in enumerate(starts) if start <= label_at < start + len(tokens[n]))
    assert place == (holding if starts[holding] >= words_end else None)


# ---- what may still come ---------------------------------------------------------------------------------------------

SPACE = st.text(" \n\t", max_size=2)


@given(st.lists(SPACE, min_size=5, max_size=5), st.text(max_size=8), st.sampled_from(GRAMMARS), st.data())
def test_no_beginning_of_a_good_completion_is_given_up(spaces, thought, grammar, data):
    spelling = data.draw(st.sampled_from(grammar.spellings))
    a, b, c, d, e = spaces
    thoughts = f"{a}<think>{thought}</think>{b}" if grammar.thinks else a
    text = f"{thoughts}<answer>{c}{spelling}{d}</answer>{e}"
    if read(text, grammar).outcome == "ok":  # a thought may hold a tag
        raw = text.encode()
        assert not any(grammar.beyond_repair(raw[:end]) for end in range(len(raw) + 1))


def endings(grammar: Grammar) -> list[str]:
    """What can follow a good beginning: the rest of a good reply, from each of its joints on."""
    replies = [grammar.reply("a", answer) for answer in range(len(grammar.labels))]
    return [reply[at:] for reply in replies for at in range(len(reply) + 1)]


@settings(max_examples=600, deadline=None)
@given(grammar=st.sampled_from(GRAMMARS), data=st.data())
def test_what_is_given_up_never_comes_to_good(grammar, data):
    words = [*grammar.labels, grammar.before_label, *grammar.spellings]
    piece = st.sampled_from([*TAGS, "<th", "</", "ink>", "answer>", "10", " ", "\n", "a", "<", *words])
    raw = "".join(data.draw(st.lists(piece, max_size=9)))
    more = "".join(data.draw(st.lists(piece, max_size=9)))
    if grammar.beyond_repair(raw.encode()):
        assert read(raw + more, grammar).outcome != "ok"
        assert grammar.beyond_repair((raw + more).encode())
    else:  # and what is not given up can be completed
        assert any(read(raw + ending, grammar).outcome == "ok" for ending in endings(grammar))


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
    assert PAPERS.beyond_repair(raw.encode()) is hopeless


@pytest.mark.parametrize(
    ("grammar", "raw", "hopeless"),
    [
        (WORDS, "<think>a</think><answer>Ima", False), (WORDS, "<think>a</think><answer>The", True),
        (WORDS, "<think>a</think><answer>Image 1 is better <", False),
        (WORDS, "<think>a</think><answer>Image 3", True), (WORDS, "<think>a</think><answer>Image 1</", True),
        (ALONE, "", False), (ALONE, "<answer>", False), (ALONE, "<think>", True), (ALONE, "<th", True),
        (ALONE, "<answer>1</answer>", False), (ALONE, "<answer>1</answer><", True), (ALONE, "a", True),
    ],
)  # fmt: skip
def test_what_is_beyond_repair_in_other_forms(grammar, raw, hopeless):
    assert grammar.beyond_repair(raw.encode()) is hopeless


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
    kept, text = PAPERS.closing(raw.encode())
    assert raw.encode()[:kept].decode() + text == closed
    kept, text = WORDS.closing(raw.encode())
    assert raw.encode()[:kept].decode() + text == f"{closed}Image "
    assert ALONE.closing(raw.encode()) == (0, "<answer>")


@given(st.text(alphabet="<>/thinkanswer 01", max_size=40), st.sampled_from([PAPERS, ALONE, WORDS, NAMED]))
def test_wherever_a_completion_was_cut_an_answers_place_follows(raw, grammar):
    kept, text = grammar.closing(raw.encode())
    led_up = raw.encode()[:kept] + text.encode()
    spelling = grammar.reply("", 1).encode().rpartition(grammar.opens.encode())[2].partition(b"</")[0]  # " B", "2"
    place = parse_transcript([led_up, spelling, b"</answer>"], grammar, truncated=False)
    assert (place.answer, place.answer_token) == (1, 1)
