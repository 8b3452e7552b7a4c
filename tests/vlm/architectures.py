"""Folders of a released model's architecture, without weights: enough to plan for it, not to load it."""

from pathlib import Path
from typing import Any

from transformers import GenerationConfig, Qwen2_5_VLConfig
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from tests.vlm.tiny import trained_tokenizer

SEVEN_B: dict[str, Any] = {
    "vocab_size": 152064,
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
}
THREE_B: dict[str, Any] = {
    "vocab_size": 151936,
    "hidden_size": 2048,
    "intermediate_size": 11008,
    "num_hidden_layers": 36,
    "num_attention_heads": 16,
    "num_key_value_heads": 2,
    "tie_word_embeddings": True,
}


def write_architecture(folder: Path, **sizes: Any) -> Path:
    """Write what is needed to plan for a Qwen2.5-VL of these sizes; its vision tower is the released ones'."""
    tokenizer = trained_tokenizer()

    def token(text: str) -> int:
        return int(tokenizer.convert_tokens_to_ids(text))

    tied = sizes.pop("tie_word_embeddings", False)
    config = Qwen2_5_VLConfig(
        text_config={
            "max_position_embeddings": 128000,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
            "tie_word_embeddings": tied,
            "eos_token_id": token("<|im_end|>"),
            "pad_token_id": token("<|endoftext|>"),
            **sizes,
        },
        vision_config={
            "depth": 32,
            "hidden_size": 1280,
            "intermediate_size": 3420,
            "num_heads": 16,
            "out_hidden_size": sizes["hidden_size"],
            "patch_size": 14,
            "window_size": 112,
            "fullatt_block_indexes": [7, 15, 23, 31],
        },
        tie_word_embeddings=tied,
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
    )
    config.architectures = ["Qwen2_5_VLForConditionalGeneration"]
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    GenerationConfig(eos_token_id=token("<|im_end|>"), pad_token_id=token("<|endoftext|>")).save_pretrained(folder)
    limits = {"shortest_edge": 56 * 56, "longest_edge": 28 * 28 * 16384}
    Qwen2VLImageProcessorPil(patch_size=14, merge_size=2, size=limits).save_pretrained(folder)
    return folder
