"""Exports what a run trained as a folder that plain transformers and peft load, without this package.

Only the policy is built: neither data, trainer, reference nor listener are needed, nor the device of the training.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from huggingface_hub import HfApi, get_token
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # public, but not re-exported
from transformers import AutoConfig

from lit_listener.judging.card import CARD
from lit_listener.judging.run_config import asked_question, card_of_run, policy_spec, read_run_config
from lit_listener.training.exporting.model_card import model_card, read_measured
from lit_listener.vlm.restoring import Restored, restore
from lit_listener.vlm.reward_backbone import LoadedReward
from lit_listener.vlm.reward_files import has_head, restore_reward, reward_files
from lit_listener.vlm.saving import whole_folder, write_adapter, write_model
from lit_listener.vlm.specs import BUNDLED, DTypeName, PolicySpec, is_untrained, resolve
from lit_listener.vlm.trained_weights import find_checkpoint, read_trained_weights


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
    with _told_of("--ckpt"):
        checkpoint = find_checkpoint(ckpt)
    with _told_of("--config", "; name a run's own"):
        config = read_run_config(checkpoint, config_file)
        spec = policy_spec(config)
    as_adapter = spec.lora is not None and not merge
    _check_base(spec, as_adapter, dtype, repo)
    with _told_of("--ckpt"):
        weights = read_trained_weights(checkpoint)
    scores = has_head(weights.of_names)
    rebuilt: Callable[..., Restored | LoadedReward] = restore_reward if scores else restore
    with _told_of("--ckpt", "; name the config of its own run with --config"):
        trained = rebuilt(_unquantised(spec), weights.of_names)
    format_: DTypeName = "float32" if as_adapter else dtype or _sixteen_bits(spec)
    kind = "a LoRA adapter" if as_adapter else "full weights, adapter merged" if trained.adapter else "full weights"
    card = model_card(
        config.content,
        read_measured(config.folder / "metrics.csv", weights.batches),
        kind=f"{kind}, {format_}",
        is_adapter=as_adapter,
        name=repo or output.absolute().name,
        steps=weights.optimizer_steps,
        scores=scores,
    )
    base = str(Path(resolve(spec.base)).absolute()) if Path(resolve(spec.base)).is_dir() else spec.base
    with whole_folder(output) as beside:
        if as_adapter:
            write_adapter(trained.adapter, trained.reader, beside, base)
        else:
            write_model(trained.policy.model, trained.reader, beside, format_)
        (beside / "README.md").write_text(card)
        if isinstance(trained, LoadedReward):
            own = reward_files(trained.policy, asked_question(config))
        else:
            own = {CARD: card_of_run(config, tells_folders=as_adapter)}
        for file, content in own.items():
            (beside / file).write_bytes(content.encode() if isinstance(content, str) else content)
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


@contextlib.contextmanager
def _told_of(option: str, way_out: str = "") -> Iterator[None]:
    """Errors name the option that they are about, and what to do with it."""
    try:
        yield
    except (FileNotFoundError, ValueError) as error:
        raise type(error)(f"{option}: {error}{way_out}") from error


def _check_base(spec: PolicySpec, as_adapter: bool, dtype: DTypeName | None, repo: str | None) -> None:
    if not as_adapter:
        return
    if dtype not in (None, "float32"):
        raise ValueError(f"--dtype {dtype}: adapters are saved in float32; it goes with --merge")
    if is_untrained(spec.base):
        raise ValueError(f"{spec.base} has no weights on disk that an adapter could be loaded on: export with --merge")
    if repo is not None and (spec.base in BUNDLED or Path(spec.base).is_dir()):
        raise ValueError(
            f"--push_to_hub: the adapter's base {spec.base!r} is on this machine alone, so that nobody else could load "
            "it; push full weights with --merge"
        )


def _unquantised(spec: PolicySpec) -> PolicySpec:
    """A run's policy as it is exported from."""
    plain = replace(spec, quantization=None, gradient_checkpointing=False)
    if plain.lora is None:
        return plain
    # in its own number format the base comes as it is; the adapters are float32
    return replace(plain, dtype=_own_format(spec) or "float32")


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
