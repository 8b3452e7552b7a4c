"""Completions cut into sentences: by hand, and what holds of every completion."""

from hypothesis import given
from hypothesis import strategies as st

from lit_listener.judging.cut_thoughts import CutThoughts, Variant, retold
from lit_listener.tasks.rating_verdicts import RatingVerdicts
from lit_listener.tasks.verdicts import pair_verdicts

CUT = pair_verdicts().sentences
TRACE = b"<think>\nIt is red. It is big...  The first\n is better.\n</think>\n<answer>"


def cut(raw: bytes) -> CutThoughts:
    return CutThoughts(raw, CUT)


def texts(raw: bytes) -> list[str]:
    thoughts = cut(raw)
    return [thoughts.in_characters(sentence)[0] for sentence in thoughts.sentences]


def written(raw: bytes, variants: list[Variant]) -> list[bytes]:
    return [raw[: variant.kept] + variant.rest for variant in variants]


def test_by_hand():
    # a sentence ends with its marks, and with its line: "The first" is cut from " is better."
    assert texts(TRACE) == ["It is red.", "It is big...", "The first", "is better."]
    assert written(TRACE, cut(TRACE).beginnings()) == [
        b"<think>\n\n</think>\n<answer>",  # the form is the trace's own, white space included
        b"<think>\nIt is red.\n</think>\n<answer>",
        b"<think>\nIt is red. It is big...\n</think>\n<answer>",
        b"<think>\nIt is red. It is big...  The first\n</think>\n<answer>",
        TRACE,
    ]
    assert written(TRACE, cut(TRACE).without_each()) == [
        b"<think>\nIt is big...  The first\n is better.\n</think>\n<answer>",
        b"<think>\nIt is red.  The first\n is better.\n</think>\n<answer>",
        b"<think>\nIt is red. It is big...\n is better.\n</think>\n<answer>",
        b"<think>\nIt is red. It is big...  The first\n</think>\n<answer>",
    ]


def test_places_are_counted_in_characters():
    raw = "<think>é red. ü big.</think><answer>".encode()
    places = [cut(raw).in_characters(sentence) for sentence in cut(raw).sentences]
    assert cut(raw).thinking == "é red. ü big."
    assert places == [("é red.", 0, 6), ("ü big.", 7, 13)]  # bytes: 7 and 7


def test_one_sentence_none_and_no_thoughts():
    one = b"<think>red.</think><answer>"
    assert written(one, cut(one).beginnings()) == [b"<think></think><answer>", one]
    assert written(one, cut(one).without_each()) == [b"<think></think><answer>"]
    for none in (b"<think></think><answer>", b"<think> \n</think><answer>", b"<answer>", b""):
        assert texts(none) == []
        assert written(none, cut(none).beginnings()) == [none]
        assert cut(none).without_each() == []
    assert cut(b"red. </think><answer>").thinking == ""  # as the parser has it: no think block was opened


def test_marks_alone_are_no_sentences():
    assert texts(b"<think>... Red. ; !\n\n?! Big.</think><answer>") == ["Red. ; !\n\n?!", "Big."]
    assert texts(b"<think>?!</think><answer>") == []


def test_bytes_that_are_no_text_stay_as_they_are():
    raw = b"<think>a\xff\xfe red. \xe2\x82 big.</think><answer>"
    assert written(raw, cut(raw).beginnings())[1] == b"<think>a\xff\xfe red.</think><answer>"
    assert texts(raw)[0] == "a\ufffd\ufffd red."


def test_a_rating_is_not_cut_in_two():
    thoughts = CutThoughts(b"<think>I give 4.5 of 5. It is red.</think><answer>", RatingVerdicts("12345").sentences)
    assert [thoughts.in_characters(sentence)[0] for sentence in thoughts.sentences] == [
        "I give 4.5 of 5.",
        "It is red.",
    ]


@given(st.text("ab .!?;\n\té<>", max_size=40), st.sampled_from([b"</think><answer>", b"<answer>", b""]))
def test_every_completion(text, end):
    raw = b"<think>" + text.encode() + end
    thoughts = cut(raw)
    assert "".join(CUT(text)) == text
    beginnings, without = written(raw, thoughts.beginnings()), written(raw, thoughts.without_each())
    assert beginnings[-1] == raw
    assert len(beginnings) == len(thoughts.sentences) + 1
    assert [len(each) for each in beginnings] == sorted(len(each) for each in beginnings)
    for number, sentence in enumerate(thoughts.sentences):
        words = raw[sentence]
        assert words == words.strip() != b""
        written_text, start, stop = thoughts.in_characters(sentence)
        assert thoughts.thinking[start:stop] == written_text
        kept = without[number]
        assert len(kept) <= len(raw) - len(words)
        assert sorted(kept.replace(b" ", b"") + words.replace(b" ", b"")) == sorted((kept + words).replace(b" ", b""))


def test_what_follows_is_tokenised_from_the_last_word_on():
    """Hand-made tokens: the full stop is one with what follows it, as in Qwen's tokenizer."""
    pieces = [b"<", b"think", b">", b"It", b" is", b" red", b".", b" It", b" is", b" big", b".</", b"think", b">"]
    ids = list(range(len(pieces)))
    assert retold(ids, pieces, Variant(len(b"<think>It is red."), b"</think>")) == ([0, 1, 2, 3, 4], b" red.</think>")
    assert retold(ids, pieces, Variant(len(b"<think>It is"), b".")) == ([0, 1, 2, 3], b" is.")
    assert retold(ids, pieces, Variant(len(b"<think>"), b"</think>")) == ([], b"<think></think>")
    whole = Variant(sum(map(len, pieces)), b"")
    assert retold(ids, pieces, whole) == (ids, b"")
