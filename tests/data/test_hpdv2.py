import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lit_listener.data.sources import HPDv2
from lit_listener.training.data_module import PreferenceData


def tone(image: Image.Image) -> int:
    return image.getpixel((0, 0))[0]


RANKS = [3, 1, 2, 9, 8, 7, 4, 6, 5]


@pytest.fixture
def released(folder: Path) -> Path:
    choices = [[1, 0], [0, 1], [1, 1], [0, 1], [1, 0]]
    train = [
        {"prompt": f"prompt {n}", "file_path": [f"{2 * n}.png", f"{2 * n + 1}.png"], "human_preference": choices[n % 5]}
        for n in range(50)
    ]
    test = [
        {
            "prompt": f"test {n}",
            "image_path": [f"t{n}{i}.png" for i in range(9)],
            "rank": RANKS,
            "raw_annotations": [{"rank": RANKS, "user_hash": "u"}],
        }
        for n in range(2)
    ]
    for split, rows in (("train", train), ("test", test)):
        (folder / f"{split}.json").write_text(json.dumps(rows))
        (folder / split).mkdir()
    for n in range(100):
        Image.new("RGB", (4, 4), (n, n, n)).save(folder / "train" / f"{n}.png")
    for n in range(2):
        for i in range(9):
            Image.new("RGB", (4, 4), (10 * RANKS[i],) * 3).save(folder / "test" / f"t{n}{i}.png")
    return folder


@pytest.mark.parametrize("workers", [0, 2])
def test_training_pairs(released, workers):
    pairs = HPDv2(released)
    data = PreferenceData(test={"t": pairs}, eval_batch_size=7, num_workers=workers)
    shown = [pair.pair for batch in data.test_dataloader()[0] for pair in batch]
    kept = [n for n in range(50) if n % 5 != 2]
    shares = {0: 1.0, 1: 0.0, 3: 0.0, 4: 1.0}
    assert [(p.prompt, p.prompt_id, p.share_a, p.votes, tone(p.image_a), tone(p.image_b)) for p in shown] == [
        (f"prompt {n}", f"prompt {n}", shares[n % 5], 0, 2 * n, 2 * n + 1) for n in kept
    ]
    assert shown[2].pair_id == "train-3-0-1"
    assert (pairs.counts.pairs, pairs.counts.ties) == (50, 10)


def test_the_papers_16_percent(released):
    names = [pair.pair_id for pair in HPDv2(released, fraction=0.16, seed=0)]
    assert len(names) == 6  # 0.16 x 40
    assert names == [pair.pair_id for pair in HPDv2(released / "train.json", fraction=0.16, seed=0)]
    assert names != [pair.pair_id for pair in HPDv2(released, fraction=0.16, seed=1)]
    assert set(names) < {pair.pair_id for pair in HPDv2(released, fraction=0.25, seed=0)}


def test_lists_of_nine(released):
    pairs = HPDv2(released, split="test")
    expected = [
        (f"test-{n}-{i}-{j}", 10 * RANKS[i], 10 * RANKS[j], float(RANKS[i] < RANKS[j]))
        for n in range(2)
        for i, j in combinations(range(9), 2)
    ]
    assert [(p.pair_id, tone(p.image_a), tone(p.image_b), p.share_a) for p in pairs] == expected
    assert len(HPDv2(released, split="test", pairs_per_list=5)) == 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"human_preference": [1]},
            "column 'file_path' and column 'human_preference': expected lists of 2 images and as",
        ),
        ({"human_preference": [2, 0]}, r"column 'human_preference': expected 1 for the preferred .*, got \[2, 0\]"),
        ({"human_preference": [None, 1]}, r"column 'human_preference': expected numbers, got \[None, 1\]"),
        ({"human_preference": "first"}, "column 'human_preference': expected a list, as in the column's other rows"),
        ({"file_path": ["a.png"]}, "column 'file_path' and column 'human_preference': expected lists of 2 images"),
        ({"prompt": None}, "column 'prompt': expected a prompt, got None"),
    ],
)
def test_bad_rows(released, change, message):
    rows = json.loads((released / "train.json").read_text())
    rows[3] |= change
    (released / "train.json").write_text(json.dumps(rows))
    with pytest.raises(ValueError, match=rf"train\.json, row 3, {message}"):
        HPDv2(released)
    pairs = HPDv2(released, on_bad_row="skip")
    assert (len(pairs), pairs.counts.skipped_rows) == (39, 1)
    assert [pair.prompt for pair in pairs][:4] == ["prompt 0", "prompt 1", "prompt 4", "prompt 5"]


def test_a_missing_column_and_a_missing_split(released):
    (released / "other.json").write_text(json.dumps([{"prompt": "x", "file_path": ["a", "b"]}]))
    with pytest.raises(
        ValueError, match=r"there is no column 'human_preference'; the columns are \['prompt', 'file_path'\]"
    ):
        HPDv2(released / "other.json")
    with pytest.raises(
        FileNotFoundError, match=r"there is no table .*validation\.json; in the folder are \['other.json', 'pict"
    ):
        HPDv2(released, split="validation")


@pytest.mark.parametrize("seed", range(3))
def test_the_preferred_image_stands_first_in_half_of_an_epoch(released, seed):
    rows = json.loads((released / "train.json").read_text())
    (released / "train.json").write_text(json.dumps([row | {"human_preference": [1, 0]} for row in rows]))
    data = PreferenceData(train=HPDv2(released), batch_size=10, num_workers=2, seed=seed)
    loader = data.train_dataloader()
    orders = []
    for _ in range(2):
        labels = [shown.label for batch in loader for shown in batch]
        assert (len(labels), np.mean(labels)) == (50, 0.5)
        orders.append(labels)
    assert orders[0] != orders[1]
