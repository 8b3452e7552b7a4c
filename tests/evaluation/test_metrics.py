import math
from dataclasses import fields

import pytest

from lit_listener.evaluation.metrics import MEASURES, JudgementMetrics, summary, summary_difference
from lit_listener.evaluation.prediction import Prediction
from lit_listener.evaluation.statistics import Interval, clustered_interval


@pytest.fixture
def rows(predict):
    """Six completions over three prompts, each odd in its own way."""
    return [
        predict(prompt_id="x"),  # right
        predict(prompt_id="x", label=0, p_second=0.25, listener_p_correct=0.25, contradicts=True),  # wrong
        predict(prompt_id="y", answer=None, p_second=None, outcome="no_answer", length=64),  # unreadable
        predict(prompt_id="y", answer=None, outcome="bad_label", contradicts=True, listener_p_correct=None),
        predict(prompt_id="z", label=None, share_a=0.5, listener_p_correct=None),  # tie
        predict(prompt_id="z", label=0, answer=0, p_second=0.125, listener_p_correct=1.0),
    ]


# accuracy: right, wrong, unreadable, unreadable, (tie), right = 2/5
# p_correct: 0.75, 1 - 0.25, -, 0.75, (tie), 1 - 0.125 = 3.125/4
# contradictions among readable answers: no, yes, -, -, no, no = 1/4
# unparsable: 2/6; listener: 0.625, 0.25, 0.625, -, (tie), 1 = 2.5/4
BY_HAND = {
    "accuracy": 0.4,
    "p_correct": 0.78125,
    "contradiction_share": 0.25,
    "unparsable_share": 1 / 3,
    "listener_p_correct": 0.625,
}


@pytest.mark.parametrize(
    ("label", "answer", "p_second", "correct", "p_correct"),
    [
        (1, 1, 0.75, 1, 0.75),
        (0, 1, 0.75, 0, 0.25),
        (0, 0, 0.25, 1, 0.75),
        (1, None, None, 0, None),  # unreadable: wrong, and without a probability
        (0, None, 0.75, 0, 0.25),  # a bad label at a readable place
        (None, 1, 0.75, None, None),  # a tie has no right image
        (None, None, None, None, None),
    ],
)
def test_rows(predict, label, answer, p_second, correct, p_correct):
    row = predict(label=label, answer=answer, p_second=p_second)
    assert (row.correct, row.p_correct, row.unparsable) == (correct, p_correct, answer is None)


@pytest.mark.parametrize(
    ("label", "heard", "expected"),
    [(1, 0.625, 1), (0, 0.625, 1), (0, 0.375, 0), (1, 0.5, 0), (1, None, None), (None, 0.625, None)],
)
def test_listener_correct(predict, label, heard, expected):
    assert predict(label=label, listener_p_correct=heard).listener_correct == expected


def test_means_by_hand(rows):
    metrics = JudgementMetrics()
    metrics.update(rows)
    assert metrics.compute() == pytest.approx(BY_HAND, abs=1e-6)
    assert all(type(value) is float for value in metrics.compute().values())


def test_batches_do_not_matter(rows):
    # Averages of batch averages would differ: the batches have unequal numbers of defined rows.
    metrics = JudgementMetrics()
    for batch in (rows[:1], [], rows[1:5], rows[5:]):
        metrics.update(batch)
    assert metrics.compute() == pytest.approx(BY_HAND, abs=1e-6)
    metrics.reset()
    metrics.update(rows[:1])
    assert metrics.compute()["accuracy"] == 1.0


def test_processes_are_weighted_by_their_rows(rows):
    other = JudgementMetrics()
    other.update(rows[1:])
    gathered = iter([other.sums_K, other.counts_K])
    here = JudgementMetrics()
    # Stand in for two ranks: gathering gives this rank's state and the other's.
    here.dist_sync_fn = lambda state, group=None: [state, next(gathered)]
    here.distributed_available_fn = lambda: True
    here.update(rows[:1])
    assert here.compute() == pytest.approx(BY_HAND, abs=1e-6)
    assert here.counts_K.tolist() == [1.0] * 5  # this rank's own state again


def test_nothing_seen_is_nan(predict):
    metrics = JudgementMetrics()
    metrics.update([])
    assert list(metrics.compute()) == list(MEASURES)
    assert all(math.isnan(value) for value in metrics.compute().values())
    # Rows, but none that has a right image.
    metrics.update([predict(label=None)])
    values = metrics.compute()
    assert math.isnan(values["accuracy"])
    assert math.isnan(values["p_correct"])
    assert math.isnan(values["listener_p_correct"])
    assert values["contradiction_share"] == 0.0


def test_summary_by_hand(rows):
    intervals = summary(rows, seed=3)
    means = {name: interval.mean for name, interval in intervals.items()}
    # format: ok, ok, no, no, ok, ok = 4/6; length: (5·20 + 64)/6
    assert means == pytest.approx({**BY_HAND, "format_share": 4 / 6, "length": 164 / 6}, abs=1e-12)
    prompts = [row.prompt_id for row in rows]
    correct = [1.0, 0.0, 0.0, 0.0, math.nan, 1.0]
    assert intervals["accuracy"] == clustered_interval(correct, prompts, seed=3)


def test_summary_takes_a_prompt_as_one_cluster(predict):
    # Ten completions each of two prompts, one always right: 2 prompts are known, not 20 rows.
    rows = [predict(prompt_id=f"{label}", label=label, rollout=i) for label in (0, 1) for i in range(10)]
    assert summary(rows)["accuracy"] == Interval(0.5, 0.0, 1.0)


def test_summary_of_nothing():
    assert all(math.isnan(interval.mean) for interval in summary([]).values())


def test_difference_is_after_minus_before_over_the_same_prompts(predict):
    # Before: prompt x right, y wrong. After: both right. Draws xx, xy, yy rise by 0, 1/2 and 1.
    before = [predict(prompt_id="x"), predict(prompt_id="y", answer=0, length=10)]
    after = [predict(prompt_id="y"), predict(prompt_id="x")]
    difference = summary_difference(before, after)
    assert difference["accuracy"] == Interval(0.5, 0.0, 1.0)
    assert difference["length"] == Interval(5.0, 0.0, 10.0)
    assert difference["p_correct"] == Interval(0.0, 0.0, 0.0)
    assert list(difference) == list(summary(before))
    with pytest.raises(ValueError, match="none is shared"):
        summary_difference(before, [predict(prompt_id="z")])
    assert math.isnan(summary_difference(before, [predict(prompt_id="z")], paired=False)["accuracy"].low)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"first": "left"}, 'first must be "a" or "b", got \'left\''),
        ({"label": 2}, "label must be 0, 1 or None, got 2"),
        ({"answer": -1}, "answer must be 0, 1 or None, got -1"),
        ({"p_second": 1.5}, r"p_second must lie in \[0, 1\], got 1.5"),
        ({"listener_p_correct": math.nan}, r"listener_p_correct must lie in \[0, 1\], got nan"),
    ],
)
def test_a_bad_row_is_refused_by_name(predict, changes, text):
    with pytest.raises(ValueError, match=text):
        predict(**changes)
    with pytest.raises(ValueError, match="pair 'pair-0', rollout 0"):
        predict(**changes)


def test_fields_keep_their_names():
    # Other tools read them as columns of predictions.parquet.
    assert " ".join(field.name for field in fields(Prediction)) == (
        "pair_id prompt_id prompt rollout first label answer outcome p_second listener_p_second listener_p_correct "
        "contradicts stated_verdict length truncated trace share_a generator_a generator_b source index votes category "
        "list_id item_a item_b rank_a rank_b p_second_without_thinking listener_p_second_stripped "
        "independent_p_second p_contradiction prompt_in_training level likeliest_p_second"
    )
