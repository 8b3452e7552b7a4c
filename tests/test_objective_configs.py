"""The overlays of the objective: they say how they are run, parse on top of every GRPO config, and train."""

import itertools
import math
import re
from pathlib import Path

import pytest
import yaml

from lit_listener.__main__ import main
from lit_listener.cli import build_cli

ROOT = Path(__file__).parent.parent
OVERLAYS = sorted((ROOT / "configs" / "objective").glob("*.yaml"))


def command(path: Path) -> str:
    opening = list(itertools.takewhile(lambda line: line.startswith("#"), path.read_text().splitlines()))
    (line,) = [line for line in opening if "lit_listener fit" in line]
    return line


def test_the_overlays_of_the_papers_are_there():
    assert {path.stem for path in OVERLAYS} >= {"dapo", "dr_grpo", "gspo", "gdpo", "kl_free", "terms"}


@pytest.mark.parametrize("path", OVERLAYS, ids=lambda path: path.stem)
def test_an_overlay_opens_with_the_command_that_runs_it(path):
    pattern = r"#   python -m lit_listener fit --config configs/shapes/\w+\.yaml --config configs/objective/(\w+)\.yaml"
    assert path.read_text().startswith("# Overlay ")
    match = re.fullmatch(pattern, command(path))
    assert match is not None
    assert match[1] == path.stem


@pytest.mark.slow
@pytest.mark.parametrize("base", ["grpo_listener", "grpo"])
@pytest.mark.parametrize("path", OVERLAYS, ids=lambda path: path.stem)
def test_an_overlay_parses_on_top_of_the_papers_configs(path, base, tmp_path):
    options = ["--trainer.accelerator", "cpu", "--trainer.devices", "1", "--run_dir", str(tmp_path)]
    base_path = ROOT / "configs" / "qwen2_5_vl" / f"{base}.yaml"
    toy = ROOT / "configs" / "hardware" / "cpu_debug.yaml"
    cli = build_cli(["--config", str(base_path), "--config", str(toy), "--config", str(path), *options], run=False)
    given = yaml.safe_load(path.read_text())["model"]["init_args"]["objective"] if path.stem != "terms" else {}
    for name, value in given.items():
        assert getattr(cli.model.objective, name) == value


@pytest.mark.slow
@pytest.mark.parametrize("path", OVERLAYS, ids=lambda path: path.stem)
def test_eight_steps_on_shapes(path, tmp_path):
    """Small ones; every number of every step is finite, but for what the overlay leaves out."""
    words = command(path).split("lit_listener ")[1].split()
    here = [str(ROOT / word) if word.startswith("configs/") else word for word in words]
    small = yaml.safe_dump(
        {
            "trainer": {"max_steps": 8, "limit_val_batches": 0, "enable_progress_bar": False},
            "model": {"init_args": {"group_size": 4, "sampling": {"max_new_tokens": 32}}},
            "data": {"batch_size": 4, "train": {"init_args": {"size": 32}}},
        }
    )
    (tmp_path / "small.yaml").write_text(small)
    groups = ["--model.groups.init_args.prompts", "2"] if path.stem == "dapo" else []
    run = tmp_path / "run"
    assert main([*here, "--config", str(tmp_path / "small.yaml"), *groups, "--run_dir", str(run)]) == 0
    text = (run / "metrics.csv").read_text().splitlines()
    header = text[0].split(",")
    steps = [dict(zip(header, line.split(","), strict=True)) for line in text[1:]]
    steps = [row for row in steps if row.get("reward/total")]
    assert len(steps) == (2 if path.stem == "gspo" else 8)
    empty = {"kl_free": ("policy/kl", "listener/")}.get(path.stem, ("-",))
    for row in steps:
        for name, value in row.items():
            if name.startswith(("reward/", "policy/", "group/", "completion/", "listener/")):
                assert math.isnan(float(value or "nan")) == name.startswith(empty), (name, value)
    assert any(float(row["policy/grad_norm"]) > 0 for row in steps)
