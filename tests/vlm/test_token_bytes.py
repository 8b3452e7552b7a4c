"""Token ids give back the bytes of the text they were made from, and the answer is found among them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

from lit_listener.tasks import Grammar, Outcome, parse_transcript
from lit_listener.vlm.token_bytes import TokenBytes

SPECIAL = ["<|endoftext|>", "<|im_end|>", "<|image_pad|>"]
CORPUS = [
    "<think>The first image is better.</think><answer>0</answer>",
    "<think>The second image fits the prompt better.</think><answer>1</answer>",
    "<think>Three red circles.\n</think>\n<answer>\n1\n</answer>\n",
] * 4


def byte_level() -> PreTrainedTokenizerFast:
    """A byte-level BPE with Qwen's pre-tokenizer, but not its NFC normaliser: any text comes back as it was."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=1000, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_tokens([AddedToken("<tööl>", normalized=False)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>")


def sentencepiece() -> PreTrainedTokenizerFast:
    """A BPE of Llama's kind: spaces as U+2581, unknown characters as bytes."""
    tokens = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "r", "e", "d", "▁r", "▁re", "▁red"]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    merges = [("▁", "r"), ("▁r", "e"), ("▁re", "d")]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")


BYTE_LEVEL = byte_level()
BYTES = TokenBytes(BYTE_LEVEL)
TEXT = st.text() | st.text(st.sampled_from("<>/answerthink 01\n\t\"'🙂é́\u3000"))


def pieces(text: str) -> list[bytes]:
    return BYTES(BYTE_LEVEL.encode(text))


def test_tags_straddle_tokens():
    tokens = [" better", ".</", "think", "><", "answer", ">", "1", "</", "answer", ">"]
    assert pieces(" better.</think><answer>1</answer>") == [token.encode() for token in tokens]


def test_a_line_feed_fused_with_the_tag_leaves_the_answer_in_its_place():
    tokens = pieces("<think>red</think>\n<answer>\n1\n</answer>")
    place = parse_transcript(tokens, Grammar(("0", "1")), truncated=False).answer_token
    assert place is not None
    assert tokens[place - 1 : place + 1] == [b">\n", b"1"]


def test_a_character_straddles_tokens():
    assert pieces("🙂") == [bytes([byte]) for byte in "🙂".encode()]


def test_every_byte_has_its_token():
    singles = [piece for piece in BYTES(range(len(BYTE_LEVEL))) if len(piece) == 1]
    assert sorted(singles) == [bytes([byte]) for byte in range(256)]


def test_special_and_added_tokens_stand_for_their_text():
    text = "a<|im_end|>b<tööl>"
    ids = BYTE_LEVEL.encode(text)
    assert len(ids) == 4
    assert BYTES(ids) == [b"a", b"<|im_end|>", b"b", "<tööl>".encode()]


def test_ids_past_the_vocabulary_stand_for_nothing():
    assert BYTES([len(BYTE_LEVEL), 10**6]) == [b"", b""]
    assert BYTES([]) == []


def test_negative_ids_are_refused():
    with pytest.raises(ValueError, match="must not be negative, got -100"):
        BYTES([1, -100])


@settings(max_examples=200, deadline=None)
@given(TEXT)
def test_bytes_join_to_the_text(text):
    assert b"".join(pieces(text)) == text.encode()


@settings(max_examples=50, deadline=None)
@given(st.text(st.sampled_from("red é🙂")))
def test_sentencepiece_bytes_join_to_the_text(text):
    tokenizer = sentencepiece()
    assert b"".join(TokenBytes(tokenizer)(tokenizer.encode(text))) == text.encode()


def test_sentencepiece_spaces_and_bytes():
    tokenizer = sentencepiece()
    assert TokenBytes(tokenizer)(tokenizer.encode(" redé")) == [b" red", b"\xc3", b"\xa9"]


@pytest.mark.parametrize("model", [models.WordLevel, models.WordPiece])
def test_other_vocabularies_are_refused(model):
    tokenizer = Tokenizer(model({"red": 0, "[UNK]": 1}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    with pytest.raises(ValueError, match=r"byte-level BPE or a sentencepiece vocabulary, found .*Whitespace"):
        TokenBytes(PreTrainedTokenizerFast(tokenizer_object=tokenizer))


def test_added_tokens_alone_do_not_hide_an_unknown_vocabulary():
    tokenizer = Tokenizer(models.BPE({"a": 0}, []))
    with pytest.raises(ValueError, match="cannot tell the bytes"):
        TokenBytes(PreTrainedTokenizerFast(tokenizer_object=tokenizer))


SPACES = st.text(st.sampled_from(" \n\t"), max_size=3)


@settings(max_examples=300, deadline=None)
@given(before=TEXT, space=SPACES, label=st.sampled_from("01"), after=TEXT)
def test_the_answer_token_begins_with_the_label(before, space, label, after):
    tokens = pieces(f"{before}<answer>{space}{label}</answer>{after.replace('</answer>', '')}")
    transcript = parse_transcript(tokens, Grammar(("0", "1")), truncated=False)
    assert transcript.answer == int(label)
    place = transcript.answer_token
    assert place is not None
    assert b"".join(tokens[:place]).rstrip().endswith(b"<answer>")
    assert tokens[place].lstrip().startswith(label.encode())


@settings(max_examples=100, deadline=None)
@given(trace=st.text().filter(lambda text: "<" not in text), space=SPACES, label=st.sampled_from("01"))
def test_tokenised_completions_are_well_formed(trace, space, label):
    tokens = pieces(f"<think>{trace}</think>{space}<answer>{space}{label}{space}</answer>{space}")
    transcript = parse_transcript(tokens, Grammar(("0", "1")), truncated=False)
    assert (transcript.outcome, transcript.answer, transcript.think) == (Outcome.OK, int(label), trace)
