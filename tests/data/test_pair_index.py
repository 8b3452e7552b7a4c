"""What a table tells beside images and votes: the kind of prompt, and another judge's scores."""

import json

import pytest

from lit_listener.data.sources import HPDv3, PairTable, Rapidata
from lit_listener.data.sources.pair_index import PairColumns, text_of
from tests.data.published import cell, parquet
from tests.data.tables import SUFFIXES, rows, write


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_kind_and_scores_of_a_table_of_ones_own(folder, suffix):
    votes = [
        {"share_a": 1.0, "kind": "people", "one": 0.25, "two": -3.5},
        {"share_a": 0.0, "kind": "", "one": 1, "two": 2},
    ]
    path = write(folder / f"t{suffix}", rows(*votes))
    pairs = PairTable(path, category="kind", score_a="one", score_b="two")
    assert [(p.category, p.score_a, p.score_b) for p in pairs] == [("people", 0.25, -3.5), ("", 1.0, 2.0)]


def test_selected_pairs_keep_their_own_scores(folder):
    votes = [{"share_a": share, "one": share, "two": 1 - share} for share in (0.5, 0.9, 0.2, 0.5, 0.7)]
    pairs = PairTable(write(folder / "t.jsonl", rows(*votes)), score_a="one", score_b="two", most_confident=2)
    assert [(p.share_a, p.score_a) for p in pairs] == [(0.9, 0.9), (0.2, 0.2)]


@pytest.mark.parametrize("value", [None, "high", float("inf")])
def test_a_score_that_is_no_number_makes_a_bad_row(folder, value):
    votes = [{"share_a": 1.0, "one": 1.0, "two": 2.0}, {"share_a": 1.0, "one": 1.0, "two": value}]
    path = write(folder / "t.jsonl", rows(*votes))
    with pytest.raises(ValueError, match=r"t\.jsonl, row 1, column 'two': expected a number"):
        PairTable(path, score_a="one", score_b="two")
    assert len(PairTable(path, score_a="one", score_b="two", on_bad_row="skip")) == 1
    assert len(PairTable(path)) == 2


def test_scores_of_one_image_only(folder):
    path = write(folder / "t.jsonl", rows({"share_a": 1.0, "one": 1.0}))
    with pytest.raises(ValueError, match="score_a and score_b go together, got score_a='one' and score_b=None"):
        PairTable(path, score_a="one")
    with pytest.raises(ValueError, match="there is no column 'kind'"):
        PairTable(path, category="kind")


def test_kinds_that_published_sets_tell(folder):
    pair = {"prompt": "x", "path1": "pictures/red.png", "path2": "pictures/blue.png"}
    (folder / "train.json").write_text(json.dumps([pair | {"category": "Animals"}, pair | {"category": None}]))
    assert [p.category for p in HPDv3(folder)] == ["Animals", ""]
    votes = {"prompt": "x", "image1": cell(1), "image2": cell(2), "votes_image1": 3, "votes_image2": 1}
    path = parquet(folder / "train-0.parquet", [votes | {"category": "Sport"}])
    assert [p.category for p in Rapidata(path)] == ["Sport"]


def test_texts_and_names_of_cells():
    cells = {"prompt": 7, "id": 3, "model": ["a", None], "kind": None}
    assert [text_of(cells, "model", n) for n in (0, 1)] == ["a", ""]
    assert [text_of(cells, column) for column in (None, "kind", "id")] == ["", "", "3"]
    plain = PairColumns("prompt", "image_a", "image_b")
    assert (plain.name(cells, "t", 4), plain.prompt_name(cells)) == ("t-4", "7")
    named = PairColumns("prompt", "image_a", "image_b", prompt_id="id", pair_id="id")
    assert (named.name(cells, "t", 4), named.prompt_name(cells)) == ("3", "3")
