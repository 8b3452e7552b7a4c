import copy
import csv
import io
import json
import math
import pickle
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from lit_listener.data.records import PairSource
from lit_listener.data.sources import PairTable

RED, BLUE = (255, 0, 0), (0, 0, 255)
SUFFIXES = (".parquet", ".jsonl", ".csv")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder with pictures; the tables that tests write lie in it."""
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (6, 4), RED).save(tmp_path / "pictures" / "red.png")
    Image.new("RGB", (4, 4), BLUE).save(tmp_path / "pictures" / "blue.png")
    return tmp_path


def png(colour) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4), colour).save(file, "PNG")
    return file.getvalue()


def rows(*votes, **columns) -> list[dict]:
    """One row for each vote, which fills the columns it names."""
    plain = {"prompt": "a cat", "image_a": "pictures/red.png", "image_b": "pictures/blue.png"}
    return [plain | vote | columns for vote in votes]


def write(path: Path, cells: list[dict]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(cells), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in cells))
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, cells[0])
            writer.writeheader()
            writer.writerows(cells)
    return path


# ---- what is read ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_table_of_paths_in_every_format(folder, suffix):
    path = write(folder / f"votes{suffix}", rows({"share_a": 0.75}, {"share_a": 0.0, "prompt": "NA, “2020”\nnull"}))
    pairs = PairTable(path)
    assert isinstance(pairs, PairSource)
    assert len(pairs) == 2
    first, second = pairs[0], pairs[1]
    assert (first.prompt, first.prompt_id, first.share_a, first.votes) == ("a cat", "a cat", 0.75, 0)
    assert (first.pair_id, second.pair_id) == ("votes-0", "votes-1")
    assert second.prompt == "NA, “2020”\nnull"
    assert second.preferred == "b"
    assert (first.image_a.mode, first.image_a.size, first.image_a.getpixel((0, 0))) == ("RGB", (6, 4), RED)
    assert (first.image_b.size, first.image_b.getpixel((0, 0))) == ((4, 4), BLUE)


def test_bytes_in_parquet(folder):
    path = write(folder / "t.parquet", rows({"share_a": 1.0}, image_a=png(BLUE), image_b=png(RED)))
    pair = PairTable(path)[0]
    assert (pair.image_a.getpixel((0, 0)), pair.image_b.getpixel((0, 0))) == (BLUE, RED)


def test_bytes_and_paths_in_parquet(folder):
    both = {"bytes": png(BLUE), "path": "elsewhere/whatever.png"}
    only_path = {"bytes": None, "path": "pictures/red.png"}
    path = write(folder / "t.parquet", rows({"share_a": 1.0}, image_a=both, image_b=only_path))
    pair = PairTable(str(path))[0]
    assert (pair.image_a.getpixel((0, 0)), pair.image_b.getpixel((0, 0))) == (BLUE, RED)


def test_a_table_that_datasets_wrote_with_images_in_it(folder):
    image_a, image_b = ({"bytes": png(colour), "path": None} for colour in (BLUE, RED))
    cells = rows({"share_a": 0.9}, image_a=image_a, image_b=image_b)
    written = datasets.Dataset.from_list(cells)
    for column in ("image_a", "image_b"):
        written = written.cast_column(column, datasets.Image())
    written.to_parquet(folder / "t.parquet")
    assert isinstance(datasets.Dataset.from_parquet(str(folder / "t.parquet")).features["image_a"], datasets.Image)
    pair = PairTable(folder / "t.parquet")[0]
    assert (pair.image_a.getpixel((0, 0)), pair.image_b.getpixel((0, 0))) == (BLUE, RED)


def test_absolute_paths(folder):
    path = write(folder / "t.csv", rows({"share_a": 1.0}, image_a=str(folder / "pictures/blue.png")))
    assert PairTable(path)[0].image_a.getpixel((0, 0)) == BLUE


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_counted_votes(folder, suffix):
    path = write(folder / f"t{suffix}", rows({"up": 11, "down": 4}, {"up": 0, "down": 3}))
    pairs = PairTable(path, votes_a="up", votes_b="down")
    assert [(pair.share_a, pair.votes) for pair in pairs] == [(11 / 15, 15), (0.0, 3)]


def test_counted_votes_may_be_whole_floats(folder):
    path = write(folder / "t.parquet", rows({"up": 11.0, "down": 4.0}))
    assert PairTable(path, votes_a="up", votes_b="down")[0].votes == 15


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "names", [["a", "b", "tie"], ["A", " B ", "Tie"], ["0", "1", "tie"]], ids=["letters", "capitals", "digits"]
)
def test_names_of_the_preferred_image(folder, suffix, names):
    path = write(folder / f"t{suffix}", rows(*({"winner": name} for name in names)))
    pairs = PairTable(path, preferred="winner", drop_ties=False)
    assert [(pair.preferred, pair.votes) for pair in pairs] == [("a", 0), ("b", 0), (None, 0)]


@pytest.mark.parametrize("kind", [int, float])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_index_of_the_preferred_image(folder, suffix, kind):
    path = write(folder / f"t{suffix}", rows({"label": kind(1)}, {"label": kind(0)}))
    assert [pair.preferred for pair in PairTable(path, preferred="label")] == ["b", "a"]


def test_ties_are_dropped_unless_they_are_kept(folder):
    path = write(folder / "t.jsonl", rows({"share_a": 0.5}, {"share_a": 0.4}, {"share_a": 0.5}, {"share_a": 0.9}))
    assert [pair.pair_id for pair in PairTable(path)] == ["t-1", "t-3"]
    assert [pair.share_a for pair in PairTable(path)] == [0.4, 0.9]
    assert [pair.preferred for pair in PairTable(path, drop_ties=False)] == [None, "b", None, "a"]


def test_columns_of_other_names(folder):
    cells = [{"caption": "a dog", "l": "pictures/red.png", "r": "pictures/blue.png", "left": 0.8, "no": 17, "x": 1}]
    for suffix in SUFFIXES:
        path = write(folder / f"t{suffix}", cells)
        pair = PairTable(path, prompt="caption", image_a="l", image_b="r", share_a="left", id="no")[0]
        assert (pair.prompt, pair.pair_id, pair.share_a) == ("a dog", "17", 0.8)


def test_images_are_decoded_only_when_they_are_asked_for(folder):
    path = write(folder / "t.csv", rows({"share_a": 1.0}, {"share_a": 1.0, "image_b": "pictures/gone.png"}))
    pairs = PairTable(path)
    assert pairs[0].preferred == "a"
    with pytest.raises(ValueError, match=r"t\.csv, row 1, column 'image_b': there is no image .*gone\.png"):
        pairs[1]


def test_pairs_are_counted_from_both_ends(folder):
    pairs = PairTable(write(folder / "t.csv", rows({"share_a": 1.0}, {"share_a": 0.0})))
    assert pairs[-1].pair_id == pairs[1].pair_id
    for index in (2, -3):
        with pytest.raises(IndexError):
            pairs[index]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_table_travels_to_other_processes(folder, suffix):
    pairs = PairTable(write(folder / f"t{suffix}", rows({"share_a": 1.0}, {"share_a": 0.0})))
    for other in (pickle.loads(pickle.dumps(pairs)), copy.deepcopy(pairs)):
        assert [pair.share_a for pair in other] == [1.0, 0.0]
        assert other[0].image_a.tobytes() == pairs[0].image_a.tobytes()


def test_a_parquet_table_is_memory_mapped_and_read_anew_when_it_changes(folder):
    path = write(folder / "t.parquet", rows({"share_a": 1.0}))
    pairs = PairTable(path)
    assert isinstance(pairs._rows.data, datasets.table.MemoryMappedTable)
    write(path, rows({"share_a": 1.0, "prompt": "a dog"}))
    assert PairTable(path)[0].prompt == "a dog"


def test_blank_lines_and_a_byte_order_mark_in_jsonl(folder):
    path = folder / "t.jsonl"
    lines = [json.dumps(row) for row in rows({"share_a": 1.0}, {"share_a": 0.0})]
    path.write_text("\ufeff" + "\n\n".join(lines), encoding="utf-8")
    assert len(PairTable(path)) == 2


# ---- errors ----------------------------------------------------------------------------------------------------------


def test_no_table(folder):
    with pytest.raises(FileNotFoundError, match=r"there is no table .*nowhere\.csv"):
        PairTable(folder / "nowhere.csv")
    with pytest.raises(FileNotFoundError, match=r"there is no table .*pictures"):
        PairTable(folder / "pictures")


def test_another_kind_of_file(folder):
    (folder / "t.xlsx").write_bytes(b"")
    with pytest.raises(ValueError, match=r"t\.xlsx: expected a table that ends in one of \.parquet, \.jsonl, \.csv"):
        PairTable(folder / "t.xlsx")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_missing_columns_and_those_that_are_there(folder, suffix):
    path = write(folder / f"t{suffix}", [{"prompt": "a cat", "left": "x.png", "votes": 1}])
    message = (
        rf"t\{suffix}: there is no column 'image_a' or 'image_b' or 'share_a'; the columns are "
        r"\['prompt', 'left', 'votes'\]"
    )
    with pytest.raises(ValueError, match=message):
        PairTable(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_table_without_rows(folder, suffix):
    path = folder / f"t{suffix}"
    if suffix == ".parquet":
        names = ("prompt", "image_a", "image_b", "share_a")
        pq.write_table(pa.table({name: pa.array([], pa.string()) for name in names}), path)
    else:
        path.write_text("prompt,image_a,image_b,share_a\n" if suffix == ".csv" else "\n")
    with pytest.raises(ValueError, match=rf"t\{suffix}: no pairs left: the table has no rows"):
        PairTable(path)


def test_a_table_of_ties(folder):
    path = write(folder / "t.csv", rows({"share_a": 0.5}, {"share_a": 0.5}))
    with pytest.raises(ValueError, match=r"t\.csv: no pairs left: all 2 rows are ties; drop_ties=False keeps them"):
        PairTable(path)
    assert len(PairTable(path, drop_ties=False)) == 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.parquet", b"no parquet", r"t\.parquet: cannot be read as \.parquet: .*Parquet magic bytes not found"),
        ("t.csv", b"", r"t\.csv: cannot be read as \.csv: Empty CSV file"),
        (
            "t.csv",
            b"prompt,share_a\na cat,1,2\n",
            r"cannot be read as \.csv: CSV parse error: .*Expected 2 columns, got 3",
        ),
        ("t.csv", b"prompt\n\xff\xfe\n", r"t\.csv: cannot be read as \.csv: .*invalid UTF8"),
        ("t.jsonl", b'{"prompt": 1}\n\n{"prompt": 1\n', r"t\.jsonl, line 3: not JSON: Expecting ',' delimiter"),
        (
            "t.jsonl",
            b'["a", "b"]\n',
            r"t\.jsonl, line 1: expected an object with a value a column, got \[\"a\", \"b\"\]",
        ),
        ("t.jsonl", b'{"prompt": "\xff"}\n', r"t\.jsonl: cannot be read as \.jsonl: .*can't decode byte 0xff"),
    ],
)
def test_broken_tables(folder, name, content, message):
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        PairTable(folder / name)


def test_a_parquet_table_that_is_broken_inside(folder):
    path = write(folder / "t.parquet", rows(*({"share_a": 1.0, "prompt": f"prompt {i}"} for i in range(2000))))
    content = bytearray(path.read_bytes())
    content[4:2000] = bytes(1996)
    path.write_bytes(bytes(content))
    with pytest.raises(ValueError, match=r"t\.parquet: cannot be read as \.parquet: (?!An error occurred)."):
        PairTable(path)


def test_half_a_letter_in_jsonl(folder):
    path = write(folder / "t.jsonl", rows({"share_a": 1.0}, prompt="\ud83d"))
    with pytest.raises(ValueError, match=r"t\.jsonl: cannot be read as \.jsonl: .*surrogates not allowed"):
        PairTable(path)


def test_jsonl_columns_of_mixed_kinds(folder):
    path = write(folder / "t.jsonl", rows({"winner": "a"}, {"winner": 1}))
    with pytest.raises(ValueError, match=r"t\.jsonl: cannot be read as \.jsonl: "):
        PairTable(path, preferred="winner")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("share", [1.01, -0.2, 73.0])
def test_shares_outside_of_0_to_1(folder, suffix, share):
    path = write(folder / f"t{suffix}", rows({"share_a": 0.5}, {"share_a": 0.7}, {"share_a": share}))
    message = rf"t\{suffix}, row 2, column 'share_a': expected a share in \[0, 1\], got '?{share}"
    with pytest.raises(ValueError, match=message):
        PairTable(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("share", [math.nan, math.inf, None])
def test_shares_that_are_no_numbers(folder, suffix, share):
    path = write(folder / f"t{suffix}", rows({"share_a": 0.7}, {"share_a": share}))
    with pytest.raises(ValueError, match=rf"t\{suffix}, row 1, column 'share_a': expected a number, got '?({share}|')"):
        PairTable(path)


@pytest.mark.parametrize(("share", "told"), [("73%", "'73%'"), (True, "True"), ([0.5], r"\[0\.5\]")])
def test_shares_of_another_kind(folder, share, told):
    path = write(folder / "t.jsonl", rows({"share_a": share}))
    with pytest.raises(ValueError, match=f"row 0, column 'share_a': expected a number, got {told}"):
        PairTable(path)


@pytest.mark.parametrize(
    ("votes", "message"),
    [
        ((0, 0), "no votes; leave out pairs that nobody voted on"),
        ((-1, 3), "expected whole numbers of votes, at least 0, got -1.0 and 3"),
        ((1.5, 3), "expected whole numbers of votes, at least 0, got 1.5 and 3"),
        ((None, 3), "expected a number, got None"),
        ((2, math.nan), "expected a number, got nan"),
    ],
)
def test_wrong_votes(folder, votes, message):
    path = write(folder / "t.parquet", rows({"up": 1.0, "down": 2.0}, {"up": votes[0], "down": votes[1]}))
    with pytest.raises(ValueError, match=rf"t\.parquet, row 1, column 'up' and column 'down': {message}"):
        PairTable(path, votes_a="up", votes_b="down")


@pytest.mark.parametrize("name", ["c", "2", "", "0.5", "true"])
def test_wrong_names_of_the_preferred_image(folder, name):
    path = write(folder / "t.csv", rows({"winner": "a"}, {"winner": name}))
    message = rf"row 1, column 'winner': expected a, b or tie, or the index 0 or 1 of the preferred image, got '{name}'"
    with pytest.raises(ValueError, match=message):
        PairTable(path, preferred="winner")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"votes_a": "up"}, "votes_a and votes_b go together, got votes_a='up' and votes_b=None"),
        ({"votes_b": "down"}, "votes_a and votes_b go together, got votes_a=None and votes_b='down'"),
        ({"share_a": "s", "preferred": "w"}, r"name one of share_a, .* or preferred; got the columns \['s', 'w'\]"),
        ({"votes_a": "u", "votes_b": "d", "preferred": "w"}, r"got the columns \['u', 'd', 'w'\]"),
    ],
)
def test_one_way_of_voting(folder, columns, message):
    with pytest.raises(ValueError, match=message):
        PairTable(write(folder / "t.csv", rows({"share_a": 1.0})), **columns)


@pytest.mark.parametrize(("prompt", "told"), [(None, "None"), ("  ", "'  '"), (7, "7")])
def test_prompts_that_are_none(folder, prompt, told):
    path = write(folder / "t.jsonl", rows({"share_a": 1.0}, prompt=prompt))
    with pytest.raises(ValueError, match=rf"t\.jsonl, row 0, column 'prompt': expected a prompt, got {told}"):
        PairTable(path)


def test_ids_that_are_none(folder):
    path = write(folder / "t.jsonl", rows({"share_a": 1.0, "no": "x"}, {"share_a": 1.0, "no": None}))
    with pytest.raises(ValueError, match=r"t\.jsonl, row 1, column 'no': expected a name for the pair, got None"):
        PairTable(path, id="no")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("column", ["image_a", "image_b"])
def test_urls_are_refused(folder, suffix, column):
    path = write(folder / f"t{suffix}", rows({"share_a": 1.0, column: "https://x.org/a.png"}))
    message = (
        rf"t\{suffix}, row 0, column '{column}': images are read from files, not from URLs: download https://x.org/a"
    )
    with pytest.raises(ValueError, match=message):
        PairTable(path)[0]


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (None, "expected the path or the bytes of an image, got None"),
        ("", "expected the path or the bytes of an image, got ''"),
        (7, "expected the path or the bytes of an image, got 7"),
        ({"bytes": None, "path": None}, "expected the path or the bytes of an image, got None"),
        ("pictures", "cannot read .*pictures: .*directory"),
        ("pictures/broken.png", r"cannot read .*broken\.png: not an image of a known format"),
        ("pictures/cut.png", r"cannot read .*cut\.png: "),
    ],
)
def test_images_that_cannot_be_read(folder, cell, message):
    (folder / "pictures/broken.png").write_bytes(b"<html>")
    (folder / "pictures/cut.png").write_bytes(png(RED)[:-30])
    path = write(folder / "t.jsonl", rows({"share_a": 0.5}, {"share_a": 1.0}, image_a=cell))
    with pytest.raises(ValueError, match=rf"t\.jsonl, row 1, column 'image_a': {message}"):
        PairTable(path)[0]


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"max_pixels": 20}, "column 'image_a': cannot read .*red.png: its 6x4 pixels are more than max_pixels=20"),
        ({"min_pixels": 20}, "column 'image_b': cannot read .*blue.png: its 4x4 pixels are fewer than min_pixels=20"),
    ],
)
def test_too_many_or_too_few_pixels(folder, limits, message):
    path = write(folder / "t.csv", rows({"share_a": 1.0}))
    with pytest.raises(ValueError, match=f"row 0, {message}"):
        PairTable(path, **limits)[0]
