import json

import numpy as np
import pytest
from PIL import Image

from lit_listener.data.sources import HPDv3
from lit_listener.training.data_module import PreferenceData
from tests.data.published import loaded, tone

CHOICES = [([12, 7], 0.99), (None, None), ([9, 9], 0.5), ([5, 15], 0.96), ([20, 0], 1.0)]


@pytest.fixture
def released(folder):
    rows = [
        {
            "prompt": f"prompt {n}",
            "choice_dist": choices,
            "confidence": confidence,
            "path1": f"images/{2 * n}.jpg",
            "path2": f"images/{2 * n + 1}.jpg",
            "model1": "flux",
            "model2": "infinity",
        }
        for n, (choices, confidence) in enumerate(CHOICES)
    ]
    (folder / "train.json").write_text(json.dumps(rows))
    (folder / "test.json").write_text(json.dumps(rows[:1]))
    (folder / "images").mkdir()
    for n in range(10):
        Image.new("RGB", (4, 4), (20 * n,) * 3).save(folder / "images" / f"{n}.jpg", quality=100)
    return folder


@pytest.mark.parametrize("workers", [0, 2])
def test_pairs(released, workers):
    pairs = HPDv3(released, drop_ties=False)
    found = [(p.prompt, p.share_a, p.votes, tone(p.image_a), tone(p.image_b)) for p in loaded(pairs, workers)]
    shares = [(12 / 19, 19), (1.0, 0), (0.5, 18), (0.75, 20), (1.0, 20)]
    assert found == [(f"prompt {n}", *shares[n], 40 * n, 40 * n + 20) for n in range(5)]
    assert (pairs[0].pair_id, pairs[0].generator_a, pairs[0].generator_b) == ("train-0", "flux", "infinity")
    assert {p.preferred for p in HPDv3(released)} == {"a"}
    assert (len(HPDv3(released)), len(HPDv3(released, split="test"))) == (4, 1)


def test_selection(released):
    def kept(**options):
        return [p.prompt[-1] for p in HPDv3(released, **options)]

    assert kept(min_votes=1) == ["0", "3", "4"]
    assert kept(min_agreement=0.75, min_votes=20) == ["3", "4"]
    assert kept(most_confident=1, min_votes=10) == ["4"]
    assert kept(min_confidence=0.96) == ["0", "3", "4"]
    assert kept(min_confidence=0.97) == ["0", "4"]
    with pytest.raises(ValueError, match=r"min_confidence: expected a share in \[0, 1\], got 95"):
        kept(min_confidence=95)


@pytest.mark.parametrize("seed", range(3))
def test_the_preferred_image_stands_first_in_half_of_an_epoch(released, seed):
    row = json.loads((released / "train.json").read_text())[0]
    (released / "train.json").write_text(json.dumps([row] * 400))
    data = PreferenceData(train=HPDv3(released), batch_size=20, num_workers=2, seed=seed)
    loader = data.train_dataloader()
    orders = []
    for _ in range(2):
        shown = [pair for batch in loader for pair in batch]
        assert len(shown) == 400
        orders.append([tone(pair.images[0]) == 0 for pair in shown])
        assert abs(np.mean(orders[-1]) - 0.5) <= 0.01
        assert [pair.label == 0 for pair in shown] == orders[-1]
    assert orders[0] != orders[1]


def test_columns_that_are_not_there(released):
    (released / "t.json").write_text(json.dumps([{"prompt": "x", "path1": "a.jpg"}]))
    with pytest.raises(ValueError, match=r"no column 'path2'; the columns are \['prompt', 'path1'\]"):
        HPDv3(released / "t.json")
    (released / "u.json").write_text(json.dumps([{"prompt": "x", "path1": "a.jpg", "path2": "b.jpg"}]))
    assert len(HPDv3(released / "u.json")) == 1
    with pytest.raises(ValueError, match="there is no column 'confidence'"):
        HPDv3(released / "u.json", min_confidence=0.9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"choice_dist": [1, 2, 3]}, r"column 'choice_dist': expected the number of votes .*, got \[1, 2, 3\]"),
        ({"choice_dist": [0, 0]}, r"column 'choice_dist': expected the number of votes .*, got \[0, 0\]"),
        ({"choice_dist": [3, None]}, r"column 'choice_dist': expected the number of votes .*, got \[3, None\]"),
        ({"choice_dist": [-1, 4]}, r"column 'choice_dist': expected the number of votes .*, got \[-1, 4\]"),
        ({"choice_dist": "first"}, "column 'choice_dist': expected a list, as in the column's other rows"),
        ({"confidence": 1.5}, r"column 'confidence': expected a share in \[0, 1\] or nothing, got 1.5"),
        ({"prompt": ""}, "column 'prompt': expected a prompt, got ''"),
    ],
)
def test_bad_rows(released, change, message):
    rows = json.loads((released / "train.json").read_text())
    rows[4] |= change
    (released / "train.json").write_text(json.dumps(rows))
    with pytest.raises(ValueError, match=rf"train\.json, row 4, {message}"):
        HPDv3(released, min_confidence=0.1)
    pairs = HPDv3(released, on_bad_row="skip", min_confidence=0.1)
    assert ([p.prompt for p in pairs], pairs.counts.skipped_rows) == (["prompt 0", "prompt 3"], 1)


def test_an_image_that_is_not_there_is_told_or_skipped(released):
    (released / "images" / "6.jpg").unlink()
    with pytest.raises(ValueError, match=r"train\.json, row 3, column 'path1': there is no image .*6\.jpg"):
        list(HPDv3(released))
    assert [p.prompt[-1] for p in HPDv3(released, on_bad_row="skip")] == ["0", "1", "4"]
