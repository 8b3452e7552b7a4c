"""The command line, called as a shell calls it: what it writes, and what it refuses in one message."""

import csv
import functools
import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image

from lit_listener.__main__ import main
from lit_listener.evaluation.predictions_file import read_predictions
from lit_listener.training.listener_grpo import ListenerGRPO
from lit_listener.vlm.listeners import Listener
from lit_listener.vlm.loading import load_backbone
from lit_listener.vlm.specs import PolicySpec
from tests.vlm.tiny import letters_tokenizer, write_tiny

TEMPLATE = "{prompt}. first {image_0} second {image_1} Which is better, 0 or 1?"
_TRAINING = ("fit", "validate", "test", "predict", "report", "progress", "study")
COMMANDS = (*_TRAINING, "data", "export", "rank", "compare", "serve")


def shapes(size: int, split: str) -> dict[str, Any]:
    options = {"renderers": ["flat", "paper"], "size": size, "split": split}
    return {"class_path": "lit_listener.data.shapes.ShapesPairs", "init_args": options}


def config(**changes: Any) -> dict[str, Any]:
    """A run of two steps on two pairs each."""
    return {
        "seed_everything": 0,
        "trainer": {
            "max_steps": 2,
            "accelerator": "cpu",
            "log_every_n_steps": 1,
            "num_sanity_val_steps": 0,
            "enable_progress_bar": False,
            "enable_model_summary": False,
        },
        "model": {
            "class_path": "lit_listener.training.ListenerGRPO",
            "init_args": {
                "policy": {"base": "shapes-blank"},
                "task": {
                    "class_path": "lit_listener.tasks.PairwisePreference",
                    "init_args": {"system": None, "template": TEMPLATE},
                },
                "sampling": {"max_new_tokens": 8},
                "group_size": 2,
            },
        },
        "data": {
            "train": shapes(6, "train"),
            "validation": {"held_in": shapes(2, "validation")},
            "test": {"held_in": shapes(2, "test"), "held_out": shapes(1, "test")},
            "batch_size": 2,
        },
        **changes,
    }


@pytest.fixture
def path(tmp_path: Path) -> str:
    return write(tmp_path / "config.yaml", config())


def write(path: Path, content: dict[str, Any]) -> str:
    path.write_text(yaml.safe_dump(content))
    return str(path)


@pytest.fixture(autouse=True)
def _keep_ctrl_c() -> Iterator[None]:
    """Lightning ignores further Ctrl-Cs once it has seen one."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def call(*args: object) -> int:
    """The exit status, as a shell would see it."""
    try:
        return main([str(arg) for arg in args])
    except SystemExit as stopped:
        return int(stopped.code or 0)


@pytest.fixture
def refuse(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Call a command that must fail with one message and without having learnt anything; gives the message."""

    def run(*args: object, status: int = 1) -> str:
        capsys.readouterr()
        assert call(*args) == status
        said = capsys.readouterr().err
        assert "Traceback" not in said
        assert "usage: " not in said  # the names of all options would hide the error
        assert said.count("error: ") == 1
        assert not list(tmp_path.rglob("*.ckpt"))
        assert not list(tmp_path.rglob("metrics.csv"))
        return said[said.index("error: ") :]

    return run


# ---- help ------------------------------------------------------------------------------------------------------------


def test_help_lists_every_command(capsys):
    assert call("--help") == 0
    listed = re.findall(r"^  (\w+)  ", capsys.readouterr().out, re.MULTILINE)
    assert tuple(listed) == COMMANDS


def test_no_command_is_an_error_of_use(capsys):
    assert call() == 2
    assert "usage: python -m lit_listener COMMAND" in capsys.readouterr().out


def test_an_unknown_command_names_the_known_ones(capsys):
    assert call("train") == 1
    assert f"error: unknown command 'train'; expected one of {list(COMMANDS)}\n" in capsys.readouterr().err
    assert call("rnak") == 1
    assert f"{list(COMMANDS)}; did you mean rank?" in capsys.readouterr().err


def test_help_does_not_wait_for_torch():
    code = "import sys; from lit_listener.__main__ import main; main(['--help']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0


def described(text: str) -> dict[str, str]:
    """Each option of a help text and what it says of it."""
    options: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if found := re.match(r"  (-{1,2}[\w.]+|[a-z_]+)(?: [^ ]+)*?(?:  +(.*))?$", line):
            name = found[1]
            options[name] = found[2] or ""
        elif line.startswith(" " * 20):
            options[name] = f"{options.get(name, '')} {line.strip()}".strip()
    return options


@pytest.mark.parametrize("name", ["ListenerGRPO", "TraceSFT"])
def test_every_option_of_a_model_is_explained(capsys, name):
    assert call("fit", "--model.help", f"lit_listener.training.{name}") == 0
    options = described(capsys.readouterr().out)
    expected = {"policy.base", "policy.lora", "sampling.temperature", "reference", "schedule.warmup_steps"}
    if name == "ListenerGRPO":
        expected |= {"group_size", "reward.listener", "objective.kl_weight", "memory.max_tokens_per_pass", "listener"}
    assert {f"--model.{option}" for option in expected} <= set(options)
    for option, said in options.items():
        words = re.sub(r"\((?:required, )?type: .*", "", said).strip()
        assert len(words.split()) >= 3, f"{option}: {said!r}"


def test_every_option_of_the_run_is_explained(capsys):
    assert call("fit", "--help") == 0
    options = described(capsys.readouterr().out)
    ours = ("--data.", "--run_dir", "--resume", "--wandb", "--samples.", "--checkpoint.", "--export.", "--alarms.")
    named = [option for option in options if option.startswith(ours) and not option.endswith(".help")]
    expected = {"--data.batch_size", "--run_dir", "--resume", "--wandb", "--samples.every_n_steps", "--export.folder"}
    assert expected | {"--checkpoint.every_n_rollouts", "--checkpoint.save_top_k"} <= set(named)
    for option in named:
        words = re.sub(r"\((?:required, )?type: .*", "", options[option]).strip()
        assert len(words.split()) >= 3, f"{option}: {options[option]!r}"


@pytest.mark.slow
@pytest.mark.parametrize(("command", "least"), [("report", 5), ("progress", 4), ("data", 3), ("export", 7)])
def test_every_option_of_our_commands_is_explained(capsys, command, least):
    assert call(command, "--help") == 0
    said = capsys.readouterr().out
    assert said.startswith(f"usage: python -m lit_listener {command}")
    options = described(said)
    assert len(options) >= least
    for option, words in options.items():
        assert len(re.sub(r"\((?:required, )?type: .*", "", words).split()) >= 3, f"{option}: {words!r}"


# ---- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "written", "meant"),
    [
        (("model", "init_args", "sampling"), "temprature", "model.sampling.temperature"),
        (("model", "init_args", "task", "init_args"), "templat", "model.task.template"),
        (("data", "train", "init_args"), "sise", "data.train.size"),
        ((), "modl", "model"),
    ],
)
def test_an_unknown_key_in_the_config(refuse, tmp_path, key, written, meant):
    changed = config()
    place = functools.reduce(dict.__getitem__, key, changed)
    place[written] = 4
    said = refuse("fit", "--config", write(tmp_path / "c.yaml", changed), "--run_dir", tmp_path / "run", status=2)
    unknown = ".".join([*meant.split(".")[:-1], written])
    assert said == f"error: there is no option {unknown}; did you mean {meant}?\n"


@pytest.mark.parametrize(
    ("option", "unknown", "meant"),
    [
        ("--model.init_args.grup_size", "model.grup_size", "model.group_size"),
        ("--modl", "modl", "model"),
        ("--batch_size", "batch_size", "data.batch_size"),
    ],
)
def test_an_unknown_option(refuse, path, tmp_path, option, unknown, meant):
    said = refuse("fit", "--config", path, "--run_dir", tmp_path / "run", option, 4, status=2)
    assert said == f"error: there is no option {unknown}; did you mean {meant}?\n"


def test_a_missing_config_file(refuse, tmp_path):
    assert "File does not exist" in refuse("fit", "--config", tmp_path / "nowhere.yaml", status=2)


@pytest.mark.slow
def test_a_value_of_a_wrong_type(refuse, path):
    assert "batch_size" in refuse("fit", "--config", path, "--data.batch_size", "many", status=2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--trainer.gradient_clip_val", "1.0", "use --model.gradient_clip_norm instead"),
        ("--trainer.gradient_clip_val", "0.5", "use --model.gradient_clip_norm instead"),
        ("--trainer.gradient_clip_algorithm", "value", "use --model.gradient_clip_norm instead"),
        ("--trainer.accumulate_grad_batches", "2", r"use --model.memory.max_tokens_per_pass \(GRPO\) or data"),
        ("--trainer.precision", "16-mixed", "use bf16-mixed"),
        ("--trainer.enable_checkpointing", "false", "a run keeps its last checkpoint"),
        ("--trainer.val_check_interval", "50", r"`val_check_interval` \(50\) must be less than or equal to the number"),
        ("--trainer.limit_train_batches", "-1", "invalid value -1.* for limit_train_batches"),
        ("--model.group_size", "1", "model.group_size: expected at least 2 completions a prompt, got 1"),
        ("--model.objective.clip_low", "-1", "model.objective.clip_low: expected at least 0, got -1"),
        ("--model.schedule.name", "cosin", "model.schedule.name: expected one of"),
        ("--model.policy.base", "./nowhere", r"no model folder at '\./nowhere'"),
        ("--model.sampling.max_new_tokens", "1000", "exceed the model's context of 1024"),
        ("--data.batch_size", "0", "data.batch_size: expected at least 1 pair, got 0"),
        ("--ckpt_path", "last", "there is no checkpoint .*last.ckpt; name one of a run"),
        ("--ckpt_path", "nowhere.ckpt", "there is no checkpoint nowhere.ckpt"),
        ("--checkpoint.every_n_rollouts", "-1", "checkpoint.every_n_rollouts: expected at least 0, got -1"),
    ],
)
def test_options_that_cannot_be(refuse, path, tmp_path, option, value, message):
    said = refuse("fit", "--config", path, "--run_dir", tmp_path / "run", option, value)
    assert len(said.splitlines()) <= 3
    assert re.search(message, said), said
    assert not (tmp_path / "run" / "config.yaml").exists()  # the folder may be named again


def table(folder: Path, rows: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
    """A JSONL table of pairs as a data source."""
    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {
        "class_path": "lit_listener.data.sources.table.PairTable",
        "init_args": {"path": str(path), **options},
    }


def pictures(folder: Path) -> dict[str, str]:
    """A good image, and one that is cut off."""
    Image.new("RGB", (56, 56), "red").save(folder / "good.png")
    (folder / "broken.png").write_bytes((folder / "good.png").read_bytes()[:60])
    return {"prompt": "a red square", "image_a": "good.png", "image_b": "good.png"}


def fit_on(tmp_path: Path, train: dict[str, Any]) -> tuple[str, ...]:
    changed = config()
    changed["data"]["train"] = train
    return ("fit", "--config", write(tmp_path / "c.yaml", changed), "--run_dir", str(tmp_path / "run"))


@pytest.mark.slow
def test_a_missing_table(refuse, tmp_path):
    source = table(tmp_path, [])
    (tmp_path / "pairs.jsonl").unlink()
    assert "there is no table" in refuse(*fit_on(tmp_path, source))


@pytest.mark.slow
def test_an_empty_table(refuse, tmp_path):
    assert "no rows" in refuse(*fit_on(tmp_path, table(tmp_path, [])))


@pytest.mark.slow
def test_an_empty_data_set(refuse, tmp_path):
    assert "a data set needs at least 1 pair or picture, got size=0" in refuse(*fit_on(tmp_path, shapes(0, "train")))


@pytest.mark.slow
def test_a_broken_image(refuse, tmp_path):
    row = {**pictures(tmp_path), "share_a": 1.0}
    said = refuse(*fit_on(tmp_path, table(tmp_path, [{**row, "image_b": "broken.png"}] * 2)))
    assert re.search(r"pairs.jsonl, row \d, column 'image_b': cannot read .*broken.png", said)


@pytest.mark.slow
def test_a_tie_in_training(refuse, tmp_path):
    row = {**pictures(tmp_path), "share_a": 0.5}
    said = refuse(*fit_on(tmp_path, table(tmp_path, [row] * 2, drop_ties=False)))
    assert re.search(r"pair pairs-\d is a tie: it has no right image; drop ties from data.train", said)


@pytest.mark.slow
def test_a_listener_that_cannot_say_the_labels(refuse, tmp_path):
    changed = config()
    changed["model"]["init_args"]["task"]["init_args"]["labels"] = ["one", "four"]  # tokens of the bundled models
    letters = write_tiny(tmp_path / "letters", tokenizer=letters_tokenizer())
    said = refuse(
        *("fit", "--config", write(tmp_path / "c.yaml", changed), "--run_dir", tmp_path / "run"),
        *("--model.listener", "lit_listener.vlm.listeners.ModelListener", "--model.listener.model", letters),
    )
    assert re.search(r"the tokenizer of '.*letters' lacks the answer label 'one'", said)


def test_a_folder_that_holds_a_run(refuse, path, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("{}")
    said = refuse("fit", "--config", path, "--run_dir", tmp_path / "run")
    assert "--run_dir: " in said
    assert f"holds another run; name a new folder, or delete that one, or go on with it: --resume {tmp_path}" in said


@pytest.mark.slow
@pytest.mark.parametrize("command", ["validate", "test", "predict"])
def test_judging_without_pairs(refuse, tmp_path, command):
    changed = config()
    del changed["data"]["validation"], changed["data"]["test"]
    said = refuse(command, "--config", write(tmp_path / "c.yaml", changed), "--run_dir", tmp_path / "run")
    assert re.search(r"data\.(validation|test): no pairs to judge", said)


def test_progress_of_what_is_no_run(refuse, tmp_path):
    assert f"no config.yaml in {tmp_path}: expected the folder of a training run" in refuse("progress", tmp_path)


def test_figures_without_matplotlib(refuse, tmp_path, monkeypatch):
    for module in ("lit_listener.evaluation.learning_curves", "lit_listener.training.progress"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib.axes", None)
    assert "figures need matplotlib: pip install 'lit-listener[plots]'" in refuse("progress", tmp_path)


class Deaf(Listener):
    """A listener that cannot be reached."""

    def hear(self, hearing: Any) -> Any:
        raise ConnectionError("the listener does not answer")


@pytest.mark.slow
def test_a_listener_that_fails_stops_the_run(refuse, path, tmp_path):
    said = refuse("fit", "--config", path, "--run_dir", tmp_path / "run", "--model.listener", f"{__name__}.Deaf")
    assert "error: the listener does not answer" in said


class Exploding(ListenerGRPO):
    """Loses its gradient in the first step."""

    def clip_to_norm(self) -> torch.Tensor:
        next(p for p in self.policy.parameters() if p.grad is not None).grad[0] = float("nan")
        return super().clip_to_norm()


@pytest.mark.slow
def test_a_gradient_that_is_not_a_number_stops_the_run(refuse, tmp_path):
    changed = config()
    changed["model"]["class_path"] = f"{__name__}.Exploding"
    said = refuse("fit", "--config", write(tmp_path / "c.yaml", changed), "--run_dir", tmp_path / "run")
    assert "the gradient's norm is nan: nothing was updated; lower the learning rate" in said


@pytest.mark.slow
def test_where_an_error_was_is_shown_on_demand(path, monkeypatch):
    monkeypatch.setenv("LIT_LISTENER_DEBUG", "1")
    with pytest.raises(ValueError, match="expected at least 2 completions"):
        main(["fit", "--config", path, "--model.group_size", "1"])


@pytest.mark.slow
def test_going_on_with_other_data(path, tmp_path, capsys):
    assert call("fit", "--config", path, "--run_dir", tmp_path / "first", "--trainer.max_steps", 1) == 0
    capsys.readouterr()
    last = tmp_path / "first" / "checkpoints" / "last.ckpt"
    options = ("--data.train.size", 10, "--ckpt_path", last)
    assert call("fit", "--config", path, "--run_dir", tmp_path / "second", *options) == 1
    said = capsys.readouterr().err
    assert not (tmp_path / "second" / "config.yaml").exists()
    assert "error: cannot go on in the middle of an epoch: the checkpoint's data has {'size': 6" in said
    assert "Traceback" not in said


# ---- runs ------------------------------------------------------------------------------------------------------------


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def state(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(path, weights_only=True)
    return loaded


@pytest.mark.slow
def test_a_run_from_its_start_to_its_progress(path, tmp_path, capsys):
    run = tmp_path / "run"
    assert call("fit", "--config", path, "--run_dir", run, "--export.folder", "model") == 0
    next_one = f"python -m lit_listener progress {run}"
    assert capsys.readouterr().out.endswith(f"\nRun: {run}\nWhat training changed: {next_one}\n")
    written = {"config.yaml", "metrics.csv", "samples.csv", "checkpoints", "model"}
    assert {entry.name for entry in run.iterdir()} == written
    assert [row["step"] for row in read_csv(run / "metrics.csv") if row["reward/total"]] == ["0", "1"]
    assert state(run / "checkpoints" / "last.ckpt")["global_step"] == 2
    load_backbone(str(run / "model"), PolicySpec(str(run / "model")))

    judged = ("--config", run / "config.yaml", "--ckpt_path", "last")
    for command in ("test", "predict"):
        (run / "predictions.parquet").unlink(missing_ok=True)
        assert call(command, *judged) == 0
        rows = read_predictions(run / "predictions.parquet")
        assert [row.source for row in rows] == ["held_in", "held_in", "held_out"]
    capsys.readouterr()
    assert call("validate", *judged) == 0
    assert "val/accuracy" in capsys.readouterr().out

    assert call(*next_one.split()[3:]) == 0
    shown = capsys.readouterr().out
    assert "held_out" in shown
    assert "unparsable share" in shown
    written |= {"predictions.parquet", "results.json", "test_config.yaml", "predict_config.yaml"}
    written |= {"predictions_before.parquet", "predictions_after.parquet"}
    written |= {"progress.json", "progress.md", "learning_curves.png"}
    assert {entry.name for entry in run.iterdir()} == written
    # none of these is a training run: the metrics of this one are as they were
    assert len([row for row in read_csv(run / "metrics.csv") if row["reward/total"]]) == 2


@pytest.mark.slow
def test_another_run_from_a_runs_config_leaves_that_run_alone(path, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    assert call("fit", "--config", path, "--run_dir", first) == 0
    before = {entry: entry.read_bytes() for entry in first.rglob("*") if entry.is_file()}
    assert call("fit", "--config", first / "config.yaml", "--run_dir", second) == 0
    assert {entry: entry.read_bytes() for entry in first.rglob("*") if entry.is_file()} == before
    weights = [state(folder / "checkpoints" / "last.ckpt")["state_dict"] for folder in (first, second)]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


@pytest.mark.slow
def test_a_run_goes_on_from_its_checkpoint(path, tmp_path):
    folders = {name: tmp_path / name for name in ("straight", "first", "second")}
    fit = ("fit", "--config", path, "--run_dir")
    assert call(*fit, folders["straight"], "--trainer.max_steps", 4) == 0
    assert call(*fit, folders["first"], "--trainer.max_steps", 2) == 0
    last = folders["first"] / "checkpoints" / "last.ckpt"
    assert call(*fit, folders["second"], "--trainer.max_steps", 4, "--ckpt_path", last) == 0
    ends = [state(folders[name] / "checkpoints" / "last.ckpt") for name in ("straight", "second")]
    assert [end["global_step"] for end in ends] == [4, 4]
    for name, value in ends[0]["state_dict"].items():
        assert torch.equal(value, ends[1]["state_dict"][name]), name
    assert [row["step"] for row in read_csv(folders["second"] / "metrics.csv") if row["reward/total"]] == ["2", "3"]


@pytest.mark.slow
def test_weights_and_biases_offline(path, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for name in ("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / "wandb_home"))
    run = tmp_path / "run"
    assert call("fit", "--config", path, "--run_dir", run, "--wandb", "offline") == 0
    assert len(read_csv(run / "metrics.csv")) >= 2  # beside it, as always
    assert list(tmp_path.rglob("offline-run-*/*.wandb"))
    assert (run / "config.yaml").is_file()


@pytest.mark.slow
def test_a_run_gets_a_folder_of_its_own(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call("fit", "--config", path, "--trainer.max_steps", 1) == 0
    (folder,) = (tmp_path / "runs").iterdir()
    assert re.fullmatch(r"config-\d{8}-\d{6}", folder.name)
    assert (folder / "config.yaml").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("option", ["--trainer.fast_dev_run", "--trainer.enable_progress_bar"])
def test_trainer_options_that_change_what_callbacks_there_are(path, tmp_path, option):
    assert call("fit", "--config", path, "--run_dir", tmp_path / "run", option, "true") == 0


def test_data_is_looked_at(capsys, tmp_path):
    assert call("data", "shapes", "--limit", 20, "--sheet", tmp_path / "sheet.png") == 0
    shown = capsys.readouterr().out
    assert "distinct prompts" in shown
    assert Image.open(tmp_path / "sheet.png").width > 100


def test_a_table_with_columns_of_its_own_is_looked_at(capsys, tmp_path):
    for name in ("left.png", "right.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    table = tmp_path / "own.csv"
    table.write_text("prompt,image_a,image_b,winner\na cat,left.png,right.png,a\na dog,left.png,right.png,tie\n")
    assert call("data", table, "--columns.preferred", "winner") == 0
    assert re.search(r"ties +1 +50\.0%", capsys.readouterr().out)
    assert call("data", table) == 1
    assert "one of share_a, votes_a with votes_b, or preferred" in capsys.readouterr().err


def test_a_failed_start_leaves_no_folder(path, tmp_path):
    run = tmp_path / "run"
    assert call("fit", "--config", path, "--run_dir", run, "--model.policy.base", "./nowhere") == 1
    assert not run.exists()
