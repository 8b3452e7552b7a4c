"""Which checkpoint is meant, what it holds, and that reading it runs nothing."""

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.metadata import Metadata

from lit_listener.vlm.trained_weights import find_checkpoint, read_trained_weights

WEIGHTS = {"policy.a.b": torch.arange(6.0).view(2, 3), "policy.c": torch.ones(2, dtype=torch.bfloat16)}
REST = {"global_step": 7, "loops": {"fit_loop": {"epoch_loop.batch_progress": {"total": {"processed": 4}}}}}
CANNOT = "cannot be read as a checkpoint of a training run"


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, sprung: Path) -> None:
        self.sprung = sprung

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.sprung),)


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    folder = tmp_path / "sharded.ckpt"
    moments = {"state": {"policy.a.b": {"exp_avg": torch.ones(9)}}, "lr": 0.1}
    dcp.save({"state_dict": WEIGHTS, "optimizer_0": moments}, checkpoint_id=folder)
    torch.save(REST, folder / "meta.pt")
    return folder


@pytest.fixture
def file(tmp_path: Path) -> Path:
    torch.save({"state_dict": WEIGHTS, "optimizer_states": [], **REST}, tmp_path / "one.ckpt")
    return tmp_path / "one.ckpt"


@pytest.mark.parametrize("kind", ["file", "shards"])
@pytest.mark.filterwarnings("error:.*single process.*load.*")
def test_both_kinds_hold_the_trained_weights_alone(kind, request):
    read = read_trained_weights(request.getfixturevalue(kind))
    assert read.of_names.keys() == WEIGHTS.keys()
    for name, weight in WEIGHTS.items():
        assert read.of_names[name].dtype == weight.dtype
        assert torch.equal(read.of_names[name], weight)
    assert (read.batches, read.optimizer_steps) == (4, 7)


def test_what_a_checkpoint_does_not_tell_is_not_known(tmp_path):
    torch.save({"state_dict": WEIGHTS}, tmp_path / "bare.ckpt")
    read = read_trained_weights(tmp_path / "bare.ckpt")
    assert (read.batches, read.optimizer_steps) == (None, None)


def test_the_checkpoint_that_is_meant(tmp_path, file, shards):
    assert find_checkpoint(file) == file
    assert find_checkpoint(shards) == shards
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    last = run / "checkpoints" / "last.ckpt"
    with pytest.raises(FileNotFoundError, match=r"holds no checkpoints/last\.ckpt; name the folder of a run"):
        find_checkpoint(run)
    last.symlink_to(shards)
    assert find_checkpoint(run) == last
    last.unlink()
    last.write_bytes(file.read_bytes())
    assert find_checkpoint(run) == last
    with pytest.raises(FileNotFoundError, match=r"there is no .*nowhere; name a checkpoint, or the folder of a run"):
        find_checkpoint(tmp_path / "nowhere")


def test_reading_a_file_runs_nothing(tmp_path):
    torch.save({"state_dict": WEIGHTS, "trap": Trap(tmp_path / "sprung")}, tmp_path / "trap.ckpt")
    with pytest.raises(ValueError, match=CANNOT + r" \(it holds more than data\)"):
        read_trained_weights(tmp_path / "trap.ckpt")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("where", [".metadata", "meta.pt"])
def test_reading_shards_runs_nothing(tmp_path, shards, where):
    trap = Trap(tmp_path / "sprung")
    if where == "meta.pt":
        torch.save({**REST, "trap": trap}, shards / where)
    else:
        (shards / where).write_bytes(pickle.dumps(Metadata({}, planner_data=trap)))
    with pytest.raises(ValueError, match=CANNOT + r" \((it holds more than data|its index names \w+\.mkdir, )"):
        read_trained_weights(shards)
    assert not (tmp_path / "sprung").exists()


def test_the_trap_would_spring(tmp_path):
    pickle.loads(pickle.dumps(Trap(tmp_path / "sprung")))
    assert (tmp_path / "sprung").is_dir()


def test_no_class_that_an_index_may_name_can_be_reached_through(tmp_path, shards):
    """A dotted name would lead from an allowed module to any other."""
    stack_global = b"\x80\x04\x8c\x05torch\x8c\x09os.system\x93."
    (shards / ".metadata").write_bytes(stack_global)
    with pytest.raises(ValueError, match=r"its index names torch\.os\.system, which is no part of a checkpoint"):
        read_trained_weights(shards)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"weights": 1}, CANNOT + r" \(it has no 'state_dict'\)"),
        ({"state_dict": {}}, "holds no weights; name a checkpoint of a training run"),
        (None, CANNOT),
    ],
)
def test_a_file_that_is_no_checkpoint(tmp_path, content, message):
    path = tmp_path / "other.ckpt"
    if content is None:
        path.write_text("no checkpoint")
    else:
        torch.save(content, path)
    with pytest.raises(ValueError, match=message):
        read_trained_weights(path)


@pytest.mark.parametrize("missing", [".metadata", "meta.pt", "__0_0.distcp"])
def test_shards_that_are_not_whole(shards, missing):
    (shards / missing).unlink()
    with pytest.raises(ValueError, match=CANNOT + r" \(\[Errno 2\] .*" + missing):
        read_trained_weights(shards)
