"""Every shipped config: it says how it is run, it parses, it runs, and what is compared differs in one thing only."""

import contextlib
import copy
import inspect
import itertools
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from lightning.pytorch.strategies import ModelParallelStrategy
from peft import LoraConfig, get_peft_model
from PIL import Image
from transformers import AutoModelForImageTextToText, Qwen2_5_VLConfig

from lit_listener.__main__ import main
from lit_listener.cli import ReasonerCLI, build_cli
from lit_listener.data import sources
from lit_listener.data.scenes import HELD_OUT, TRAINED_ON, ScenesPairs
from lit_listener.data.shapes import ShapesPairs
from lit_listener.data.sources import ImageGenCoT, PairTable
from lit_listener.data.sources.pairs import TablePairs
from lit_listener.evaluation.predictions_file import read_predictions
from lit_listener.tasks import AbsoluteRating
from lit_listener.training import AnswerSFT, BradleyTerryReward, ListenerGRPO, TraceSFT
from lit_listener.vlm.adapters import adapted_layers
from lit_listener.vlm.loading import load_backbone
from lit_listener.vlm.specs import PolicySpec
from tests.training.sampled import write_right_traces
from tests.vlm.tiny import FOUR_BIT_WIDTHS, write_tiny

ROOT = Path(__file__).parent.parent
CONFIGS = sorted(path for path in (ROOT / "configs").rglob("*.yaml") if path.parent.name != "study")
"""All but the study's, of which ``tests/study/test_study_configs.py`` is."""
SHAPES = [path for path in CONFIGS if path.parent.name == "shapes"]
SCENES = [path for path in CONFIGS if path.parent.name == "scenes" and path.stem != "debug"]
SCENES_DEBUG = ROOT / "configs" / "scenes" / "debug.yaml"
QWEN = [path for path in CONFIGS if path.parent.name == "qwen2_5_vl"]
OVERLAYS = [path for path in CONFIGS if path.parent.name == "hardware"]
RATING = [path for path in QWEN if path.stem.startswith("rating")]
"""They ask about single images: other data, and no bundled pairs to try them out on."""
PAIRS = [path for path in QWEN if path not in RATING]
DATA = [path for path in CONFIGS if path.parent.name == "data"]
OBJECTIVE = [path for path in CONFIGS if path.parent.name == "objective"]
EVALUATION = [path for path in CONFIGS if path.parent.name == "evaluation"]
SERVED = {"remote_listener"}
"""They need a server: ``tests/training/test_remote_listener.py`` runs them."""
TRAINED = {
    "sft": TraceSFT,
    "trace_sft_given": TraceSFT,
    "answer_sft": AnswerSFT,
    "bradley_terry": BradleyTerryReward,
}
"""Configs of the real models that train anything but GRPO, and what."""
OWN_QUESTION = {"trace_sft_given", "bradley_terry"}
"""Those that the debug overlay's words do not go with."""
ALIKE = {"grpo", "grpo_hpsv2_25"}
"""They differ from grpo_listener in numbers alone (``test_the_papers_configs_differ_in_what_they_compare_alone``): what
loads and runs is the same, so that they are tried with the overlay alone that is no like of the others."""
COMBINED = [
    (base, overlay)
    for base in PAIRS
    for overlay in OVERLAYS
    if not (overlay.stem == "cpu_debug" and base.stem in OWN_QUESTION)
    and not (overlay.stem != "cpu_debug" and base.stem in ALIKE)
]
DEBUGGED = [path for path in PAIRS if path.stem not in OWN_QUESTION | ALIKE]
NO_OVERLAYS = {"ImageRewardRatings", "ImageGenCoT", "TraceTable", "WholeLists"}
"""Sources that do not go with every training."""
NAMES = {"instruct", "witness", "warm_start", "grpo", "grpo_listener", "random_listener"}


def content(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(path.read_text())
    return loaded


def shapes(name: str) -> dict[str, Any]:
    return content(ROOT / "configs" / "shapes" / f"{name}.yaml")


def build(config: dict[str, Any], folder: Path) -> ReasonerCLI:
    return build_cli({**config, "run_dir": str(folder)}, run=False)


def test_the_configs_of_the_bundled_world_are_there():
    assert {path.stem for path in SHAPES} >= NAMES


def test_the_configs_of_the_papers_and_of_hardware_are_there():
    assert {path.stem for path in QWEN} >= {"grpo_listener", "grpo", *TRAINED}
    assert {path.stem for path in OVERLAYS} >= {"qlora_1gpu", "lora_1gpu", "fsdp_8gpu", "ddp_lora_8gpu", "cpu_debug"}
    sorts = (SHAPES, [*SCENES, SCENES_DEBUG], QWEN, OVERLAYS, DATA, EVALUATION, OBJECTIVE)
    assert sum(map(len, sorts)) == len(CONFIGS)


@pytest.mark.parametrize(
    "path",
    [path for path in CONFIGS if path not in [*DATA, *EVALUATION, *OBJECTIVE]],
    ids=lambda path: f"{path.parent.name}-{path.stem}",
)
def test_a_config_opens_with_what_it_does_and_the_command_that_runs_it(path):
    opening = list(itertools.takewhile(lambda line: line.startswith("#"), path.read_text().splitlines()))
    assert re.match(r"# [A-Z].*", opening[0])
    place = re.escape(path.relative_to(ROOT).as_posix())
    alone, base, overlay = "", r"--config configs/qwen2_5_vl/\w+\.yaml ", r" --config configs/hardware/\w+\.yaml"
    before, after = {
        "shapes": (alone, alone),
        "scenes": (alone, rf" --run_dir runs/scenes/{path.stem}"),
        "qwen2_5_vl": (alone, overlay),
        "hardware": (base, alone),
    }[path.parent.name]
    if path == SCENES_DEBUG:
        before, after = r"--config configs/scenes/\w+\.yaml ", alone
    commands = [line for line in opening if "lit_listener fit" in line]
    assert len(commands) == 1
    assert re.fullmatch(rf"#   python -m lit_listener fit {before}--config {place}{after}", commands[0])
    for named in re.findall(r"configs/\w+/\w+\.yaml", commands[0]):
        assert (ROOT / named).is_file()
    assert path in SHAPES or any(line.startswith("# Memory") for line in opening)


@pytest.mark.slow
@pytest.mark.parametrize("path", [path for path in SHAPES if path.stem in SERVED], ids=lambda path: path.stem)
def test_a_config_that_is_not_run_parses(path, tmp_path):
    cli = build(content(path), tmp_path)
    assert isinstance(cli.model, ListenerGRPO)
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


def test_the_remote_listener_differs_in_the_listener_alone_and_says_how_it_is_served():
    listened, remote = shapes("grpo_listener"), shapes("remote_listener")
    at_hand, served = (config["model"]["init_args"].pop("listener") for config in (listened, remote))
    assert listened == remote
    assert at_hand == {"class_path": "lit_listener.vlm.listeners.ReferenceListener"}
    options = served["init_args"]
    assert options["model"] == remote["model"]["init_args"]["policy"]["base"]  # the same weights
    text = (ROOT / "configs" / "shapes" / "remote_listener.yaml").read_text()
    port = options["base_url"].removeprefix("http://127.0.0.1:").removesuffix("/v1")
    assert f"#   python -m lit_listener serve --openai --model {options['model']} --port {port}\n" in text


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
    if not config["model"]["class_path"].endswith("BradleyTerryReward"):  # which writes nothing
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


def with_traces(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The same with traces to learn from, where a model has to sample them first."""
    traces = config["data"].get("traces") or {}
    if traces.get("class_path") == "lit_listener.training.SampledTraces":
        source = ShapesPairs(**config["data"]["train"]["init_args"])
        traces["init_args"]["predictions"] = str(write_right_traces(source, range(4), folder / "predictions.parquet"))
    return config


@pytest.mark.slow
@pytest.mark.parametrize("path", [path for path in SHAPES if path.stem not in SERVED], ids=lambda path: path.stem)
def test_a_config_runs(path, tmp_path):
    config = with_traces(small(content(path)), tmp_path)
    written = tmp_path / "config.yaml"
    written.write_text(yaml.safe_dump(config))
    run = tmp_path / "run"
    assert main(["fit", "--config", str(written), "--run_dir", str(run)]) == 0
    header = (run / "metrics.csv").read_text().splitlines()[0].split(",")
    assert "val/accuracy" in header
    assert len({"reward/total", "sft/loss", "bradley_terry/loss"} & set(header)) == 1
    last = run / "checkpoints" / "last.ckpt"
    assert last.is_file()
    if config.get("export"):
        load_backbone(str(run / "model"), PolicySpec(str(run / "model")))
    if "test" in config["data"]:
        assert main(["test", "--config", str(run / "config.yaml"), "--ckpt_path", "last"]) == 0
        sources = {row.source for row in read_predictions(run / "predictions.parquet")}
        assert sources == set(config["data"]["test"])


# ---- the larger world --------------------------------------------------------------------------------------------


def scenes(name: str) -> dict[str, Any]:
    return content(ROOT / "configs" / "scenes" / f"{name}.yaml")


def test_the_runs_of_the_larger_world_start_from_what_those_before_them_leave():
    assert {path.stem for path in SCENES} == {"instruct", "warm_start", "grpo_listener", "grpo"}
    header = (ROOT / "configs" / "scenes" / "instruct.yaml").read_text()
    assert "#   python -m lit_listener.vlm.blueprint runs/scenes/blank configs/scenes/instruct.yaml" in header
    policies = {name: at(scenes(name), "model.init_args.policy") for name in ("instruct", "warm_start", "grpo")}
    assert policies == {
        "instruct": {"base": "runs/scenes/blank", "train_vision": True},
        "warm_start": {"base": "runs/scenes/instruct/model"},  # the --run_dir of the header, and the export's folder
        "grpo": {"base": "runs/scenes/instruct/model", "start": "runs/scenes/warm_start/model"},
    }
    assert scenes("instruct")["export"] == scenes("warm_start")["export"] == {"folder": "model"}
    assert all("not yet run on a GPU" in path.read_text() for path in SCENES)


def test_plain_grpo_of_the_larger_world_differs_in_the_listeners_weight_alone():
    plain, listened = keys(scenes("grpo")), keys(scenes("grpo_listener"))
    changed = {key for key in plain.keys() | listened.keys() if plain.get(key) != listened.get(key)}
    assert changed == {"model.init_args.reward.listener"}


def test_the_larger_world_holds_two_renderers_out():
    for path in SCENES:
        data = content(path)["data"]
        assert at(data, "test.held_in.init_args.renderers") == list(TRAINED_ON)
        assert at(data, "test.held_out.init_args.renderers") == list(HELD_OUT)
        rewarded = [] if path.stem.startswith("grpo") else HELD_OUT
        assert at(data, "train.init_args.renderers") == [*TRAINED_ON, *rewarded]


@pytest.mark.slow
@pytest.mark.parametrize("path", SCENES, ids=lambda path: path.stem)
def test_a_config_of_the_larger_world_parses_and_runs_with_its_debug_overlay(path, tmp_path):
    cli = build_cli(["--config", str(path), "--trainer.accelerator", "cpu", "--run_dir", str(tmp_path)], run=False)
    assert isinstance(cli.datamodule.train, ScenesPairs)
    assert cli.model.policy_spec.base.startswith("runs/scenes/")
    configs = ["--config", str(path), "--config", str(SCENES_DEBUG)]
    options = ["--run_dir", str(tmp_path / "run"), "--trainer.max_steps", "2", "--trainer.val_check_interval", "2"]
    quiet = ["--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"]
    assert main(["fit", *configs, *options, *quiet, "--model.sampling.max_new_tokens", "8"]) == 0
    header = (tmp_path / "run" / "metrics.csv").read_text().splitlines()[0].split(",")
    assert "val/accuracy" in header
    assert {"reward/total", "sft/loss"} & set(header) == {"reward/total" if "grpo" in path.stem else "sft/loss"}


# ---- the papers' configs and the hardware overlays ---------------------------------------------------------------


def at(config: Any, key: str) -> Any:
    for part in key.split("."):
        config = config.get(part) if isinstance(config, dict) else None
    return config


def keys(config: dict[str, Any], before: str = "") -> dict[str, Any]:
    """All values by their dotted keys."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        found |= keys(value, f"{before}{key}.") if isinstance(value, dict) else {f"{before}{key}": value}
    return found


def papers(name: str) -> dict[str, Any]:
    return content(ROOT / "configs" / "qwen2_5_vl" / f"{name}.yaml")


def test_the_papers_settings():
    options = papers("grpo_listener")["model"]["init_args"]
    assert options["policy"]["base"] == "Qwen/Qwen2.5-VL-7B-Instruct"
    assert (options["group_size"], options["reward"]) == (10, {"accuracy": 0.5, "listener": 0.5})
    assert (options["reference"], options["listener"]) == (
        "base",
        {"class_path": "lit_listener.vlm.listeners.ReferenceListener"},
    )
    for name in ("grpo_listener", "grpo", "sft"):
        assert at(papers(name), "data.train.init_args.fraction") == 0.16
    predecessor = papers("grpo_hpsv2_25")
    assert at(predecessor, "data.train.init_args.fraction") == 0.25
    assert at(predecessor, "model.init_args.reward") == {"accuracy": 1.0, "listener": 0.0}
    rating = papers("rating_image_reward")["model"]["init_args"]
    assert rating["task"]["init_args"] == {"ratings": 7, "approximate": [1.0, 0.75, 0.5]}
    assert rating["reward"] == {"accuracy": 1.0, "listener": 0.0}
    assert {name: term["init_args"] for name, term in rating["reward_terms"].items()} == {
        "approximate": {"weight": 1.0},
        "soft": {"weight": 1.0},
    }


def test_the_papers_configs_differ_in_what_they_compare_alone():
    listened, plain, sft = (keys(papers(name)) for name in ("grpo_listener", "grpo", "sft"))
    changed = {key for key in listened.keys() | plain.keys() if listened.get(key) != plain.get(key)}
    assert changed == {"model.init_args.reward.listener"}
    predecessor = keys(papers("grpo_hpsv2_25"))
    changed = {key for key in plain.keys() | predecessor.keys() if plain.get(key) != predecessor.get(key)}
    assert changed == {"model.init_args.reward.accuracy", "data.train.init_args.fraction"}
    assert {key: value for key, value in listened.items() if key.startswith("data.")}.items() <= sft.items()


@pytest.mark.parametrize("path", OVERLAYS, ids=lambda path: path.stem)
def test_an_overlay_switches_no_class_without_spelling_it_out_and_replaces_no_list(path):
    overlay = keys(content(path))
    for base in PAIRS:
        for key, value in overlay.items():
            before = at(content(base), key)
            assert not isinstance(value, list) or before is None, f"{key} replaces a list"
            if not key.endswith("class_path") or before in (None, value):
                continue
            assert value == "lit_listener.data.shapes.ShapesPairs", f"{key} switches {before}"
            spelled = at(content(path), key.replace("class_path", "init_args"))
            assert set(spelled) == set(inspect.signature(ShapesPairs).parameters)


@pytest.fixture(scope="module")
def made_tables(tmp_path_factory) -> Path:
    """The tables that the header tells how to make, by its own words."""
    here = tmp_path_factory.mktemp("tables")
    folder = here / "data" / "hpdv2"
    (folder / "train").mkdir(parents=True)
    for name, colour in (("red", (255, 0, 0)), ("blue", (0, 0, 255))):
        Image.new("RGB", (56, 56), colour).save(folder / "train" / f"{name}.jpg")
    votes = ([1, 0], [0, 1], [1, 1])
    rows = [
        {"prompt": f"circle {n // 2:02d}", "file_path": ["red.jpg", "blue.jpg"], "human_preference": votes[n % 3]}
        for n in range(60)
    ]
    (folder / "train.json").write_text(json.dumps(rows))
    (here / "data" / "imagegen_cot").mkdir()
    said = [
        ("human", "Which?\nText Caption: [a circle]"),
        ("gpt", "<think>x</think><answer>Image 2 is better</answer>"),
    ]
    turns = [{"from": speaker, "value": value} for speaker, value in said]
    row = {"conversations": turns, "images": [str(folder / "train" / f"{name}.jpg") for name in ("red", "blue")]}
    (here / "data" / "imagegen_cot" / "train.json").write_text(json.dumps([row]))
    header = (ROOT / "configs" / "qwen2_5_vl" / "grpo_listener.yaml").read_text()
    recipe = header[header.index("#   import json") : header.index("seed_everything")]
    with contextlib.chdir(here):
        exec("\n".join(line[4:] for line in recipe.splitlines()), {})  # what a reader would run
    return folder


@pytest.fixture
def tables(made_tables, monkeypatch) -> Path:
    """The same, where a config's paths find them."""
    monkeypatch.chdir(made_tables.parents[1])
    return made_tables


def test_the_recipe_for_the_tables_keeps_prompts_apart_and_votes_right(tables):
    train, validation = (pq.read_table(tables / f"{name}.parquet").to_pylist() for name in ("train", "validation"))
    assert (len(train), len(validation)) == (58, 2)
    assert not {row["prompt"] for row in train} & {row["prompt"] for row in validation}
    assert Counter(row["preferred"] for row in train + validation) == {"a": 20, "b": 20, "tie": 20}
    pairs = PairTable(tables / "train.parquet", preferred="preferred")
    assert pairs[0].preferred == next(row["preferred"] for row in train if row["preferred"] != "tie")
    assert [pairs[0].image_a.getpixel((9, 9))[0] > 200, pairs[0].image_b.getpixel((9, 9))[0] > 200] == [True, False]


@pytest.fixture(scope="module")
def tiny_seven_b(tmp_path_factory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("seven_b") / "model", **FOUR_BIT_WIDTHS)


def combined(base: Path, overlay: Path, *options: str) -> ReasonerCLI:
    return build_cli(["--config", str(base), "--config", str(overlay), *options], run=False)


@pytest.mark.slow
@pytest.mark.parametrize(("base", "overlay"), COMBINED, ids=lambda path: path.stem)
def test_every_combination_parses_and_loads_at_toy_size(base, overlay, tables, tiny_seven_b, tmp_path):
    here = ["--trainer.accelerator", "cpu", "--trainer.devices", "1", "--run_dir", str(tmp_path / "run")]
    toy = overlay.stem == "cpu_debug"
    cli = combined(base, overlay, *here, *([] if toy else ["--model.policy.base", str(tiny_seven_b)]))
    assert isinstance(cli.model, TRAINED.get(base.stem, ListenerGRPO))
    published = ImageGenCoT if base.stem == "trace_sft_given" else PairTable
    assert isinstance(cli.datamodule.train, ShapesPairs if toy else published)
    assert list(cli.datamodule.validation) == ["held_in"]
    if toy:
        assert_nothing_leaks_from_the_tables(cli)
    assert isinstance(cli.trainer.strategy, ModelParallelStrategy) == (overlay.stem == "fsdp_8gpu")
    cli.model.configure_model()
    spec = cli.model.policy_spec
    trained = {name: p for name, p in cli.model.named_parameters() if p.requires_grad}
    assert trained
    assert not any(".visual." in name for name in trained)
    assert {p.dtype for p in trained.values()} == {torch.float32}
    assert all("lora_" in name for name in trained if name != "policy.head.weight") == (spec.lora is not None)
    assert getattr(cli.model, "shares_vision", True)
    optimizer = cli.model.make_optimizer(trained.values())
    rate = optimizer.param_groups[0]["lr"]
    low, high = (1e-5, 1e-4) if spec.lora or toy or base.stem in TRAINED else (1e-6, 1e-6)
    assert low <= rate <= high


def assert_nothing_leaks_from_the_tables(cli: ReasonerCLI) -> None:
    train = cli.config["data"]["train"]["init_args"]
    held_in = cli.config["data"]["validation"]["held_in"]["init_args"]
    for options, size, split in ((train, 16, "train"), (held_in, 4, "validation")):
        assert options.as_dict() == {
            "renderers": ["flat", "paper"],
            "size": size,
            "split": split,
            "seed": 0,
            "drop_ties": True,
        }


@pytest.mark.slow
@pytest.mark.parametrize("base", DEBUGGED, ids=lambda path: path.stem)
def test_the_debug_overlay_runs_anywhere(base, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where there are no tables
    overlay = ROOT / "configs" / "hardware" / "cpu_debug.yaml"
    options = ["--run_dir", "run", "--trainer.max_steps", "2", "--trainer.val_check_interval", "2"]
    quiet = ["--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"]
    assert main(["fit", "--config", str(base), "--config", str(overlay), *options, *quiet]) == 0
    header = (tmp_path / "run" / "metrics.csv").read_text().splitlines()[0].split(",")
    assert "val/accuracy" in header
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").exists()


def published(hidden: int, intermediate: int, layers: int, heads: int, groups: int, tied: bool) -> Qwen2_5_VLConfig:
    """The sizes of a released Qwen2.5-VL."""
    return Qwen2_5_VLConfig(
        text_config={
            "vocab_size": 151936 if tied else 152064,
            "hidden_size": hidden,
            "intermediate_size": intermediate,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": groups,
            "max_position_embeddings": 128000,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
            "tie_word_embeddings": tied,
        },
        vision_config={
            "depth": 32,
            "hidden_size": 1280,
            "intermediate_size": 3420,
            "num_heads": 16,
            "out_hidden_size": hidden,
            "patch_size": 14,
            "window_size": 112,
            "fullatt_block_indexes": [7, 15, 23, 31],
        },
        tie_word_embeddings=tied,
    )


def low_rank_names(config: Qwen2_5_VLConfig) -> tuple[int, Counter[str]]:
    """Weights of the model, and how often each name of a trainable weight occurs, layer numbers left out."""
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config)
        size = sum(p.numel() for p in model.parameters())
        targets = adapted_layers(vision=False)
        adapted = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules=targets))
    names = [name for name, p in adapted.named_parameters() if p.requires_grad]
    return size, Counter(re.sub(r"\.\d+\.", ".N.", name) for name in names)


@pytest.mark.slow
def test_the_real_models_take_the_adapters_that_the_toy_takes(tiny_seven_b):
    _, toy = low_rank_names(Qwen2_5_VLConfig.from_pretrained(tiny_seven_b))
    assert len(toy) == 14  # (q, k, v, o, gate, up, down) x (A, B)
    assert set(toy.values()) == {2}
    for sizes, layers, weights in (
        ((3584, 18944, 28, 28, 4, False), 28, 8.29e9),
        ((2048, 11008, 36, 16, 2, True), 36, 3.755e9),
    ):
        size, names = low_rank_names(published(*sizes))
        assert size == pytest.approx(weights, rel=1e-3)
        assert names == Counter({name: layers for name in toy})


# ---- the overlays with published data ----------------------------------------------------------------------------

EVALUATED = {"gen_ai_bench", "mmrb2"}


def test_every_source_of_pairs_has_an_overlay():
    named = {
        re.sub(r".*\.", "", found) for path in DATA for key, found in keys(content(path)).items() if "class" in key
    }
    assert named == set(sources.__all__) - NO_OVERLAYS
    assert len(DATA) == len(named)


@pytest.mark.parametrize("path", DATA, ids=lambda path: path.stem)
def test_a_data_overlay_says_how_it_is_used_and_parses_over_the_papers_config(path, capsys):
    opening = list(itertools.takewhile(lambda line: line.startswith("#"), path.read_text().splitlines()))
    task, run = ("test", " --run_dir RUN --ckpt_path last") if path.stem in EVALUATED else ("fit", "")
    configs = f"--config configs/qwen2_5_vl/grpo_listener.yaml --config configs/data/{path.stem}.yaml"
    command = f"#   python -m lit_listener {task} {configs}{run}"
    assert re.match(r"# Overlay that (trains|tests) .*", opening[0])
    assert opening[1] == command
    assert any(line.startswith("# Data: ") for line in opening)
    assert "licence" in " ".join(opening).lower()

    here = [str(ROOT / word) if word.startswith("configs/") else word for word in command.split()[4:]]
    with pytest.raises(SystemExit, match="0"):
        main([*here, "--print_config"])
    parsed = yaml.safe_load(capsys.readouterr().out)["data"]
    overlay = content(path)["data"]
    assert not any(isinstance(value, list) for value in keys(overlay).values())
    named = [("train",), ("validation", "held_in"), ("test", path.stem)]
    spelled = [(key, at(overlay, ".".join(key))) for key in named if at(overlay, ".".join(key))]
    assert [key[0] for key, _ in spelled] == (
        ["test"] if path.stem in EVALUATED else ["train", "validation"][: 1 + bool(overlay["validation"])]
    )
    for key, source in spelled:
        assert at(parsed, ".".join(key)) == source, "an argument is left over, or not spelled"
        kind = getattr(sources, source["class_path"].rsplit(".", 1)[1])
        common = set(inspect.signature(TablePairs).parameters) - {"index", "columns", "opening"}  # of its own making
        assert set(source["init_args"]) == common | set(inspect.signature(kind).parameters) - {"options"}
    assert (parsed["train"] is None) == (path.stem in EVALUATED)
    assert (parsed["validation"] is None) == (overlay["validation"] is None)


# ---- the evaluation's overlays -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", EVALUATION, ids=lambda path: path.stem)
def test_an_evaluation_opens_with_the_command_that_runs_it(path):
    opening = list(itertools.takewhile(lambda line: line.startswith("#"), path.read_text().splitlines()))
    command = " ".join(line[1:].strip().removesuffix("\\") for line in opening if "--" in line)
    assert "python -m lit_listener test --config" in command
    named = re.findall(r"configs/\w+/\w+\.yaml", command)
    assert path.relative_to(ROOT).as_posix() in named
    assert all((ROOT / name).is_file() for name in named)


@pytest.mark.slow
def test_the_evaluation_of_shapes_runs(tmp_path):
    base, overlay = tmp_path / "base.yaml", tmp_path / "overlay.yaml"
    base.write_text(yaml.safe_dump(small(shapes("grpo_listener"))))
    evaluation = content(ROOT / "configs" / "evaluation" / "shapes.yaml")
    for source in evaluation["data"]["test"].values():
        source["init_args"]["size"] = 2
    overlay.write_text(yaml.safe_dump(evaluation))
    run = tmp_path / "run"
    assert main(["test", "--config", str(base), "--config", str(overlay), "--run_dir", str(run)]) == 0
    rows = read_predictions(run / "predictions.parquet")
    assert len(rows) == 2 * 2 * 2 * 3  # sources, pairs, orders, rollouts
    readable = [row for row in rows if row.p_second is not None]
    assert all(row.independent_p_second is not None for row in readable)
    assert all(row.listener_p_second_stripped is not None for row in readable)
    assert all(row.p_second_without_thinking is not None for row in rows)


@pytest.mark.slow
def test_the_evaluation_of_real_models_parses(tables, tmp_path):
    paths = [ROOT / "configs" / "qwen2_5_vl" / "grpo_listener.yaml", ROOT / "configs" / "evaluation" / "papers.yaml"]
    configs = [option for path in paths for option in ("--config", str(path))]
    here = ["--trainer.accelerator", "cpu", "--trainer.devices", "1", "--run_dir", str(tmp_path / "run")]
    cli = build_cli([*configs, *here], run=False)
    assert cli.model.evaluation.rollouts == 3
    assert cli.model.evaluation.text_judge.model == "Qwen/Qwen2.5-14B-Instruct"
    assert cli.datamodule.eval_orders == "both"


# ---- ratings -----------------------------------------------------------------------------------------------------


@pytest.fixture
def image_reward(tmp_path, monkeypatch) -> Path:
    """ImageRewardDB's layout, with four images of each of two prompts in two splits."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data" / "image_reward"
    for split in ("train", "validation"):
        images = folder / "images" / split / f"{split}_1"
        images.mkdir(parents=True)
        rows = []
        for n in range(8):
            Image.new("RGB", (56, 56), (30 * n, 0, 0)).save(images / f"{n}.png")
            rows.append(
                {
                    "image_path": f"images/{split}/{split}_1/{n}.png",
                    "prompt_id": f"p{n // 4}",
                    "prompt": f"prompt {n // 4}",
                    "rank": n % 4 + 1,
                    "overall_rating": 7 - n % 4,
                }
            )
        pq.write_table(pa.Table.from_pylist(rows), folder / f"metadata-{split}.parquet")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("overlay", [path for path in OVERLAYS if path.stem != "cpu_debug"], ids=lambda path: path.stem)
@pytest.mark.parametrize("base", RATING, ids=lambda path: path.stem)
def test_rating_configs_parse_and_load_at_toy_size(base, overlay, image_reward, tiny_seven_b, tmp_path):
    here = ["--trainer.accelerator", "cpu", "--trainer.devices", "1", "--run_dir", str(tmp_path / "run")]
    cli = combined(base, overlay, *here, "--model.policy.base", str(tiny_seven_b))
    assert isinstance(cli.model.task, AbsoluteRating)
    assert (len(cli.datamodule.train), len(cli.datamodule.validation["held_in"]) > 0) == (8, True)
    cli.model.configure_model()
    assert len(cli.model.label_ids) == 7
    assert list(cli.model.reward_terms) == ["format", "accuracy", "listener", "approximate", "soft"]


@pytest.mark.slow
@pytest.mark.parametrize("base", RATING, ids=lambda path: path.stem)
def test_rating_configs_run_at_toy_size(base, image_reward, tmp_path):
    config = content(base)
    config["trainer"] |= {"accelerator": "cpu", "max_steps": 2, "val_check_interval": 2, "enable_progress_bar": False}
    config["model"]["init_args"]["policy"] = {"base": "shapes-rater"}
    config["model"]["init_args"] |= {"group_size": 2, "sampling": {"max_new_tokens": 16}}
    config["data"] |= {"batch_size": 2, "eval_batch_size": 2, "num_workers": 0}
    config["data"]["validation"]["held_in"]["init_args"]["fraction"] = 0.5
    written = tmp_path / "config.yaml"
    written.write_text(yaml.safe_dump(config))
    assert main(["fit", "--config", str(written), "--run_dir", str(tmp_path / "run")]) == 0
    header = (tmp_path / "run" / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"val/accuracy", "reward/approximate", "reward/soft"} <= set(header)
