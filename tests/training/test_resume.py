"""A run that is stopped and gone on with is the run that was never stopped: the same pairs, the same weights."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from lit_listener.data.shapes import ShapesTraces
from lit_listener.training import TraceSFT
from lit_listener.training.callbacks import InterruptCheckpoint, RunCheckpoint, SampleTable
from lit_listener.training.listener_grpo import Updates
from lit_listener.training.schedule import Schedule
from lit_listener.vlm.rollout import Sampling
from tests.training.tiny_runs import BLANK, Babble, Seen, data, grpo, pairs, trainer, weights

STEPS = 5
Run = tuple[dict[str, torch.Tensor], list[list[tuple[int, int, str]]]]


def adam(parameters: Any) -> torch.optim.Optimizer:
    """Has a memory, which has to be resumed too."""
    return torch.optim.AdamW(parameters, lr=1e-3)


def fit(
    folder: Path,
    steps: int,
    *callbacks: Callback,
    resume: Path | None = None,
    sft: bool = False,
    updates: Updates | None = None,
    train: int = 12,
    **options: Any,
) -> Run:
    """12 pairs in batches of 4: three batches an epoch, so that five steps end within the second."""
    schedule = Schedule("constant_with_warmup", 3)
    loaders: dict[str, Any] = {"validation": {"held_in": pairs(2, split="validation")}} if options else {}
    if sft:
        module = TraceSFT(BLANK, task=Babble(), sampling=Sampling(4), optimizer=adam, schedule=schedule)
        loaders["traces"] = ShapesTraces({"thorough": 0.5, "hasty": 0.5})
    else:
        module = grpo(optimizer=adam, schedule=schedule, updates=updates or Updates(), gradient_clip_norm=1.0)
    seen = Seen()
    trainer(folder, steps, seen, *callbacks, **options).fit(module, data(train, **loaders), ckpt_path=resume)
    return weights(module), seen.batches


def last() -> RunCheckpoint:
    return RunCheckpoint(save_last=True, save_top_k=0)


def assert_same(resumed: Run, straight: Run, stopped_after: int) -> None:
    assert resumed[1] == straight[1][stopped_after:]
    for name, value in straight[0].items():
        assert torch.equal(resumed[0][name], value), name


def steps_in(path: Path) -> int:
    return int(torch.load(path, weights_only=True)["global_step"])


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return fit(tmp_path_factory.mktemp("straight"), STEPS)


def test_the_order_is_shuffled_and_the_second_epoch_is_another(straight):
    order = [index for batch in straight[1] for _, index, _ in batch]
    assert sorted(order[:12]) == list(range(12))
    assert order[:12] != list(range(12))
    assert order[12:] != order[:8]


@pytest.mark.parametrize("stopped", [2, 3, 4])  # within the first epoch, between the two, within the second
def test_going_on_from_the_end_of_a_shorter_run(tmp_path, straight, stopped):
    fit(tmp_path / "first", stopped, last())
    path = tmp_path / "first" / "checkpoints" / "last.ckpt"
    assert steps_in(path) == stopped
    assert_same(fit(tmp_path / "second", STEPS, resume=path), straight, stopped)


def test_going_on_from_a_checkpoint_on_the_way(tmp_path, straight):
    fit(tmp_path / "first", 4, RunCheckpoint(every_n_train_steps=2, save_top_k=-1, filename="{step}"))
    path = tmp_path / "first" / "checkpoints" / "step=2.ckpt"
    assert_same(fit(tmp_path / "second", STEPS, resume=path), straight, 2)


@pytest.mark.slow
def test_going_on_from_a_checkpoint_of_a_validation(tmp_path, straight):
    options = {"val_check_interval": 2}
    best = RunCheckpoint(save_top_k=1, monitor="val/unparsable_share", mode="max", filename="best")
    fit(tmp_path / "first", 3, best, **options)
    path = tmp_path / "first" / "checkpoints" / "best.ckpt"
    assert steps_in(path) == 2
    assert_same(fit(tmp_path / "second", STEPS, resume=path, **options), straight, 2)


@pytest.mark.slow
def test_supervised_fine_tuning_goes_on_too(tmp_path):
    unbroken = fit(tmp_path / "straight", STEPS, sft=True)
    fit(tmp_path / "first", 2, last(), sft=True)
    resumed = fit(tmp_path / "second", STEPS, sft=True, resume=tmp_path / "first" / "checkpoints" / "last.ckpt")
    assert_same(resumed, unbroken, 2)


class Break(Callback):
    """Ctrl-C when a hook is called for the n-th time."""

    def __init__(self, hook: str, count: int) -> None:
        self.left = count
        setattr(self, hook, self._break)

    def _break(self, *args: Any) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.fixture
def _keep_ctrl_c() -> Iterator[None]:
    """Lightning ignores further Ctrl-Cs once it has seen one."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_keep_ctrl_c")
@pytest.mark.parametrize(
    ("hook", "count", "done", "first"),
    [
        ("on_train_batch_start", 3, 2, True),  # the batch is fetched, and nothing done with it yet
        ("on_train_batch_end", 2, 2, True),  # before and after our callback has heard that it ended
        ("on_train_batch_end", 2, 2, False),
        ("on_train_batch_end", 3, 3, False),
        ("on_validation_batch_end", 1, 2, True),
    ],
)
def test_ctrl_c_leaves_a_checkpoint_that_goes_on(tmp_path, straight, hook, count, done, first):
    options: dict[str, Any] = {"val_check_interval": 2} if "validation" in hook else {}
    callbacks = [Break(hook, count), InterruptCheckpoint()]
    with pytest.raises(SystemExit) as stopped:
        fit(tmp_path / "first", STEPS, *(callbacks if first else reversed(callbacks)), **options)
    assert stopped.value.code == 1
    path = tmp_path / "first" / "checkpoints" / "interrupted.ckpt"
    assert steps_in(path) == done
    assert_same(fit(tmp_path / "second", STEPS, resume=path, **options), straight, done)


class Fail(Callback):
    """The n-th batch cannot be begun, or the second optimizer step of a batch cannot be made."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer: Any, *args: Any) -> None:
        if trainer.global_step == self.step:
            raise OSError("disk full")

    def on_before_optimizer_step(self, trainer: Any, *args: Any) -> None:
        if trainer.global_step == self.step:
            raise OSError("disk full")


@pytest.mark.parametrize("gone_on", [False, True])
def test_nothing_learnt_leaves_no_checkpoint(tmp_path, gone_on):
    options: dict[str, Any] = {}
    if gone_on:
        fit(tmp_path / "first", 2, last())
        options["resume"] = tmp_path / "first" / "checkpoints" / "last.ckpt"
    with pytest.raises(OSError, match="disk full"):
        fit(tmp_path / "second", STEPS, InterruptCheckpoint(), Fail(2 if gone_on else 0), **options)
    assert not list((tmp_path / "second").rglob("*.ckpt"))


@pytest.mark.slow
def test_a_rollout_that_was_half_used_is_seen_again(tmp_path):
    """Its optimizer steps so far are kept: the first batch after going on is cut short, and not left out."""
    updates = Updates(minibatches=2)
    unbroken = fit(tmp_path / "straight", 6, updates=updates)
    fit(tmp_path / "first", 2, last(), updates=updates)
    resume = tmp_path / "first" / "checkpoints" / "last.ckpt"
    with pytest.raises(OSError, match="disk full"):
        fit(tmp_path / "second", 6, Fail(3), InterruptCheckpoint(), resume=resume, updates=updates)
    path = tmp_path / "second" / "checkpoints" / "interrupted.ckpt"
    assert steps_in(path) == 3
    _, seen = fit(tmp_path / "third", 7, resume=path, updates=updates)
    assert seen == unbroken[1][1:3]


def test_the_last_checkpoint_is_the_end_of_training(tmp_path):
    """Validation after steps 2 and 4 writes it; the fifth step must not be lost."""
    trained, _ = fit(tmp_path, STEPS, last(), val_check_interval=2, check_val_every_n_epoch=None)
    assert [path.name for path in tmp_path.rglob("*.ckpt")] == ["last.ckpt"]
    saved = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["global_step"] == STEPS
    assert all(torch.equal(value, trained[name]) for name, value in saved["state_dict"].items())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("updates", "every", "expected"),
    [
        (Updates(), 2, [2, 4]),
        # two optimizer steps a batch: the checkpoints of steps 3 and 6 are those of the batches that end at 4 and 6
        (Updates(minibatches=2), 3, [4, 6]),
    ],
)
def test_checkpoints_count_optimizer_steps(tmp_path, updates, every, expected):
    keep = RunCheckpoint(every_n_train_steps=every, save_top_k=-1, filename="{step}")
    fit(tmp_path / "first", expected[-1], keep, updates=updates)
    saved = sorted(steps_in(path) for path in tmp_path.rglob("*.ckpt"))
    assert saved == expected


@pytest.mark.slow
def test_a_resumed_run_does_not_save_off_the_beat(tmp_path):
    fit(tmp_path / "first", 2, last())
    keep = RunCheckpoint(every_n_train_steps=2, save_top_k=-1, filename="{step}")
    fit(tmp_path / "second", STEPS, keep, resume=tmp_path / "first" / "checkpoints" / "last.ckpt")
    assert sorted(steps_in(path) for path in (tmp_path / "second").rglob("*.ckpt")) == [4]


@pytest.mark.slow
def test_sample_tables_keep_their_beat(tmp_path):
    fit(tmp_path, 2, last(), SampleTable(every_n_steps=3, show=False))
    fit(tmp_path, STEPS, SampleTable(every_n_steps=3, show=False), resume=tmp_path / "checkpoints" / "last.ckpt")
    rows = (tmp_path / "samples.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows if row[:1].isdigit()] == ["1", "1", "1", "4", "4", "4"]
