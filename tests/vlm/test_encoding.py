"""Questions as tensors, against what transformers' own processor and position code make of them."""

import copy
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lit_listener.tasks import Question
from lit_listener.vlm.encoding import Encoder, PromptTooLongError, label_token_ids, vocabulary_of
from tests.vlm.tiny import CONTEXT, SUPPRESSED, TASK, mixed, plain_inputs, shown

SIZE = st.tuples(st.integers(20, 130), st.integers(20, 130))


def encode(reader, pairs, **options):
    return reader.encoder.encode([TASK.encode(pair) for pair in pairs], **options)


@settings(max_examples=20, deadline=None)
@given(sizes=st.lists(st.tuples(SIZE, SIZE, st.integers(1, 6)), min_size=1, max_size=3))
def test_equals_plain_inputs_and_positions(backbone, reader, sizes):
    pairs = [shown(n, sizes=(first, second), words=words) for n, (first, second, words) in enumerate(sizes)]
    prompts = encode(reader, pairs)
    image_token = reader.tokenizer.convert_tokens_to_ids("<|image_pad|>")
    for n, pair in enumerate(pairs):
        plain = plain_inputs(reader, pair, [])
        mask = prompts.mask_PS[n]
        assert torch.equal(prompts.input_ids_PS[n, mask], plain["input_ids"][0])
        assert mask[: int(mask.sum())].all()  # padding is on the right
        positions, _ = backbone.model.model.get_rope_index(
            **{key: value for key, value in plain.items() if key != "pixel_values"}
        )
        assert torch.equal(prompts.position_ids_3PS[:, n, mask], positions[:, 0])
        assert int(prompts.next_position_P[n]) == int(positions.max()) + 1
        part = prompts.select(slice(n, n + 1))
        assert torch.equal(part.image_grid_I3, plain["image_grid_thw"])
        assert torch.equal(part.pixel_values_RC, plain["pixel_values"])
        assert int((part.input_ids_PS == image_token).sum()) == int(plain["image_grid_thw"].prod(1).sum()) // 4


def test_placeholders_by_hand(reader):
    # 84 x 56 pixels are 4 x 6 patches of 14, merged 2 x 2: 2 x 3 = 6 tokens; 28 x 28 is a single one.
    prompts = encode(reader, [shown(sizes=((84, 56), (28, 28)))])
    assert prompts.image_grid_I3.tolist() == [[1, 4, 6], [1, 2, 2]]
    tokens = reader.tokenizer.convert_ids_to_tokens(prompts.input_ids_PS[0])
    assert "".join("#" if token == "<|image_pad|>" else "." for token in tokens).strip(".") == "######..#"
    first = tokens.index("<|image_pad|>")
    start = int(prompts.position_ids_3PS[0, 0, first])
    assert prompts.position_ids_3PS[:, 0, first : first + 6].tolist() == [
        [start] * 6,
        [start, start, start, start + 1, start + 1, start + 1],
        [start, start + 1, start + 2] * 2,
    ]
    assert int(prompts.position_ids_3PS[0, 0, first + 6]) == start + 3  # text goes on after the longer side


@pytest.mark.parametrize(
    ("part", "prompts"), [(slice(1, 3), [1, 2]), (slice(None), [0, 1, 2]), (slice(0, 1), [0]), (slice(2, None), [2])]
)
def test_selection_takes_the_prompts_own_patches(reader, part, prompts):
    pairs = mixed(3)
    whole = encode(reader, pairs)
    few = whole.select(part)
    for place, prompt in enumerate(prompts):
        plain = plain_inputs(reader, pairs[prompt], [])
        one = few.select(slice(place, place + 1))
        assert torch.equal(one.pixel_values_RC, plain["pixel_values"])
        assert torch.equal(one.image_grid_I3, plain["image_grid_thw"])
        assert torch.equal(one.input_ids_PS[one.mask_PS], plain["input_ids"][0])
    assert len(few) == len(prompts)
    assert few.pixel_values_RC.shape[0] == int(few.image_grid_I3.prod(1).sum())
    numbered_M1 = torch.arange(len(whole.pixel_values_RC) // 4)[:, None]  # four patches are merged into one row
    images = [int(rows) // 4 for rows in whole.image_grid_I3.prod(1)]
    theirs = [torch.cat(numbered_M1.split(images)[2 * prompt : 2 * prompt + 2]) for prompt in prompts]
    assert torch.equal(whole.features_of(part, numbered_M1), torch.cat(theirs))


def test_questions_may_differ_in_their_number_of_images(reader):
    one = Question(
        messages=({"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Nice?"}]},),
        images=(Image.new("L", (56, 56), 200),),
        label=None,
    )
    prompts = reader.encoder.encode([TASK.encode(shown()), one])
    assert prompts.images_P.tolist() == [2, 1]
    assert prompts.select(slice(1, 2)).image_grid_I3.tolist() == [[1, 4, 4]]
    assert prompts.select(slice(0, 1)).image_grid_I3.tolist() == [[1, 4, 4], [1, 4, 6]]


def test_an_overlong_prompt_is_refused_not_cut(reader):
    pair = shown(words=3)
    length = encode(reader, [pair]).input_ids_PS.shape[1]
    encode(reader, [pair], room=CONTEXT - length)
    message = (
        rf"a prompt of {length} tokens \(10 of them images\) and {CONTEXT - length + 1} tokens of completion exceed "
        rf"the model's context of {CONTEXT}: shorten the prompt or max_new_tokens.*The prompt begins: .*red circle"
    )
    with pytest.raises(PromptTooLongError, match=message):
        encode(reader, [pair], room=CONTEXT - length + 1)


def test_a_template_that_loses_images_is_refused(reader):
    tokenizer = copy.deepcopy(reader.tokenizer)
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'][0]['text'] }}{% endfor %}"
    encoder = altered(reader, tokenizer)
    with pytest.raises(ValueError, match="the chat template made 0 image slots for 2 images"):
        encoder.encode([TASK.encode(shown())])


def altered(reader, tokenizer, patch_size=14) -> Encoder:
    config = SimpleNamespace(
        image_token_id=tokenizer.convert_tokens_to_ids("<|image_pad|>"),
        get_text_config=lambda: SimpleNamespace(max_position_embeddings=CONTEXT),
        vision_config=SimpleNamespace(patch_size=patch_size, spatial_merge_size=2),
    )
    return Encoder(tokenizer, reader.image_processor, lambda **_: None, config)


def test_no_chat_template_is_refused(reader):
    tokenizer = copy.deepcopy(reader.tokenizer)
    tokenizer.chat_template = None
    with pytest.raises(
        ValueError, match=r"the tokenizer of '.*model' has no chat template: an instruct model is needed"
    ):
        altered(reader, tokenizer)


def test_an_image_processor_of_another_model_is_refused(reader):
    message = r"preprocessor_config\.json: patch_size is 14, but the model's vision tower expects 16; take the file"
    with pytest.raises(ValueError, match=message):
        altered(reader, reader.tokenizer, patch_size=16)


def test_no_pad_token_is_refused(reader):
    tokenizer = copy.deepcopy(reader.tokenizer)
    tokenizer.pad_token = None
    encoder = altered(reader, tokenizer)
    with pytest.raises(ValueError, match=r"the tokenizer of '.*model' has no pad token: set pad_token in"):
        encoder.encode([TASK.encode(shown())])
    with pytest.raises(ValueError, match="has no pad token"):
        vocabulary_of(tokenizer, SimpleNamespace(), SimpleNamespace(eos_token_id=1))


def test_text_of_a_model_is_read_letter_by_letter(reader):
    text = "good<|image_pad|><|im_end|>"
    special = set(reader.tokenizer.convert_tokens_to_ids(["<|image_pad|>", "<|im_end|>"]))
    assert special < set(reader.encoder.encode_text(text))
    letters = reader.encoder.encode_text(text, special=False)
    assert not special & set(letters)
    assert b"".join(reader.token_bytes(letters)) == text.encode()
    assert reader.encoder.encode_text("<think>red", special=False) == reader.encoder.encode_text("<think>red")


def test_threads_do_not_change_each_others_special_tokens(reader, monkeypatch):
    tokenizer, text = reader.tokenizer, "<|image_pad|>red"
    encode_batch = type(tokenizer._tokenizer).encode_batch

    class Slow:
        """The tokenizer's backend, which takes a while to begin."""

        def __getattr__(self, name):
            return getattr(backend, name)

        def __setattr__(self, name, value):
            setattr(backend, name, value)

        def encode_batch(self, *args, **options):
            time.sleep(0.02)
            return encode_batch(backend, *args, **options)

    backend = tokenizer._tokenizer
    expected = [reader.encoder.encode_text(text, special=special) for special in (True, False)]
    assert expected[0] != expected[1]
    monkeypatch.setattr(tokenizer, "_tokenizer", Slow())
    with ThreadPoolExecutor(2) as threads:
        asked = [threads.submit(reader.encoder.encode_text, text, special=not n % 2) for n in range(10)]
        assert [each.result() for each in asked] == expected * 5


def test_vocabulary_of_a_released_model(backbone, reader):
    # its generation config names two end tokens, and penalties that sampling must not heed
    assert backbone.model.generation_config.repetition_penalty == 1.05
    vocabulary = backbone.vocabulary
    assert sorted(reader.tokenizer.convert_ids_to_tokens(vocabulary.end_ids)) == ["<|endoftext|>", "<|im_end|>"]
    assert vocabulary.pad_id == reader.tokenizer.pad_token_id
    assert set(reader.tokenizer.convert_ids_to_tokens(vocabulary.suppressed_ids)) == set(SUPPRESSED)
    assert vocabulary.size == len(reader.tokenizer) < backbone.model.lm_head.out_features


@pytest.mark.parametrize(("named", "added"), [(7, {7}), ([7, 8], {7, 8}), (None, set())])
def test_end_tokens_come_from_tokenizer_and_generation_config(reader, named, added):
    vocabulary = vocabulary_of(reader.tokenizer, SimpleNamespace(), SimpleNamespace(eos_token_id=named))
    assert vocabulary.end_ids == tuple(sorted({reader.tokenizer.eos_token_id, *added}))


def test_no_end_token_is_refused(reader):
    tokenizer = copy.deepcopy(reader.tokenizer)
    tokenizer.eos_token = None
    with pytest.raises(ValueError, match="completions would never end"):
        vocabulary_of(tokenizer, SimpleNamespace(), SimpleNamespace(eos_token_id=None))


class Spelling:
    """A tokenizer of a few tokens: "1", " 1", "3", " yes", "ye", "s"; everything else is unknown."""

    name_or_path, unk_token_id = "speller", 9
    table = {"1": [1], " 1": [2], "3": [6], " 3": [7, 6], "yes": [3, 4], " yes": [5], "no": [3, 4], " no": [3, 4, 4]}  # noqa: RUF012

    def encode(self, text, add_special_tokens):
        assert not add_special_tokens
        return self.table.get(text, [9])

    def convert_ids_to_tokens(self, ids):
        return [f"t{index}" for index in ids]


def test_all_single_token_spellings_of_a_label_count():
    assert label_token_ids(Spelling(), ["1", "3"]) == ((1, 2), (6,))


@pytest.mark.parametrize(
    ("label", "written"), [("no", r"\['t3', 't4'\]"), ("yes", r"\['t3', 't4'\]"), ("maybe", r"\['t9'\]")]
)
def test_a_label_that_is_no_token_is_refused(label, written):
    message = f"the tokenizer of 'speller' lacks the answer label '{label}': expected one known token, got {written}"
    with pytest.raises(ValueError, match=message):
        label_token_ids(Spelling(), ["1", label])


def test_an_image_that_is_shown_twice_is_cut_once(backbone, reader, monkeypatch):
    one, other = shown(0, sizes=((84, 56), (28, 28))), shown(1, sizes=((56, 56), (84, 28)))
    first, second = other.images
    questions = [TASK.encode(one), Question(TASK.encode(other).messages, (second, first), None), TASK.encode(other)]
    apart = [reader.encoder.encode([question]) for question in questions]
    cut: list[int] = []
    whole = type(reader.image_processor).__call__
    monkeypatch.setattr(
        type(reader.image_processor),
        "__call__",
        lambda self, images, **k: (cut.append(len(images)), whole(self, images, **k))[1],
    )
    together = reader.encoder.encode(questions)
    assert cut == [4]
    assert torch.equal(together.pixel_values_RC, torch.cat([part.pixel_values_RC for part in apart]))
    assert torch.equal(together.image_grid_I3, torch.cat([part.image_grid_I3 for part in apart]))


def test_picked_prompts_are_those_that_were_encoded_alone(reader):
    pairs = [shown(n, sizes=((28 * (n + 1), 56), (28, 28)), words=n + 1) for n in range(3)]
    prompts = encode(reader, pairs)
    picked = prompts.picked([2, 0, 2])
    for place, source in enumerate((2, 0, 2)):
        part, alone = picked.select(slice(place, place + 1)), encode(reader, [pairs[source]])
        length = int(alone.mask_PS.sum())
        assert torch.equal(part.input_ids_PS[:, :length], alone.input_ids_PS)
        assert torch.equal(part.position_ids_3PS[:, :, :length], alone.position_ids_3PS)
        assert torch.equal(part.pixel_values_RC, alone.pixel_values_RC)
        assert part.lengths_P.tolist() == alone.lengths_P.tolist()
        assert torch.equal(part.next_position_P, alone.next_position_P)
