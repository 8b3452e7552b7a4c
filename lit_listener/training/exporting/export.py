"""Exports what a run trained as a folder that plain transformers and peft load, without this package.

Only the policy is built: neither data, trainer, reference nor listener are needed, nor the device of the training.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import jsonargparse
import torch
import yaml
from huggingface_hub import HfApi, get_token
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # public, but not re-exported
from torch import Tensor, nn
from transformers import AutoConfig

from lit_listener.training.exporting.model_card import model_card, read_measured
from lit_listener.training.exporting.trained_weights import find_checkpoint, read_trained_weights
from lit_listener.vlm.backbone import Backbone
from lit_listener.vlm.encoding import Reader
from lit_listener.vlm.loading import load, load_backbone
from lit_listener.vlm.saving import whole_folder, write_adapter, write_model
from lit_listener.vlm.specs import BUNDLED, DTypeName, PolicySpec, resolve

_PREFIX = "policy."  # of the policy's weights in the training module


@dataclass(frozen=True)
class Exported:
    """What was written."""

    folder: Path
    kind: str
    """In words, with the number format."""
    merged: bool
    """Whether an adapter was merged into the weights."""
    size: int
    """Bytes."""
    how_to_load: str
    """Python expression."""


@dataclass(frozen=True)
class _Trained:
    """A policy as a checkpoint has it."""

    policy: Backbone
    reader: Reader
    adapter: Any
    """The peft model around the policy's; None where all weights were trained."""


def export(
    ckpt: Path,
    output: Path,
    *,
    config_file: Path | None = None,
    merge: bool = False,
    dtype: DTypeName | None = None,
    repo: str | None = None,
) -> Exported:
    """Write a run's checkpoint as a Hugging Face folder: an adapter, or full weights.

    Args:
        ckpt: a checkpoint file, a sharded checkpoint folder, or the folder of a run (its last checkpoint).
        output: the folder to write; it is there whole or not at all.
        config_file: the run's config; by default the one in the run's folder.
        merge: add a trained adapter to the weights of its base, and write those.
        dtype: number format of full weights; by default the base's own where it has 16 bits, else bfloat16.
        repo: hub id that the folder is to be pushed to, which the model card then names.

    Raises:
        FileNotFoundError: there is no such checkpoint, or no config with it.
        FileExistsError: ``output`` is there and not empty.
        ValueError: the checkpoint is of another config, cannot be read, or cannot be exported as asked.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise FileExistsError(f"--output: {output} is there already; name a new or empty folder")
    checkpoint = find_checkpoint(ckpt)
    config, run = _read_config(checkpoint, config_file)
    spec = _policy_spec(config)
    as_adapter = spec.lora is not None and not merge
    _check_base(spec, as_adapter, dtype, repo)
    weights = read_trained_weights(checkpoint)
    trained = _restore(spec, weights.of_names)
    format_: DTypeName = "float32" if as_adapter else dtype or _sixteen_bits(spec)
    kind = "a LoRA adapter" if as_adapter else "full weights, adapter merged" if trained.adapter else "full weights"
    card = model_card(
        config,
        read_measured(run / "metrics.csv", weights.batches),
        kind=f"{kind}, {format_}",
        is_adapter=as_adapter,
        name=repo or output.absolute().name,
        steps=weights.optimizer_steps,
    )
    base = str(Path(resolve(spec.base)).absolute()) if Path(resolve(spec.base)).is_dir() else spec.base
    with whole_folder(output) as beside:
        if as_adapter:
            write_adapter(trained.adapter, trained.reader, beside, base)
        else:
            write_model(trained.policy.model, trained.reader, beside, format_)
        (beside / "README.md").write_text(card)
        size = sum(path.stat().st_size for path in beside.rglob("*") if path.is_file())
    merged = spec.lora is not None and merge
    return Exported(output, f"{kind}, {format_}", merged, size, _how_to_load(output, base if as_adapter else None))


def check_push(repo: str) -> None:
    """Refuse, before any work, what could not be pushed.

    Raises:
        ValueError: ``repo`` is no hub id.
        PermissionError: nobody is logged in.
    """
    validate_repo_id(repo)
    if get_token() is None:
        raise PermissionError(
            "--push_to_hub: there is no Hugging Face token; log in with hf auth login, or set HF_TOKEN"
        )


def push(folder: Path, repo: str) -> str:
    """Upload an exported folder. A repository that is not there yet is made, as a private one.

    Returns:
        where it is.

    Raises:
        OSError: it failed; the folder stays.
    """
    try:
        api = HfApi()
        url = api.create_repo(repo, private=True, exist_ok=True)
        api.upload_folder(repo_id=repo, folder_path=folder, commit_message="Export of a lit_listener run")
    except Exception as error:  # the client's errors have no common base, and it changed its HTTP library before
        raise OSError(
            f"--push_to_hub: {repo} could not be uploaded ({str(error).strip() or type(error).__name__}); {folder} is "
            f"whole: try again with hf upload --private {repo} {folder}"
        ) from error
    return str(url)


def _read_config(checkpoint: Path, config_file: Path | None) -> tuple[dict[str, Any], Path]:
    """A checkpoint's config, and the folder of its run."""
    run = checkpoint.absolute().parent.parent
    path = config_file or run / "config.yaml"
    if not path.is_file():
        raise FileNotFoundError(f"no config at {path}: name the config.yaml of the run with --config")
    try:
        config = yaml.safe_load(path.read_text())
        config["model"]["init_args"]["policy"]["base"], config["data"]["train"]  # are they there?
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"--config: {path} is no config of a training run ({error!r}); name a run's own") from error
    return config, run if config_file is None else config_file.absolute().parent


def _policy_spec(config: Mapping[str, Any]) -> PolicySpec:
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--policy", type=PolicySpec)
    try:
        given = parser.parse_object({"policy": config["model"]["init_args"]["policy"]})
    except jsonargparse.ArgumentError as error:
        raise ValueError(f"--config: its model.policy cannot be read: {error}") from error
    instantiate = getattr(parser, "instantiate", None) or parser.instantiate_classes  # by its name before 4.49
    spec: PolicySpec = instantiate(given).policy
    return spec


def _check_base(spec: PolicySpec, as_adapter: bool, dtype: DTypeName | None, repo: str | None) -> None:
    if not as_adapter:
        return
    if dtype not in (None, "float32"):
        raise ValueError(f"--dtype {dtype}: adapters are saved in float32; it goes with --merge")
    if spec.base == "shapes-blank":
        raise ValueError("shapes-blank has no weights on disk that an adapter could be loaded on: export with --merge")
    if repo is not None and (spec.base in BUNDLED or Path(spec.base).is_dir()):
        raise ValueError(
            f"--push_to_hub: the adapter's base {spec.base!r} is on this machine alone, so that nobody else could load "
            "it; push full weights with --merge"
        )


def _restore(spec: PolicySpec, weights: Mapping[str, Tensor]) -> _Trained:
    """The policy with a checkpoint's weights, unquantised, on the CPU."""
    plain = replace(spec, quantization=None, gradient_checkpointing=False)
    if plain.lora is not None:
        # in its own number format the base comes as it is; the adapters are float32
        models = load(replace(plain, dtype=_own_format(spec) or "float32"), "base")
        trained = _Trained(models.policy, models.reader, models.adapter)
    else:
        policy, reader = load_backbone(plain.start or plain.base, plain)
        policy.requires_grad_(True)
        policy.vision_tower.requires_grad_(plain.train_vision)
        trained = _Trained(policy, reader, None)
    _take(trained.policy, weights)
    return trained


def _take(policy: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy trained weights into a policy: exactly those that it trains."""
    own = {_PREFIX + name: parameter for name, parameter in policy.named_parameters() if parameter.requires_grad}
    _refuse("lacks", own.keys() - weights.keys())
    _refuse("has also", weights.keys() - own.keys())
    for name, parameter in own.items():
        if parameter.shape != weights[name].shape:
            raise ValueError(
                f"--ckpt: the checkpoint has {name} in the shape {list(weights[name].shape)}, the config's model in "
                f"{list(parameter.shape)}; name the config of its own run with --config"
            )
        parameter.data.copy_(weights[name])


def _refuse(what: str, names: Iterable[str]) -> None:
    found = sorted(names)
    if found:
        raise ValueError(
            f"--ckpt: the checkpoint holds other weights than the config's model trains: it {what} {len(found)} of "
            f"them, for instance {found[0]}; name the config of its own run with --config"
        )


def _own_format(spec: PolicySpec) -> Literal["bfloat16", "float16"] | None:
    """The number format that the base is kept in, where that has 16 bits."""
    own = AutoConfig.from_pretrained(resolve(spec.base), trust_remote_code=spec.trust_remote_code).dtype
    return {torch.bfloat16: "bfloat16", torch.float16: "float16"}.get(own)  # type: ignore[return-value]


def _sixteen_bits(spec: PolicySpec) -> DTypeName:
    return _own_format(spec) or "bfloat16"


def _how_to_load(folder: Path, base: str | None) -> str:
    if base is None:
        return f"AutoModelForImageTextToText.from_pretrained({str(folder)!r})"
    return f"PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained({base!r}), {str(folder)!r})"
