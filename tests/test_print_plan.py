"""``fit --print_plan``: the plan of a config on the command line, with no GPU, no weights and no run folder."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from lit_listener.__main__ import main
from tests.test_configs import OVERLAYS, QWEN
from tests.vlm.architectures import SEVEN_B, write_architecture

ROOT = Path(__file__).parent.parent
SHAPES = str(ROOT / "configs" / "shapes" / "grpo_listener.yaml")
LORA = ("--model.policy", "{start: null, lora: {rank: 4, alpha: 8.0}}")


def printed(capsys: Any, *options: str, config: str = SHAPES) -> str:
    with pytest.raises(SystemExit, match="0"):
        main(["fit", "--config", config, *options, "--print_plan"])
    text: str = capsys.readouterr().out
    return text[text.index("Memory of a step") :]


def gib(text: str, name: str) -> float:
    found = re.search(rf"^\s*{re.escape(name)}\s+([\d.]+)$", text, re.MULTILINE)
    assert found, f"{name} is not in\n{text}"
    return float(found[1])


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)  # the same on every machine
    return tmp_path


def test_a_plan_is_printed_and_nothing_is_left_behind(here, capsys):
    text = printed(capsys)
    assert "16 prompts" in text
    assert "8 completions each of up to 64 tokens" in text
    for name in ("weights of the policy", "optimizer state", "rollout: keys and values", "update pass: activations"):
        assert gib(text, name) > 0
    assert text.count("nothing is cut") == 1
    assert not list(here.iterdir())


def test_no_weights_are_read(here, capsys, monkeypatch):
    def refuse(*args: Any, **options: Any) -> None:
        raise AssertionError("weights were read")

    monkeypatch.setattr("transformers.AutoModelForImageTextToText.from_pretrained", refuse)
    printed(capsys, "--model.reference", "start")
    printed(capsys, *LORA, "--model.policy.quantization", "nf4", "--model.policy.dtype", "bfloat16")
    own = ("ModelListener", "--model.listener.init_args.model", "shapes-instruct")
    assert gib(printed(capsys, "--model.listener", *own), "weights of the listener") > 0


def test_the_options_of_a_smaller_step_make_a_smaller_plan(capsys):
    full = printed(capsys)
    adapted = printed(capsys, *LORA)
    assert gib(adapted, "weights of the reference") == 0
    assert gib(adapted, "gradients") < 0.3 * gib(full, "gradients")
    name = "Most at once, with the update pass"
    checkpointed = printed(capsys, "--model.policy.gradient_checkpointing", "true")
    assert gib(checkpointed, name) < 0.6 * gib(full, name)


def test_a_step_is_cut_to_the_gpu_that_is_named(capsys):
    text = printed(capsys, "--plan_for_gib", "0.2")
    chosen = re.search(r"max_tokens_per_pass: (\d+) \(chosen\)", text)
    assert chosen
    assert int(chosen[1]) % 256 == 0
    most = re.search(r"^Most at once.*?([\d.]+)$", text, re.MULTILINE)
    assert most
    assert 0.5 * 0.2 < float(most[1]) <= 0.9 * 0.2
    given = printed(capsys, "--plan_for_gib", "0.2", "--model.memory.max_tokens_per_pass", "512")
    assert "max_tokens_per_pass: 512 (given)" in given


def test_a_plan_that_does_not_fit_says_what_to_change(capsys):
    text = printed(capsys, "--plan_for_gib", "0.01")
    assert "does not fit" in text
    assert "model.policy.gradient_checkpointing: true" in text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--plan_for_gib", "24"], "give --print_plan too"),
        (["--print_plan", "--plan_for_gib", "0"], "--plan_for_gib: expected GiB above 0, got 0"),
    ],
)
def test_what_makes_no_sense_is_refused(capsys, options, said):
    assert main(["fit", "--config", SHAPES, *options]) == 1
    assert said in capsys.readouterr().err


def test_the_options_of_the_plan_are_no_part_of_a_runs_config(here):
    run = here / "run"
    options = [
        "--trainer.max_steps",
        "1",
        "--data.batch_size",
        "2",
        "--model.group_size",
        "2",
        "--data.validation",
        "{}",
    ]
    quiet = ["--trainer.enable_progress_bar", "false", "--model.sampling.max_new_tokens", "4"]
    assert main(["fit", "--config", SHAPES, "--run_dir", str(run), *options, *quiet]) == 0
    written = yaml.safe_load((run / "config.yaml").read_text())
    assert not {"print_plan", "plan_for_gib"} & set(written)
    assert "memory" in written["model"]["init_args"]


@pytest.mark.slow
@pytest.mark.parametrize("overlay", [path for path in OVERLAYS if path.stem != "cpu_debug"], ids=lambda path: path.stem)
def test_every_overlay_can_be_planned_for_at_its_real_size(here, capsys, overlay):
    folder = write_architecture(here / "seven_b", **SEVEN_B)
    base = next(path for path in QWEN if path.stem == "grpo_listener")
    pairs = {"renderers": ["flat"], "size": 32, "split": "train", "seed": 0, "drop_ties": True}
    source = here / "source.yaml"
    train = {"class_path": "lit_listener.data.shapes.ShapesPairs", "init_args": pairs}
    source.write_text(yaml.safe_dump({"data": {"train": train, "validation": None}}))
    options = ["--config", str(overlay), "--config", str(source), "--model.policy.base", str(folder)]
    text = printed(capsys, *options, "--plan_for_gib", "80", config=str(base))
    prompts, policy, rollout_copy = {
        "lora_1gpu": (16, 15.6, None),
        "qlora_1gpu": (4, 8.6, None),
        "ddp_lora_8gpu": (2, 15.6, None),
        "fsdp_8gpu": (2, 30.9 / 8, 15.4),
    }[overlay.stem]
    assert f"{prompts} prompts" in text
    assert gib(text, "weights of the policy") == pytest.approx(policy, rel=0.01)
    if rollout_copy:
        assert gib(text, "rollout: gathered weights") == pytest.approx(rollout_copy, rel=0.01)
    assert "does not fit" not in text
