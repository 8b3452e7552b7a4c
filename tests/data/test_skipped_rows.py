import logging
import math

import pytest

from lit_listener.data.sources import PairTable, row_images
from lit_listener.training.data_module import PreferenceData
from tests.data.tables import RED, png, rows, write


def test_bad_rows_are_skipped_counted_and_logged(folder, caplog):
    votes = [(3, 1), (0, 0), (2, math.nan), (1, 3), (-1, 2), (2, 2), (None, 4), (5, 0), (1, 0)]
    cells = rows(*({"up": up, "down": down} for up, down in votes))
    cells[7]["prompt"] = "  "
    path = write(folder / "t.jsonl", cells)
    with caplog.at_level(logging.WARNING):
        pairs = PairTable(path, votes_a="up", votes_b="down", on_bad_row="skip")
    assert [(pair.pair_id, pair.share_a, pair.votes) for pair in pairs] == [
        ("t-0", 0.75, 4),
        ("t-3", 0.25, 4),
        ("t-8", 1.0, 1),
    ]
    counts = pairs.counts
    assert (counts.rows, counts.skipped_rows, counts.pairs, counts.ties, counts.used) == (9, 5, 4, 1, 3)
    assert (
        f"{path}: 5 of 9 rows are skipped: {path}, row 7, column 'prompt': expected a prompt, got '  '" in caplog.text
    )
    assert f"{path}, row 1, column 'up' and column 'down': no votes" in caplog.text


def test_names_used_twice(folder):
    cells = rows(*({"share_a": 1.0, "no": name} for name in ("x", "y", "x", "z", "y")))
    path = write(folder / "t.csv", cells)
    with pytest.raises(ValueError, match=r"t\.csv, row 2, column 'no': the name 'x' was given to row 0 already"):
        PairTable(path, id="no")
    pairs = PairTable(path, id="no", on_bad_row="skip")
    assert [pair.pair_id for pair in pairs] == ["x", "y", "z"]
    assert pairs.counts.skipped_rows == 2


def test_mixed_kinds_are_skipped_rows(folder):
    path = write(folder / "t.jsonl", rows({"share_a": 1.0}, {"share_a": "much"}, {"share_a": 0.0}))
    assert [pair.pair_id for pair in PairTable(path, on_bad_row="skip")] == ["t-0", "t-2"]


@pytest.mark.parametrize("workers", [0, 2])
def test_unreadable_images_are_found_before_training_and_no_pair_takes_their_place(folder, caplog, workers):
    (folder / "pictures/cut.png").write_bytes(png(RED)[:-30])
    images = ["red", "cut", "blue", "gone", "red"]
    cells = rows(*({"share_a": 1.0, "image_a": f"pictures/{name}.png", "prompt": name} for name in images))
    path = write(folder / "t.jsonl", cells)
    with caplog.at_level(logging.WARNING):
        pairs = PairTable(path, on_bad_row="skip")
    assert (len(pairs), pairs.counts.unreadable) == (3, 2)
    assert (
        f"{path}: 2 of 5 pairs are skipped for images that cannot be read: {path}, row 1, column 'image_a'"
        in caplog.text
    )
    data = PreferenceData(test={"t": pairs}, eval_batch_size=2, num_workers=workers)
    (loader,) = data.test_dataloader()
    assert [shown.pair.pair_id for batch in loader for shown in batch] == ["t-0", "t-2", "t-4"]


def test_what_was_found_unreadable_is_remembered_until_the_table_changes(folder, monkeypatch):
    (folder / "pictures/cut.png").write_bytes(png(RED)[:-30])
    cells = rows({"share_a": 1.0}, {"share_a": 1.0, "image_a": "pictures/cut.png"})
    path = write(folder / "t.jsonl", cells)
    assert len(PairTable(path, on_bad_row="skip")) == 1
    opened = []
    real = row_images.open_image
    monkeypatch.setattr(row_images, "open_image", lambda *args, **named: opened.append(1) or real(*args, **named))
    assert len(PairTable(path, on_bad_row="skip")) == 1
    assert not opened
    write(path, [*cells, cells[0]])
    assert len(PairTable(path, on_bad_row="skip")) == 2
    assert len(opened) == 6  # the two images of three rows


def test_all_rows_bad_and_another_choice(folder):
    path = write(folder / "t.csv", rows({"share_a": 2.0}, {"share_a": 3.0}))
    with pytest.raises(ValueError, match=r"t\.csv: no pairs left: all 2 rows are bad"):
        PairTable(path, on_bad_row="skip")
    with pytest.raises(ValueError, match="on_bad_row: expected error or skip, got 'ignore'"):
        PairTable(path, on_bad_row="ignore")


def test_more_bad_rows_than_are_told(folder, caplog):
    path = write(folder / "t.csv", rows(*({"share_a": 9.0} for _ in range(8)), {"share_a": 1.0}))
    with caplog.at_level(logging.WARNING):
        pairs = PairTable(path, on_bad_row="skip", drop_ties=False)
    assert (pairs.counts.skipped_rows, pairs.counts.pairs, len(pairs)) == (8, 1, 1)
    assert caplog.text.count("expected a share in [0, 1]") == 5
    assert "and 3 more" in caplog.text


def test_a_second_image_that_cannot_be_read(folder):
    path = write(folder / "t.csv", rows({"share_a": 1.0}, {"share_a": 1.0, "image_b": "pictures/gone.png"}))
    assert [pair.pair_id for pair in PairTable(path, on_bad_row="skip")] == ["t-0"]
