"""When a run is saved, what is in it, and what is done where it cannot be. (That it goes on exactly: test_resume.)"""

import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from lit_listener.data.records import PairSource, PreferencePair
from lit_listener.training.listener_grpo import Updates
from lit_listener.training.run import checkpoint_files
from lit_listener.training.run.checkpoints import RunCheckpoint
from lit_listener.training.run.metrics_file import MetricsFile
from lit_listener.training.run.stop_signals import StopSignals
from lit_listener.vlm.rollout import Sampling
from tests.training.tiny_runs import Listed, data, grpo, pairs, trainer


def fit(
    folder: Path,
    steps: int,
    checkpoint: RunCheckpoint,
    *callbacks: Callback,
    train: PairSource | int = 6,
    **options: Any,
) -> Any:
    module = grpo(sampling=Sampling(4), group_size=2, updates=options.pop("updates", Updates()))
    settings = {"logger": MetricsFile(folder), "enable_checkpointing": True, **options}
    run = trainer(folder, steps, *callbacks, checkpoint, **settings)
    run.fit(module, data(train, batch_size=2, validation={"held_in": pairs(1, split="validation")}))
    return module


def load(folder: Path, name: str = "last.ckpt") -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(folder / "checkpoints" / name, weights_only=True)
    return loaded


class Saves(Callback):
    """Notes after how many optimizer steps something was saved."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def on_save_checkpoint(self, trainer: Any, *args: Any) -> None:
        self.steps.append(trainer.global_step)


class Raise(Callback):
    """Raises in the hook of a batch, at a number of optimizer steps."""

    def __init__(self, error: BaseException, steps: int, hook: str = "on_train_batch_start") -> None:
        self.error = error
        self.steps = steps
        setattr(self, hook, self._raise)

    def _raise(self, trainer: Any, *args: Any) -> None:
        if trainer.global_step == self.steps:
            raise self.error


@pytest.mark.parametrize(
    ("every", "updates", "expected"),
    [(2, Updates(), [2, 4, 5]), (0, Updates(), [5]), (1, Updates(minibatches=2), [2, 4, 6, 6])],
)
def test_rollouts_are_counted_not_optimizer_steps(tmp_path, every, updates, expected):
    saves = Saves()
    fit(tmp_path, 5, RunCheckpoint(every), saves, updates=updates, limit_val_batches=0)
    assert saves.steps == expected
    assert load(tmp_path)["global_step"] == expected[-1]


def test_what_is_in_a_checkpoint(tmp_path):
    module = fit(tmp_path, 4, RunCheckpoint(0), limit_val_batches=0)
    saved = load(tmp_path)
    assert set(saved["state_dict"]) == {name for name, p in module.named_parameters() if p.requires_grad}
    assert all(torch.equal(saved["state_dict"][name], p) for name, p in module.named_parameters() if p.requires_grad)
    ours = {key: value for key, value in saved["run"].items() if key != "streams"}
    assert ours == {
        "rollouts": 4,
        "logged_as": 4,
        "validation_due": False,
        "rows": 4,
        "within_rollout": False,
        "ended": True,
    }
    assert saved["run"]["streams"].shape[0] == 1
    assert saved["epoch"] == 1


def test_the_best_are_kept_beside_it(tmp_path, monkeypatch):
    scores = iter([0.2, 0.5, 0.5, float("nan"), 0.4])

    def measure(self: Any) -> None:
        self.log("val/accuracy", next(scores))

    monkeypatch.setattr("lit_listener.training.reasoner.Reasoner.on_validation_epoch_end", measure)
    fit(tmp_path, 5, RunCheckpoint(0, save_top_k=2), val_check_interval=1)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [
        "best-step=2.ckpt",
        "best-step=3.ckpt",
        "last.ckpt",
    ]
    assert load(tmp_path, "best-step=2.ckpt")["global_step"] == 2
    state = next(iter(load(tmp_path)["callbacks"].values()))
    assert state == {"best": {"best-step=2.ckpt": 0.5, "best-step=3.ckpt": 0.5}}


def test_a_measure_that_validation_does_not_make(tmp_path):
    checkpoint = RunCheckpoint(save_top_k=1, monitor="val/acuracy")
    with pytest.raises(ValueError, match=r"checkpoint.monitor: validation measures no 'val/acuracy'; .*'val/accuracy'"):
        fit(tmp_path, 1, checkpoint, val_check_interval=1)


@pytest.mark.parametrize("name", ["every_n_rollouts", "save_top_k"])
def test_options_that_cannot_be(name):
    with pytest.raises(ValueError, match=f"checkpoint.{name}: expected at least 0, got -1"):
        RunCheckpoint(**{name: -1})


# ---- errors ----------------------------------------------------------------------------------------------------------


class Broken(Listed):
    """Its fourth image cannot be read."""

    read = 0

    def __getitem__(self, index: int) -> PreferencePair:
        self.read += 1
        if self.read == 5:
            raise OSError("cannot read image")
        return super().__getitem__(index)


def test_an_error_of_the_data_loses_nothing(tmp_path):
    source = pairs(6)
    with pytest.raises(OSError, match="cannot read image"):
        fit(tmp_path, 5, RunCheckpoint(0), train=Broken([source[n] for n in range(6)]), limit_val_batches=0)
    saved = load(tmp_path)
    assert (saved["global_step"], saved["run"]["rows"], saved["run"]["ended"]) == (2, 2, False)
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == 3


def test_an_error_between_two_steps_of_a_rollout_keeps_the_last_save(tmp_path):
    """The rollout's rest would be lost; so the whole of it is made again."""
    broken = Raise(OSError("broken"), 7, "on_before_optimizer_step")
    with pytest.raises(OSError, match="broken"):
        fit(tmp_path, 10, RunCheckpoint(2), broken, updates=Updates(minibatches=2), limit_val_batches=0)
    assert load(tmp_path)["global_step"] == 4


def test_weights_that_may_be_what_is_wrong_are_not_saved(tmp_path):
    with pytest.raises(FloatingPointError, match="nan"):
        fit(tmp_path, 4, RunCheckpoint(2), Raise(FloatingPointError("nan"), 3), limit_val_batches=0)
    assert load(tmp_path)["global_step"] == 2


def test_nothing_learnt_leaves_no_checkpoint(tmp_path):
    with pytest.raises(OSError, match="broken"):
        fit(tmp_path, 2, RunCheckpoint(1), Raise(OSError("broken"), 0), limit_val_batches=0)
    assert not list(tmp_path.rglob("*.ckpt"))


def test_a_full_disk_stops_the_run_and_keeps_the_last_checkpoint(tmp_path, monkeypatch):
    original = torch.save

    def save(checkpoint: dict[str, Any], file: Any) -> None:
        if checkpoint["global_step"] == 2:
            file.write(b"torn")
            raise RuntimeError("[enforce fail] unexpected pos 64 vs 0")
        original(checkpoint, file)

    monkeypatch.setattr(checkpoint_files.torch, "save", save)
    with pytest.raises(
        OSError, match=r"last.ckpt could not be written \(.*unexpected pos.*; the one before it is whole"
    ):
        fit(tmp_path, 4, RunCheckpoint(1), limit_val_batches=0)
    assert load(tmp_path)["global_step"] == 1
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["last.ckpt"]


def test_a_trial_of_the_code_saves_nothing(tmp_path):
    fit(tmp_path, 2, RunCheckpoint(1), fast_dev_run=True)
    assert not list(tmp_path.rglob("*.ckpt"))


# ---- signals ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def signals(capfd: pytest.CaptureFixture[str]) -> Any:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    asked: list[None] = []
    made = StopSignals(lambda: asked.append(None), tell=True)
    made.asked = asked  # type: ignore[attr-defined]
    yield made
    for number, handler in before.items():
        signal.signal(number, handler)


def test_the_first_ctrl_c_asks_and_the_second_stops(signals, capfd):
    signals.install()
    signal.raise_signal(signal.SIGINT)
    assert (len(signals.asked), signals.received, signals.insisted) == (1, signal.SIGINT, True)
    assert "Ctrl-C: stopping after this optimizer step, with nothing lost (again: at once" in capfd.readouterr().err
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    signals.remove()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_sigterm_asks_however_often(signals, capfd):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signals.install()
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)
    assert (len(signals.asked), signals.received, signals.insisted) == (2, signal.SIGTERM, False)
    assert capfd.readouterr().err.count("SIGTERM: stopping after this optimizer step, with nothing lost\n") == 1
    signals.remove()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_signal_that_was_ignored_stays_so(signals):
    signals.install()
    signal.raise_signal(signal.SIGTERM)
    assert signals.received is None
