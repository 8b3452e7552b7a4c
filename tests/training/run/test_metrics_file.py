"""metrics.csv: Lightning's format, whole at any time, and gone on with by a resumed run."""

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger

from lit_listener.evaluation.learning_curves import read_metrics
from lit_listener.training.run.metrics_file import MetricsFile, keep_rows

LOGGED: list[tuple[dict[str, Any], int]] = [
    ({"b": 1.5, "epoch": 0}, 0),
    ({"b": torch.tensor(0.25), "epoch": 0}, 1),
    ({"val/a": 1 / 3, "epoch": 0}, 1),  # a new column before the others
    ({"b": float("nan"), "epoch": 1}, 2),
]


def log(logger: Any, rows: list[tuple[dict[str, Any], int]]) -> None:
    for metrics, step in rows:
        logger.log_metrics(metrics, step)


def written(folder: Path, rows: list[tuple[dict[str, Any], int]]) -> str:
    file = MetricsFile(folder)
    for row in rows:
        log(file, [row])
        file.flush()
    return (folder / "metrics.csv").read_text() if rows else ""


def test_the_format_is_lightnings(tmp_path):
    theirs = CSVLogger(tmp_path / "theirs", name="", version="")
    log(theirs, LOGGED)
    theirs.save()
    text = (tmp_path / "theirs" / "metrics.csv").read_text()
    log(file := MetricsFile(tmp_path / "at_once"), LOGGED)
    file.finalize("success")
    assert (tmp_path / "at_once" / "metrics.csv").read_text() == text
    assert written(tmp_path / "row_by_row", LOGGED) == text
    assert read_metrics(tmp_path / "at_once" / "metrics.csv")["b"].values.tolist()[:2] == [1.5, 0.25]


def test_rows_are_kept_back_for_a_while(tmp_path):
    file = MetricsFile(tmp_path, flush_seconds=3600)
    log(file, LOGGED[:2])
    file.save()
    assert not file.path.exists()
    assert file.rows == 2
    file.flush()
    assert len(file.path.read_text().splitlines()) == 3
    at_once = MetricsFile(tmp_path / "at_once", flush_seconds=0)
    log(at_once, LOGGED[:1])
    at_once.save()
    assert at_once.path.exists()


@pytest.mark.parametrize("rows", range(5))
def test_a_file_that_is_cut_back_is_as_it_was_then(tmp_path, rows):
    file = MetricsFile(tmp_path / "run")
    log(file, LOGGED)
    file.flush()
    later = MetricsFile(tmp_path / "run")  # another start
    later.cut_back(rows)
    assert later.rows == rows
    assert later.path.read_text() == written(tmp_path / "then", LOGGED[:rows])
    log(later, LOGGED[rows:])
    later.flush()
    assert later.path.read_text() == written(tmp_path / "whole", LOGGED)


def test_rows_that_wait_are_cut_off_too(tmp_path):
    file = MetricsFile(tmp_path)
    log(file, LOGGED[:2])
    file.flush()
    log(file, LOGGED[2:])
    file.cut_back(1)
    assert file.rows == 1
    file.flush()
    assert file.path.read_text() == written(tmp_path / "then", LOGGED[:1])


@pytest.mark.parametrize("torn", ["9", "9,", "9,9,9", '9,"9'])
def test_a_torn_last_row_is_none(tmp_path, torn):
    text = written(tmp_path, LOGGED[:2])
    path = tmp_path / "metrics.csv"
    path.write_text(text + torn, newline="")
    log(file := MetricsFile(tmp_path), LOGGED[1:2])
    assert file.rows == 3
    file.flush()
    assert path.read_text() == written(tmp_path / "whole", [*LOGGED[:2], LOGGED[1]])
    path.write_bytes(path.read_bytes() + torn.encode())
    MetricsFile(tmp_path).cut_back(3)
    assert path.read_text() == written(tmp_path / "again", [*LOGGED[:2], LOGGED[1]])


def test_a_file_that_is_not_there_is_begun(tmp_path):
    file = MetricsFile(tmp_path)
    file.cut_back(7)
    assert file.rows == 0
    assert not file.path.exists()


def test_too_few_rows_are_an_error(tmp_path):
    written(tmp_path, LOGGED[:2])
    with pytest.raises(
        ValueError, match=r"metrics.csv holds 2 rows, but 3 were written .* put the file back, or delete"
    ):
        MetricsFile(tmp_path).cut_back(3)


def test_what_cannot_be_written_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    text = written(tmp_path, LOGGED[:1])
    file = MetricsFile(tmp_path)
    log(file, LOGGED[1:2])

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space left"):
            file.flush()
    assert file.path.read_text() == text
    file.flush()  # there is space again
    assert file.path.read_text() == written(tmp_path / "then", LOGGED[:2])


def test_cells_may_hold_line_ends(tmp_path):
    path = tmp_path / "samples.csv"
    cells = ["one\ntwo", "a\r\nb", "c\rd", 'quote " and, comma', "\0"]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["step", "said"], *enumerate(cells)])
    before = path.read_bytes()
    keep_rows(path, 5)
    assert path.read_bytes() == before
    keep_rows(path, 3)
    with path.open(newline="") as file:
        assert [row[1] for row in csv.reader(file)] == ["said", *cells[:3]]
