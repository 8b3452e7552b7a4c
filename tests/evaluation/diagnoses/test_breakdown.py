import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lit_listener.evaluation.diagnoses.breakdown import (
    by_category,
    by_generator,
    length_bins,
    length_plot,
    outcomes_table,
)
from tests.evaluation.reading import cell, heights, means


@pytest.mark.parametrize(
    ("lengths", "bins"),
    [
        ([], []),
        ([7, 7, 7], [(7, 7)]),
        (range(1, 11), [(1, 2), (3, 4), (5, 6), (7, 8), (9, 10)]),
        ([1, 5, 5, 5, 5, 5, 9, 20, 20, 30], [(1, 5), (9, 20), (30, 30)]),
        ([3, 1, 2], [(1, 1), (2, 2), (3, 3)]),
    ],
)
def test_length_bins_by_hand(lengths, bins):
    # 1, 5, 5, 5, 5, 5, 9, 20, 20, 30: the 2nd, 4th, 6th, 8th and 10th are 5, 5, 5, 20 and 30.
    assert length_bins(list(lengths)) == bins


@given(st.lists(st.integers(0, 50), min_size=1, max_size=80), st.integers(1, 7))
def test_length_bins_part_all_lengths(lengths, bins):
    parted = length_bins(lengths, bins)
    counts = [sum(low <= length <= high for length in lengths) for low, high in parted]
    assert sum(counts) == len(lengths)
    assert min(counts) >= 1
    assert len(parted) <= bins
    assert all(before[1] < after[0] for before, after in pairwise(parted))


def test_length_plot_by_hand(predict):
    mine = [predict(prompt_id=str(n), length=length, label=n % 2) for n, length in enumerate([10, 11, 20, 20, 30, 40])]
    others = [predict(length=10), predict(length=50, answer=None), predict(length=99, label=None, share_a=0.5)]
    plot = length_plot({"mine": mine, "others": others})
    # 10, 10, 11, 20, 20, 30, 40, 50: the 2nd, 4th, 5th, 7th and 8th are 10, 20, 20, 40 and 50.
    assert [point.label for point in plot.curves[0].points] == ["10-10", "11-20", "30-40", "50-50"]
    assert [point.x for point in plot.curves[0].points] == pytest.approx([10, 17, 35, 50])
    assert heights(plot) == pytest.approx([0.0, 2 / 3, 0.5, math.nan], nan_ok=True)
    assert heights(plot, 1) == pytest.approx([1.0, math.nan, math.nan, 0.0], nan_ok=True)
    assert plot.curves[1].points[1].y.reason == "no completion of this run is so long"
    assert any("tied are left out: 1 (others)." in note for note in plot.notes)
    assert length_plot({"empty": []}).curves[0].points == ()


def test_by_generator_by_hand(predict):
    rows = [
        predict(pair_id="1", generator_a="x", generator_b="y"),
        predict(pair_id="1", generator_a="x", generator_b="y", rollout=1, p_second=0.125),  # mean 0.4375: wrong
        predict(pair_id="2", generator_a="y", generator_b="y", prompt_id="q"),  # right, counted once
        predict(pair_id="3", generator_a="y", generator_b="", prompt_id="q"),
        predict(pair_id="4", generator_a="z", generator_b="x", label=None, share_a=0.5),
    ]
    table = by_generator({"mine": rows, "other": rows[2:3]})
    assert [line.key for line in table.lines] == ["generator/x", "generator/y", "generator/z"]  # by name
    assert means(table) == pytest.approx(
        {"generator/y": 2 / 3, "generator/x": 0.0, "generator/z": math.nan}, nan_ok=True
    )
    assert cell(table, "generator/y").rows == 3
    assert cell(table, "generator/z").reason == "people are tied on all of its pairs"
    assert cell(table, "generator/x", 1).reason == "this run has no such pair"
    assert any("tied are left out: 1 (mine)." in note for note in table.notes)
    assert "A pair counts for both of its generators." in table.notes


def test_by_category_by_hand(predict):
    rows = [
        predict(pair_id="1", category="animals"),
        predict(pair_id="2", category="animals", answer=None, p_second=None),
        predict(pair_id="3", category="", prompt_id="q"),
    ]
    assert means(by_category({"mine": rows})) == {"category/animals": 0.5}


def test_none_where_the_source_does_not_tell(predict):
    assert by_category({"mine": [predict()]}) is None
    assert by_generator({"mine": [predict(generator_a="", generator_b="")]}) is None
    assert by_category({"mine": []}) is None


def test_only_the_most_frequent_are_shown(predict):
    # g00 has 40 pairs, g01 39, …
    rows = [predict(pair_id=f"{g}-{n}", category=f"g{g:02}") for g in range(40) for n in range(40 - g)]
    table = by_category({"few": rows[-1:], "mine": rows})
    assert [line.name for line in table.lines] == [f"g{g:02}" for g in range(30)]
    (note,) = (note for note in table.notes if "most frequent" in note)
    assert note.endswith("not: " + ", ".join(f"g{g:02}" for g in range(30, 40)) + ".")
    many = by_category({"mine": [predict(pair_id=str(n), category=f"c{n:03}") for n in range(100)]})
    assert many.notes[-1].endswith("c059, and 40 others.")


def test_runs_on_the_same_pairs_do_not_add_up(predict):
    often = [predict(pair_id=f"x{n}", category="x") for n in range(3)]
    twice = [predict(pair_id=f"y{n}", category="y") for n in range(2)]
    table = by_category({"one": twice, "two": twice, "three": often})
    assert [line.name for line in table.lines] == ["x", "y"]


def test_outcomes_by_hand(predict):
    mine = [
        predict(prompt_id="x", length=10),
        predict(prompt_id="x", outcome="truncated", truncated=True, length=64, answer=None),
        predict(prompt_id="y", outcome="truncated", truncated=True, length=64),
        predict(prompt_id="y", outcome="no_answer", answer=None, length=12),
    ]
    table = outcomes_table({"mine": mine, "other": [predict(outcome="trailing_text")], "empty": []})
    assert [line.name for line in table.lines[:4]] == ["ok", "truncated", "no_answer", "trailing_text"]
    assert means(table) == pytest.approx(
        {
            "outcome/ok": 0.25,
            "outcome/truncated": 0.5,
            "outcome/no_answer": 0.25,
            "outcome/trailing_text": 0.0,
            "completions/unparsable": 0.5,
            "completions/truncated": 0.5,
            "completions/length": 150 / 4,
        }
    )
    assert cell(table, "completions/length").unit == "tokens"
    assert means(table, 1)["outcome/trailing_text"] == 1.0
    assert cell(table, "outcome/ok", 2).reason == "there are no completions"


def test_outcomes_sum_to_one(predict):
    rng = np.random.default_rng(0)
    rows = [predict(prompt_id=str(n), outcome=str(rng.choice(["ok", "no_think", "truncated"]))) for n in range(50)]
    shares = means(outcomes_table({"mine": rows}))
    assert sum(share for key, share in shares.items() if key.startswith("outcome/")) == pytest.approx(1.0, abs=1e-12)
