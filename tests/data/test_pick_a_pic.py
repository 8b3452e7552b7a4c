import pytest

from lit_listener.data.sources import PickAPic
from tests.data.published import grey, loaded, parquet, tone

LABELS = [(1.0, 0.0, True), (0.5, 0.5, True), (0.0, 0.0, False), (0.0, 1.0, True), (1.0, 0.0, True)]


def rows(count: int = 5) -> list[dict]:
    return [
        {
            "caption": f"caption {n}",
            "jpg_0": grey(2 * n),
            "jpg_1": grey(2 * n + 1),
            "label_0": first,
            "label_1": second,
            "has_label": labelled,
            "are_different": True,
            "ranking_id": 7,
            "user_id": n,
            "model_0": "sd",
            "model_1": "dreamlike",
            "num_example_per_prompt": 1,
        }
        for n, (first, second, labelled) in enumerate(LABELS[:count])
    ]


@pytest.fixture
def released(folder):
    parquet(folder / "data" / "train-00000-of-00002-ab.parquet", rows()[:2])
    parquet(folder / "data" / "train-00001-of-00002-cd.parquet", rows()[2:])
    parquet(folder / "data" / "test-00000-of-00001-ef.parquet", rows(1))
    parquet(folder / "data" / "test_unique-00000-of-00001-gh.parquet", rows()[3:])
    return folder


@pytest.mark.parametrize("workers", [0, 2])
def test_labelled_pairs(released, workers):
    pairs = PickAPic(released, drop_ties=False)
    found = [
        (p.prompt, p.prompt_id, p.share_a, p.votes, tone(p.image_a), tone(p.image_b)) for p in loaded(pairs, workers)
    ]
    assert found == [(f"caption {n}", f"caption {n}", LABELS[n][0], 1, 2 * n, 2 * n + 1) for n in (0, 1, 3, 4)]
    assert (pairs[0].generator_a, pairs[0].generator_b) == ("sd", "dreamlike")
    assert (pairs.counts.rows, pairs.counts.skipped_rows, pairs.counts.pairs, pairs.counts.ties) == (5, 0, 4, 1)
    assert [p.prompt for p in PickAPic(released)] == ["caption 0", "caption 3", "caption 4"]


def test_splits_of_like_names(released):
    assert [p.prompt for p in PickAPic(released, split="test")] == ["caption 0"]
    assert [p.prompt for p in PickAPic(released, split="test_unique")] == ["caption 3", "caption 4"]


def test_columns_that_are_not_there(folder):
    some = [{key: value for key, value in row.items() if key not in ("jpg_1", "label_0")} for row in rows()]
    with pytest.raises(ValueError, match=r"no column 'jpg_1' or 'label_0'; the columns are \['caption', 'jpg_0', "):
        PickAPic(parquet(folder / "t.parquet", some))
    unlabelled = [
        {key: value for key, value in row.items() if key != "has_label"} for row in rows() if row["has_label"]
    ]
    assert len(PickAPic(parquet(folder / "u.parquet", unlabelled))) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label_0": 0.0}, "column 'label_0' and column 'label_1': expected 1 for the preferred .*, got 0.0 and 0.0"),
        ({"label_0": 0.7, "label_1": 0.3}, "column 'label_0' and column 'label_1': expected 1 .*, got 0.7 and 0.3"),
        ({"label_0": float("nan")}, "column 'label_0' and column 'label_1': expected 1 .*, got nan and 0.0"),
        ({"has_label": None}, "column 'has_label': expected true or false, got None"),
        ({"caption": None}, "column 'caption': expected a prompt, got None"),
    ],
)
def test_bad_rows(folder, change, message):
    some = rows()
    some[4] |= change
    path = parquet(folder / "t.parquet", some)
    with pytest.raises(ValueError, match=rf"t\.parquet, row 4, {message}"):
        PickAPic(path)
    pairs = PickAPic(path, on_bad_row="skip")
    assert ([p.prompt for p in pairs], pairs.counts.skipped_rows) == (["caption 0", "caption 3"], 1)
