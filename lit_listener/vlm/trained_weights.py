"""Reads the weights that a run trained out of its checkpoint: one file, or a sharded folder, in one process.

Nothing that a checkpoint brings along is executed. Files are read as weights only. The index of a sharded folder is a
pickle, for which torch has no safe reader: here it may name what such an index consists of, and nothing else.
"""

import os
import pickle
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import Metadata, StorageMeta, TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load

_INDEX = ".metadata"
_REST = "meta.pt"
_UNREADABLE = (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, TypeError, AttributeError, FileNotFoundError)
_IN_AN_INDEX = {
    "torch.distributed.checkpoint.metadata": {
        "BytesStorageMetadata",
        "ChunkStorageMetadata",
        "Metadata",
        "MetadataIndex",
        "StorageMeta",
        "TensorProperties",
        "TensorStorageMetadata",
        "_MEM_FORMAT_ENCODING",
    },
    "torch.distributed.checkpoint.filesystem": {"_StorageInfo", "_StoragePrefix"},
    "torch": {"Size"},
    "torch.serialization": {"_get_layout"},
    "pathlib": {"PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath", "Path"},
    "pathlib._local": {"PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath", "Path"},
    "collections": {"OrderedDict"},
}


@dataclass(frozen=True)
class TrainedWeights:
    """What a checkpoint knows of a run's policy."""

    of_names: dict[str, Tensor]
    """Trained weights by their names in the training module, on the CPU."""
    batches: int | None
    """Batches trained on; None where the checkpoint does not tell."""
    optimizer_steps: int | None
    """Optimizer steps made; None where the checkpoint does not tell."""


def is_checkpoint(path: Path) -> bool:
    """Whether a path may be a checkpoint or the folder of a run, and is no model folder."""
    if not path.is_dir() or (path / "config.json").is_file():
        return path.is_file()
    return any((path / name).exists() for name in (_REST, _INDEX, "checkpoints", "config.yaml"))


def find_checkpoint(path: Path) -> Path:
    """The checkpoint that is meant by a checkpoint file, a sharded checkpoint folder, or a run's folder (its last).

    Raises:
        FileNotFoundError: there is none.
    """
    if path.is_file() or (path / _REST).is_file() or (path / _INDEX).is_file():
        return path
    if not path.is_dir():
        raise FileNotFoundError(f"there is no {path}; name a checkpoint, or the folder of a run")
    last = path / "checkpoints" / "last.ckpt"
    if last.exists():
        return find_checkpoint(last)
    others = sorted(other.name for other in path.glob("checkpoints/[!.]*"))
    raise FileNotFoundError(
        f"{path} is no checkpoint and holds no checkpoints/last.ckpt; name the folder of a run that was "
        f"trained, or a checkpoint" + (f": checkpoints/ holds {others}" if others else "")
    )


def read_trained_weights(checkpoint: Path) -> TrainedWeights:
    """Read the trained weights of a checkpoint file or a sharded checkpoint folder.

    Raises:
        ValueError: it is no checkpoint of a training run, is damaged, or holds more than data.
    """
    try:
        if checkpoint.is_dir():
            weights = _of_shards(checkpoint)
            rest = torch.load(checkpoint / _REST, map_location="cpu", weights_only=True)
        else:
            rest = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
            weights = rest["state_dict"]
    except (*_UNREADABLE, CheckpointException) as error:
        raise ValueError(
            f"{checkpoint} cannot be read as a checkpoint of a training run ({_first_line(error)}); name one "
            "that python -m lit_listener fit has written"
        ) from error
    if not weights:
        raise ValueError(f"{checkpoint} holds no weights; name a checkpoint of a training run")
    return TrainedWeights(weights, _batches(rest), rest.get("global_step"))


def _of_shards(folder: Path) -> dict[str, Tensor]:
    reader = _CautiousReader(folder)
    metadata = reader.read_metadata()
    weights = {}
    for key, stored in metadata.state_dict_metadata.items():
        part, *name = (metadata.planner_data or {}).get(key, (key,))
        if part == "state_dict" and isinstance(stored, TensorStorageMetadata):
            weights[".".join(name)] = torch.empty(stored.size, dtype=stored.properties.dtype)
    if weights:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*in a single process")  # on purpose
            load({"state_dict": weights}, storage_reader=reader, no_dist=True)
    return weights


class _CautiousReader(FileSystemReader):
    """Reads a sharded checkpoint whose index holds nothing but data."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """The index."""
        with (Path(os.fspath(self.checkpoint_id)) / _INDEX).open("rb") as file:
            metadata = _IndexUnpickler(file).load()
        if not isinstance(metadata, Metadata):
            raise pickle.UnpicklingError(f"its index is a {type(metadata).__name__}")
        metadata.storage_meta = metadata.storage_meta or StorageMeta()
        metadata.storage_meta.load_id = self.load_id
        return metadata


class _IndexUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """What an index may name; everything else could run code."""
        is_dtype = module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
        if is_dtype or name in _IN_AN_INDEX.get(module, ()):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"its index names {module}.{name}, which is no part of a checkpoint")


def _batches(rest: dict[str, Any]) -> int | None:
    """Batches trained on: finished or not yet counted as such, since a checkpoint is written at a batch's end."""
    try:
        return int(rest["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]["processed"])
    except (KeyError, TypeError):
        return None


def _first_line(error: BaseException) -> str:
    """What went wrong, without torch's advice to read it all the same."""
    if isinstance(error, CheckpointException):
        error = next(iter(error.failures.values()))[0]
    if isinstance(error, KeyError):
        return f"it has no {error}"
    told = str(error).split("\n", maxsplit=1)[0]
    return "it holds more than data" if not told or told.startswith("Weights only load failed") else told
