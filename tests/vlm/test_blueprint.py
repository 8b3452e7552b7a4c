"""The blank model has the real one's form: tags straddle tokens, text comes back, and its files load as a model's."""

import itertools
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer, GenerationConfig

from lit_listener.data.scenes import RENDERERS as SCENES_RENDERERS
from lit_listener.data.scenes import ScenesPairs, ScenesTraces
from lit_listener.data.scenes import scene as scenes
from lit_listener.data.shapes.renderers import RENDERERS
from lit_listener.data.shapes.scenes import COLOURS, COUNTS, FINISHES, SHAPES
from lit_listener.data.shapes.traces import ShapesTraces
from lit_listener.data.shapes.world import ShapesPairs
from lit_listener.data.shown import ShownPair
from lit_listener.tasks import Outcome, PairwisePreference
from lit_listener.vlm.blueprint import (
    SCENES,
    SPECIAL_TOKENS,
    build_tokenizer,
    main,
    write_blank,
)
from lit_listener.vlm.encoding import label_token_ids
from lit_listener.vlm.sizes import MEDIUM, OTHER, SMALL
from lit_listener.vlm.specs import BUNDLED
from lit_listener.vlm.token_bytes import TokenBytes
from tests.vlm.tiny import TASK, trained_tokenizer

ROOT = Path(__file__).parent.parent.parent
CONFIGS = ROOT / "configs"


def task_of(config: Path) -> PairwisePreference:
    return PairwisePreference(**yaml.safe_load(config.read_text())["model"]["init_args"]["task"]["init_args"])


@pytest.fixture(scope="module")
def scenes_tokenizer():
    return build_tokenizer(task_of(CONFIGS / "scenes" / "instruct.yaml"), SCENES)


def parameters(config) -> int:
    with torch.device("meta"):
        return sum(weight.numel() for weight in AutoModelForImageTextToText.from_config(config).parameters())


@pytest.fixture(scope="module")
def blank(tmp_path_factory):
    folder = tmp_path_factory.mktemp("blank") / "made" / "here"
    write_blank(folder, TASK)
    return folder


def test_tags_straddle_tokens():
    text = "<think>The second image is better.</think><answer>1</answer>"
    tokens = trained_tokenizer().tokenize(text)
    assert tokens[tokens.index(".</") :] == [".</", "think", "><", "answer", ">", "1", "</", "answer", ">"]
    transcript = TASK.parse(TokenBytes(trained_tokenizer())(trained_tokenizer().encode(text)), truncated=False)
    assert (transcript.outcome, transcript.answer) == (Outcome.OK, 1)
    assert tokens[transcript.answer_token] == "1"


def test_every_label_is_a_token():
    spellings = label_token_ids(trained_tokenizer(), TASK.labels)
    assert [trained_tokenizer().decode([ids[0]]) for ids in spellings] == ["0", "1"]


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_bytes_of_any_text_come_back(text):
    # the tokenizer composes accents (NFC), as Qwen's does; nothing else is changed
    ids = trained_tokenizer().encode(text, split_special_tokens=True)
    normalized = trained_tokenizer().backend_tokenizer.normalizer.normalize_str(text)
    assert b"".join(TokenBytes(trained_tokenizer())(ids)) == normalized.encode()
    assert trained_tokenizer().decode(ids) == normalized


def test_the_worlds_words_are_tokens():
    words = [f" {word}" for word in (*COUNTS, *COLOURS, *FINISHES, *SHAPES)]
    assert {word: len(trained_tokenizer().encode(word)) for word in words} == dict.fromkeys(words, 1)


def test_the_worlds_own_sentences_come_back():
    pairs = ShapesPairs(sorted(RENDERERS), size=20, split="test", seed=3)
    traces = ShapesTraces({"thorough": 1.0})
    for index in range(20):
        text = TASK.write(traces(ShownPair(pairs[index], "a", index)))
        assert trained_tokenizer().decode(trained_tokenizer().encode(text)) == text


def test_special_tokens_have_ids_of_their_own():
    tokenizer = trained_tokenizer()
    ids = tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS))
    assert len(set(ids)) == len(SPECIAL_TOKENS)
    assert all(
        tokenizer.encode(f"a{token}b")[1:-1] == [index] for token, index in zip(SPECIAL_TOKENS, ids, strict=True)
    )
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|endoftext|>")
    config = SMALL.config(tokenizer)
    named = {
        "<|image_pad|>": config.image_token_id,
        "<|video_pad|>": config.video_token_id,
        "<|vision_start|>": config.vision_start_token_id,
        "<|vision_end|>": config.vision_end_token_id,
        "<|im_end|>": config.text_config.eos_token_id,
        "<|endoftext|>": config.text_config.pad_token_id,
    }
    assert {token: tokenizer.convert_tokens_to_ids(token) for token in named} == named
    assert config.text_config.vocab_size == len(tokenizer)


def test_the_files_load_as_they_were_written(blank):
    tokenizer, built = AutoTokenizer.from_pretrained(blank), trained_tokenizer()
    assert tokenizer.get_vocab() == built.get_vocab()
    text = "<think>Two crisp  blue circles…\n</think><|im_end|> 10"
    assert tokenizer.encode(text) == built.encode(text)
    messages = [
        {"role": "system", "content": "Judge."},
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Nice?"}]},
    ]
    rendered = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert rendered == (
        "<|im_start|>system\nJudge.<|im_end|>\n<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>Nice?"
        "<|im_end|>\n<|im_start|>assistant\n"
    )
    assert tokenizer.all_special_ids == built.all_special_ids
    assert AutoConfig.from_pretrained(blank).to_dict()["text_config"] == SMALL.config(built).to_dict()["text_config"]
    processor = AutoImageProcessor.from_pretrained(blank, backend="pil")
    assert (processor.patch_size, processor.merge_size) == (14, 2)
    ends = GenerationConfig.from_pretrained(blank).eos_token_id
    assert built.convert_ids_to_tokens(ends) == ["<|im_end|>", "<|endoftext|>"]
    assert json.loads((blank / "config.json").read_text())["architectures"] == ["Qwen2_5_VLForConditionalGeneration"]


@pytest.mark.parametrize("name", ["shapes-blank", "shapes-blank-other"])
def test_a_bundled_blank_model_is_what_its_command_writes(name, tmp_path):
    """The command of ``make assets``, byte for byte."""
    bundled = BUNDLED[name]
    commands = re.findall(
        r"python -m lit_listener\.vlm\.blueprint \$\(ASSETS\)/(\S+) (.*)", (ROOT / "Makefile").read_text()
    )
    config, *options = dict(commands)[bundled.name].split()
    main([str(tmp_path), str(ROOT / config), *options])
    assert {file.name for file in tmp_path.iterdir()} == {file.name for file in bundled.iterdir()}
    for file in bundled.iterdir():
        assert file.read_bytes() == (tmp_path / file.name).read_bytes(), file.name


def test_a_medium_model_for_scenes_has_as_many_parameters_as_its_config_says(scenes_tokenizer):
    count = parameters(SCENES.size.config(scenes_tokenizer))
    assert 20e6 <= count <= 50e6
    said = re.search(r"blank model of ([\d.]+) million", (CONFIGS / "scenes" / "instruct.yaml").read_text())
    assert float(said[1]) == pytest.approx(count / 1e6, abs=0.05)
    assert parameters(SMALL.config(scenes_tokenizer)) < 2e6


def test_the_other_model_is_of_another_architecture_and_as_large_as_its_studys_config_says():
    config = OTHER.config(trained_tokenizer())
    assert config.model_type == "qwen2_vl"
    said = re.search(r"a Qwen2-VL of ([\d.]+) M", (CONFIGS / "shapes" / "study" / "other_listener.yaml").read_text())
    assert float(said[1]) == pytest.approx(parameters(config) / 1e6, abs=0.005)


@pytest.mark.parametrize("size", [SMALL, MEDIUM], ids=["small", "medium"])
def test_a_size_turns_each_pair_of_a_heads_dimensions_once(size):
    assert 2 * sum(size.mrope_section) == size.hidden // size.heads
    assert size.image_side % 28 == 0
    assert max(size.full_attention_blocks) == size.vision_depth - 1


def test_the_words_of_scenes_are_tokens_and_its_sentences_come_back(scenes_tokenizer):
    words = {*scenes.COUNTS, *scenes.COLOURS, *scenes.FINISHES, *scenes.SHAPES, "letter", "letters", "digit", "word"}
    lengths = {word: len(scenes_tokenizer.encode(f" {word}")) for word in words}
    assert lengths == dict.fromkeys(words, 1)
    pairs, traces = ScenesPairs(sorted(SCENES_RENDERERS), 40, split="test"), ScenesTraces({"thorough": 1.0})
    for index in range(40):
        text = TASK.write(traces(ShownPair(pairs.undrawn(index), "a", index)))
        assert scenes_tokenizer.decode(ids := scenes_tokenizer.encode(text)) == text
        assert len(ids) <= 160  # the new tokens that the configs allow


def test_a_blank_model_with_weights_is_loaded_like_any_other(tmp_path):
    tiny = replace(SMALL, hidden=32, intermediate=32, layers=1, heads=2, key_value_heads=1, mrope_section=(2, 3, 3))
    tiny = replace(tiny, vision_hidden=32, vision_intermediate=32, vision_depth=2, vision_heads=2, image_side=224)
    few = replace(SCENES, size=tiny, corpus=lambda: itertools.islice(SCENES.corpus(), 30))
    states = {}
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        torch.manual_seed(len(name))  # whatever was drawn before
        write_blank(tmp_path / name, TASK, few, seed)
        states[name] = AutoModelForImageTextToText.from_pretrained(tmp_path / name).state_dict()
    assert all(torch.equal(weight, states["again"][key]) for key, weight in states["one"].items())
    assert any(not torch.equal(weight, states["other"][key]) for key, weight in states["one"].items())
    processor = AutoImageProcessor.from_pretrained(tmp_path / "one", backend="pil")
    assert processor.size["longest_edge"] == 224 * 224
    ends = GenerationConfig.from_pretrained(tmp_path / "one").eos_token_id
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "one")
    assert tokenizer.convert_ids_to_tokens(ends) == ["<|im_end|>", "<|endoftext|>"]
