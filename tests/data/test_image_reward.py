import json
from itertools import combinations
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from lit_listener.data.sources import ImageRewardDB, ImageRewardRatings
from lit_listener.training.data_module import PreferenceData


def paint(path: Path, tone: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), (tone, tone, tone)).save(path)


def tone(image: Image.Image) -> int:
    return image.getpixel((0, 0))[0]


@pytest.fixture
def released(folder: Path) -> Path:
    """The hub's layout: an image a row, the rows of two prompts mixed; an image's tone is 20 times its row."""
    ranks = {"p0": [2, 1, 2], "p1": [1, 3, 2, 4]}
    placed = [("p0", 0), ("p1", 0), ("p1", 1), ("p0", 1), ("p0", 2), ("p1", 2), ("p1", 3)]
    cells = [
        {
            "image": f"images/train/train_{row % 2 + 1}/{row}.webp",
            "prompt_id": prompt,
            "prompt": f"prompt {prompt}",
            "classification": "people",
            "image_amount_in_total": len(ranks[prompt]),
            "rank": ranks[prompt][place],
            "overall_rating": 7 - row,
            "image_text_alignment_rating": 5,
            "fidelity_rating": 6,
        }
        for row, (prompt, place) in enumerate(placed)
    ]
    pq.write_table(pa.Table.from_pylist(cells), folder / "metadata-train.parquet")
    pq.write_table(pa.Table.from_pylist(cells[:1]), folder / "metadata-test.parquet")
    for row in range(len(cells)):
        paint(folder / f"images/train/train_{row % 2 + 1}/{row}.png", 20 * row)
        (folder / f"images/train/train_{row % 2 + 1}/{row}.png").rename(folder / cells[row]["image"])
    (folder / "images/train/train_1/train_1.json").write_text("[]")
    return folder


@pytest.mark.parametrize("workers", [0, 2])
def test_pairs_of_the_released_metadata(released, workers):
    pairs = ImageRewardDB(released)
    # p0 has the ranks 2, 1, 2 in rows 0, 3, 4; p1 has 1, 3, 2, 4 in rows 1, 2, 5, 6
    expected = [
        ("p0-0-1", 0, 3, 0.0),
        ("p0-1-2", 3, 4, 1.0),
        ("p1-0-1", 1, 2, 1.0),
        ("p1-0-2", 1, 5, 1.0),
        ("p1-0-3", 1, 6, 1.0),
        ("p1-1-2", 2, 5, 0.0),
        ("p1-1-3", 2, 6, 1.0),
        ("p1-2-3", 5, 6, 1.0),
    ]
    data = PreferenceData(test={"t": pairs}, eval_batch_size=3, num_workers=workers)
    shown = [pair.pair for batch in data.test_dataloader()[0] for pair in batch]
    found = [(p.pair_id, round(tone(p.image_a) / 20), round(tone(p.image_b) / 20), p.share_a) for p in shown]
    assert found == expected
    assert {(p.prompt, p.prompt_id, p.votes) for p in shown} == {("prompt p0", "p0", 0), ("prompt p1", "p1", 0)}
    assert (pairs.counts.pairs, pairs.counts.ties) == (9, 1)
    assert len(ImageRewardDB(released, drop_ties=False)) == 9


def test_images_named_without_their_folders(released):
    table = pq.read_table(released / "metadata-train.parquet").to_pylist()
    for row in table:
        row["image"] = Path(row["image"]).name
    pq.write_table(pa.Table.from_pylist(table), released / "metadata-train.parquet")
    assert [tone(ImageRewardDB(released)[0].image_b)] == [60]


def test_a_loaded_data_set_of_the_same_columns(released, monkeypatch):
    monkeypatch.chdir(released)
    pairs = ImageRewardDB(datasets.Dataset.from_parquet(str(released / "metadata-train.parquet")))
    assert [pair.pair_id for pair in pairs] == [pair.pair_id for pair in ImageRewardDB(released)]


def test_the_group_variant(released):
    lists = {
        "prompt_id": ["p0"],
        "prompt": ["prompt p0"],
        "image": [[f"images/train/train_1/{row}.webp" for row in (0, 2, 4)]],
        "rank": [[3, 1, 1]],
    }
    pq.write_table(pa.table(lists), released / "group.parquet")
    pairs = ImageRewardDB(released / "group.parquet")
    found = [(p.pair_id, tone(p.image_a), tone(p.image_b), p.share_a) for p in pairs]
    assert found == [("p0-0-1", 0, 40, 0.0), ("p0-0-2", 0, 80, 0.0)]


def test_the_pair_variant(released):
    cells = {
        "prompt": ["x"],
        "img_better": ["images/train/train_1/2.webp"],
        "img_worse": ["images/train/train_1/4.webp"],
    }
    pq.write_table(pa.table(cells), released / "pair.parquet")
    (pair,) = ImageRewardDB(released / "pair.parquet")
    assert (tone(pair.image_a), tone(pair.image_b), pair.preferred, pair.pair_id) == (40, 80, "a", "pair-0")


SIZES = {4: 194, 5: 2, 6: 45, 7: 159, 8: 43, 9: 23}


@pytest.fixture
def list_file(folder: Path) -> Path:
    """A file of the layout and the group sizes of the authors' own."""
    rng = np.random.default_rng(0)
    lists = [
        {
            "id": f"{n:06d}",
            "prompt": f"prompt {n}",
            "generations": [f"{n}_{i}.png" for i in range(size)],
            "ranking": rng.integers(1, size + 1, size=size).tolist(),
        }
        for n, size in enumerate(size for size, count in SIZES.items() for _ in range(count))
    ]
    (folder / "test.json").write_text(json.dumps(lists))
    return folder / "test.json"


def test_the_authors_list_file_gives_the_pairs_that_are_no_ties(list_file):
    lists = json.loads(list_file.read_text())
    by_hand = [
        (e["id"], i, j, e["ranking"][i], e["ranking"][j])
        for e in lists
        for i, j in combinations(range(len(e["ranking"])), 2)
    ]
    ties = sum(a == b for *_, a, b in by_hand)
    pairs = ImageRewardDB(path=list_file, split="test")
    assert len(lists) == 466
    assert (pairs.counts.pairs, pairs.counts.ties) == (7230, ties) == (len(by_hand), ties)
    assert len(pairs) == 7230 - ties
    assert len(ImageRewardDB(path=str(list_file), split="test", drop_ties=False)) == 7230
    for (name, i, j, a, b), index in zip([p for p in by_hand if p[3] != p[4]][:40], range(40), strict=True):
        paint(list_file.parent / f"{int(name)}_{i}.png", a)
        paint(list_file.parent / "images" / f"{int(name)}_{j}.png", b)  # beside the file, or in a folder there
        pair = pairs[index]
        assert (pair.pair_id, pair.prompt_id, pair.prompt) == (f"{name}-{i}-{j}", name, f"prompt {int(name)}")
        assert (tone(pair.image_a), pair.share_a) == (a, float(a < b))


def test_a_seeded_sample_of_each_list(list_file):
    pairs = ImageRewardDB(list_file, split="test", pairs_per_list=1, seed=3)
    assert len(pairs) <= 466
    assert len({pairs.list_of(index) for index in range(len(pairs))}) == len(pairs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"ranking": [1, 2, 3]},
            r"row 1, column 'generations' and column 'ranking': expected lists of two or more images",
        ),
        ({"ranking": None}, r"row 1, column 'generations' and column 'ranking': expected lists of .*got .* and None"),
        ({"ranking": [1, 2, 3, None]}, r"row 1, column 'ranking': expected numbers, got \[1, 2, 3, None\]"),
        ({"id": "000000"}, "row 1, column 'id': the name '000000' was given to row 0 already"),
        ({"prompt": ""}, "row 1, column 'prompt': expected a prompt, got ''"),
    ],
)
def test_bad_lists(list_file, change, message):
    lists = json.loads(list_file.read_text())
    lists[1] |= change
    list_file.write_text(json.dumps(lists))
    with pytest.raises(ValueError, match=rf"test\.json, {message}"):
        ImageRewardDB(list_file, split="test")
    # of 4 images: 6 pairs fewer, and no image was there to be read
    with pytest.raises(ValueError, match=r"no pairs left: of 7224 pairs, .* with unreadable images"):
        ImageRewardDB(list_file, split="test", on_bad_row="skip")


def test_columns_that_are_not_there(folder):
    pq.write_table(pa.table({"prompt": ["a"], "picture": ["x.png"]}), folder / "t.parquet")
    with pytest.raises(
        ValueError, match=r"there is no column 'image' or 'image_path' or 'images'; the columns are \['prompt', "
    ):
        ImageRewardDB(folder / "t.parquet")
    with pytest.raises(FileNotFoundError, match=r"there is no table of the split 'validation' in"):
        ImageRewardDB(folder, split="validation")


def test_ratings(released):
    ratings = ImageRewardRatings(released)
    assert len(ratings) == 7
    rated = ratings[3]
    assert (rated.prompt, rated.prompt_id, rated.rating, rated.lowest, rated.highest) == ("prompt p0", "p0", 4.0, 1, 7)
    assert (tone(rated.image), rated.rating_id, rated.share) == (60, "metadata-train-3", 0.5)
    assert ImageRewardRatings(released, rating="fidelity_rating")[0].rating == 6.0
    assert len(ImageRewardRatings(released, fraction=0.5)) == 4


@pytest.mark.parametrize("value", [float("nan"), 0.0, 8.0, None])
def test_ratings_that_are_none(released, value):
    table = pq.read_table(released / "metadata-train.parquet").to_pylist()
    for row in table:
        row["overall_rating"] = float(row["overall_rating"])
    table[2]["overall_rating"] = value
    path = released / "metadata-train.parquet"
    pq.write_table(pa.Table.from_pylist(table), path)
    with pytest.raises(
        ValueError, match=rf"metadata-train\.parquet, row 2, column 'overall_rating': expected a .*{value}"
    ):
        ImageRewardRatings(path)
    assert [r.rating for r in ImageRewardRatings(path, on_bad_row="skip")] == [7.0, 6.0, 4.0, 3.0, 2.0, 1.0]
