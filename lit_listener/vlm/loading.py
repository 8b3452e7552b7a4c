"""Which weights a reasoner starts from, which of them train, and what stands frozen beside them.

The only module that imports peft. The reference is explicit (``base`` or ``start``): "adapter off" is silently another
model than the start when training goes on from an adapter that was already trained.
"""

import contextlib
import copy
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn
from transformers import AutoConfig, AutoModelForImageTextToText, AutoTokenizer, GenerationConfig
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from lit_listener.vlm.backbone import SUPPORTED_FAMILIES, Backbone
from lit_listener.vlm.encoding import Encoder, Reader, vocabulary_of
from lit_listener.vlm.specs import DTypeName, LoraSpec, PolicySpec, ReferenceName, resolve
from lit_listener.vlm.token_bytes import TokenBytes

__all__ = [
    "DTypeName",
    "LoraSpec",
    "Models",
    "PolicySpec",
    "Reader",
    "Reference",
    "ReferenceName",
    "load",
    "save_model",
]


class Reference(nn.Module):
    """The frozen model that anchors the KL term and, by default, listens.

    Args:
        backbone: where it is computed: a frozen copy, or the policy itself with its adapters switched.
        switch: makes the policy the reference for the time of a ``with`` block; None for a copy.
    """

    def __init__(self, backbone: Backbone, switch: "AdapterSwitch | None" = None) -> None:
        super().__init__()
        self.switch = switch
        self._backbone = [backbone] if switch else []  # no second registration of the policy as a child
        self.copy = None if switch else backbone

    @contextlib.contextmanager
    def active(self) -> Iterator[Backbone]:
        """The reference's backbone, in eval mode, without gradients; the mode it was in is restored."""
        backbone = self._backbone[0] if self.copy is None else self.copy
        training = backbone.training
        with torch.no_grad(), self.switch or contextlib.nullcontext():
            try:
                yield backbone.eval()
            finally:
                backbone.train(training)


class AdapterSwitch:
    """Turns a policy with adapters into its reference, and back, without touching which parameters train.

    Args:
        model: the model with LoRA layers.
        frozen_adapter: name of the adapter the reference uses; None for no adapter (the base).
    """

    def __init__(self, model: PeftModel, frozen_adapter: str | None) -> None:
        self._model = model
        self._frozen_adapter = frozen_adapter

    def __enter__(self) -> None:
        self._trainable = [p for p in self._model.parameters() if p.requires_grad]
        for layer in self._layers():
            if self._frozen_adapter is None:
                layer.enable_adapters(False)
            else:
                layer.set_adapter(self._frozen_adapter)

    def __exit__(self, *exc: object) -> None:
        for layer in self._layers():
            layer.enable_adapters(True)
            layer.set_adapter("default")
        trainable = set(map(id, self._trainable))
        for parameter in self._model.parameters():
            parameter.requires_grad_(id(parameter) in trainable)

    def _layers(self) -> Iterator[BaseTunerLayer]:
        return (module for module in self._model.modules() if isinstance(module, BaseTunerLayer))


@dataclass(frozen=True)
class Models:
    """A policy, its frozen reference and what reads for them."""

    policy: Backbone
    reference: Reference
    reader: Reader
    adapter: PeftModel | None

    @property
    def shares_vision(self) -> bool:
        """Whether one encoding of the images serves policy and reference."""
        with self.reference.active() as backbone:
            same = backbone.vision_tower is self.policy.vision_tower
        return same and not any(p.requires_grad for p in self.policy.vision_tower.parameters())


def load(spec: PolicySpec, reference: ReferenceName = "base") -> Models:
    """Load a policy as specified, with its reference.

    Raises:
        FileNotFoundError: a local folder does not exist.
        ValueError: the model's family is not supported, or the specification contradicts itself.
    """
    if spec.lora is not None:
        return _load_with_adapter(spec, reference)
    if spec.start is not None and (Path(spec.start) / "adapter_config.json").is_file():
        raise ValueError(f"policy.start: {spec.start!r} is an adapter folder; set policy.lora to train it on")
    policy, reader = load_backbone(spec.start or spec.base, spec)
    if reference == "start" or spec.start is None:
        frozen = copy.deepcopy(policy)
    else:
        frozen, base_reader = load_backbone(spec.base, spec)
        if base_reader.tokenizer.get_vocab() != reader.tokenizer.get_vocab():
            raise ValueError(
                f"policy.start: {spec.start!r} and the base {spec.base!r} have different vocabularies, so the base "
                "cannot be the reference; set reference to start"
            )
    _freeze(frozen)
    policy.requires_grad_(True)
    policy.vision_tower.requires_grad_(spec.train_vision)
    if not spec.train_vision and _same_weights(frozen.vision_tower, policy.vision_tower):
        frozen.model.model.visual = policy.vision_tower
    return Models(_ready(policy, spec), Reference(frozen), reader, adapter=None)


def load_backbone(name: str, spec: PolicySpec) -> tuple[Backbone, Reader]:
    """A model with all its weights frozen or not as they come, in eval mode, and its reader."""
    folder = resolve(name)
    config = AutoConfig.from_pretrained(folder, trust_remote_code=spec.trust_remote_code)
    if config.model_type not in SUPPORTED_FAMILIES:
        raise ValueError(
            f"{name}: model family {config.model_type!r} is not supported; expected one of {SUPPORTED_FAMILIES}"
        )
    options = {"dtype": getattr(torch, spec.dtype), "attn_implementation": spec.attention}
    if name == "shapes-blank":
        with torch.random.fork_rng():
            torch.manual_seed(spec.init_seed)
            model = AutoModelForImageTextToText.from_config(config, **options)
        model.generation_config = GenerationConfig.from_pretrained(folder)
    else:
        model = AutoModelForImageTextToText.from_pretrained(
            folder, trust_remote_code=spec.trust_remote_code, use_safetensors=True, **options
        )
    _no_dropout(model)
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=spec.trust_remote_code)
    # the supported families share this class; named, because AutoImageProcessor of transformers 5.17 wants torchvision
    image_processor = Qwen2VLImageProcessorPil.from_pretrained(folder)
    backbone = Backbone(model, vocabulary_of(tokenizer, config, model.generation_config)).eval()
    encoder = Encoder(tokenizer, image_processor, model.model.get_rope_index, config)
    return backbone, Reader(encoder, TokenBytes(tokenizer), tokenizer, image_processor)


def save_model(backbone: Backbone, reader: Reader, folder: Path, dtype: DTypeName = "float16") -> None:
    """Write full weights (adapters merged), tokenizer and image processor as a Hugging Face folder (safetensors).

    The folder is there whole or not at all: it is written beside its place, then moved into it.

    Raises:
        FileExistsError: ``folder`` holds something other than a model; a model that is there already is replaced.
    """
    folder = folder.absolute()
    if folder.exists() and any(folder.iterdir()) and not (folder / "config.json").is_file():
        raise FileExistsError(f"{folder} is there and holds no model: name a new or empty folder to save to")
    model = _merged(copy.deepcopy(backbone.model)).to("cpu", getattr(torch, dtype))
    beside, replaced = (folder.with_name(f".{folder.name}.{os.getpid()}.{end}") for end in ("part", "old"))
    try:
        model.save_pretrained(beside)
        reader.tokenizer.save_pretrained(beside)
        reader.image_processor.save_pretrained(beside)
        if folder.exists():
            folder.rename(replaced)
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)


def _load_with_adapter(spec: PolicySpec, reference: ReferenceName) -> Models:
    if spec.train_vision:
        raise ValueError("policy.train_vision: adapters go on the language model only; set it to false or drop lora")
    assert spec.lora is not None
    base, reader = load_backbone(spec.base, spec)  # peft freezes it
    frozen_adapter = None
    if spec.start is None:
        with torch.random.fork_rng():
            torch.manual_seed(spec.init_seed)
            adapted: Any = get_peft_model(base.model, _lora_config(spec.lora))
    else:
        if not (Path(spec.start) / "adapter_config.json").is_file():
            raise FileNotFoundError(
                f"policy.start: no adapter_config.json in {spec.start!r}; with lora, start must be an adapter folder "
                "or null (to adapt another full model, name it as policy.base)"
            )
        _check_scale(spec.lora, Path(spec.start))
        adapted = PeftModel.from_pretrained(base.model, spec.start, is_trainable=True)
        if reference == "start":
            frozen_adapter = "reference"
            adapted.load_adapter(spec.start, adapter_name=frozen_adapter, is_trainable=False)
        _check_reach(adapted, spec.start)
    _no_dropout(adapted)
    switch = AdapterSwitch(adapted, frozen_adapter)
    return Models(_ready(base, spec), Reference(base, switch), reader, adapter=adapted)


def _lora_config(lora: LoraSpec) -> LoraConfig:
    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]  # declared int, used as a factor
        lora_dropout=0.0,
        target_modules=r".*language_model\..*\.(q|k|v|o|gate|up|down)_proj",
        task_type="CAUSAL_LM",
    )


def _check_scale(lora: LoraSpec, folder: Path) -> None:
    saved = json.loads((folder / "adapter_config.json").read_text())
    for option, theirs, ours in (("rank", saved["r"], lora.rank), ("alpha", saved["lora_alpha"], lora.alpha)):
        if theirs != ours:
            raise ValueError(f"policy.lora.{option}: the adapter at {folder} has {option} {theirs}, got {ours}")


def _check_reach(adapted: nn.Module, folder: str) -> None:
    trained = [name for name, parameter in adapted.named_parameters() if parameter.requires_grad]
    strays = [name for name in trained if "language_model" not in name or "lora_" not in name]
    if strays:
        raise ValueError(
            f"policy.start: the adapter at {folder!r} holds more than low-rank updates of the language model, for "
            f"instance {strays[0]!r}; only these can be switched off for the reference: merge it into a base model"
        )


def _merged(model: Any) -> Any:
    """A model without adapter layers, the active adapters' updates added to its weights."""
    for name, layer in list(model.named_modules()):
        if isinstance(layer, BaseTunerLayer):
            layer.merge(adapter_names=["default"])
            model.set_submodule(name, layer.get_base_layer())
    return model


def _ready(policy: Backbone, spec: PolicySpec) -> Backbone:
    if spec.gradient_checkpointing:
        policy.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        if spec.lora is not None:
            policy.model.enable_input_require_grads()
    return policy.eval()


def _freeze(backbone: Backbone) -> None:
    backbone.requires_grad_(False)
    backbone.eval()


def _no_dropout(model: nn.Module) -> None:
    """Every dropout off for good: rollout and update must be one distribution."""
    modules: Iterator[Any] = model.modules()
    for module in modules:
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.0


def _same_weights(one: nn.Module, other: nn.Module) -> bool:
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)
