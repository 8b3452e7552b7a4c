import json

import datasets
import pytest
from PIL import Image

from lit_listener.data.sources import PairTable
from lit_listener.data.sources.rows import open_rows
from tests.data.tables import BLUE, RED, png, rows, write

SUFFIXES = (".parquet", ".jsonl", ".csv", ".json")


def write_any(path, cells):
    if path.suffix == ".json":
        path.write_text(json.dumps(cells, indent=1))
        return path
    return write(path, cells)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files_of_a_folder_one_after_the_other(folder, suffix):
    for part in range(3):
        (folder / "data").mkdir(exist_ok=True)
        write_any(
            folder / "data" / f"train-0000{part}{suffix}",
            rows({"share_a": 1.0}, {"share_a": 0.0}, prompt=f"part {part}", image_a="../pictures/red.png")[
                : 2 - part % 2
            ],
        )
    write_any(folder / "data" / f"test-00000{suffix}", rows({"share_a": 0.5}, prompt="test"))
    opened = open_rows(folder, "train", ["prompt", "share_a"])
    assert opened.column("prompt").to_pylist() == ["part 0"] * 2 + ["part 1"] + ["part 2"] * 2
    assert opened.place(3, ["prompt"]) == f"{folder}/data/train-00002{suffix}, row 0, column 'prompt'"
    assert opened.folder(3) == folder / "data"
    assert len(open_rows(str(folder / "data" / "t*"), None, ["prompt"])) == 6
    pairs = PairTable(folder, split="train", image_b="image_a")
    assert [pair.prompt for pair in pairs] == ["part 0"] * 2 + ["part 1"] + ["part 2"] * 2
    assert pairs[4].pair_id == f"{folder.name}-train-4"
    assert pairs[4].image_a.getpixel((0, 0)) == RED


def test_a_split_is_a_whole_word_of_a_name(folder):
    for name in ("validation-0", "validation_unique-0", "hf_validation_0001", "validation/x", "revalidation"):
        path = folder / "d" / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, rows({"share_a": 1.0}, prompt=name))
    read = open_rows(folder / "d", "validation", ["prompt"]).column("prompt").to_pylist()
    assert read == ["hf_validation_0001", "validation/x", "validation-0"]
    assert open_rows(folder / "d", "validation_unique", ["prompt"]).column("prompt").to_pylist() == [
        "validation_unique-0"
    ]


def test_no_file_of_a_split(folder):
    write(folder / "train.jsonl", rows({"share_a": 1.0}))
    with pytest.raises(
        FileNotFoundError, match=r"there is no table of the split 'test' in .*; in the folder are \['pic"
    ):
        open_rows(folder, "test", ["prompt"])


def test_files_of_several_kinds_or_columns(folder):
    (folder / "d").mkdir()
    write(folder / "d" / "a.jsonl", rows({"share_a": 1.0}))
    write(folder / "d" / "b.jsonl", rows({"up": 1}))
    with pytest.raises(ValueError, match=r"b\.jsonl: has the columns \['prompt'\] of those needed, and .*a\.jsonl has"):
        open_rows(folder / "d", None, ["prompt", "share_a"])
    write(folder / "d" / "b.csv", rows({"share_a": 1.0}))
    with pytest.raises(ValueError, match=r"tables of several kinds, .*; name one by a glob"):
        open_rows(folder / "d", None, ["prompt"])


def loaded(*votes, **columns) -> datasets.Dataset:
    cells = rows(
        *votes, image_a={"bytes": png(BLUE), "path": None}, image_b={"bytes": png(RED), "path": None}, **columns
    )
    table = datasets.Dataset.from_list(cells)
    for column in ("image_a", "image_b"):
        table = table.cast_column(column, datasets.Image())
    return table


def test_a_loaded_data_set_and_the_order_that_it_has(folder):
    table = loaded({"share_a": 1.0, "prompt": "x"}, {"share_a": 0.0, "prompt": "y"}, {"share_a": 0.9, "prompt": "z"})
    pairs = PairTable(table.select([2, 0]))
    assert [(pair.prompt, pair.share_a) for pair in pairs] == [("z", 0.9), ("x", 1.0)]
    assert (pairs[0].image_a.getpixel((0, 0)), pairs[0].image_b.getpixel((0, 0))) == (BLUE, RED)
    table.save_to_disk(folder / "saved")
    assert [pair.prompt for pair in PairTable(folder / "saved")] == ["x", "y", "z"]


def test_images_are_left_undecoded_until_a_pair_is_asked_for(folder):
    pairs = PairTable(loaded({"share_a": 1.0}))
    assert isinstance(pairs._rows.cells(0)["image_a"]["bytes"], bytes)
    broken = loaded({"share_a": 1.0}).cast_column("image_a", datasets.Image(decode=False))
    broken = broken.map(lambda row: {"image_a": {"bytes": b"broken", "path": None}})
    with pytest.raises(ValueError, match=r"the data set .*, row 0, column 'image_a': cannot read an image of 6 bytes"):
        PairTable(broken.cast_column("image_a", datasets.Image()))[0]


def test_a_hub_id_that_cannot_be_had(folder, monkeypatch):
    with pytest.raises(ValueError, match="somebody/votes: there is no such file or folder; of a data set on the hub"):
        open_rows("somebody/votes", None, ["prompt"])
    with pytest.raises(ValueError, match=r"as a data set of the hub it cannot be loaded: .*hf download --repo-type"):
        open_rows("somebody/votes", "train", ["prompt"])


def test_a_hub_id_is_loaded_by_the_datasets_library(folder, monkeypatch):
    asked = []
    monkeypatch.setattr(
        datasets, "load_dataset", lambda *args, **named: asked.append((args, named)) or loaded({"share_a": 1.0})
    )
    pairs = PairTable("somebody/votes", split="test")
    assert asked == [(("somebody/votes", None), {"split": "test"})]
    assert pairs[0].pair_id == "votes-test-0"


def test_json_lists_are_read_piece_by_piece(folder, monkeypatch):
    monkeypatch.setattr("lit_listener.data.sources.json_rows._LETTERS", 50)
    monkeypatch.setattr("lit_listener.data.sources.json_rows._ROWS", 4)
    cells = rows(*({"share_a": n / 10, "prompt": f"[{n}], {{'é'}}"} for n in range(11)))
    opened = open_rows(write_any(folder / "t.json", cells), None, ["prompt", "share_a", "absent"])
    assert opened.column("prompt").to_pylist() == [row["prompt"] for row in cells]
    assert opened.column("share_a").to_pylist() == [n / 10 for n in range(11)]
    assert opened.names == ["prompt", "image_a", "image_b", "share_a"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"prompt": "a"}, {"prompt": ', r"t\.json, row 1: not JSON: Expecting value"),
        ('[{"prompt": "a"}, 3]', r"t\.json, row 1: expected an object with a value a column, got 3"),
        ('[{"prompt": "a"}', r"t\.json, row 1: not JSON"),
    ],
)
def test_broken_json_lists(folder, content, message):
    (folder / "t.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        open_rows(folder / "t.json", None, ["prompt"])


def test_rows_under_a_key(folder):
    (folder / "t.json").write_text(json.dumps({"pairs": [{"prompt": "a"}, {"prompt": "b"}]}))
    assert open_rows(folder / "t.json", None, ["prompt"], key="pairs").column("prompt").to_pylist() == ["a", "b"]
    with pytest.raises(ValueError, match=r"expected a list of objects, or an object that holds one as 'rows'"):
        open_rows(folder / "t.json", None, ["prompt"], key="rows")


def test_a_cell_of_another_kind_is_told_with_its_place_also_in_a_later_batch(folder, monkeypatch):
    monkeypatch.setattr("lit_listener.data.sources.json_rows._ROWS", 2)
    prompts = ["a", None, "b", "c", 7, 8, ["d"], "e"]
    path = write(folder / "t.jsonl", rows(*({"share_a": 1.0, "prompt": prompt} for prompt in prompts)))
    opened = open_rows(path, None, ["prompt"])
    assert opened.column("prompt").to_pylist() == ["a", None, "b", "c", None, None, None, "e"]
    assert [(cell.row, cell.reason.split("got ")[1]) for cell in opened.odd] == [(4, "7"), (5, "8"), (6, "['d']")]
    assert Image.open(folder / "pictures/red.png").size == (6, 4)
