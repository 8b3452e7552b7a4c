"""What is timed: model, images and lengths of a GRPO step, and the folder of random weights that both sides read.

Nothing is fetched. The configurations are those of the released models; their weights are drawn at random, which takes
the same time to compute with. The tokenizer is the bundled one, filled up to a real vocabulary's size where the model
has one: so a question is written in the same tokens on both sides, and every id can be decoded.
"""

import itertools
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from PIL import Image
from transformers import (
    AutoTokenizer,
    GenerationConfig,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from lit_listener.data.records import PreferencePair
from lit_listener.vlm.specs import BUNDLED

Vision = Literal["trained", "frozen"]
PROMPT = "three red circles"
"""One prompt for all pairs, so that every question has as many tokens as any other, on both sides."""
TEMPLATE = "{prompt}. first {image_0} second {image_1} Which is better, 0 or 1?"
_LARGEST_IMAGE = 1280 * 28 * 28
_BLANK = BUNDLED["shapes-blank"]


@dataclass(frozen=True)
class Shape:
    """One GRPO step: its model, its images and its lengths."""

    name: str
    device: Literal["cpu", "cuda"]
    text: Mapping[str, Any]
    """The language model's part of the configuration."""
    vision: Mapping[str, Any]
    """The vision tower's."""
    image_side: int
    """Pixels; two square images a question."""
    new_tokens: int
    """Tokens of every completion: none ends early."""
    prompts: int
    """P, prompts a step."""
    group_size: int
    """G, completions a prompt."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    lora_rank: int | None = None
    """Rank of adapters; None trains all weights."""
    quantization: Literal["nf4"] | None = None
    gradient_checkpointing: bool = False
    towers: tuple[Vision, ...] = ("trained", "frozen")
    """The states of the vision tower that are timed."""
    memory_limit_mib: int | None = None
    """What our side's peak must stay below; more is an error."""
    hidden: bool = False
    """Only for tests."""

    @property
    def completions(self) -> int:
        """N = P x G."""
        return self.prompts * self.group_size

    def as_dict(self) -> dict[str, Any]:
        """All fields, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """The shape whose ``as_dict`` this was."""
        return cls(**{**fields, "towers": tuple(fields["towers"])})


def _text(width: int, inner: int, layers: int, heads: tuple[int, int], rope: tuple[int, int, int]) -> dict[str, Any]:
    """A language model's configuration: width, inner width, layers, heads (of queries; of keys) and mrope sections."""
    return {
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads[0],
        "num_key_value_heads": heads[1],
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": list(rope)},
        "max_position_embeddings": 4096,
    }


def _vision(width: int, inner: int, depth: int, heads: int, out: int) -> dict[str, Any]:
    """A vision tower's configuration; every eighth block (of small towers: the last) attends to all of an image."""
    return {
        "hidden_size": width,
        "intermediate_size": inner,
        "depth": depth,
        "num_heads": heads,
        "out_hidden_size": out,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "window_size": 112,
        "fullatt_block_indexes": list(range(7, depth, 8)) or [depth - 1],
    }


_SMALL_TEXT = _text(256, 640, 4, (4, 2), (8, 12, 12))
_SMALL_VISION = _vision(128, 256, 4, 4, 256)
_TINY_TEXT = _text(64, 128, 2, (4, 2), (2, 3, 3))
_3B_TEXT = {**_text(2048, 11008, 36, (16, 2), (16, 24, 24)), "vocab_size": 151936, "tie_word_embeddings": True}
_7B_TEXT = {**_text(3584, 18944, 28, (28, 4), (16, 24, 24)), "vocab_size": 152064, "tie_word_embeddings": False}

SHAPES: dict[str, Shape] = {
    shape.name: shape
    for shape in (
        Shape("cpu-336-g10", "cpu", _SMALL_TEXT, _SMALL_VISION, 336, 64, prompts=2, group_size=10),
        Shape("cpu-112-g8", "cpu", _SMALL_TEXT, _SMALL_VISION, 112, 24, prompts=16, group_size=8),
        Shape(
            "h200-3b-512-g10",
            "cuda",
            _3B_TEXT,
            _vision(1280, 3420, 32, 16, 2048),
            512,
            256,
            prompts=2,
            group_size=10,
            dtype="bfloat16",
            lora_rank=16,
            gradient_checkpointing=True,
        ),
        Shape(
            "h200-7b-qlora",
            "cuda",
            _7B_TEXT,
            _vision(1280, 3420, 32, 16, 3584),
            512,
            256,
            prompts=2,
            group_size=10,
            dtype="bfloat16",
            lora_rank=16,
            quantization="nf4",
            gradient_checkpointing=True,
            towers=("frozen",),
            memory_limit_mib=24 * 1024,
        ),
        Shape("tiny", "cpu", _TINY_TEXT, _vision(32, 64, 1, 2, 64), 56, 4, prompts=2, group_size=4, hidden=True),
        Shape(
            "tiny-lora",
            "cpu",
            _TINY_TEXT,
            _vision(32, 64, 1, 2, 64),
            56,
            4,
            prompts=2,
            group_size=4,
            lora_rank=4,
            gradient_checkpointing=True,
            hidden=True,
        ),
    )
}


def named(name: str) -> Shape:
    """A shape by name.

    Raises:
        ValueError: there is none of that name, or it needs a GPU and this machine has none.
    """
    if name not in SHAPES:
        shown = sorted(shape.name for shape in SHAPES.values() if not shape.hidden)
        raise ValueError(f"--shape: {name!r} is not a shape; expected one of {shown}")
    if SHAPES[name].device == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"--shape: {name} needs a CUDA GPU, and torch sees none here; choose a cpu- shape")
    return SHAPES[name]


def fitting() -> list[Shape]:
    """The shapes that this machine is for: the GPU's where there is one, else the CPU's."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return [shape for shape in SHAPES.values() if shape.device == device and not shape.hidden]


def tokenizer_of(shape: Shape) -> Any:
    """The bundled tokenizer, with as many tokens as the shape's model has places for (less Qwen's usual padding)."""
    if "vocab_size" not in shape.text:
        return AutoTokenizer.from_pretrained(_BLANK)
    saved = json.loads((_BLANK / "tokenizer.json").read_text())
    vocabulary: dict[str, int] = dict(saved["model"]["vocab"])
    special = [token["content"] for token in sorted(saved["added_tokens"], key=lambda token: token["id"])]
    fill = ("".join(letters) for letters in itertools.product("abcdefghijklmnopqrstuvwxyz", repeat=4))
    size = 151_665 - len(special)  # what Qwen2.5-VL's own tokenizer holds, of 151,936 or 152,064 places
    for token in itertools.takewhile(lambda _: len(vocabulary) < size, fill):
        vocabulary.setdefault(token, len(vocabulary))
    tokenizer = Qwen2Tokenizer(
        vocab=vocabulary,
        merges=[tuple(merge) for merge in saved["model"]["merges"]],
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=special,
    )
    tokenizer.chat_template = AutoTokenizer.from_pretrained(_BLANK).chat_template
    return tokenizer


def config_of(shape: Shape, tokenizer: Any) -> Qwen2_5_VLConfig:
    """The model's configuration."""

    def token(text: str) -> int:
        return int(tokenizer.convert_tokens_to_ids(text))

    tied = shape.text.get("tie_word_embeddings", True)
    return Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "tie_word_embeddings": tied,
            "bos_token_id": None,
            "eos_token_id": token("<|im_end|>"),
            "pad_token_id": tokenizer.pad_token_id,
            **shape.text,
        },
        vision_config=dict(shape.vision),
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        tie_word_embeddings=tied,
        architectures=["Qwen2_5_VLForConditionalGeneration"],
    )


def write_model(shape: Shape, folder: Path) -> None:
    """Write random weights, tokenizer and image processor: the one folder that both sides read."""
    tokenizer = tokenizer_of(shape)
    dtype = getattr(torch, shape.dtype)
    torch.manual_seed(0)
    with torch.device(shape.device):
        model = Qwen2_5_VLForConditionalGeneration._from_config(config_of(shape, tokenizer), dtype=dtype)
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.convert_tokens_to_ids("<|im_end|>"), pad_token_id=tokenizer.pad_token_id
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    Qwen2VLImageProcessorPil(
        patch_size=14, merge_size=2, temporal_patch_size=2, min_pixels=56 * 56, max_pixels=_LARGEST_IMAGE
    ).save_pretrained(folder)


def pairs(shape: Shape) -> list[PreferencePair]:
    """Two steps' worth of pairs of noise images, the same in every process."""
    rng = np.random.default_rng(0)

    def image() -> Image.Image:
        return Image.fromarray(rng.integers(0, 256, (shape.image_side, shape.image_side, 3), dtype=np.uint8))

    return [
        PreferencePair(PROMPT, image(), image(), float(n % 2), 1, pair_id=str(n), prompt_id=str(n))
        for n in range(2 * shape.prompts)
    ]


@dataclass(frozen=True)
class Job:
    """What one worker does."""

    shape: Shape
    folder: str
    """The model's."""
    vision: Vision
    listener: Literal["none", "reference", "model"] = "none"
    """``none``: the listener's word has no weight in the reward; ``model``: a frozen model of its own (ours only)."""
    bounds: bool = field(default=False)
    """Measure what the machine could do at best as well (ours only)."""

    def to_json(self) -> str:
        """One line that ``from_json`` reads."""
        return json.dumps({**vars(self), "shape": self.shape.as_dict()})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The job whose ``to_json`` this was."""
        fields = json.loads(text)
        return cls(**{**fields, "shape": Shape.from_dict(fields["shape"])})


if __name__ == "__main__":  # python -m benchmarks.shapes JOB: in a process of its own, which gives all memory back
    job = Job.from_json(sys.argv[1])
    write_model(job.shape, Path(job.folder))
