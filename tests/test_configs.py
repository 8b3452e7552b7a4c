"""Every shipped config: it says how it is run, it parses, it runs, and what is compared differs in one thing only."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from lit_listener.__main__ import main
from lit_listener.cli import ReasonerCLI, build_cli
from lit_listener.evaluation.predictions_file import read_predictions
from lit_listener.training import ListenerGRPO, TraceSFT
from lit_listener.vlm.loading import load_backbone
from lit_listener.vlm.specs import PolicySpec

ROOT = Path(__file__).parent.parent
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))
SHAPES = [path for path in CONFIGS if path.parent.name == "shapes"]
NAMES = {"instruct", "warm_start", "grpo", "grpo_listener", "random_listener"}


def content(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(path.read_text())
    return loaded


def shapes(name: str) -> dict[str, Any]:
    return content(ROOT / "configs" / "shapes" / f"{name}.yaml")


def build(config: dict[str, Any], folder: Path) -> ReasonerCLI:
    return build_cli({**config, "run_dir": str(folder)}, run=False)


def test_the_configs_of_the_bundled_world_are_there():
    assert {path.stem for path in SHAPES} >= NAMES


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_opens_with_what_it_does_and_the_command_that_runs_it(path):
    opening = path.read_text().split("\nseed_everything")[0]
    lines = opening.splitlines()
    assert all(line.startswith("#") for line in lines)
    assert re.match(r"# [A-Z].*", lines[0])
    place = path.relative_to(ROOT).as_posix()
    assert f"#   python -m lit_listener fit --config {place}" in lines


@pytest.mark.slow
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_parses(path, tmp_path):
    cli = build(content(path), tmp_path)
    assert isinstance(cli.model, ListenerGRPO | TraceSFT)
    assert len(cli.datamodule.train) > 0
    assert cli.trainer.max_steps > 0


@pytest.mark.slow
def test_no_config_sets_the_target_of_a_link(tmp_path):
    """What a link fills in would silently win over the config."""
    links = getattr(build(shapes("grpo"), tmp_path).parser, "_links_group", None)  # there once something is linked
    targets = [action.target[0] for action in links._group_actions] if links is not None else []
    for path in CONFIGS:
        for target in targets:
            node: Any = content(path)
            for key in target.split("."):
                node = node.get(key) if isinstance(node, dict) else None
            assert node is None, f"{path.name} sets {target}, which is linked"


def test_plain_grpo_differs_from_grpo_with_the_listener_in_its_weight_alone():
    plain, listened = shapes("grpo"), shapes("grpo_listener")
    weights = [config["model"]["init_args"]["reward"] for config in (plain, listened)]
    assert weights == [{"accuracy": 0.5, "listener": 0.0}, {"accuracy": 0.5, "listener": 0.5}]
    for config in (plain, listened):
        del config["model"]["init_args"]["reward"]
    assert plain == listened


def test_the_random_control_differs_in_the_listener_alone():
    listened, control = shapes("grpo_listener"), shapes("random_listener")
    listeners = [config["model"]["init_args"].pop("listener") for config in (listened, control)]
    assert listeners == [
        {"class_path": "lit_listener.vlm.listeners.ReferenceListener"},
        {"class_path": "lit_listener.vlm.listeners.RandomListener"},
    ]
    assert listened == control


def test_all_shapes_configs_ask_in_the_same_words():
    questions = [shapes(name)["model"]["init_args"]["task"] for name in sorted(NAMES)]
    assert all(question == questions[0] for question in questions)


def test_no_grpo_config_trains_on_the_renderer_that_is_held_out():
    for name in ("grpo", "grpo_listener", "random_listener"):
        data = shapes(name)["data"]
        held_out = data["test"]["held_out"]["init_args"]["renderers"]
        assert not set(held_out) & set(data["train"]["init_args"]["renderers"])
        splits = {data["train"]["init_args"]["split"], data["test"]["held_out"]["init_args"]["split"]}
        assert splits == {"train", "test"}


def small(config: dict[str, Any]) -> dict[str, Any]:
    """The same run of two steps on a few pairs."""
    config = copy.deepcopy(config)
    config["trainer"] |= {
        "max_steps": 2,
        "val_check_interval": 2,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    options = config["model"]["init_args"]
    options["sampling"] = {**options.get("sampling", {}), "max_new_tokens": 24}
    if "group_size" in options:
        options["group_size"] = 2
    data = config["data"]
    data |= {"batch_size": 2, "eval_batch_size": 2}
    data["train"]["init_args"]["size"] = 4
    for stage in ("validation", "test"):
        for source in data.get(stage, {}).values():
            source["init_args"]["size"] = 2
    return config


@pytest.mark.slow
@pytest.mark.parametrize("path", SHAPES, ids=lambda path: path.stem)
def test_a_config_runs(path, tmp_path):
    config = small(content(path))
    written = tmp_path / "config.yaml"
    written.write_text(yaml.safe_dump(config))
    run = tmp_path / "run"
    assert main(["fit", "--config", str(written), "--run_dir", str(run)]) == 0
    header = (run / "metrics.csv").read_text().splitlines()[0].split(",")
    assert "val/accuracy" in header
    assert ("reward/total" in header) != ("sft/loss" in header)
    last = run / "checkpoints" / "last.ckpt"
    assert last.is_file()
    if config.get("export"):
        load_backbone(str(run / "model"), PolicySpec(str(run / "model")))
    if "test" in config["data"]:
        assert main(["test", "--config", str(run / "config.yaml"), "--ckpt_path", "last"]) == 0
        sources = {row.source for row in read_predictions(run / "predictions.parquet")}
        assert sources == set(config["data"]["test"])
