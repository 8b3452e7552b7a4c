"""An evaluation's folder as the command line sees it: finding one that was broken off, and what it was made with."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lit_listener.training.run.folder import changes

JUDGING = ("test", "predict")
"""The commands that gather judgements, and go on with them; Lightning's stages have the same names."""

PARTS = "predictions.parts"
"""Folder with what was judged so far."""

_CHANGE_NO_FIGURE = ("trainer.", "data.eval_batch_size", "data.num_workers", "model.init_args.memory", "config")


@dataclass(frozen=True)
class FoundEvaluation:
    """An evaluation that can be gone on with."""

    folder: Path
    config: dict[str, Any]
    """As it began."""


def config_file(folder: Path, command: str) -> Path:
    """Where ``test`` or ``predict`` keeps its config; a training run in the same folder has its own."""
    return folder / f"{command}_config.yaml"


def find_evaluation(folder: Path, command: str) -> FoundEvaluation:
    """A folder in which ``test`` or ``predict`` was broken off, or has ended.

    Raises:
        FileNotFoundError: there is none.
    """
    path = config_file(folder, command)
    if not path.is_file():
        raise FileNotFoundError(f"--resume: there is no {path}; name the folder of a {command} that was begun")
    config: dict[str, Any] = yaml.safe_load(path.read_text())
    return FoundEvaluation(folder, config)


def refuse_other_settings(found: FoundEvaluation, config: Mapping[str, Any]) -> None:
    """Half of the figures must not be made with other settings than the rest.

    Raises:
        ValueError: settings differ on which figures depend.
    """
    before = {**found.config, "checkpoint": found.config.get("ckpt_path")}
    now = {**config, "checkpoint": config.get("ckpt_path")}
    changed = {name: values for name, values in changes(before, now).items() if not name.startswith(_CHANGE_NO_FIGURE)}
    if changed:
        told = "; ".join(f"{name}: {old} -> {new}" for name, (old, new) in changed.items())
        raise ValueError(
            f"--resume: the evaluation in {found.folder} began with other settings ({told}); start another"
        )


def fingerprint(checkpoint: str | Path | None) -> dict[str, Any] | None:
    """What a checkpoint is known by again: its files' sizes and times; None for the weights that a config names."""
    if checkpoint is None:
        return None
    path = Path(checkpoint)
    files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    stats = [file.stat() for file in files]
    return {"path": str(path), "bytes": [stat.st_size for stat in stats], "times": [stat.st_mtime_ns for stat in stats]}
