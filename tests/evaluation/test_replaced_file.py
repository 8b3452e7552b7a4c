import pytest

from lit_listener.evaluation.replaced_file import replaced_file


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "run" / "file.txt"
    with replaced_file(path) as beside:
        beside.write_text("old")
    with replaced_file(path) as beside:
        beside.write_text("new")
        assert beside.parent == path.parent
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_everything_as_it_was(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def write_half() -> None:
        with replaced_file(path) as beside:
            beside.write_text("half")
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
