import copy
import json
import pickle

import datasets
import pytest

from lit_listener.data.records import PairSource
from lit_listener.data.shown import ShownPair
from lit_listener.data.sources import PairTable
from lit_listener.tasks import PairwisePreference
from tests.data.tables import BLUE, RED, SUFFIXES, png, rows, write


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
    assert isinstance(pairs._rows._table.data, datasets.table.MemoryMappedTable)
    write(path, rows({"share_a": 1.0, "prompt": "a dog"}))
    assert PairTable(path)[0].prompt == "a dog"


def test_a_csv_of_many_prompts_over_several_lines(folder):
    long = "\n".join(["many words"] * 100)  # 2 MB in all: more than is read at once
    path = write(folder / "t.csv", rows(*({"share_a": 1.0, "prompt": f"{row}\n{long}"} for row in range(2000))))
    pairs = PairTable(path)
    assert len(pairs) == 2000
    assert pairs[1999].prompt == f"1999\n{long}"


def test_blank_lines_and_a_byte_order_mark_in_jsonl(folder):
    path = folder / "t.jsonl"
    lines = [json.dumps(row) for row in rows({"share_a": 1.0}, {"share_a": 0.0})]
    path.write_text("\ufeff" + "\n\n".join(lines), encoding="utf-8")
    assert len(PairTable(path)) == 2


def test_further_columns_are_handed_on_to_the_question(folder):
    cells = rows(
        {"share_a": 1.0, "taste": "bold", "history": ["a cat", "a dog"], "rubric": {"fit": 2}},
        {"share_a": 0.0, "taste": None, "history": [], "rubric": {"fit": 3}},
    )
    for suffix in (".parquet", ".jsonl"):
        path = write(folder / f"t{suffix}", cells)
        pairs = PairTable(path, columns=["taste", "history", "rubric"])
        assert pairs[0].columns == {"taste": "bold", "history": ["a cat", "a dog"], "rubric": {"fit": 2}}
        assert pairs[1].columns == {"taste": None, "history": [], "rubric": {"fit": 3}}
        assert PairTable(path)[0].columns == {}
    shown = ShownPair(pairs[0], "b", 0)
    task = PairwisePreference("{prompt} {image_0} {image_1} {{ history[0] }}, {{ taste }}, {{ rubric.fit }}")
    assert task.encode(shown).messages[-1]["content"][-1]["text"] == " a cat, bold, 2"


def test_a_further_column_that_is_missing_is_told(folder):
    path = write(folder / "t.csv", rows({"share_a": 1.0}))
    with pytest.raises(ValueError, match=r"there is no column 'taste'; the columns are \["):
        PairTable(path, columns=["taste"])
