"""The Shapes study: plain GRPO, with the listener, with a random listener; several seeds, and one run twice as long.

Each run is the public command line in a process of its own; a finished run is not repeated, so that a study that was
broken off goes on where it stopped. Used by ``make accept``, and by hand:

    python -m tests.acceptance.study runs/study docs/results/shapes.md
"""

import os
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lit_listener.evaluation.learning_curves import read_metrics
from lit_listener.evaluation.metrics import summary, summary_difference
from lit_listener.evaluation.prediction import Prediction
from lit_listener.evaluation.predictions_file import read_predictions
from lit_listener.evaluation.statistics import Interval

SEEDS = (0, 1, 2)
_HEADER = """# The Shapes study

Written by `make accept`. Every row is 3 seeds x 1,000 fresh pairs (the start: 1,000), each judged once by a sampled
trace; in brackets 95% intervals, bootstrapped over prompts, all seeds together. Configs:
`configs/shapes/{grpo,grpo_listener,random_listener}.yaml`; a seed sets `--seed_everything`, `--data.seed` and
`--model.init_args.sampling.seed`. Contradictions: completions with a readable answer whose trace states the other
verdict, by rule (`lit_listener/tasks/verdicts.py`), so no model that took part in training judges them.
"""
SOURCES = ("held_in", "held_out")
_PROCESSES = 2
_LINES = {"accuracy": "accuracy", "contradiction_share": "contradictions", "format_share": "well-formed"}


@dataclass(frozen=True)
class Arm:
    """One kind of run."""

    name: str
    config: str
    longer: int = 1
    """How many times the config's steps."""


ARMS = (
    Arm("GRPO", "grpo"),
    Arm("GRPO + listener", "grpo_listener"),
    Arm("GRPO + random listener", "random_listener"),
    Arm("GRPO + listener, twice as long", "grpo_listener", longer=2),
)


def run_study(root: Path) -> None:
    """Train and judge every arm with every seed, two processes at a time."""
    jobs = [(arm, seed, root / folder_name(arm, seed)) for seed in SEEDS for arm in ARMS]
    with ThreadPoolExecutor(_PROCESSES) as pool:
        list(pool.map(lambda job: _run(*job), jobs))


def folder_name(arm: Arm, seed: int) -> str:
    """Where a run lies within the study's folder."""
    return f"{arm.config}-{arm.longer}x-seed{seed}"


def read_arm(root: Path, arm: Arm, source: str, moment: str) -> list[list[Prediction]]:
    """The predictions of an arm's seeds, ``before`` or ``after`` training."""
    files = [root / folder_name(arm, seed) / f"predictions_{moment}.parquet" for seed in SEEDS]
    return [[p for p in read_predictions(file) if p.source == source] for file in files]


def pooled(runs: Iterable[list[Prediction]]) -> dict[str, Interval]:
    """All seeds' predictions as one sample; intervals are clustered by prompt."""
    return summary([prediction for run in runs for prediction in run])


def difference(root: Path, arm: Arm, other: Arm, source: str) -> dict[str, Interval]:
    """``arm`` minus ``other`` after training, over all seeds, paired by prompt."""
    old, new = (
        [prediction for run in read_arm(root, which, source, "after") for prediction in run] for which in (other, arm)
    )
    return summary_difference(old, new)


def table(root: Path) -> str:
    """The study as Markdown: every seed, and all seeds together with their intervals."""
    lines = [_HEADER]
    for source in SOURCES:
        lines += [f"**{source.replace('_', '-')} renderers**", ""]
        lines += ["| arm | " + " | ".join(_LINES.values()) + " | accuracy by seed | contradictions by seed |"]
        lines += ["|---" * (len(_LINES) + 3) + "|"]
        lines += [_row("start", read_arm(root, ARMS[0], source, "before")[:1])]
        lines += [_row(arm.name, read_arm(root, arm, source, "after")) for arm in ARMS]
        gap = difference(root, ARMS[1], ARMS[0], source)
        accuracy, contradictions = _points(gap["accuracy"]), _points(gap["contradiction_share"])
        lines += ["", f"Listener minus plain GRPO: accuracy {accuracy}, contradictions {contradictions}.", ""]
    return "\n".join([*lines, _ends(root)])


def last_metrics(root: Path, arm: Arm, seed: int) -> dict[str, float]:
    """Means over the last ten steps of a run's ``metrics.csv``."""
    metrics = read_metrics(root / folder_name(arm, seed) / "metrics.csv")
    return {name: float(series.values[-10:].mean()) for name, series in metrics.items()}


def _ends(root: Path) -> str:
    lines = ["**The listener run's end, and twice as long** (means over the last ten steps)", ""]
    lines += ["| run | policy/kl | reward/format | reward/accuracy | listener/p_correct |", "|---|---|---|---|---|"]
    for arm in (ARMS[1], ARMS[3]):
        for seed in SEEDS:
            end = last_metrics(root, arm, seed)
            cells = [f"{end[k]:.3f}" for k in ("policy/kl", "reward/format", "reward/accuracy", "listener/p_correct")]
            lines += [f"| {arm.name}, seed {seed} | " + " | ".join(cells) + " |"]
    return "\n".join([*lines, ""])


def _row(name: str, runs: list[list[Prediction]]) -> str:
    together = pooled(runs)
    alone = [summary(run) for run in runs]
    cells = [_share(together[key]) for key in _LINES]
    cells += [" · ".join(f"{100 * one[key].mean:.1f}" for one in alone) for key in ("accuracy", "contradiction_share")]
    return f"| {name} | " + " | ".join(cells) + " |"


def _share(interval: Interval) -> str:
    return f"{100 * interval.mean:.1f}% [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def _points(interval: Interval) -> str:
    return f"{100 * interval.mean:+.1f} points [{100 * interval.low:+.1f}, {100 * interval.high:+.1f}]"


def _run(arm: Arm, seed: int, folder: Path) -> None:
    if (folder / "progress.json").exists():
        return
    if not (folder / "checkpoints" / "last.ckpt").exists():
        steps = _steps(arm.config) * arm.longer
        options: dict[str, Any] = {
            "config": f"configs/shapes/{arm.config}.yaml",
            "run_dir": folder,
            "seed_everything": seed,
            "trainer.max_steps": steps,
            "data.seed": seed,
            "model.init_args.sampling.seed": seed,
            "samples.show": "false",
        }
        run_command("fit", *(f"--{name}={value}" for name, value in options.items()))
    run_command("progress", str(folder))


def _steps(config: str) -> int:
    return int(yaml.safe_load(Path(f"configs/shapes/{config}.yaml").read_text())["trainer"]["max_steps"])


def run_command(*args: str) -> None:
    """Run ``python -m lit_listener`` in a process of its own; its failure is ours."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "lit_listener", *args], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{args} ended with {done.returncode}:\n{done.stderr[-2000:]}")


if __name__ == "__main__":
    root, output = Path(sys.argv[1]), Path(sys.argv[2])
    run_study(root)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(table(root))
    print(f"Written: {output}")
