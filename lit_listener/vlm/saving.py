"""Writes models as Hugging Face folders: full weights with the adapters merged into them, or adapters alone.

A folder is there whole or not at all. Adapters are never merged into quantised weights, whose rounding would swallow
them: their base is loaded unquantised for that.
"""

import contextlib
import copy
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lit_listener.vlm.backbone import Backbone
from lit_listener.vlm.encoding import Reader
from lit_listener.vlm.specs import DTypeName


def save_model(
    backbone: Backbone,
    reader: Reader,
    folder: Path,
    dtype: DTypeName = "float16",
    beside: Mapping[str, str | bytes] | None = None,
) -> None:
    """Write full weights (adapters merged), tokenizer and image processor as a Hugging Face folder (safetensors).

    The folder is there whole or not at all, and the model stays as it is.

    Args:
        backbone: the model.
        reader: what reads for it.
        folder: where to.
        dtype: number format of the saved weights.
        beside: contents of files that go beside them, by name.

    Raises:
        FileExistsError: ``folder`` holds something other than a model; a model that is there already is replaced.
        ValueError: the weights are quantised.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / "config.json").is_file():
        raise FileExistsError(f"{folder} is there and holds no model: name a new or empty folder to save to")
    _refuse_quantised(backbone.model)
    model = copy.deepcopy(backbone.model)
    with whole_folder(folder) as new:
        write_model(model, reader, new, dtype)
        for name, content in (beside or {}).items():
            (new / name).write_bytes(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Give a new folder beside ``folder`` to write to, and move it there if nothing was raised.

    Missing parents are made, and what was in ``folder`` is replaced. After an exception ``folder`` is as it was, and
    nothing is left beside it.
    """
    folder = folder.absolute()
    beside, replaced = (folder.with_name(f".{folder.name}.{os.getpid()}.{end}") for end in ("part", "old"))
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        yield beside
        for path in filter(Path.is_file, beside.rglob("*")):
            with path.open("rb") as file:
                os.fsync(file.fileno())  # else a power cut may leave the name and no content
        if folder.exists():
            folder.rename(replaced)
        try:
            beside.rename(folder)
        except OSError:
            if replaced.exists():
                replaced.rename(folder)
            raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)


def write_model(model: Any, reader: Reader, folder: Path, dtype: DTypeName) -> None:
    """Write full weights (adapters merged) and what reads for them into a folder. The model is used up: it changes.

    Args:
        model: a transformers model, with adapter layers or without.
        reader: its tokenizer and image processor.
        folder: where to; files of the same names are replaced.
        dtype: number format of the saved weights; adapters are added in float32 and rounded once.

    Raises:
        ValueError: the weights are quantised.
    """
    _refuse_quantised(model)
    merged = _merged(model, getattr(torch, dtype)).to("cpu", getattr(torch, dtype))
    merged.save_pretrained(folder)
    _write_reader(reader, folder)


def write_adapter(adapter: Any, reader: Reader, folder: Path, base: str) -> None:
    """Write the policy's adapter in peft's format and what reads for the model into a folder.

    Args:
        adapter: the peft model whose adapter named "default" is written, in float32.
        reader: the model's tokenizer and image processor.
        folder: where to; files of the same names are replaced.
        base: what peft is to load the base from: a hub id, or the path of a model folder.
    """
    for name, parameter in adapter.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.float()
    adapter.peft_config["default"].base_model_name_or_path = base
    adapter.save_pretrained(folder, selected_adapters=["default"], save_embedding_layers=False)
    _write_reader(reader, folder)


def _write_reader(reader: Reader, folder: Path) -> None:
    reader.tokenizer.save_pretrained(folder)
    reader.image_processor.save_pretrained(folder)


def _merged(model: Any, dtype: torch.dtype) -> Any:
    """A model without adapter layers, the active adapters' updates added to its weights in float32."""
    for name, layer in list(model.named_modules()):
        if hasattr(layer, "get_base_layer"):  # one of peft's, which only loading may import
            layer.get_base_layer().float()
            layer.merge(adapter_names=["default"])
            model.set_submodule(name, layer.get_base_layer().to(dtype))
    return model


def _refuse_quantised(model: nn.Module) -> None:
    """4-bit and 8-bit weights are kept as integers."""
    if any(not parameter.is_floating_point() for parameter in model.parameters()):
        raise ValueError(
            "policy.quantization: adapters are not merged into quantised weights, whose rounding would swallow them; "
            "export the run's checkpoint instead: python -m lit_listener export --merge loads the base unquantised"
        )
