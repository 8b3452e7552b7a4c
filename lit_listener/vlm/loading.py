"""Which weights a reasoner starts from, which of them train, and what stands frozen beside them.

The only module that imports peft. The reference is explicit (``base`` or ``start``): "adapter off" is silently another
model than the start when training goes on from an adapter that was already trained. With adapters one copy of the base
weights, in 4 bits if so asked, serves policy, reference and listener.
"""

import contextlib
import copy
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, prepare_model_for_kbit_training
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    AutoTokenizer,
    GenerationConfig,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from lit_listener.vlm import ranks
from lit_listener.vlm.adapters import adapted_layers, check_reach, check_scale
from lit_listener.vlm.backbone import Backbone, check_family
from lit_listener.vlm.encoding import Encoder, Reader, vocabulary_of
from lit_listener.vlm.four_bits import in_four_bits, settle_four_bits
from lit_listener.vlm.reference import Reference
from lit_listener.vlm.specs import DTypeName, LoraSpec, PolicySpec, ReferenceName, is_untrained, resolve
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
]


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
    reference: Reference | None
    """None where none was asked for."""
    reader: Reader
    adapter: PeftModel | None

    @property
    def shares_vision(self) -> bool:
        """Whether one encoding of the images serves policy and reference."""
        if self.reference is None:
            return True
        with self.reference.active() as backbone:
            same = backbone.vision_tower is self.policy.vision_tower
        return same and not any(p.requires_grad for p in self.policy.vision_tower.parameters())


def load(
    spec: PolicySpec,
    reference: ReferenceName | None = "base",
    *,
    empty: bool = False,
    place: torch.device | None = None,
    changing_reference: bool = False,
) -> Models:
    """Load a policy as specified, with its reference.

    Args:
        spec: what is asked for.
        reference: which weights the frozen reference has; None loads none.
        empty: read no weights: those of rank 0 are to come, by ``sharding.shard``.
        place: where weights are put that are read into 4 bits; by default the process's GPU, else the CPU.
        changing_reference: the reference's weights are to change: with adapters it has one of its own, whatever it
            starts from.

    Raises:
        FileNotFoundError: a local folder does not exist.
        ValueError: the model's family is not supported, or the specification contradicts itself.
    """
    if spec.lora is not None:
        return _load_with_adapter(spec, reference, empty, place, changing_reference)
    if spec.quantization is not None:
        raise ValueError(
            f"policy.quantization: {spec.quantization}: 4-bit weights cannot train; set policy.lora to train adapters "
            "on them, or drop quantization"
        )
    if spec.start is not None and (Path(spec.start) / "adapter_config.json").is_file():
        raise ValueError(f"policy.start: {spec.start!r} is an adapter folder; set policy.lora to train it on")
    policy, reader = load_backbone(spec.start or spec.base, spec, empty=empty)
    if reference is None:
        policy.requires_grad_(True)
        policy.vision_tower.requires_grad_(spec.train_vision)
        return Models(_ready(policy, spec), None, reader, adapter=None)
    if reference == "start" or spec.start is None:
        frozen = copy.deepcopy(policy)
    else:
        frozen, base_reader = load_backbone(spec.base, spec, empty=empty)
        if base_reader.tokenizer.get_vocab() != reader.tokenizer.get_vocab():
            raise ValueError(
                f"policy.start: {spec.start!r} and the base {spec.base!r} have different vocabularies, so the base "
                "cannot be the reference; set reference to start"
            )
    _freeze(frozen)
    policy.requires_grad_(True)
    policy.vision_tower.requires_grad_(spec.train_vision)
    differ = not empty and not _same_weights(frozen.vision_tower, policy.vision_tower)
    if changing_reference and differ and not spec.train_vision:
        raise ValueError(
            f"model.reference_refresh: the vision tower of policy.start {spec.start!r} is not that of {spec.base!r}, "
            "and since it does not train it would not be taken over; set model.reference to start"
        )
    if not spec.train_vision and not ranks.any_rank(differ):
        frozen.model.model.visual = policy.vision_tower
    return Models(_ready(policy, spec), Reference(frozen), reader, adapter=None)


def load_backbone(
    name: str, spec: PolicySpec, *, empty: bool = False, place: torch.device | None = None
) -> tuple[Backbone, Reader]:
    """A model with all its weights frozen or not as they come, in eval mode, and its reader.

    Args:
        name: folder, hub id or bundled model.
        spec: number format, quantization and the rest; its own base and start are not read.
        empty: on the meta device, without weights.
        place: see ``load``.

    Raises:
        FileNotFoundError: a local folder does not exist.
        ValueError: the model's family is not supported, its weights are quantised already or cannot be, or its files
            contradict each other.
    """
    folder = resolve(name)
    config = AutoConfig.from_pretrained(folder, trust_remote_code=spec.trust_remote_code)
    check_family(name, config.model_type)
    options = {"dtype": getattr(torch, spec.dtype), "attn_implementation": "sdpa"}
    if getattr(config, "quantization_config", None) is not None:
        raise ValueError(
            f"{name}: its weights are quantised already; expected 16- or 32-bit weights: name the model that they were "
            "made from (with quantization nf4 it is read in 4 bits)"
        )
    if empty:
        with torch.device("meta"):
            model = AutoModelForImageTextToText.from_config(config, **options)
        with contextlib.suppress(OSError):  # without such a file the model's own defaults hold, as on rank 0
            model.generation_config = GenerationConfig.from_pretrained(folder)
    elif is_untrained(name):
        if spec.quantization is not None:
            raise ValueError(f"policy.quantization: {name} has no weights on disk to quantise; name another base")
        with torch.random.fork_rng():
            torch.manual_seed(spec.init_seed)
            model = AutoModelForImageTextToText.from_config(config, **options)
        model.generation_config = GenerationConfig.from_pretrained(folder)
    else:
        model = AutoModelForImageTextToText.from_pretrained(
            folder,
            trust_remote_code=spec.trust_remote_code,
            use_safetensors=True,
            **options,
            **in_four_bits(spec, place),
        )
    settle_four_bits(model)
    _no_dropout(model)
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=spec.trust_remote_code)
    # the supported families share this class; named, because AutoImageProcessor of transformers 5.17 wants torchvision
    image_processor = Qwen2VLImageProcessorPil.from_pretrained(folder)
    if spec.max_pixels is not None:
        if spec.max_pixels < (smallest := image_processor.size["shortest_edge"]):
            raise ValueError(
                f"policy.max_pixels: {spec.max_pixels} is below the least that {name} scales images up to, {smallest}"
            )
        image_processor.size["longest_edge"] = spec.max_pixels
    backbone = Backbone(model, vocabulary_of(tokenizer, config, model.generation_config), spec.attention).eval()
    encoder = Encoder(tokenizer, image_processor, model.model.get_rope_index, config)
    return backbone, Reader(encoder, TokenBytes(tokenizer), tokenizer, image_processor)


def _load_with_adapter(
    spec: PolicySpec, reference: ReferenceName | None, empty: bool, place: torch.device | None, changing: bool
) -> Models:
    assert spec.lora is not None
    base, reader = load_backbone(spec.base, spec, empty=empty, place=place)  # peft freezes it
    if spec.quantization is not None:
        # norms, embeddings and output matrix become float32; the vision tower, which stands apart, stays as it was
        prepare_model_for_kbit_training(base.model, use_gradient_checkpointing=False)
        base.vision_tower.to(getattr(torch, spec.dtype))
    frozen_adapter = None
    if spec.start is None:
        with torch.random.fork_rng(), torch.device("meta") if empty else contextlib.nullcontext():
            torch.manual_seed(spec.init_seed)
            adapted: Any = get_peft_model(base.model, _lora_config(spec.lora, spec.train_vision))
    else:
        if not (Path(spec.start) / "adapter_config.json").is_file():
            raise FileNotFoundError(
                f"policy.start: no adapter_config.json in {spec.start!r}; with lora, start must be an adapter folder "
                "or null (to adapt another full model, name it as policy.base)"
            )
        check_scale(spec.lora, Path(spec.start))
        if empty:  # the same layers; what is read into them does not matter
            base.to_empty(device="cpu")
        with warnings.catch_warnings():  # peft only warns of layers that it finds no weights for
            warnings.filterwarnings("error", message="Found missing adapter keys")
            try:
                adapted = PeftModel.from_pretrained(base.model, spec.start, is_trainable=True)
            except UserWarning as warning:
                raise ValueError(
                    f"policy.start: the adapter at {spec.start!r} lacks weights of layers that it names, under their "
                    f"names in {spec.base!r}: it is of another base, or damaged ({str(warning)[:200]})"
                ) from warning
        if reference == "start":
            frozen_adapter = "reference"
            adapted.load_adapter(spec.start, adapter_name=frozen_adapter, is_trainable=False)
        check_reach(adapted, spec)
    if changing and frozen_adapter is None:
        frozen_adapter = "reference"
        with torch.random.fork_rng(), torch.device("meta") if empty else contextlib.nullcontext():
            adapted.add_adapter(frozen_adapter, adapted.peft_config["default"])  # a fresh one changes nothing: the base
        adapted.set_adapter("default")
        for name, parameter in adapted.named_parameters():
            parameter.requires_grad_(".default." in name)
    _no_dropout(adapted)
    frozen = None if reference is None else Reference(base, AdapterSwitch(adapted, frozen_adapter))
    return Models(_ready(base, spec), frozen, reader, adapter=adapted)


def _lora_config(lora: LoraSpec, train_vision: bool) -> LoraConfig:
    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]  # declared int, used as a factor
        lora_dropout=0.0,
        target_modules=adapted_layers(vision=train_vision),
        task_type="CAUSAL_LM",
    )


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
