import json

import datasets
import pytest

from lit_listener.data.sources import Rapidata
from tests.data.published import cell, loaded, parquet, tone

COUNTS = [(20, 6), (13, 13), (0, 26), (25, 1), (9, 5), (14, 1)]


def older(**change) -> list[dict]:
    return [
        {
            "prompt": f"prompt {n // 2}",
            "image1": cell(2 * n),
            "image2": cell(2 * n + 1),
            "votes_image1": up,
            "votes_image2": down,
            "model1": "flux",
            "model2": "dalle",
            "detailed_results": "[]",
            "image1_path": "x",
            "image2_path": "y",
        }
        | change
        for n, (up, down) in enumerate(COUNTS)
    ]


def newer() -> list[dict]:
    weights = [(3.0, 1.0), (2.5, 2.5), (0.5, 1.5)]
    return [
        {
            "prompt": f"prompt {n}",
            "image1": cell(n),
            "image2": cell(100 + n),
            "model1": "a",
            "model2": "b",
            "weighted_results_image1_preference": up,
            "weighted_results_image2_preference": down,
            "weighted_results_image1_coherence": down + 1,
            "weighted_results_image2_coherence": up,
            "detailed_results_preference": json.dumps([{"votedFor": "x"}] * (10 * n)),
        }
        for n, (up, down) in enumerate(weights)
    ]


@pytest.fixture
def old(folder):
    rows = older()
    parquet(folder / "data" / "train_0001-00000-of-00001.parquet", rows[:4])
    parquet(folder / "data" / "train_0002-00000-of-00001.parquet", rows[4:])
    return folder


@pytest.mark.parametrize("workers", [0, 2])
def test_the_older_columns(old, workers):
    pairs = Rapidata(old, drop_ties=False)
    found = [
        (p.prompt, p.prompt_id, p.share_a, p.votes, tone(p.image_a), tone(p.image_b)) for p in loaded(pairs, workers)
    ]
    assert found == [
        (f"prompt {n // 2}", f"prompt {n // 2}", up / (up + down), up + down, 2 * n, 2 * n + 1)
        for n, (up, down) in enumerate(COUNTS)
    ]
    assert (pairs[0].generator_a, pairs[0].generator_b) == ("flux", "dalle")
    assert (pairs.counts.ties, len(Rapidata(old))) == (1, 5)


def test_selection(old):
    def kept(**options):
        return [tone(p.image_a) // 2 for p in Rapidata(old, **options)]

    assert kept(min_votes=16) == [0, 2, 3]
    assert kept(min_agreement=0.8) == [2, 3, 5]  # 20 of 26 are 77%, 14 of 15 are 93%
    assert kept(min_agreement=0.8, min_votes=16) == [2, 3]
    assert kept(most_confident=2, min_votes=20) == [2, 3]
    assert kept(most_confident=1) == [2]


@pytest.mark.parametrize("workers", [0, 2])
def test_the_newer_columns(folder, workers):
    path = parquet(folder / "train-00000-of-00001.parquet", newer())
    pairs = Rapidata(path, drop_ties=False)
    found = [(p.share_a, p.votes, tone(p.image_a), tone(p.image_b)) for p in loaded(pairs, workers)]
    assert found == [(0.75, 0, 0, 100), (0.5, 10, 1, 101), (0.25, 20, 2, 102)]
    assert [tone(p.image_a) for p in Rapidata(path, min_votes=15)] == [2]
    assert [p.share_a for p in Rapidata(path, criterion="coherence")] == [2 / 5, 3.5 / 6, 2.5 / 3]
    assert [p.votes for p in Rapidata(path, criterion="coherence")] == [0, 0, 0]


@pytest.mark.parametrize("details", ["", None, "not JSON", "{}"])
def test_details_that_are_no_list_leave_the_number_unknown(folder, details):
    rows = [row | {"detailed_results_preference": details} for row in newer()[:1]] + newer()[2:]
    pairs = Rapidata(parquet(folder / "t.parquet", rows))
    assert [p.votes for p in pairs] == [0, 20]


def test_a_loaded_data_set_and_other_names(folder):
    rows = older()
    for row in rows:
        row["image_1"], row["image_2"] = row.pop("image1"), row.pop("image2")
        row["votes_image_1"], row["votes_image_2"] = row.pop("votes_image1"), row.pop("votes_image2")
    pairs = Rapidata(datasets.Dataset.from_list(rows))
    assert [p.votes for p in pairs] == [26, 26, 26, 14, 15]


def test_columns_that_are_not_there(folder):
    rows = [{"prompt": "x", "image1": cell(0), "image2": cell(1), "aggregated_results": "{}"}]
    path = parquet(folder / "t.parquet", rows)
    message = (
        r"t\.parquet: there is no column 'votes_image1' or 'votes_image2'; the columns are \['prompt', 'image1', "
        r"'image2', 'aggregated_results'\]\. Known are .*weighted_results_image1_preference and"
    )
    with pytest.raises(ValueError, match=message):
        Rapidata(path)
    with pytest.raises(ValueError, match="there is no column 'weighted_results_image1_alignment' or"):
        Rapidata(parquet(folder / "u.parquet", older()), criterion="alignment")
    with pytest.raises(ValueError, match="criterion: expected preference, coherence or alignment, got 'beauty'"):
        Rapidata(path, criterion="beauty")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"votes_image1": 0, "votes_image2": 0}, "column 'votes_image1' and column 'votes_image2': no votes"),
        ({"votes_image2": -1}, "column 'votes_image1' and column 'votes_image2': expected whole numbers of votes"),
        ({"votes_image2": None}, "column 'votes_image1' and column 'votes_image2': expected a number, got None"),
        ({"prompt": " "}, "column 'prompt': expected a prompt, got ' '"),
    ],
)
def test_bad_rows(folder, change, message):
    rows = older()
    rows[3] |= change
    path = parquet(folder / "t.parquet", rows)
    with pytest.raises(ValueError, match=rf"t\.parquet, row 3, {message}"):
        Rapidata(path)
    pairs = Rapidata(path, on_bad_row="skip")
    assert pairs.counts.skipped_rows == 1
    assert [tone(p.image_a) // 2 for p in pairs] == [0, 2, 4, 5]
