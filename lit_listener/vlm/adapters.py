"""Which layers adapters go on, and whether an adapter that was trained before is one that a run can go on from.

Adapters must be switched off whole to give the reference: so they are low-rank updates of linear layers, and no more.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import nn
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from lit_listener.vlm.specs import LoraSpec, PolicySpec

_LANGUAGE_LINEARS = r".*\blanguage_model\..*\.(q|k|v|o|gate|up|down)_proj"
_VISION_LINEARS = r".*\bvisual\..*(attn\.(qkv|proj)|mlp\.(fc1|fc2|(gate|up|down)_proj|0|2)|linear_fc[12])"
"""The linear layers of Qwen2-VL's, Qwen2.5-VL's and Qwen3-VL's towers; their patch embedding is a convolution."""


def adapted_layers(*, vision: bool) -> str:
    """A pattern that the names of the layers with adapters match from end to end.

    Args:
        vision: the vision tower's linear layers as well as the language model's.
    """
    return f"{_LANGUAGE_LINEARS}|{_VISION_LINEARS}" if vision else _LANGUAGE_LINEARS


ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"


@dataclass(frozen=True)
class SavedAdapter:
    """What a folder in peft's format says of its adapter."""

    base: str | None
    """Hub id or folder of the model that it goes on; None where it names none."""
    lora: LoraSpec
    on_vision: bool
    """Whether it updates the vision tower."""
    max_pixels: int | None
    """Bound of the image processor that was saved with it; None where there is none."""


def read_adapter(folder: Path) -> SavedAdapter:
    """Look at an adapter without loading it.

    Raises:
        FileNotFoundError: config or weights are not there.
        ValueError: it is no LoRA adapter, cannot be read, or is more than low-rank updates.
    """
    for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder} holds no {name}: expected a LoRA adapter, as peft saves it")
    try:
        config = json.loads((folder / ADAPTER_CONFIG).read_text())
        kind = config["peft_type"]
        lora = LoraSpec(config["r"], config["lora_alpha"]) if kind == "LORA" else None
        base = config.get("base_model_name_or_path") or None
        with safe_open(folder / ADAPTER_WEIGHTS, "pt") as weights:
            names = list(weights.keys())
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise ValueError(f"the adapter at {folder} cannot be read: {error!r}") from error
    if lora is None:
        raise ValueError(f"the adapter at {folder} is of the kind {kind}; expected LORA: merge it into its base")
    if strays := [name for name in names if "lora_" not in name]:
        raise ValueError(
            f"the adapter at {folder} holds more than low-rank updates, for instance {min(strays)!r}; merge it into "
            "its base"
        )
    return SavedAdapter(base, lora, any(".visual." in name for name in names), _max_pixels(folder))


def _max_pixels(folder: Path) -> int | None:
    if not (folder / "preprocessor_config.json").is_file():
        return None
    bound: int | None = Qwen2VLImageProcessorPil.from_pretrained(folder).size["longest_edge"]
    return bound


def check_scale(lora: LoraSpec, folder: Path) -> None:
    """Refuse an adapter of another rank or scale than was asked for.

    Raises:
        ValueError: rank or alpha differ.
    """
    saved = json.loads((folder / ADAPTER_CONFIG).read_text())
    for option, theirs, ours in (("rank", saved["r"], lora.rank), ("alpha", saved["lora_alpha"], lora.alpha)):
        if theirs != ours:
            raise ValueError(f"policy.lora.{option}: the adapter at {folder} has {option} {theirs}, got {ours}")


def check_reach(adapted: nn.Module, spec: PolicySpec) -> None:
    """Refuse an adapter that trains other parts of the model than was asked for.

    Raises:
        ValueError: it trains more than low-rank updates of the two towers, or the vision tower unasked, or not at all.
    """
    trained = [name for name, parameter in adapted.named_parameters() if parameter.requires_grad]
    low_rank = [name for name in trained if "lora_" in name]
    on_vision = [name for name in low_rank if ".visual." in name]
    strays = set(trained) - set(on_vision) - {name for name in low_rank if ".language_model." in name}
    if strays:
        raise ValueError(
            f"policy.start: the adapter at {spec.start!r} holds more than low-rank updates of the language model and "
            f"the vision tower, for instance {min(strays)!r}; only these can be switched off for the reference: merge "
            "it into a base model"
        )
    if on_vision and not spec.train_vision:
        raise ValueError(
            f"policy.train_vision: the adapter at {spec.start!r} updates the vision tower too, for instance "
            f"{on_vision[0]!r}; set it to true, or merge the adapter into a base model"
        )
    if spec.train_vision and not on_vision:
        raise ValueError(
            f"policy.train_vision: the adapter at {spec.start!r} has no updates of the vision tower to train; set it "
            "to false, or merge the adapter into a base model"
        )
