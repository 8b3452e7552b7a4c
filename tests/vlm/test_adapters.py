"""What a saved adapter says of itself, read without loading it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from lit_listener.vlm.adapters import read_adapter
from lit_listener.vlm.specs import LoraSpec

LANGUAGE = "base_model.model.model.language_model.layers.0.self_attn.q_proj.lora_A.weight"
VISION = "base_model.model.model.visual.blocks.0.attn.qkv.lora_A.weight"


def write(folder: Path, *names: str, **changes: Any) -> Path:
    folder.mkdir()
    config = {"peft_type": "LORA", "r": 3, "lora_alpha": 6, "base_model_name_or_path": "me/base", **changes}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    save_file({name: torch.ones(1) for name in names}, folder / "adapter_model.safetensors")
    return folder


def test_an_adapter_says_what_it_goes_on(tmp_path):
    saved = read_adapter(write(tmp_path / "a", LANGUAGE))
    assert (saved.base, saved.lora, saved.on_vision, saved.max_pixels) == ("me/base", LoraSpec(3, 6.0), False, None)
    other = write(tmp_path / "b", LANGUAGE, VISION, base_model_name_or_path="")
    bounds = {"shortest_edge": 3136, "longest_edge": 12544}
    (other / "preprocessor_config.json").write_text(json.dumps({"size": bounds}))
    saved = read_adapter(other)
    assert (saved.base, saved.on_vision, saved.max_pixels) == (None, True, 12544)


def test_bounds_of_an_older_image_processor_are_read(tmp_path):
    folder = write(tmp_path / "a", LANGUAGE)
    (folder / "preprocessor_config.json").write_text(json.dumps({"min_pixels": 3136, "max_pixels": 12544}))
    assert read_adapter(folder).max_pixels == 12544


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"peft_type": "IA3"}, "is of the kind IA3; expected LORA: merge it into its base"),
        ({"peft_type": "LORA", "r": 0}, "policy.lora.rank: expected at least 1, got 0"),
        ({"r": "three"}, "cannot be read: "),
    ],
)
def test_what_is_no_lora_is_refused(tmp_path, changes, message):
    folder = write(tmp_path / "a", LANGUAGE, **changes)
    with pytest.raises(ValueError, match=message):
        read_adapter(folder)


def test_what_could_not_be_switched_off_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"more than low-rank updates, for instance 'base_model\.model\.lm_head\.weight'"
    ):
        read_adapter(write(tmp_path / "a", LANGUAGE, "base_model.model.lm_head.weight"))


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_adapters_that_are_not_whole(tmp_path, name):
    folder = write(tmp_path / "a", LANGUAGE)
    (folder / name).write_text("torn")
    with pytest.raises(ValueError, match=r"a cannot be read: "):
        read_adapter(folder)
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"holds no {name}: expected a LoRA adapter, as peft saves it"):
        read_adapter(folder)
