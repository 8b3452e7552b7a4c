"""A step that breaks is written down, however far it came, and read back."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from PIL import Image

from lit_listener.data.demonstrators import AnswerOnly
from lit_listener.data.shown import ShownPair
from lit_listener.tasks import PairwisePreference
from lit_listener.training import TraceSFT
from lit_listener.training.listener_grpo import ListenerGRPO
from lit_listener.training.watch.post_mortem import PostMortem, PostMortemRecord, read_post_mortem, write_post_mortem
from lit_listener.vlm.rollout import Sampling
from tests.training.tiny_runs import BLANK, TEMPLATE, BabblingGRPO, data, grpo, pairs, sgd, trainer


class Breaks(BabblingGRPO):
    """Stops being finite in the second step, at a named place of it."""

    place = ""
    steps = 0

    def training_step(self, batch: Any, batch_idx: int) -> None:
        self.steps += 1
        super().training_step(batch, batch_idx)

    def _broken(self, name: str) -> None:
        if self.steps == 2 and name == self.place:
            raise FloatingPointError(f"{name} is nan")


def _breaking(name: str) -> Any:
    def method(self: Breaks, *args: Any, **options: Any) -> Any:
        self._broken(name)
        return getattr(super(Breaks, self), name)(*args, **options)

    return method


PLACES = ("ask", "roll_out", "read", "reference_scores", "hear", "reward", "advantages", "update")
for _name in PLACES:
    setattr(Breaks, _name, _breaking(_name))


def broken_run(folder: Path, place: str, **options: Any) -> tuple[ListenerGRPO, PostMortemRecord]:
    module = grpo(Breaks, **options)
    module.place = place
    with pytest.raises(FloatingPointError, match=f"{place} is nan"):
        trainer(folder, 3, PostMortem()).fit(module, data(8))
    return module, read_post_mortem(folder / "post_mortem" / "step-1")


def same_pairs(read: tuple[ShownPair, ...], written: tuple[ShownPair, ...]) -> None:
    assert len(read) == len(written)
    for one, other in zip(read, written, strict=True):
        assert (one.first, one.index, one.epoch, one.label) == (other.first, other.index, other.epoch, other.label)
        for name in ("prompt", "share_a", "votes", "pair_id", "prompt_id", "generator_a", "generator_b"):
            assert getattr(one.pair, name) == getattr(other.pair, name)
        for image, original in zip(one.images, other.images, strict=True):
            assert image.tobytes() == original.tobytes()


def test_all_that_the_step_had_is_read_back(tmp_path):
    module, record = broken_run(tmp_path, "update")
    trail = module.trail
    assert (record.step, record.rank, record.error, record.metrics) == (1, 0, "update is nan", {})
    same_pairs(record.shown, tuple(trail.shown))
    assert [completion.pair for completion in record.completions] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    ids = trail.completions.content_ids()
    readable = trail.heard.readable_N.tolist()
    assert set(readable) == {True, False}
    for n, completion in enumerate(record.completions):
        transcript = trail.transcripts[n]
        assert list(completion.ids) == ids[n]
        assert (completion.text, completion.answer) == (transcript.text, transcript.answer)
        assert completion.outcome == str(transcript.outcome)
        assert completion.reward == float(trail.rewards.total_N[n])
        assert completion.advantage == float(trail.advantages_N[n])
        assert completion.p_correct == (float(trail.rewards.p_correct_N[n]) if readable[n] else None)
    assert torch.equal(record.tensors["completions.ids_NT"], trail.completions.ids_NT)
    assert torch.equal(record.tensors["reference.log_probs_NT"], trail.reference.log_probs_NT)
    assert torch.equal(record.tensors["heard.p_label_NL"], trail.heard.p_label_NL)
    assert torch.equal(record.tensors["rewards.total_N"], trail.rewards.total_N)
    assert torch.equal(record.tensors["advantages_N"], trail.advantages_N)


@pytest.mark.parametrize(("place", "filled"), list(zip(PLACES, (0, 0, 1, 2, 2, 2, 3, 4), strict=True)))
def test_a_step_is_written_as_far_as_it_came(tmp_path, place, filled):
    """0: pairs alone, 1: and completions, 2: and what was read, 3: and rewards, 4: and advantages."""
    _, record = broken_run(tmp_path, place)
    assert len(record.shown) == 4
    assert len(record.completions) == (12 if filled >= 1 else 0)
    for completion in record.completions:
        assert bool(completion.text) == bool(completion.ids)
        assert (completion.outcome is not None) == (filled >= 2)
        assert (completion.reward is not None) == (filled >= 3)
        assert (completion.advantage is not None) == (filled >= 4)
    names = {name.split(".")[0] for name in record.tensors}
    assert ("completions" in names) == (filled >= 1)
    assert ("rewards" in names) == (filled >= 3)
    assert ("reference" in names) == (place in ("hear", "reward", "advantages", "update"))


class Spoils(Callback):
    """Makes the gradient NaN from the second batch on."""

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 1:
            weight = next(p for p in pl_module.parameters() if p.requires_grad)
            weight.register_hook(lambda gradient: gradient * math.nan)


def test_a_broken_gradient_leaves_the_step_that_made_it(tmp_path):
    """Nothing is raised by hand."""
    with pytest.raises(FloatingPointError, match="gradient's norm is nan") as raised:
        trainer(tmp_path, 3, PostMortem(), Spoils()).fit(grpo(), data(8))
    record = read_post_mortem(tmp_path / "post_mortem" / "step-1")
    assert record.error == str(raised.value)
    assert len(record.completions) == 12
    assert all(completion.advantage is not None for completion in record.completions)


def test_supervised_training_leaves_its_pairs(tmp_path):
    module = TraceSFT(
        BLANK,
        task=PairwisePreference(template=TEMPLATE, system=None),
        sampling=Sampling(max_new_tokens=8),
        optimizer=sgd,
    )
    with pytest.raises(FloatingPointError, match="gradient's norm is nan"):
        trainer(tmp_path, 3, PostMortem(), Spoils()).fit(module, data(8, traces=AnswerOnly()))
    record = read_post_mortem(tmp_path / "post_mortem" / "step-1")
    assert (len(record.shown), record.completions, record.tensors) == (4, (), {})


@pytest.mark.parametrize("error", [ValueError("wrong"), OSError("disk full")])
def test_other_errors_leave_nothing(tmp_path, error):
    class Fails(BabblingGRPO):
        def training_step(self, batch: Any, batch_idx: int) -> None:
            raise error

    with pytest.raises(type(error)):
        trainer(tmp_path, 1, PostMortem()).fit(grpo(Fails), data())
    assert list(tmp_path.iterdir()) == []


def record(**changes: Any) -> PostMortemRecord:
    shown = ShownPair(pairs(1)[0], "b", 0, 2)
    fields: dict[str, Any] = {
        "step": 7,
        "rank": 0,
        "error": "the loss is nan",
        "shown": (shown,),
        "completions": (),
        "metrics": {"policy/kl": math.inf, "policy/loss": math.nan, "reward/total": 0.5},
        "tensors": {"advantages_N": torch.tensor([1.0, math.nan])},
    }
    return PostMortemRecord(**{**fields, **changes})


def test_what_is_not_finite_is_spelled_out_and_read_back(tmp_path):
    write_post_mortem(record(), tmp_path / "step-7")

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    plain = json.loads((tmp_path / "step-7" / "batch.json").read_text(), parse_constant=refuse)
    assert plain["metrics"] == {"policy/kl": "inf", "policy/loss": "nan", "reward/total": 0.5}
    read = read_post_mortem(tmp_path / "step-7")
    assert read.metrics["policy/kl"] == math.inf
    assert math.isnan(read.metrics["policy/loss"])
    assert torch.equal(read.tensors["advantages_N"].nan_to_num(2.0), torch.tensor([1.0, 2.0]))
    same_pairs(read.shown, record().shown)


def test_images_lie_beside_as_png(tmp_path):
    write_post_mortem(record(), tmp_path / "step-7")
    assert sorted(path.name for path in tmp_path.rglob("*.png")) == ["pair-0-a.png", "pair-0-b.png"]
    with Image.open(tmp_path / "step-7" / "pair-0-b.png") as image:
        assert image.tobytes() == pairs(1)[0].image_b.tobytes()


def test_a_step_that_breaks_again_replaces_its_post_mortem(tmp_path):
    write_post_mortem(record(), tmp_path / "step-7")
    write_post_mortem(record(error="again"), tmp_path / "step-7")
    assert read_post_mortem(tmp_path / "step-7").error == "again"
    assert [path.name for path in tmp_path.iterdir()] == ["step-7"]


def test_a_folder_is_there_whole_or_not_at_all(tmp_path, monkeypatch):
    write_post_mortem(record(), tmp_path / "step-7")

    def full(*args: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="disk full"):
        write_post_mortem(record(error="again"), tmp_path / "step-7")
    assert read_post_mortem(tmp_path / "step-7").error == "the loss is nan"
    assert [path.name for path in tmp_path.iterdir()] == ["step-7"]


def test_a_full_disk_does_not_hide_what_broke(tmp_path):
    (tmp_path / "post_mortem").write_text("in the way")
    module = grpo(Breaks)
    module.place = "update"
    with (
        pytest.warns(UserWarning, match="post-mortem could not be written"),
        pytest.raises(FloatingPointError, match="update is nan"),
    ):
        trainer(tmp_path, 3, PostMortem()).fit(module, data(8))


def test_it_says_where(tmp_path):
    with pytest.warns(UserWarning, match=r"step 1 broke: .*post_mortem/step-1; .*read_post_mortem"):
        broken_run(tmp_path, "hear")


def test_each_of_several_processes_has_a_folder_of_its_own(tmp_path):
    class Rank:
        global_rank, world_size, global_step, default_root_dir = 3, 8, 12, str(tmp_path)

    PostMortem().on_exception(Rank(), grpo(), FloatingPointError("x"))  # type: ignore[arg-type]
    read = read_post_mortem(tmp_path / "post_mortem" / "step-12-rank-3")
    assert (read.step, read.rank, read.shown) == (12, 3, ())


def test_a_folder_without_one_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no batch\.json in .*expected a folder RUN_DIR/post_mortem"):
        read_post_mortem(tmp_path)
