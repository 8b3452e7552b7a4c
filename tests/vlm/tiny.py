"""A Qwen2.5-VL of two layers that has everything the real one has (or its kin), and the plain way of asking it.

Its vocabulary has rows beyond the tokenizer's ids, its generation config has the penalties of a released one, and its
new weights are large, so that a wrong mask or position shows in every logit. ``plain_*`` work one row a completion,
through the model's own forward pass, and share no code with the package.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import AutoConfig, AutoModelForImageTextToText, GenerationConfig, Qwen2Tokenizer
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from lit_listener.data.records import PreferencePair
from lit_listener.data.shown import ShownPair
from lit_listener.tasks import PairwisePreference
from lit_listener.vlm.backbone import Backbone, Scores
from lit_listener.vlm.blueprint import CHAT_TEMPLATE, SPECIAL_TOKENS, build_tokenizer
from lit_listener.vlm.completions import Completions
from lit_listener.vlm.encoding import PromptBatch, Reader
from lit_listener.vlm.listeners import Hearing
from lit_listener.vlm.loading import Models
from lit_listener.vlm.packing import pack
from lit_listener.vlm.rollout import GroupedRollout, RolloutEngine, Sampling
from lit_listener.vlm.rollout.engine import Draw
from lit_listener.vlm.streams import ItemKey

TASK = PairwisePreference(
    template="{prompt}\n{image_0}{image_1}\nWhich?",
    system=None,
    retelling="Listen: {prompt}\n{image_0}{image_1}\nWhich?",
    continuation="{trace} So: <answer>",
)
SUPPRESSED = ("<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>")
PADDED_ROWS = 7
CONTEXT = 400
Size = tuple[int, int]


@cache
def trained_tokenizer() -> Qwen2Tokenizer:
    return build_tokenizer(TASK)


def letters_tokenizer() -> Qwen2Tokenizer:
    """Another vocabulary: every byte is a token, and no others."""
    trained = trained_tokenizer()
    letters = sorted(token for token in trained.get_vocab() if len(token) == 1)
    tokenizer = Qwen2Tokenizer(
        vocab={token: index for index, token in enumerate(letters)},
        merges=[],
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(SPECIAL_TOKENS),
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


FAMILIES = ("qwen2_5_vl", "qwen2_vl", "qwen3_vl")
FOUR_BIT_WIDTHS = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4}
"""Sizes that 4-bit weights come in: rows of whole blocks of 64."""
_MROPE = {"rope_type": "default", "rope_theta": 100.0, "mrope_section": [2, 3, 3]}
_TEXT_OF: dict[str, dict[str, Any]] = {
    "qwen2_5_vl": {"rope_parameters": _MROPE},
    "qwen2_vl": {"rope_parameters": _MROPE},
    "qwen3_vl": {"rope_parameters": {**_MROPE, "mrope_interleaved": True}, "head_dim": 16, "num_hidden_layers": 4},
}
_VISION_OF: dict[str, dict[str, Any]] = {
    "qwen2_5_vl": {
        "hidden_size": 32,
        "intermediate_size": 48,
        "window_size": 56,
        "fullatt_block_indexes": [1],
    },
    "qwen2_vl": {"embed_dim": 32, "mlp_ratio": 2},
    "qwen3_vl": {
        "depth": 4,
        "hidden_size": 32,
        "intermediate_size": 48,
        "patch_size": 16,
        "num_position_embeddings": 16,
        "deepstack_visual_indexes": [0, 2],  # after the first and the third block: into decoder layers 0 and 1
    },
}


def write_tiny(
    folder: Path, *, seed: int = 0, tokenizer: Any = None, family: str = "qwen2_5_vl", **text_config: Any
) -> Path:
    """Write a Hugging Face folder with random weights."""
    tokenizer = tokenizer or trained_tokenizer()

    def token(text: str) -> int:
        return tokenizer.convert_tokens_to_ids(text)

    config = AutoConfig.for_model(
        family,
        text_config={
            "vocab_size": len(tokenizer) + PADDED_ROWS,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "max_position_embeddings": CONTEXT,
            "initializer_range": 0.2,
            "tie_word_embeddings": False,
            "eos_token_id": token("<|im_end|>"),
            "pad_token_id": token("<|endoftext|>"),
            **_TEXT_OF[family],
            **text_config,
        },
        vision_config={
            "depth": 2,
            "num_heads": 2,
            "patch_size": 14,
            "initializer_range": 0.2,
            ("hidden_size" if family == "qwen2_vl" else "out_hidden_size"): text_config.get("hidden_size", 32),
            **_VISION_OF[family],
        },
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        tie_word_embeddings=text_config.get("tie_word_embeddings", False),
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForImageTextToText.from_config(config)
    model.generation_config = GenerationConfig(
        eos_token_id=[token("<|im_end|>"), token("<|endoftext|>")],
        pad_token_id=token("<|endoftext|>"),
        do_sample=True,
        repetition_penalty=1.05,
        temperature=1e-6,
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    patch: int = config.vision_config.patch_size
    limits = {"shortest_edge": (2 * patch) ** 2, "longest_edge": (8 * patch) ** 2}
    Qwen2VLImageProcessorPil(patch_size=patch, merge_size=2, size=limits).save_pretrained(folder)
    return folder


def shown(index: int = 0, *, sizes: tuple[Size, Size] = ((56, 56), (84, 56)), words: int = 2) -> ShownPair:
    """A pair of noise images of given (width, height), with a prompt of so many words; the label is index % 2."""
    rng = np.random.default_rng(index)
    first, second = (Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)) for width, height in sizes)
    pair = PreferencePair(
        prompt=" ".join(["red circle"] * words),
        image_a=first,
        image_b=second,
        share_a=float(index % 2 == 0),
        votes=1,
        pair_id=f"pair-{index}",
        prompt_id=f"prompt-{index}",
    )
    return ShownPair(pair, "a", index)


def mixed(count: int) -> list[ShownPair]:
    """Pairs whose prompts and images differ in length and size."""
    sides = (56, 84, 112, 28)
    return [
        shown(n, sizes=((sides[n % 4], sides[(n + 1) % 4]), (sides[(n + 2) % 3], sides[n % 3])), words=1 + n % 5)
        for n in range(count)
    ]


def completions(backbone: Backbone, lengths: Sequence[int], seed: int = 0) -> Completions:
    """Random tokens that could be sampled, ending with an end token."""
    vocabulary = backbone.vocabulary
    banned = {*vocabulary.suppressed_ids.tolist(), *vocabulary.end_ids}
    allowed = [token for token in range(vocabulary.size) if token not in banned]
    rng = np.random.default_rng(seed)
    rows = [[*rng.choice(allowed, length - 1).tolist(), vocabulary.end_ids[0]] for length in lengths]
    return Completions.from_ids(rows, vocabulary.pad_id)


def score(backbone: Backbone, prompts: PromptBatch, given: Completions, **options: Any) -> Scores:
    """A packed pass."""
    return backbone.score(pack(prompts, given), backbone.image_features(prompts), **options)


def plain_inputs(reader: Reader, pair: ShownPair, completion: Sequence[int], task: Any = TASK) -> dict[str, Tensor]:
    """What transformers' own processor would make of one question, and a completion after it."""
    question = task.encode(pair)
    text = reader.tokenizer.apply_chat_template(list(question.messages), tokenize=False, add_generation_prompt=True)
    patches = reader.image_processor(images=list(question.images), return_tensors="pt")
    for grid in patches["image_grid_thw"]:
        text = text.replace("<|image_pad|>", "<|placeholder|>" * (int(grid.prod()) // 4), 1)
    prompt = reader.tokenizer(text.replace("<|placeholder|>", "<|image_pad|>"))["input_ids"]
    ids = torch.tensor([[*prompt, *completion]])
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "mm_token_type_ids": (ids == reader.tokenizer.convert_tokens_to_ids("<|image_pad|>")).int(),
        "pixel_values": patches["pixel_values"],
        "image_grid_thw": patches["image_grid_thw"],
    }


def plain_logits(backbone: Backbone, reader: Reader, pair: ShownPair, completion: Sequence[int]) -> Tensor:
    """Unscaled logits [T, V] that predict a completion's tokens."""
    logits = backbone.model(**plain_inputs(reader, pair, completion)).logits[0]
    return logits[-len(completion) - 1 : -1]


def plain_log_probs(
    backbone: Backbone, reader: Reader, pair: ShownPair, completion: Sequence[int], temperature: float = 1.0
) -> Tensor:
    """Log-probabilities [T] of a completion's tokens under the distribution that is sampled from."""
    scaled = plain_logits(backbone, reader, pair, completion) / temperature
    banned = torch.zeros(scaled.shape[1], dtype=torch.bool)
    banned[[reader.tokenizer.convert_tokens_to_ids(token) for token in SUPPRESSED]] = True
    banned[len(reader.tokenizer) :] = True
    return scaled.masked_fill(banned, float("-inf")).log_softmax(-1)[range(len(completion)), list(completion)]


def rollout(
    backbone: Backbone,
    prompts: PromptBatch,
    features_MD: Tensor,
    *,
    group_size: int,
    sampling: Sampling,
    keys: Sequence[ItemKey],
    engine: RolloutEngine | None = None,
    **options: Any,
) -> Completions:
    """Completions by the in-process engine, or another."""
    draw = Draw(group_size, sampling, keys, **options)
    return (engine or GroupedRollout()).draw(backbone, prompts, features_MD, draw)


def real_rows(given: Completions) -> list[list[int]]:
    """The completions' tokens without padding."""
    return [row[mask].tolist() for row, mask in zip(given.ids_NT, given.mask_NT, strict=True)]


def hearing(
    backbone: Backbone, reader: Reader, pairs: Sequence[ShownPair], texts: Sequence[str], label_ids: Any, **changes: Any
) -> Hearing:
    """What a listener is given for completions of these texts, the reference being ``backbone``."""
    end = reader.tokenizer.eos_token_id
    given = Completions.from_ids([[*reader.encoder.encode_text(text), end] for text in texts], end)
    contents = given.content_ids()
    transcripts = [TASK.parse(reader.token_bytes(ids), truncated=False) for ids in contents]
    heard = [ids[: transcript.answer_token] for ids, transcript in zip(contents, transcripts, strict=True)]
    with torch.no_grad():
        reference = score(
            backbone,
            reader.encoder.encode([TASK.encode(pair) for pair in pairs]),
            given,
            answer_place_N=torch.tensor([transcript.answer_token or 0 for transcript in transcripts]),
            label_ids=label_ids,
        )
    fields = {
        "shown": pairs,
        "keys": [(0, pair.index) for pair in pairs],
        "labels": [pair.label for pair in pairs],
        "completions": given,
        "transcripts": transcripts,
        "trace_bytes": [b"".join(reader.token_bytes(ids)) for ids in heard],
        "trace_ids": heard,
        "reference": reference,
    }
    return Hearing(**{**fields, **changes})


def log_probs(backbone: Backbone, reader: Reader) -> Tensor:
    """Of given completions of two questions."""
    prompts = reader.encoder.encode([TASK.encode(pair) for pair in mixed(2)])
    return score(backbone, prompts, completions(backbone, [4, 2, 3, 5])).log_probs_NT


def reference_log_probs(models: Models) -> Tensor:
    """The same, by the reference."""
    with models.reference.active() as backbone:
        return log_probs(backbone, models.reader)


def train(models: Models, seed: int = 0) -> None:
    """Stands for training: every trainable weight becomes another."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in models.policy.parameters():
            if parameter.requires_grad:
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
