"""A checkpoint is there whole or not at all, be it a file or a folder of shards."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lit_listener.training.run.checkpoint_files import (
    PlainFileIO,
    clear_parts,
    read_rest,
    remove_checkpoint,
    write_whole,
)


def file_of(text: str) -> Callable[[Path], None]:
    return lambda path: path.write_text(text) and None


def folder_of(text: str) -> Callable[[Path], None]:
    def save(path: Path) -> None:
        path.mkdir()
        (path / "shard").write_text(text)

    return save


def content(path: Path) -> str:
    return (path / "shard" if path.is_dir() else path).read_text()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("kinds", [(file_of,) * 3, (folder_of,) * 3, (file_of, folder_of, file_of)])
def test_a_checkpoint_is_replaced_by_the_next(tmp_path, kinds):
    last = tmp_path / "checkpoints" / "last.ckpt"
    for number, kind in enumerate(kinds):
        write_whole(last, kind(f"step {number}"), first_rank=True)
        assert content(last) == f"step {number}"
        assert [name for name in names(last.parent) if not name.startswith(".")] == ["last.ckpt"]
        assert len(names(last.parent)) == (1 if kind is file_of else 2)  # a folder is behind a link


@pytest.mark.parametrize("kind", [file_of, folder_of])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("unexpected pos 1\nat 2")])
def test_what_cannot_be_written_leaves_the_last_one(tmp_path, kind, error):
    last = tmp_path / "last.ckpt"

    def fail(path: Path) -> None:
        kind("new")(path)
        raise error

    with pytest.raises(OSError, match=r"last.ckpt could not be written \(.*(No space|unexpected pos 1\)).*; none was"):
        write_whole(last, fail, first_rank=True)
    assert names(tmp_path) == []
    write_whole(last, kind("old"), first_rank=True)
    before = names(tmp_path)
    with pytest.raises(OSError, match=r"could not be written .*; the one before it is whole: .*last.ckpt"):
        write_whole(last, fail, first_rank=True)
    assert content(last) == "old"
    assert names(tmp_path) == before


@pytest.mark.parametrize("kind", [file_of, folder_of])
@pytest.mark.parametrize("call", ["replace", "rename", "symlink_to", "fsync"])
def test_it_is_whole_wherever_the_move_is_broken_off(tmp_path, kind, call, monkeypatch):
    last = tmp_path / "last.ckpt"
    write_whole(last, kind("old"), first_rank=True)
    owner = os if call == "fsync" else Path
    original = getattr(owner, call)
    for at in range(3):
        calls = iter(range(10))

        def killed(*args: object, at: int = at, calls: object = calls, original: object = original) -> object:
            if next(calls) == at:  # type: ignore[call-overload]
                raise KeyboardInterrupt
            return original(*args)  # type: ignore[operator]

        with monkeypatch.context() as patched:
            patched.setattr(owner, call, killed)
            try:
                write_whole(last, kind("new"), first_rank=True)
            except KeyboardInterrupt:
                assert content(last) in ("old", "new")
        clear_parts(tmp_path)
        assert content(last) in ("old", "new")
        assert len(names(tmp_path)) == (1 if kind is file_of else 2)
        write_whole(last, kind("old"), first_rank=True)
        assert content(last) == "old"


def test_what_somebody_linked_to_stays(tmp_path):
    best, last = tmp_path / "best-step=3.ckpt", tmp_path / "last.ckpt"
    file_of("best")(best)
    last.symlink_to(best.name)
    write_whole(last, file_of("last"), first_rank=True)
    assert (content(best), content(last), last.is_symlink()) == ("best", "last", False)


def test_other_ranks_only_write(tmp_path):
    last = tmp_path / "last.ckpt"
    write_whole(last, file_of("shard"), first_rank=False)
    assert names(tmp_path) == [".last.ckpt.part"]


def test_what_killed_runs_left_is_cleared_and_nothing_else(tmp_path):
    write_whole(tmp_path / "last.ckpt", folder_of("shards"), first_rank=True)
    file_of("torn")(tmp_path / ".best-step=3.ckpt.part")
    folder_of("torn")(tmp_path / ".last.ckpt.part")
    folder_of("replaced")(tmp_path / ".last.ckpt.b")
    for kept in ("best-step=3.ckpt", ".hidden", "notes.part"):
        file_of("mine")(tmp_path / kept)
    clear_parts(tmp_path)
    assert names(tmp_path) == [".hidden", ".last.ckpt.a", "best-step=3.ckpt", "last.ckpt", "notes.part"]
    clear_parts(tmp_path / "nowhere")


@pytest.mark.parametrize("kind", [file_of, folder_of])
def test_a_checkpoint_is_removed_with_all_that_belongs_to_it(tmp_path, kind):
    best = tmp_path / "best-step=3.ckpt"
    write_whole(best, kind("best"), first_rank=True)
    remove_checkpoint(best)
    remove_checkpoint(best)
    assert names(tmp_path) == []


def test_the_rest_of_a_checkpoint_is_read_from_a_file_or_a_folder(tmp_path):
    PlainFileIO().save_checkpoint({"global_step": 3}, tmp_path / "deep" / "file.ckpt")
    (tmp_path / "folder.ckpt").mkdir()
    torch.save({"global_step": 3}, tmp_path / "folder.ckpt" / "meta.pt")
    assert read_rest(tmp_path / "deep" / "file.ckpt") == read_rest(tmp_path / "folder.ckpt") == {"global_step": 3}
    torn = tmp_path / "torn.ckpt"
    torn.write_bytes((tmp_path / "deep" / "file.ckpt").read_bytes()[:100])
    with pytest.raises(ValueError, match=r"the checkpoint .*torn.ckpt cannot be read: "):
        read_rest(torn)
