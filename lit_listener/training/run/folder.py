"""A run's folder as the command line sees it: finding the run to go on with, what changed, and what to do next."""

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from lit_listener.training.run.checkpoint_files import read_rest

CHOSEN_FOLDER = "LIT_LISTENER_RUN_DIR"
"""Environment variable by which a process that starts others for its run tells them the folder."""

_BELONG_TO_A_START = ("ckpt_path", "weights_only", "resume", "run_dir", "trainer.default_root_dir")


@dataclass(frozen=True)
class FoundRun:
    """A run that can be gone on with."""

    folder: Path
    config: dict[str, Any]
    """As it was when the run was last started."""
    rollouts: int
    steps: int
    """Optimizer steps made."""
    ended: bool

    @property
    def checkpoint(self) -> Path:
        """What it goes on from."""
        return self.folder / "checkpoints" / "last.ckpt"


def find_run(folder: Path) -> FoundRun:
    """A run's folder with its config and its last checkpoint.

    Raises:
        FileNotFoundError: one of them is not there.
        ValueError: the checkpoint cannot be read, or is another program's.
    """
    checkpoint = folder / "checkpoints" / "last.ckpt"
    for path, what in ((folder, "folder"), (folder / "config.yaml", "config"), (checkpoint, "checkpoint")):
        if not path.exists():
            raise FileNotFoundError(f"--resume: there is no {what} {path}; name the folder of a run that has saved one")
    rest = read_rest(checkpoint)
    if "run" not in rest:
        raise ValueError(f"--resume: {checkpoint} tells nothing of its run; start a new one from it with --ckpt_path")
    config = yaml.safe_load((folder / "config.yaml").read_text())
    return FoundRun(folder, config, rest["run"]["rollouts"], rest["global_step"], rest["run"]["ended"])


def new_folder(configs: Sequence[Any] | None, command: str) -> Path:
    """A folder named after the config and the time.

    Raises:
        ValueError: several processes were started, which would name different ones.
    """
    if any(int(os.environ.get(name) or 1) > 1 for name in ("WORLD_SIZE", "SLURM_NTASKS")):
        raise ValueError(
            "--run_dir: several processes were started for this run, which cannot agree on a folder that is named "
            "after the time; name one"
        )
    return Path("runs") / f"{_stem(configs, command)}-{datetime.now().strftime('%Y%m%d-%H%M%S')}"


def newest_folder(configs: Sequence[Any] | None) -> Path:
    """The newest run of a config.

    Raises:
        FileNotFoundError: there is none.
    """
    if not configs:
        raise FileNotFoundError("--resume auto: there is no config to look for runs of; name one, or --run_dir")
    pattern = f"{_stem(configs, '')}-{'[0-9]' * 8}-{'[0-9]' * 6}"
    found = sorted(path for path in Path("runs").glob(pattern) if (path / "config.yaml").is_file())
    if not found:
        raise FileNotFoundError(
            f"--resume auto: there is no run runs/{_stem(configs, '')}-<time>; start one without it"
        )
    return found[-1]


def go_on_with(folder: Path | str) -> str:
    """The command that goes on with a run."""
    return f"python -m lit_listener fit --resume {shlex.quote(str(folder))}"


def told_at_the_end(folder: Path, *, judged: bool) -> list[str]:
    """Where a run is, and what to do next with it; nothing of a trial (``--trainer.fast_dev_run``), which leaves none.

    Args:
        folder: the run's.
        judged: whether its config names pairs to test on, by which ``progress`` tells what training changed.
    """
    if not (folder / "config.yaml").is_file():
        return []
    lines = [f"Run: {folder}"]
    if judged and (folder / "checkpoints" / "last.ckpt").exists():
        lines.append(f"What training changed: python -m lit_listener progress {shlex.quote(str(folder))}")
    return lines


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Settings that differ between two configs, old and new; None where one has no such setting."""
    before, after = (_flat(config) for config in (old, new))
    names = [name for name in {**before, **after} if name not in _BELONG_TO_A_START]
    return {name: (before.get(name), after.get(name)) for name in sorted(names) if before.get(name) != after.get(name)}


def free_name(folder: Path) -> Path:
    """Where a config that is replaced is kept: config-1.yaml, or the next number."""
    number = 1
    while (folder / f"config-{number}.yaml").exists():
        number += 1
    return folder / f"config-{number}.yaml"


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _stem(configs: Sequence[Any] | None, command: str) -> str:
    return Path(str(configs[0])).stem if configs else command
