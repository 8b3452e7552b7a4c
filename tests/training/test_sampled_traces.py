"""Traces of a model's own to learn from: which of them, in which order shown, and which pairs are left."""

from dataclasses import replace
from typing import Any

import pytest

from lit_listener.data.records import Side
from lit_listener.data.shown import ShownPair
from lit_listener.evaluation.prediction import Prediction
from lit_listener.evaluation.predictions_file import write_predictions
from lit_listener.training import PreferenceData, SampledTraces
from tests.training.sampled import right_trace
from tests.training.tiny_runs import pairs

PAIRS = pairs(6)


def row(index: int, rollout: int = 0, first: Side = "a", **change: Any) -> Prediction:
    return right_trace(PAIRS, index, rollout, first, **change)


def wrong(index: int, **change: Any) -> Prediction:
    right = row(index, **change)
    return replace(right, answer=1 - (right.label or 0))


@pytest.fixture
def written(tmp_path):
    def write(*rows: Prediction):
        write_predictions(rows, tmp_path / "predictions.parquet")
        return tmp_path / "predictions.parquet"

    return write


SAMPLED = [
    row(0),
    row(0, 1, outcome="truncated", answer=None),
    wrong(1),
    row(2, contradicts=True),
    row(3, listener_p_correct=0.5),
    row(4, listener_p_correct=None),
    row(4, 1, listener_p_correct=0.51),
    row(5, first="b"),
]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0, 3, 4, 5]),
        ({"consistent": False}, [0, 2, 3, 4, 5]),
        ({"convinces": 0.5}, [0, 4, 5]),
        ({"convinces": 0.0}, [0, 3, 4, 5]),
        ({"convinces": 0.79}, [0, 5]),
    ],
)
def test_what_is_learnt_from(written, options, expected):
    traces = SampledTraces(written(*SAMPLED), **options)
    assert traces.places(PAIRS) == expected
    assert all(row.outcome == "ok" and row.correct == 1 for rows in traces.traces.values() for row in rows)


def test_what_is_left_out_is_told(written):
    traces = SampledTraces(written(*SAMPLED), convinces=0.5)
    assert traces.told.startswith("3 of 8 traces in ")
    for reason in ("1 answer wrongly", "1 are not well-formed", "1 contradict their", "2 do not convince the listener"):
        assert f"; {reason}" in traces.told


@pytest.mark.parametrize("asked", ["a", "b"])
def test_a_trace_is_shown_in_the_order_in_which_it_was_sampled(written, asked):
    traces = SampledTraces(written(row(5, first="b")))
    demonstration = traces(ShownPair(PAIRS[5], asked, 0))  # type: ignore[arg-type]
    assert demonstration.shown.first == "b"
    assert demonstration.answer == demonstration.shown.label == int(PAIRS[5].preferred == "a")
    assert demonstration.trace == "about 5, b first, rollout 0"


def test_one_of_a_pairs_traces_is_drawn_anew_each_epoch_and_by_the_seed(written):
    path = written(*(row(0, rollout, first) for rollout in range(4) for first in "ab"))

    def drawn(seed: int, reads: SampledTraces | None = None) -> list[str]:
        traces = reads or SampledTraces(path, seed=seed)
        return [traces(ShownPair(PAIRS[0], "a", 0, epoch)).trace for epoch in range(64)]

    assert drawn(0) == drawn(0)
    assert drawn(0) != drawn(1)
    assert set(drawn(0)) == {f"about 0, {first} first, rollout {n}" for n in range(4) for first in "ab"}


def test_pairs_without_a_trace_are_no_part_of_training(written):
    traces = SampledTraces(written(*SAMPLED))
    data = PreferenceData(PAIRS, traces=traces, batch_size=2)
    assert data.train is not None
    assert len(data.train) == 4
    found = {one.shown.pair.pair_id for batch in data.train_dataloader() for one in batch}
    assert found == {PAIRS[n].pair_id for n in (0, 3, 4, 5)}


def test_the_source_is_named_where_there_are_several(written):
    path = written(row(0), row(1, source="held_out"))
    with pytest.raises(
        ValueError, match=r"data\.traces\.source: .* has the sources \['held_out', 'train_pairs'\]: name"
    ):
        SampledTraces(path)
    with pytest.raises(ValueError, match=r"and no 'train'"):
        SampledTraces(path, source="train")
    assert SampledTraces(path, source="train_pairs").places(PAIRS) == [0]


def test_traces_of_another_source_are_refused(written):
    traces = SampledTraces(written(row(5)))
    with pytest.raises(ValueError, match=r"traces about pair 5, and data\.train has 3 pairs alone"):
        traces.places(pairs(3))
    other = pairs(6, seed=1)
    with pytest.raises(
        ValueError, match=r"pair 5 of data\.train has the prompt .*, and had .* sample them for the very"
    ):
        traces.places(other)
    with pytest.raises(ValueError, match=r"has no trace about pair "):
        traces(ShownPair(other[5], "a", 5))


def test_a_pair_whose_votes_have_turned_is_refused(written):
    traces = SampledTraces(written(row(5)))
    turned = replace(PAIRS[5], share_a=1 - PAIRS[5].share_a)
    with pytest.raises(ValueError, match=r"prefers another image than it did when .* sample anew"):
        traces(ShownPair(turned, "a", 5))


def test_nothing_to_learn_from_is_told_with_its_reasons(written):
    with pytest.raises(
        ValueError, match=r"0 of 2 traces in .* can be learnt from; 1 answer wrongly; 1 contradict their"
    ):
        SampledTraces(written(wrong(0), row(1, contradicts=True)))


def test_a_bound_out_of_range_is_refused(written):
    with pytest.raises(ValueError, match=r"data\.traces\.convinces: expected a probability in \[0, 1\) or null, got 1"):
        SampledTraces(written(row(0)), convinces=1.0)
