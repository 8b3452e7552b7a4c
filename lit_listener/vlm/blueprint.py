"""Blank models for the simulated worlds: a small Qwen2.5-VL or Qwen2-VL, its tokenizer and image processor, untrained.

Everything has the shape of the real thing, only smaller: the same architecture class, patches of 14 and merges of 2,
a byte-level BPE with Qwen's pre-tokenizer, special tokens and chat format, in which the think and answer tags are
plain text that straddles tokens. The vocabulary is learned from a world's own sentences. A blueprint is a size and a
world; the bundled blank model is ``SHAPES``.

    python -m lit_listener.vlm.blueprint FOLDER CONFIG [--world shapes|scenes] [--size small|medium|other] \
        [--weights SEED]
"""

import itertools
import json
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import yaml
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers
from transformers import AutoModelForImageTextToText, GenerationConfig, Qwen2Tokenizer
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from lit_listener.data.scenes import RENDERERS as SCENES_RENDERERS
from lit_listener.data.scenes import ScenesPairs, ScenesTraces
from lit_listener.data.shapes import RENDERERS as SHAPES_RENDERERS
from lit_listener.data.shapes import ShapesPairs, ShapesTraces
from lit_listener.data.shown import Demonstration, ShownPair
from lit_listener.tasks import PairwisePreference
from lit_listener.vlm.sizes import MEDIUM, OTHER, SMALL, ModelSize

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


Corpus = Callable[[], Iterator[Demonstration]]
"""What a world says: demonstrations from which the vocabulary is learned."""


@dataclass(frozen=True)
class Blueprint:
    """A model's size, and the world that it shall speak of."""

    size: ModelSize
    corpus: Corpus
    largest_vocabulary: int = 1024


def _shapes_corpus() -> Iterator[Demonstration]:
    pairs = ShapesPairs(sorted(SHAPES_RENDERERS), size=1500, seed=0)
    traces = ShapesTraces({"thorough": 0.6, "hasty": 0.4})
    for index, first in zip(range(len(pairs)), itertools.cycle("ab")):
        yield traces(ShownPair(pairs[index], first, index))  # type: ignore[arg-type]  # cycle() widens the literal


def _scenes_corpus() -> Iterator[Demonstration]:
    pairs = ScenesPairs(sorted(SCENES_RENDERERS), size=1500, seed=0, drop_ties=False)
    traces = ScenesTraces({"thorough": 0.6, "hasty": 0.4})
    for index, first in zip(range(len(pairs)), itertools.cycle("ab")):
        yield traces(ShownPair(pairs.undrawn(index), first, index))  # type: ignore[arg-type]  # as above


SHAPES = Blueprint(SMALL, _shapes_corpus)
SCENES = Blueprint(MEDIUM, _scenes_corpus, largest_vocabulary=2048)
WORLDS: Mapping[str, Blueprint] = {"shapes": SHAPES, "scenes": SCENES}
SIZES: Mapping[str, ModelSize] = {"small": SMALL, "medium": MEDIUM, "other": OTHER}


def write_blank(
    folder: Path, task: PairwisePreference, blueprint: Blueprint = SHAPES, weights_seed: int | None = None
) -> None:
    """Write config, tokenizer and image-processor files of a blank model into ``folder``.

    Args:
        folder: where to write; made where missing.
        task: the task whose wording the vocabulary shall cover.
        blueprint: the model's size and its world.
        weights_seed: write new weights too, drawn from this seed; None writes none (the bundled blank model's are drawn
            whenever it is loaded).
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = build_tokenizer(task, blueprint)
    config = blueprint.size.config(tokenizer)
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    Qwen2VLImageProcessorPil(
        patch_size=14,
        merge_size=2,
        temporal_patch_size=2,
        min_pixels=56 * 56,
        max_pixels=blueprint.size.image_side**2,
    ).save_pretrained(folder)
    generation = GenerationConfig(
        eos_token_id=[tokenizer.convert_tokens_to_ids(t) for t in ("<|im_end|>", "<|endoftext|>")],
        pad_token_id=tokenizer.pad_token_id,
    )
    if weights_seed is not None:
        with torch.random.fork_rng():
            torch.manual_seed(weights_seed)
            AutoModelForImageTextToText.from_config(config).save_pretrained(folder)
    generation.save_pretrained(folder)


def build_tokenizer(task: PairwisePreference, blueprint: Blueprint = SHAPES) -> Qwen2Tokenizer:
    """A byte-level BPE in Qwen's form, trained on the sentences of a world."""
    trainee = Tokenizer(models.BPE())
    trainee.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated", invert=False),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=blueprint.largest_vocabulary,
        min_frequency=2,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    trainee.train_from_iterator(_sentences(task, blueprint.corpus), trainer)
    model = json.loads(trainee.to_str())["model"]  # the JSON keeps the merges' order, which is their rank
    tokenizer = Qwen2Tokenizer(
        vocab=model["vocab"],
        merges=[tuple(merge) for merge in model["merges"]],  # type: ignore[misc]  # declared str, taken as pairs
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(SPECIAL_TOKENS),
        model_max_length=blueprint.size.context_tokens,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def _sentences(task: PairwisePreference, corpus: Corpus) -> Iterator[str]:
    for demonstration in corpus():
        for message in task.encode(demonstration.shown).messages:
            yield message["role"] + "\n"
            yield from (part["text"] for part in message["content"] if part["type"] == "text")
        yield "assistant\n"
        yield task.write(demonstration)


def main(options: Sequence[str] | None = None) -> None:
    """Write the blank model that the command line asks for."""
    parser = ArgumentParser(prog="python -m lit_listener.vlm.blueprint", description="Write a blank model.")
    parser.add_argument("folder", type=Path, help="where to write it")
    parser.add_argument("config", type=Path, help="a config of the world, whose question the vocabulary shall cover")
    parser.add_argument(
        "--world", choices=WORLDS, default="shapes", help="whose sentences the vocabulary is learned of"
    )
    parser.add_argument(
        "--size",
        choices=SIZES,
        help="small: 1.3 million parameters; medium: 40; other: 0.8, of another architecture; by default its world's",
    )
    parser.add_argument("--weights", type=int, metavar="SEED", help="write new weights too, drawn from this seed")
    given = parser.parse_args(options)
    blueprint = WORLDS[given.world]
    if given.size is not None:
        blueprint = replace(blueprint, size=SIZES[given.size])
    task = yaml.safe_load(given.config.read_text())["model"]["init_args"]["task"]["init_args"]
    write_blank(given.folder, PairwisePreference(**task), blueprint, given.weights)


if __name__ == "__main__":
    main()
