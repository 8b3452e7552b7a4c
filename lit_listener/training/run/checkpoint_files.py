"""How checkpoints get to the disk: written beside their place, and moved there once they are whole.

A checkpoint is a file, or a folder of shards where a strategy has every process write its own. A folder that is not
empty cannot be replaced in one move: ``last.ckpt`` is then a link to a folder, and it is the link that is replaced.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

_PART = ".part"


class PlainFileIO(TorchCheckpointIO):
    """Writes a checkpoint where it is told to, without a copy in memory or one among the system's temporary files."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write, and wait until it is on the disk."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with Path(path).open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())


def part_of(path: Path) -> Path:
    """Where a checkpoint is written before it is whole: hidden, beside its place."""
    return path.with_name(f".{path.name}{_PART}")


def write_whole(path: Path, save: Callable[[Path], None], *, first_rank: bool) -> None:
    """Have a checkpoint written beside its place, and move it there.

    Args:
        path: its place; what is there stays whole until the new one is.
        save: writes a file or a folder to the path it is given; called on every rank, and returns when all are done.
        first_rank: whether this is the rank that moves it.

    Raises:
        OSError: it could not be written; what was at ``path`` is still there.
    """
    part = part_of(path)
    try:
        if first_rank:
            path.parent.mkdir(parents=True, exist_ok=True)
            _remove(part)
        save(part)
        if first_rank:
            _move(part, path)
    except (OSError, RuntimeError) as error:  # torch tells a full disk by a RuntimeError
        if first_rank:
            _remove(part)
        kept = f"the one before it is whole: {path}" if path.exists() else "none was saved before it"
        raise OSError(f"the checkpoint {path} could not be written ({_first_line(error)}); {kept}") from error


def clear_parts(folder: Path) -> None:
    """Remove what killed runs left: parts, and folders that nothing links to any more."""
    for part in folder.glob(f".*{_PART}"):
        _remove(part)
    links = {path.resolve() for path in folder.glob("*") if path.is_symlink()}
    for target in folder.glob(".*.ckpt.[ab]"):
        if target.resolve() not in links:
            _remove(target)


def remove_checkpoint(path: Path) -> None:
    """Remove a checkpoint; one that is not there is no error."""
    _remove(path)


def read_rest(path: Path) -> dict[str, Any]:
    """What a checkpoint holds beside tensors that are large: of a folder, all but its shards.

    Raises:
        ValueError: it cannot be read.
    """
    try:
        rest: dict[str, Any] = torch.load(
            path / "meta.pt" if path.is_dir() else path, map_location="cpu", weights_only=True, mmap=True
        )
    except Exception as error:  # torch tells a damaged file by errors of many kinds
        raise ValueError(f"the checkpoint {path} cannot be read: {_first_line(error)}") from error
    return rest


def _move(part: Path, path: Path) -> None:
    before = path.resolve() if path.is_symlink() else None
    if not part.is_dir():
        part.replace(path)
        _to_disk(path.parent)
    else:
        for file in part.rglob("*"):
            _to_disk(file)
        _to_disk(part)
        target = path.with_name(f".{path.name}.{'b' if before and before.name.endswith('.a') else 'a'}")
        _remove(target)
        part.rename(target)
        link = part_of(path)
        link.symlink_to(target.name)
        if path.is_dir() and not path.is_symlink():  # not of our making
            path.rename(path.with_name(f"{path.name}.old"))
        link.replace(path)
        _to_disk(path.parent)
    if before is not None and before.parent == path.parent.resolve() and before.name.startswith(f".{path.name}."):
        _remove(before)


def _remove(path: Path) -> None:
    if path.is_symlink():
        target = path.resolve()
        path.unlink()
        if target.parent == path.parent.resolve():
            _remove(target)
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _to_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n", maxsplit=1)[0] or type(error).__name__
