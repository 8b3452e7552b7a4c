"""Times one GRPO step of this package against TRL's GRPOTrainer: ``python benchmarks/step_time.py``.

Both sides do the same work on the same weights, in two processes that take turns; README.md beside this file says what
is held equal. Nothing here computes: shapes, workers and their turns are in the modules around it.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":  # run as a file, Python looks for modules beside it only
    sys.path[0] = str(ROOT)

import torch

from benchmarks.bounds import shares
from benchmarks.pairs import Worker, WorkerDiedError, alternate
from benchmarks.shapes import SHAPES, Job, Shape, Vision, fitting, named
from lit_listener.evaluation.replaced_file import replaced_file

TIMES = ("rollout_s", "reference_s", "update_s", "step_s")
WORK = ("prompt_tokens", "completion_tokens", "rollouts")
_WARM_UP = 2
_PACKAGES = ("lit_listener", "torch", "transformers", "trl", "lightning", "peft", "accelerate")

Side = tuple[list[dict[str, Any]], dict[str, Any]]
"""A worker's steps, and what it said at its end."""


def figures(side: Side) -> dict[str, float]:
    """Medians of a worker's seconds over its steps, and its peak memory."""
    steps, end = side
    return {**{key: median(step[key] for step in steps) for key in TIMES}, "peak_mib": end["peak_mib"]}


def paired_ratio(ours: Sequence[dict[str, Any]], trl: Sequence[dict[str, Any]]) -> float:
    """How many times as long TRL's step takes: the median over pairs, each of two steps side by side."""
    return median(theirs["step_s"] / own["step_s"] for own, theirs in zip(ours, trl, strict=True))


def check_same_work(ours: Side, trl: Side) -> None:
    """Refuse to compare sides that did different work.

    Raises:
        ValueError: a step had other numbers of tokens or completions, or a side's weights did not move.
    """
    for own, theirs in zip(ours[0], trl[0], strict=True):
        for key in WORK:
            if own[key] != theirs[key]:
                raise ValueError(
                    f"the sides did different work: {own[key]} {key} a step of ours, {theirs[key]} of TRL's; expected "
                    "the same: compare the prompts and the options of benchmarks/worker_ours.py and worker_trl.py"
                )
    for name, (_, end) in (("ours", ours), ("TRL", trl)):
        if not end["moved"] > 0:
            raise ValueError(f"{name}: the weights did not move in any step, so no update was timed")


def run(jobs: Sequence[tuple[str, Job]], pairs: int, logs: Path) -> list[Side]:
    """Run workers side by side, in turns.

    Args:
        jobs: one or two, each with the worker's module.
        pairs: steps of each that count.
        logs: folder of the workers' logs.
    """
    with ExitStack() as ends:
        workers = []
        for module, job in jobs:
            workers.append(Worker(module, job.to_json(), logs / f"{module}.log"))
            ends.callback(workers[-1].close)
        steps, last = alternate(workers, pairs, _WARM_UP)
    return list(zip(steps, last, strict=True))


def both(job: Job, pairs: int, logs: Path) -> tuple[Side, Side]:
    """Ours and TRL's on one job, checked to be the same work."""
    theirs = replace(job, bounds=False)
    ours, trl = run([("benchmarks.worker_ours", job), ("benchmarks.worker_trl", theirs)], pairs, logs)
    check_same_work(ours, trl)
    return ours, trl


def compare(shape: Shape, vision: Vision, folder: Path, pairs: int) -> dict[str, Any]:
    """All figures of a shape with its vision tower in one state: a record of the JSON file."""
    job = Job(shape, str(folder / "model"), vision, bounds=shape.device == "cuda" or shape.hidden)
    ours, trl = both(job, pairs, folder)
    heard = replace(job, listener="reference", bounds=False)
    ours_heard, trl_heard = both(heard, pairs, folder)
    (modelled,) = run([("benchmarks.worker_ours", replace(heard, listener="model"))], pairs, folder)
    record: dict[str, Any] = {
        **facts(shape, vision, pairs),
        "peak_of": ours[1]["peak_of"],
        **{key: ours[0][0][key] for key in WORK},
        "ours": figures(ours),
        "trl": figures(trl),
        "ours_with_listener": figures(ours_heard),
        "trl_with_listener": figures(trl_heard),
        "ours_with_model_listener": figures(modelled),
        "ratio": paired_ratio(ours[0], trl[0]),
        "ratio_with_listener": paired_ratio(ours_heard[0], trl_heard[0]),
    }
    record["memory_ratio"] = record["ours"]["peak_mib"] / record["trl"]["peak_mib"]
    if "bounds" in ours[1]:
        bounds = ours[1]["bounds"]
        record |= {"bounds": bounds, **shares(bounds, record["ours"]["rollout_s"], record["ours"]["update_s"])}
    return record


def facts(shape: Shape, vision: Vision, pairs: int) -> dict[str, Any]:
    """What was run, where, and with which versions."""
    cuda = shape.device == "cuda"
    return {
        "shape": shape.name,
        "vision": vision,
        "device": shape.device,
        "device_name": torch.cuda.get_device_name() if cuda else f"{platform.machine()}, {os.cpu_count()} cores",
        "threads": torch.get_num_threads(),
        "dtype": shape.dtype,
        "lora_rank": shape.lora_rank,
        "quantization": shape.quantization,
        "gradient_checkpointing": shape.gradient_checkpointing,
        "trl_label": "TRL, transformers rollout",
        "versions": {"python": platform.python_version(), **{name: metadata.version(name) for name in _PACKAGES}},
        "pairs": pairs,
    }


def told(record: dict[str, Any]) -> str:
    """A record as a table for people."""
    lines = [
        f"{record['shape']}, vision tower {record['vision']}, {record['dtype']} on {record['device_name']}: medians of "
        f"{record['pairs']} pairs of steps, peak memory ({record['peak_of']})",
        f"{'':38}{'rollout':>9}{'ref+list':>10}{'update':>9}{'step s':>9}{'MiB':>9}",
    ]
    for name, key in (
        ("ours", "ours"),
        (record["trl_label"], "trl"),
        ("ours, reference listens", "ours_with_listener"),
        (f"{record['trl_label']}, listener", "trl_with_listener"),
        ("ours, a model of its own listens", "ours_with_model_listener"),
    ):
        if key in record:
            row = record[key]
            seconds = f"{row['rollout_s']:9.3f}{row['reference_s']:10.3f}{row['update_s']:9.3f}{row['step_s']:9.3f}"
            lines.append(f"{name:38}{seconds}{row['peak_mib']:9.0f}")
    heard = f", with a listener {record['ratio_with_listener']:.2f}" if "ratio_with_listener" in record else ""
    lines.append(f"TRL / ours: {record['ratio']:.2f}{heard}; memory ours / TRL: {record['memory_ratio']:.2f}")
    if "bounds" in record:
        lines.append(
            f"decoding at {record['decode_bandwidth_share']:.0%} of {record['bounds']['copy_bytes_per_s'] / 1e9:.0f} "
            f"GB/s copied; update at {record['update_matmul_share']:.0%} of "
            f"{record['bounds']['matmul_flops_per_s'] / 1e12:.0f} TFLOP/s"
        )
    return "\n".join(lines)


def write(output: Path | None, records: list[dict[str, Any]]) -> None:
    """Write what is measured so far, whole or not at all."""
    if output is not None:
        with replaced_file(output) as beside:
            beside.write_text(json.dumps(records, indent=2) + "\n")


def over_memory(records: Sequence[dict[str, Any]]) -> list[str]:
    """A line for each of our peaks that is above its shape's limit."""
    return [
        f"{record['shape']}, vision tower {record['vision']}: {key} peaks at {record[key]['peak_mib']:.0f} MiB, above "
        f"its limit of {limit} MiB"
        for record in records
        if (limit := SHAPES[record["shape"]].memory_limit_mib) is not None
        for key in ("ours", "ours_with_listener")
        if key in record and record[key]["peak_mib"] > limit
    ]


def model_folder(shape: Shape, folder: Path) -> None:
    """Write the shape's model, in a process of its own.

    Raises:
        subprocess.CalledProcessError: it failed; what it printed stands above.
    """
    job = Job(shape, str(folder / "model"), "trained").to_json()
    subprocess.run([sys.executable, "-m", "benchmarks.shapes", job], check=True, cwd=ROOT)


def measure(shapes: Sequence[Shape], vision: Sequence[Vision], pairs: int, seen: Callable[[Any], None]) -> None:
    """The table: every shape, its tower trained and frozen. ``seen`` is given each record as it is measured."""
    for shape in shapes:
        with tempfile.TemporaryDirectory(prefix="step_time-") as name:
            model_folder(shape, Path(name))
            for tower in [tower for tower in shape.towers if tower in vision]:
                seen(compare(shape, tower, Path(name), pairs))


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line's options."""
    shown = ", ".join(shape.name for shape in SHAPES.values() if not shape.hidden)
    parser = argparse.ArgumentParser(description="One GRPO step of ours against TRL's GRPOTrainer.")
    parser.add_argument("--shape", nargs="+", help=f"of {shown}; by default those that fit this machine")
    parser.add_argument("--vision", nargs="+", choices=("trained", "frozen"), default=["trained", "frozen"])
    parser.add_argument("--pairs", type=int, help="pairs of steps that count; default 7, of a sweep 3")
    parser.add_argument("--output", type=Path, help="a JSON file of all figures")
    parser.add_argument("--sweep", action="store_true", help="one shape over group sizes and image sides instead")
    parser.add_argument("--plot", type=Path, help="a PNG file of the sweep's curves")
    options = parser.parse_args(words)
    options.pairs = options.pairs if options.pairs is not None else (3 if options.sweep else 7)
    if options.pairs < 1:
        parser.error(f"--pairs: expected at least 1, got {options.pairs}")
    if options.plot is not None and not options.sweep:
        parser.error("--plot: draws a sweep's curves; add --sweep")
    try:
        options.shapes = [named(name) for name in options.shape] if options.shape else fitting()
    except ValueError as error:
        parser.error(str(error))
    for shape in options.shapes:
        if not set(shape.towers) & set(options.vision):
            parser.error(f"--vision: {shape.name} is timed with its tower {' or '.join(shape.towers)} only; name that")
    if options.sweep and len(options.shape or ()) > 1:
        parser.error(f"--sweep: takes one --shape, got {len(options.shape)}; sweep them one by one")
    return options


def main(words: Sequence[str] | None = None) -> int:
    """Measure, print and write. Returns the exit status."""
    options = arguments(words)
    records: list[dict[str, Any]] = []

    def seen(record: dict[str, Any]) -> None:
        records.append(record)
        print(told(record) + "\n", flush=True)
        write(options.output, records)

    try:
        if options.sweep:
            from benchmarks.sweep import measure_sweep, told_sweep  # noqa: PLC0415  # which imports this module

            shape = options.shapes[0]
            tower = next(tower for tower in shape.towers if tower in options.vision)
            measure_sweep(shape, tower, options.pairs, seen)
            print(told_sweep(records))
            if options.plot is not None:
                from benchmarks.figures import draw  # noqa: PLC0415  # matplotlib is needed for nothing else

                draw(records, options.plot)
        else:
            measure(options.shapes, options.vision, options.pairs, seen)
    except WorkerDiedError as error:
        print(error, file=sys.stderr)
        return 1
    above = over_memory(records)
    print("\n".join(above), file=sys.stderr, end="\n" if above else "")
    return 1 if above else 0


if __name__ == "__main__":
    sys.exit(main())
