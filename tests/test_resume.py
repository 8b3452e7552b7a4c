"""``fit --resume``: what a user types, sees, and finds in the run's folder."""

import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import wandb as wandb_library
import yaml

from lit_listener.training.callbacks import SampleTable
from tests.test_cli import call, config, read_csv, state, write


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A run of four steps."""
    changed = config()
    changed["trainer"]["max_steps"] = 4
    return write(tmp_path / "config.yaml", changed)


@pytest.fixture(autouse=True)
def _keep_signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have this process sent signals once two steps are made."""

    def arrange(*numbers: signal.Signals) -> None:
        def send(self: Any, trainer: Any, *args: Any) -> None:
            if trainer.global_step == 2:
                for number in numbers:
                    os.kill(os.getpid(), number)

        monkeypatch.setattr(SampleTable, "on_train_batch_end", send)

    return arrange


def contents(folder: Path) -> dict[Path, tuple[bytes, int]]:
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    last: dict[str, torch.Tensor] = state(folder / "checkpoints" / "last.ckpt")["state_dict"]
    return last


def steps_logged(folder: Path) -> list[str]:
    return [row["step"] for row in read_csv(folder / "metrics.csv") if row["reward/total"]]


# ---- stopping and going on -------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("number", "name"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")])
def test_a_signal_loses_nothing(path, tmp_path, monkeypatch, capfd, caplog, sent, number, name):
    caplog.set_level("INFO", "lightning.pytorch.utilities.rank_zero")
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    assert call("fit", "--config", path, "--run_dir", tmp_path / "straight") == 0
    run = tmp_path / "run"
    sent(number)
    assert call("fit", "--config", path, "--run_dir", run) == 128 + number
    monkeypatch.undo()
    said = capfd.readouterr()
    assert f"{name}: stopping after this optimizer step, with nothing lost" in said.err
    end = f"\nRun: {run}\nWhat training changed: python -m lit_listener progress {run}\n"
    assert said.out.endswith(end)
    command = f"python -m lit_listener fit --resume {run}"
    assert f"Stopped after 2 rollouts (2 optimizer steps); go on with: {command}" in caplog.text
    assert {number: signal.getsignal(number) for number in handlers} == handlers
    assert sorted(entry.name for entry in (run / "checkpoints").iterdir()) == ["last.ckpt"]
    assert call("progress", run) == 0  # what there is so far

    assert call(*command.split()[3:]) == 0
    told = capfd.readouterr().out
    assert f"Going on with {run} after 2 rollouts (2 optimizer steps)" in told
    assert told.endswith(end)
    assert all(torch.equal(value, weights(run)[key]) for key, value in weights(tmp_path / "straight").items())
    assert steps_logged(run) == ["0", "1", "2", "3"]
    assert not list(run.glob("config-*.yaml"))


@pytest.mark.slow
def test_a_second_ctrl_c_stops_at_once(path, tmp_path, sent):
    sent(signal.SIGINT, signal.SIGINT)
    assert call("fit", "--config", path, "--run_dir", tmp_path / "run", "--checkpoint.every_n_rollouts", 1) == 130
    assert state(tmp_path / "run" / "checkpoints" / "last.ckpt")["global_step"] == 1  # the second was not finished


@pytest.mark.slow
def test_a_run_that_has_ended_is_left_alone(path, tmp_path, capsys):
    run = tmp_path / "run"
    assert call("fit", "--config", path, "--run_dir", run, "--trainer.max_steps", 2) == 0
    before = contents(run)
    capsys.readouterr()
    for options in (("--resume", run), ("--config", path, "--trainer.max_steps", 2, "--run_dir", run, "--resume=auto")):
        assert call("fit", *options) == 0
        said = capsys.readouterr().out
        assert "has ended after 2 rollouts (2 optimizer steps): nothing is left to do." in said
        assert contents(run) == before


@pytest.mark.slow
def test_what_has_changed_takes_effect_and_is_told(path, tmp_path, capsys):
    run = tmp_path / "run"
    assert call("fit", "--config", path, "--run_dir", run, "--trainer.max_steps", 2) == 0
    old = (run / "config.yaml").read_text()
    capsys.readouterr()
    rate = ("--model.optimizer", "torch.optim.SGD", "--model.optimizer.lr", "0.5")
    assert call("fit", "--config", path, "--resume", run, "--trainer.max_steps", 3) == 0
    assert re.search(r"^  trainer.max_steps: 2 -> 3$", capsys.readouterr().out, re.MULTILINE)
    assert (run / "config-1.yaml").read_text() == old
    assert yaml.safe_load((run / "config.yaml").read_text())["trainer"]["max_steps"] == 3
    assert call("fit", "--resume", run, *rate, "--trainer.max_steps", 4) == 0
    assert "model.init_args.optimizer.init_args.lr: 0.001 -> 0.5" in capsys.readouterr().out
    assert (run / "config-2.yaml").exists()
    end = state(run / "checkpoints" / "last.ckpt")
    assert end["global_step"] == 4
    assert end["optimizer_states"][0]["param_groups"][0]["lr"] == 0.5
    assert steps_logged(run) == ["0", "1", "2", "3"]


@pytest.mark.slow
def test_a_start_that_fails_leaves_the_run_as_it_was(path, tmp_path, capsys):
    run = tmp_path / "run"
    assert call("fit", "--config", path, "--run_dir", run, "--trainer.max_steps", 1) == 0
    before = contents(run)
    assert call("fit", "--resume", run, "--trainer.max_steps", 4, "--data.train.size", 10) == 1
    assert "cannot go on in the middle of an epoch: the checkpoint's data has {'size': 6" in capsys.readouterr().err
    assert contents(run) == before


@pytest.mark.slow
def test_auto_is_the_newest_run_of_the_config(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = ("config-20260101-000000", "config-20260101-000001", "other-20270101-000000")
    for name in names:
        assert call("fit", "--config", path, "--run_dir", f"runs/{name}", "--trainer.max_steps", 1) == 0
    (tmp_path / "runs" / "config-20280101-000000").mkdir()  # no run
    capsys.readouterr()
    assert call("fit", "--config", path, "--resume", "auto", "--trainer.max_steps", 2) == 0
    assert "Going on with runs/config-20260101-000001 after 1 rollouts" in capsys.readouterr().out


@pytest.mark.slow
def test_a_seed_that_was_drawn_is_kept(path, tmp_path):
    run = tmp_path / "run"
    drawn = ("--seed_everything", "true")
    assert call("fit", "--config", path, "--run_dir", run, "--trainer.max_steps", 1, *drawn) == 0
    seed = yaml.safe_load((run / "config.yaml").read_text())["seed_everything"]
    assert call("fit", "--config", path, "--resume", run, *drawn) == 0
    assert yaml.safe_load((run / "config.yaml").read_text())["seed_everything"] == seed


@pytest.mark.slow
def test_weights_and_biases_go_on_too(path, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for name in ("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / "wandb_home"))
    run = tmp_path / "run"
    wandb_library.finish()  # of another test
    wandb = ("--wandb", "offline")
    assert call("fit", "--config", path, "--run_dir", run, "--trainer.max_steps", 1, *wandb) == 0
    wandb_library.finish()  # as a process that ends does
    kept = (run / "wandb_id").read_text().strip()
    assert call("fit", "--config", path, "--resume", run, *wandb) == 0
    logs = list(tmp_path.rglob("offline-run-*/*.wandb"))
    assert len(logs) == 2
    assert {log.stem for log in logs} == {f"run-{kept}"}


# ---- refusals --------------------------------------------------------------------------------------------------------


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Call fit, which must refuse in one message."""

    def run(*args: object) -> str:
        assert call("fit", *args) == 1
        message = capsys.readouterr().err
        assert "Traceback" not in message
        assert message.count("error: ") == 1
        return message

    return run


def test_nothing_to_go_on_with(path, tmp_path, said):
    run = tmp_path / "run"
    assert f"there is no folder {run}" in said("--resume", run)
    run.mkdir()
    assert f"there is no config {run / 'config.yaml'}" in said("--resume", run)
    write(run / "config.yaml", config())
    assert f"there is no checkpoint {run / 'checkpoints' / 'last.ckpt'}" in said("--config", path, "--resume", run)
    (run / "checkpoints").mkdir()
    (run / "checkpoints" / "last.ckpt").write_bytes(b"torn")
    assert "last.ckpt cannot be read" in said("--config", path, "--resume", run)
    torch.save({"state_dict": {}}, run / "checkpoints" / "last.ckpt")
    assert "tells nothing of its run; start a new one from it with --ckpt_path" in said("--resume", run)


def test_no_run_of_the_config(path, tmp_path, said, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "--resume auto: there is no run runs/config-<time>; start one" in said("--config", path, "--resume", "auto")
    assert "--resume auto: there is no config to look for runs of" in said("--resume", "auto")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--ckpt_path", "last"), "leave out --ckpt_path"),
        (("--run_dir", "another"), "leave out --run_dir, which names another"),
    ],
)
def test_options_that_do_not_go_together(path, tmp_path, said, options, message):
    assert message in said("--config", path, "--resume", tmp_path / "run", *options)


@pytest.mark.parametrize("name", ["WORLD_SIZE", "SLURM_NTASKS"])
def test_several_processes_need_a_folder(path, said, monkeypatch, name):
    monkeypatch.setenv(name, "2")
    assert "--run_dir: several processes were started for this run" in said("--config", path)


@pytest.mark.slow
def test_processes_that_lightning_starts_use_the_first_ones_folder(path, tmp_path, monkeypatch):
    """They are started with the same command line; here one of them is told that it was."""
    monkeypatch.chdir(tmp_path)
    chosen = tmp_path / "chosen"
    chosen.mkdir()
    monkeypatch.setenv("LIT_LISTENER_RUN_DIR", str(chosen))
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert call("fit", "--config", path, "--trainer.max_steps", 1) == 0
    assert (chosen / "config.yaml").exists()
    assert not (tmp_path / "runs").exists()
    assert os.environ["LIT_LISTENER_RUN_DIR"] == str(chosen)
