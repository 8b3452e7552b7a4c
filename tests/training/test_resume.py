"""A run that is broken off and gone on with ends as the one that never was, to the last bit."""

import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lit_listener.data.curriculum import Curriculum
from lit_listener.tasks import PairwisePreference
from lit_listener.training import AnswerSFT, BradleyTerryReward, DynamicSampling, RefreshEvery
from lit_listener.training.grpo_options import Objective, RewardWeights
from lit_listener.training.listener_grpo import Updates
from lit_listener.training.rewards import Annealed
from lit_listener.vlm.listeners import ModelListener
from lit_listener.vlm.rollout import Sampling
from tests.training.broken_runs import (
    Break,
    Copies,
    How,
    Setting,
    break_and_go_on,
    copied,
    differences,
    go_on,
    left_by,
)
from tests.training.tiny_runs import TEMPLATE, Seen


def answers_alone(**options: Any) -> AnswerSFT:
    return AnswerSFT(task=PairwisePreference(TEMPLATE, None), sampling=Sampling(4), **options)


SEVERAL = {"val_check_interval": 2, "check_val_every_n_epoch": None}
SETTINGS = {
    "validation within epochs": Setting(trainer={"val_check_interval": 2}),
    "validation at the ends of epochs": Setting(steps=6),
    "several steps a rollout": Setting(steps=16, updates=Updates(2, 2), trainer=SEVERAL),
    "epochs that are counted": Setting(steps=-1, trainer={"max_epochs": 2, "val_check_interval": 2}),
    "epochs that are cut short": Setting(best=0, trainer={"limit_train_batches": 2, "limit_val_batches": 0}),
    "supervised": Setting(sft=True, trainer=SEVERAL),
    "answers alone": Setting(baseline=answers_alone, trainer=SEVERAL),
    "reward model": Setting(baseline=BradleyTerryReward, trainer=SEVERAL),
    "workers": Setting(num_workers=2, steps=4, trainer=SEVERAL),
    "every second rollout": Setting(every=2, trainer={"val_check_interval": 1}),
    "dynamic sampling": Setting(
        steps=12, updates=Updates(2, 1), trainer=SEVERAL, options={"groups": DynamicSampling(1), "group_size": 3}
    ),
    "a curriculum and a changing weight": Setting(
        data={"curriculum": Curriculum(0.4, 2)},
        options={
            "reward": RewardWeights(listener=Annealed(1.0, 0.0, 4)),
            "objective": Objective(advantages="per_term"),
        },
    ),
    "a reference that follows": Setting(
        steps=8,
        updates=Updates(2, 1),
        options={"listener": ModelListener("shapes-blank"), "reference_refresh": RefreshEvery(3)},
    ),
    "no validation": Setting(validated=False, best=0),
}


@pytest.fixture(autouse=True)
def _keep_ctrl_c() -> Iterator[None]:
    """Lightning ignores further Ctrl-Cs once it has seen one."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@dataclass(frozen=True)
class Undisturbed:
    """A run to which nothing happens."""

    left: dict[str, Any]
    calls: list[str]
    """The hooks it calls."""
    copies: list[Path | None]
    """What it would leave if it were killed at each of them."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A setting's run to which nothing happens; made once each."""
    made: dict[str, Undisturbed] = {}

    def of(name: str) -> Undisturbed:
        if name not in made:
            folder, copies = (tmp_path_factory.mktemp(what) for what in ("undisturbed", "copies"))
            copying = Copies(copies)
            SETTINGS[name].fit(folder, copying)
            made[name] = Undisturbed(left_by(folder), copying.calls, copying.at_calls)
        return made[name]

    return of


def go_through(name: str, how: How, folder: Path, undisturbed: Any, places: list[int] | None = None) -> list[str]:
    """Break a setting off at many places. Returns the hooks after which there was something to go on from."""
    straight = undisturbed(name)
    found, gone_on = [], []
    ends: dict[Path | None, dict[str, Any] | None] = {None: None}
    for at in places or range(1, len(straight.calls) + 1):
        if how == "killed":
            hook, copy = straight.calls[at - 1], straight.copies[at - 1]
            if copy not in ends:
                shutil.rmtree(folder, ignore_errors=True)
                ends[copy] = go_on(SETTINGS[name], copied(copy, folder))
            left = ends[copy]
        else:
            hook, left = break_and_go_on(SETTINGS[name], folder, at, how)
        if left is not None:
            gone_on.append(hook)
            found += [f"{at} ({hook}): {difference}" for difference in differences(straight.left, left)]
    assert not found
    return gone_on


# ---- a place of each kind, in seconds --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("validation within epochs", "killed"),
        ("validation within epochs", "asked"),
        ("answers alone", "killed"),
        ("reward model", "killed"),
    ],
)
def test_between_batches_and_within_validation(tmp_path, undisturbed, name, how):
    calls = undisturbed(name).calls
    validations = [at for at, hook in enumerate(calls, 1) if hook == "on_validation_batch_end"]
    starts = [at for at, hook in enumerate(calls, 1) if hook == "on_train_batch_start"]
    gone_on = go_through(name, how, tmp_path, undisturbed, [validations[1], starts[-1]])
    assert len(gone_on) == 2


def test_between_two_steps_of_a_rollout(tmp_path, undisturbed):
    calls = undisturbed("several steps a rollout").calls
    steps = [at for at, hook in enumerate(calls, 1) if hook == "on_before_optimizer_step"]
    gone_on = go_through("several steps a rollout", "asked", tmp_path, undisturbed, [steps[0], steps[13]])
    assert len(gone_on) == 2


@pytest.mark.parametrize("name", ["dynamic sampling", "a reference that follows"])
def test_within_a_rollout_of_which_more_is_kept(tmp_path, undisturbed, name):
    calls = undisturbed(name).calls
    steps = [at for at, hook in enumerate(calls, 1) if hook == "on_before_optimizer_step"]
    gone_on = go_through(name, "asked", tmp_path, undisturbed, [steps[4]])
    assert len(gone_on) == 1


# ---- every place, in minutes -----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_killed_at_every_seventh_place(tmp_path, undisturbed, name):
    calls = undisturbed(name).calls
    assert go_through(name, "killed", tmp_path, undisturbed, list(range(3, len(calls) + 1, 7)))


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_asked_to_stop_again_and_again(tmp_path, undisturbed, name):
    """Each start is stopped after a few hooks: one run in many pieces, of which a fault in any stays to the end."""
    run, stopped = tmp_path / "run", list[str]()
    while True:
        breaking = Break(6 + len(stopped) // 2, "asked")  # later and later: a validation is begun anew each time
        try:
            SETTINGS[name].fit(run, breaking, resume=(run / "checkpoints" / "last.ckpt").exists())
        except SystemExit:
            stopped.append(breaking.calls[breaking.at - 1])
        else:
            break
    assert len(stopped) >= 2
    assert not list(differences(undisturbed(name).left, left_by(run)))


@pytest.mark.accept
@pytest.mark.parametrize("how", ["killed", "asked"])
@pytest.mark.parametrize("name", SETTINGS)
def test_every_place(tmp_path, undisturbed, name, how):
    gone_on = go_through(name, how, tmp_path, undisturbed)
    assert set(gone_on) >= {"on_before_optimizer_step", "on_train_batch_end", "on_train_epoch_end"}


@pytest.mark.accept
@pytest.mark.parametrize("how", ["error", "ctrl-c"])
def test_an_error_at_every_place(tmp_path, undisturbed, how):
    go_through("every second rollout", how, tmp_path, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize(("how", "first"), [("error", 2), ("ctrl-c", 4)])
def test_an_error_loses_nothing_between_two_steps(tmp_path, undisturbed, how, first):
    """Only every second rollout is saved on the way, but all of them are there."""
    name = "every second rollout"
    calls = undisturbed(name).calls
    go_through(name, how, tmp_path, undisturbed, list(range(first, len(calls) + 1, 5)))
    third = [at for at, hook in enumerate(calls, 1) if hook == "on_before_optimizer_step"][3]
    with pytest.raises((OSError, SystemExit)):
        SETTINGS[name].fit(tmp_path / "three", Break(third, how))
    assert torch.load(tmp_path / "three" / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 3


# ---- what may differ -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [2, 3])  # within the first epoch, and where it ends
def test_a_run_that_had_ended_trains_further(tmp_path, undisturbed, steps):
    setting = replace(SETTINGS["no validation"], every=0)
    expected = tmp_path / "straight"
    setting.fit(expected, **{"steps": 5})
    setting.fit(tmp_path / "run", steps=steps)
    module = setting.module()
    setting.fit(tmp_path / "run", seen := Seen(), resume=True, steps=5)
    assert len(seen.batches) == 5 - steps
    left, straight = left_by(tmp_path / "run"), left_by(expected)
    del module
    rates = [end["optimizer_states"][0]["param_groups"][0]["lr"] for end in (left["last.ckpt"], straight["last.ckpt"])]
    assert rates[0] == rates[1]  # of the new end, not of the old one
    assert [row["step"] for row in left["metrics"]] == ["0", "1", "2", "3", "4"]


def test_optimizer_options_of_the_new_start_take_effect(tmp_path, monkeypatch):
    setting = Setting(steps=4, validated=False, best=0)
    with pytest.raises(OSError, match="broken"):
        setting.fit(tmp_path, Break(8, "error"))

    def other(parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.AdamW(parameters, lr=0.5, betas=(0.5, 0.7), weight_decay=0.25)

    monkeypatch.setattr("tests.training.broken_runs.adam", other)
    setting.fit(tmp_path, resume=True)
    end = left_by(tmp_path)["last.ckpt"]
    group = end["optimizer_states"][0]["param_groups"][0]
    assert (group["betas"], group["weight_decay"], group["initial_lr"]) == ((0.5, 0.7), 0.25, 0.5)
    assert end["lr_schedulers"][0]["base_lrs"] == [0.5]
    assert end["optimizer_states"][0]["state"][0]["step"] == 4  # its memory is that of the run


def test_going_on_in_another_folder(tmp_path, undisturbed):
    """As --ckpt_path does: the end is the same, and the first folder stays as it was."""
    setting = SETTINGS["no validation"]
    setting.fit(tmp_path / "first", steps=3)
    before = left_by(tmp_path / "first")
    (tmp_path / "second" / "checkpoints").mkdir(parents=True)
    (tmp_path / "second" / "checkpoints" / "last.ckpt").symlink_to(tmp_path / "first" / "checkpoints" / "last.ckpt")
    setting.fit(tmp_path / "second", resume=True)
    assert not list(differences(before, left_by(tmp_path / "first")))
    assert [row["step"] for row in left_by(tmp_path / "second")["metrics"]] == ["3", "4"]
