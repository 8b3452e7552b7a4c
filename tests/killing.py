"""Kills a training run again and again, goes on with it, and compares the end with that of a run left in peace.

Each run is the public command line in a process of its own. It validates, makes several optimizer steps a rollout,
saves after every rollout, and goes through two epochs.
"""

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import yaml

from tests.training.broken_runs import differences, left_by

ROLLOUTS = 12
_TOO_SMALL = 2_000_000
"""Bytes that a file may have on a full disk: metrics fit, checkpoints do not."""

Aim = Literal["anywhere", "saving", "full disk", "SIGTERM"]


@dataclass(frozen=True)
class Kill:
    """One end of a process before its time."""

    aim: Aim
    after: float
    """Seconds since its start."""
    rollouts: int
    """Rollouts in the last checkpoint; 0 where there is none yet."""
    torn: bool
    """Whether a checkpoint was being written."""


def config() -> dict[str, Any]:
    """A run of a few seconds on the bundled models."""

    def shapes(size: int, split: str) -> dict[str, Any]:
        options = {"renderers": ["flat", "paper"], "size": size, "split": split}
        return {"class_path": "lit_listener.data.shapes.ShapesPairs", "init_args": options}

    return {
        "seed_everything": 0,
        "trainer": {
            "max_epochs": 2,
            "val_check_interval": 4,
            "accelerator": "cpu",
            "log_every_n_steps": 1,
            "num_sanity_val_steps": 0,
            "enable_progress_bar": False,
            "enable_model_summary": False,
        },
        "model": {
            "class_path": "lit_listener.training.ListenerGRPO",
            "init_args": {
                "policy": {"base": "shapes-instruct", "start": "shapes-warm-start"},
                "task": {
                    "class_path": "lit_listener.tasks.PairwisePreference",
                    "init_args": {
                        "system": None,
                        "template": "{prompt}. first {image_0} second {image_1} Which is better, 0 or 1?",
                    },
                },
                "sampling": {"max_new_tokens": 24},
                "group_size": 3,
                "updates": {"epochs": 2, "minibatches": 2},
                "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.001}},
                "schedule": {"name": "linear", "warmup_steps": 3},
            },
        },
        "data": {
            "train": shapes(12, "train"),
            "validation": {"held_in": shapes(3, "validation")},
            "batch_size": 2,
            "eval_batch_size": 1,
        },
        "samples": {"every_n_steps": 3, "show": False},
        "checkpoint": {"every_n_rollouts": 1, "save_top_k": 1},
    }


class Killer:
    """Kills runs of one config.

    Args:
        root: where the runs' folders are made.
        seed: seed of the times at which they are killed.
    """

    def __init__(self, root: Path, seed: int) -> None:
        self.root = root
        self._rng = random.Random(seed)
        self._config = root / "config.yaml"
        self._config.write_text(yaml.safe_dump(config()))
        began = time.monotonic()
        self._finish(self._start("undisturbed"))
        self._seconds = time.monotonic() - began
        self.expected = left_by(root / "undisturbed")
        assert self.expected["last.ckpt"]["run"]["rollouts"] == ROLLOUTS

    def run(self, aims: list[Aim]) -> list[Kill]:
        """Kill once for each aim, over as many runs as that takes, and see each of them to its end.

        Raises:
            AssertionError: a checkpoint was torn, or a run did not end as the undisturbed one.
        """
        left, kills, number = list(aims), [], 0
        while left:
            number += 1
            folder = f"killed-{number}"
            while left and (kill := self._kill(folder, left[0])) is not None:
                kills.append(kill)
                left.pop(0)
            if not (self.root / folder / "checkpoints" / "last.ckpt").exists():
                shutil.rmtree(self.root / folder, ignore_errors=True)
            self._finish(self._start(folder))
            found = list(differences(self.expected, left_by(self.root / folder)))
            assert not found, found
        return kills

    def _start(self, name: str, *, full_disk: bool = False) -> subprocess.Popen[str]:
        folder = self.root / name
        how = ["--run_dir", str(folder)]
        if (folder / "checkpoints" / "last.ckpt").exists():
            how = ["--resume", str(folder)]
        else:
            shutil.rmtree(folder, ignore_errors=True)  # killed before there was anything to go on with

        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (_TOO_SMALL, _TOO_SMALL))

        return subprocess.Popen(
            [sys.executable, "-m", "lit_listener", "fit", "--config", str(self._config), *how],
            env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=limit if full_disk else None,  # noqa: PLW1509  # the tests start no threads
        )

    def _finish(self, process: subprocess.Popen[str]) -> None:
        said, _ = process.communicate(timeout=300)
        assert process.returncode == 0, said

    def _kill(self, name: str, aim: Aim) -> Kill | None:
        """End a process before its time; None if the run ended before."""
        folder = self.root / name / "checkpoints"
        began, clock = time.monotonic(), time.time()
        process = self._start(name, full_disk=aim == "full disk")
        if aim == "saving":
            skip = self._rng.randrange(3)
            while process.poll() is None and skip >= 0:
                if _younger(folder / ".last.ckpt.part", clock):
                    skip -= 1
                    if skip >= 0:
                        time.sleep(self._rng.uniform(0.05, 0.5))
            process.kill()
        elif aim in ("anywhere", "SIGTERM"):
            while process.poll() is None and not (folder / "last.ckpt").exists():
                time.sleep(0.01)
            wait = self._rng.uniform(0.3, 1.0) * self._seconds if aim == "anywhere" else self._seconds / 2
            try:
                process.wait(max(0.0, began + wait - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL if aim == "anywhere" else signal.SIGTERM)
        said, _ = process.communicate(timeout=300)
        if process.returncode == 0:
            return None
        status = {"full disk": 1, "SIGTERM": 128 + signal.SIGTERM}.get(aim, -signal.SIGKILL)
        # a SIGTERM may come before training has started, or when it is over
        assert process.returncode in (status, -signal.SIGTERM if aim == "SIGTERM" else status), said
        if aim == "full disk":
            assert "could not be written" in said, said
        whole = [path for path in folder.glob("*") if not path.name.startswith(".")]
        read = {path.name: torch.load(path, weights_only=True) for path in whole}
        rollouts = read["last.ckpt"]["run"]["rollouts"] if "last.ckpt" in read else 0
        return Kill(aim, time.monotonic() - began, rollouts, any(folder.glob(".*.part")))


def _younger(path: Path, clock: float) -> bool:
    """Whether a file was made since a time, and not left by a run that was killed before."""
    try:
        return path.stat().st_mtime >= clock
    except FileNotFoundError:
        return False


def table(kills: list[Kill]) -> str:
    """A line a kill."""
    lines = [f"{'aim':>10} {'after':>8} {'saved rollouts':>15} {'while writing':>14}"]
    for kill in kills:
        torn = "yes" if kill.torn else ""
        lines.append(f"{kill.aim:>10} {kill.after:>6.1f} s {kill.rollouts:>15} {torn:>14}")
    return "\n".join(lines)
