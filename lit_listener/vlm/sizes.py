"""How large a blank model is, and of which architecture."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedConfig, Qwen2_5_VLConfig, Qwen2Tokenizer, Qwen2VLConfig


@dataclass(frozen=True, kw_only=True)
class ModelSize(ABC):
    """The numbers that a language model and its vision tower are built from."""

    hidden: int
    """Width of the language model."""
    intermediate: int
    """Width inside its feed-forward layers."""
    layers: int
    heads: int
    key_value_heads: int
    mrope_section: tuple[int, int, int]
    """Pairs of a head's dimensions that turn with time, height and width; half a head's width in all."""
    vision_hidden: int
    vision_intermediate: int
    vision_depth: int
    vision_heads: int
    image_side: int
    """Larger images are scaled down to so many pixels squared."""
    initializer_range: float
    """Deviation of new weights. At the usual 0.02, a width of 128 looks at its images after 1,000 steps; at 0.06 after
    150."""
    context_tokens: int = 1024

    @abstractmethod
    def config(self, tokenizer: Qwen2Tokenizer) -> PreTrainedConfig:
        """The architecture in this size, with a row of embeddings for each token."""

    def _text(self, tokenizer: Qwen2Tokenizer) -> dict[str, Any]:
        return {
            "vocab_size": len(tokenizer),
            "hidden_size": self.hidden,
            "intermediate_size": self.intermediate,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.key_value_heads,
            "max_position_embeddings": self.context_tokens,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": list(self.mrope_section),
            },
            "rms_norm_eps": 1e-6,
            "initializer_range": self.initializer_range,
            "tie_word_embeddings": True,
            "bos_token_id": None,
            "eos_token_id": _token(tokenizer, "<|im_end|>"),
            "pad_token_id": tokenizer.pad_token_id,
        }

    def _vision(self) -> dict[str, Any]:
        return {
            "depth": self.vision_depth,
            "num_heads": self.vision_heads,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "initializer_range": self.initializer_range,
        }


@dataclass(frozen=True, kw_only=True)
class Qwen25VLSize(ModelSize):
    """A Qwen2.5-VL."""

    full_attention_blocks: tuple[int, ...]
    """Vision blocks that see the whole image; the others see windows of 112 x 112 pixels."""

    def config(self, tokenizer: Qwen2Tokenizer) -> Qwen2_5_VLConfig:
        """The architecture in this size, with a row of embeddings for each token."""
        vision = {
            "hidden_size": self.vision_hidden,
            "intermediate_size": self.vision_intermediate,
            "out_hidden_size": self.hidden,
            "window_size": 112,
            "fullatt_block_indexes": list(self.full_attention_blocks),
        }
        return Qwen2_5_VLConfig(
            architectures=["Qwen2_5_VLForConditionalGeneration"],
            text_config=self._text(tokenizer),
            vision_config={**self._vision(), **vision},
            **_image_tokens(tokenizer),
        )


@dataclass(frozen=True, kw_only=True)
class Qwen2VLSize(ModelSize):
    """A Qwen2-VL, whose vision tower normalises and attends otherwise."""

    def config(self, tokenizer: Qwen2Tokenizer) -> Qwen2VLConfig:
        """The architecture in this size, with a row of embeddings for each token."""
        vision = {
            "embed_dim": self.vision_hidden,
            "mlp_ratio": self.vision_intermediate // self.vision_hidden,
            "hidden_size": self.hidden,
        }
        return Qwen2VLConfig(
            architectures=["Qwen2VLForConditionalGeneration"],
            text_config=self._text(tokenizer),
            vision_config={**self._vision(), **vision},
            **_image_tokens(tokenizer),
        )


SMALL = Qwen25VLSize(
    hidden=128,
    intermediate=384,
    layers=4,
    heads=4,
    key_value_heads=2,
    mrope_section=(4, 6, 6),
    vision_hidden=96,
    vision_intermediate=192,
    vision_depth=2,
    vision_heads=4,
    full_attention_blocks=(1,),
    image_side=112,
    initializer_range=0.06,
)
"""1.3 million parameters: trained on a laptop in minutes."""
OTHER = Qwen2VLSize(
    hidden=96,
    intermediate=256,
    layers=3,
    heads=3,
    key_value_heads=1,
    mrope_section=(4, 6, 6),
    vision_hidden=96,
    vision_intermediate=192,
    vision_depth=2,
    vision_heads=4,
    image_side=112,
    initializer_range=0.06,
)
"""0.78 million parameters, of another architecture: a listener that is no relative of the reasoner."""
MEDIUM = Qwen25VLSize(
    hidden=512,
    intermediate=1536,
    layers=8,
    heads=8,
    key_value_heads=4,
    mrope_section=(8, 12, 12),
    vision_hidden=384,
    vision_intermediate=1024,
    vision_depth=6,
    vision_heads=6,
    full_attention_blocks=(1, 3, 5),
    image_side=224,
    initializer_range=0.03,  # as wide a spread of a layer's outputs as SMALL's: by the root of the widths' ratio
)
"""Some 40 million parameters: for a GPU."""


def _image_tokens(tokenizer: Qwen2Tokenizer) -> dict[str, Any]:
    return {
        "image_token_id": _token(tokenizer, "<|image_pad|>"),
        "video_token_id": _token(tokenizer, "<|video_pad|>"),
        "vision_start_token_id": _token(tokenizer, "<|vision_start|>"),
        "vision_end_token_id": _token(tokenizer, "<|vision_end|>"),
        "tie_word_embeddings": True,
    }


def _token(tokenizer: Qwen2Tokenizer, text: str) -> int:
    return int(tokenizer.convert_tokens_to_ids(text))  # type: ignore[arg-type]  # one token, one id
