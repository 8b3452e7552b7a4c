"""The blank model of the Shapes world: a Qwen2.5-VL of 1.3 M parameters, its tokenizer and image processor, untrained.

Everything has the shape of the real thing, only smaller: the same architecture class, patches of 14 and merges of 2,
a byte-level BPE with Qwen's pre-tokenizer, special tokens and chat format, in which the think and answer tags are
plain text that straddles tokens. The vocabulary is learned from the world's own sentences.
"""

import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers
from transformers import GenerationConfig, Qwen2_5_VLConfig, Qwen2Tokenizer
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from lit_listener.data.records import ShownPair
from lit_listener.data.shapes.renderers import RENDERERS
from lit_listener.data.shapes.traces import ShapesTraces
from lit_listener.data.shapes.world import ShapesPairs
from lit_listener.tasks import PairwisePreference

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
CONTEXT_TOKENS = 1024
_LARGEST_VOCABULARY = 1024
_CORPUS_PAIRS = 1500
_INITIALIZER_RANGE = 0.06
"""Deviation of new weights. At the usual 0.02, a width of 128 looks at its images after 1,000 steps; so after 150."""


def write_blank(folder: Path, task: PairwisePreference) -> None:
    """Write config, tokenizer and image-processor files (no weights) of the blank Shapes model into ``folder``.

    Args:
        folder: where to write; made where missing.
        task: the task whose wording the vocabulary shall cover.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = build_tokenizer(task)
    config = build_config(tokenizer)
    config.architectures = ["Qwen2_5_VLForConditionalGeneration"]
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    Qwen2VLImageProcessorPil(
        patch_size=14, merge_size=2, temporal_patch_size=2, min_pixels=56 * 56, max_pixels=112 * 112
    ).save_pretrained(folder)
    GenerationConfig(
        eos_token_id=[tokenizer.convert_tokens_to_ids(t) for t in ("<|im_end|>", "<|endoftext|>")],
        pad_token_id=tokenizer.pad_token_id,
    ).save_pretrained(folder)


def build_tokenizer(task: PairwisePreference) -> Qwen2Tokenizer:
    """A byte-level BPE in Qwen's form, trained on the sentences of the Shapes world."""
    trainee = Tokenizer(models.BPE())
    trainee.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated", invert=False),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=_LARGEST_VOCABULARY,
        min_frequency=2,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    trainee.train_from_iterator(_sentences(task), trainer)
    model = json.loads(trainee.to_str())["model"]  # the JSON keeps the merges' order, which is their rank
    tokenizer = Qwen2Tokenizer(
        vocab=model["vocab"],
        merges=[tuple(merge) for merge in model["merges"]],  # type: ignore[misc]  # declared str, taken as pairs
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(SPECIAL_TOKENS),
        model_max_length=CONTEXT_TOKENS,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def build_config(tokenizer: Qwen2Tokenizer) -> Qwen2_5_VLConfig:
    """The architecture: hidden 128, 4 layers, 4 heads (2 of keys and values), vision depth 2 and width 96."""

    def token(text: str) -> int:
        return int(tokenizer.convert_tokens_to_ids(text))  # type: ignore[arg-type]  # one token, one id

    return Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 128,
            "intermediate_size": 384,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": CONTEXT_TOKENS,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 6, 6]},
            "rms_norm_eps": 1e-6,
            "initializer_range": _INITIALIZER_RANGE,
            "tie_word_embeddings": True,
            "bos_token_id": None,
            "eos_token_id": token("<|im_end|>"),
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config={
            "depth": 2,
            "hidden_size": 96,
            "intermediate_size": 192,
            "num_heads": 4,
            "out_hidden_size": 128,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "window_size": 112,
            "fullatt_block_indexes": [1],
            "initializer_range": _INITIALIZER_RANGE,
        },
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        tie_word_embeddings=True,
    )


def _sentences(task: PairwisePreference) -> Iterator[str]:
    pairs = ShapesPairs(sorted(RENDERERS), size=_CORPUS_PAIRS, seed=0)
    traces = ShapesTraces({"thorough": 0.6, "hasty": 0.4})
    for index, first in zip(range(_CORPUS_PAIRS), itertools.cycle("ab")):
        shown = ShownPair(pairs[index], first, index)  # type: ignore[arg-type]  # cycle() widens the literal
        for message in task.encode(shown).messages:
            yield message["role"] + "\n"
            yield from (part["text"] for part in message["content"] if part["type"] == "text")
        yield "assistant\n"
        yield task.write(traces(shown))


if __name__ == "__main__":  # python -m lit_listener.vlm.blueprint FOLDER CONFIG
    import yaml

    task_arguments = yaml.safe_load(Path(sys.argv[2]).read_text())["model"]["init_args"]["task"]["init_args"]
    write_blank(Path(sys.argv[1]), PairwisePreference(**task_arguments))
