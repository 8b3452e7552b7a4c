import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lit_listener.data.sources import PairTable
from tests.data.tables import RED, SUFFIXES, png, rows, write


def test_no_table(folder):
    with pytest.raises(FileNotFoundError, match=r"there is no table .*nowhere\.csv"):
        PairTable(folder / "nowhere.csv")
    with pytest.raises(FileNotFoundError, match=r"there is no table .*pictures"):
        PairTable(folder / "pictures")


def test_another_kind_of_file(folder):
    (folder / "t.xlsx").write_bytes(b"")
    with pytest.raises(ValueError, match=r"t\.xlsx: expected a table .* one of \.parquet, \.jsonl, \.json, \.csv"):
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
    with pytest.raises(ValueError, match=r"t\.jsonl, row 1, column 'winner': expected text, as in .* rows, got 1"):
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
