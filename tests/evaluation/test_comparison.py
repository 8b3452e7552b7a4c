import math
from dataclasses import replace

import numpy as np
import pytest

from lit_listener.evaluation.comparison import comparison_table, mcnemar_table
from lit_listener.evaluation.diagnoses.calibration import calibration_table
from lit_listener.evaluation.metrics import summary_difference
from lit_listener.evaluation.significance import design_effect, mcnemar, pairs_needed
from lit_listener.evaluation.statistics import clustered_difference
from tests.evaluation.reading import cell, means


@pytest.fixture
def before(predict):
    return [
        predict(pair_id="1", prompt_id="x"),
        predict(pair_id="2", prompt_id="x", answer=0, p_second=0.25),
        predict(pair_id="3", prompt_id="y", answer=0, p_second=0.25, contradicts=True),
        predict(pair_id="4", prompt_id="y", answer=None, p_second=None, length=60),
        predict(pair_id="5", prompt_id="y", label=None, share_a=0.5),
    ]


@pytest.fixture
def after(predict):
    return [
        predict(pair_id="5", prompt_id="y", label=None, share_a=0.5),
        predict(pair_id="3", prompt_id="y"),
        predict(pair_id="2", prompt_id="x"),
        predict(pair_id="1", prompt_id="x", answer=0, p_second=0.25),
        predict(pair_id="4", prompt_id="y"),
    ]


def test_comparison_by_hand(before, after):
    table = comparison_table(("before", before), ("after", after))
    assert table.columns == ("before", "after", "difference")
    assert means(table) == pytest.approx(
        {
            "accuracy/micro": 1 / 4,
            "accuracy/answer": 1 / 4,
            "p_correct": (0.75 + 0.25 + 0.25) / 3,
            "calibration/brier": (0.0625 + 0.5625 + 0.5625) / 3,
            "contradiction/by_rule": 1 / 4,
            "completions/unparsable": 1 / 5,
            "completions/length": 140 / 5,
        },
        abs=1e-12,
    )
    assert means(table, 1) == pytest.approx(
        {
            "accuracy/micro": 3 / 4,
            "accuracy/answer": 3 / 4,
            "p_correct": 2.5 / 4,
            "calibration/brier": (3 * 0.0625 + 0.5625) / 4,
            "contradiction/by_rule": 0.0,
            "completions/unparsable": 0.0,
            "completions/length": 20.0,
        },
        abs=1e-12,
    )
    assert means(table, 2) == pytest.approx(
        {key: means(table, 1)[key] - value for key, value in means(table).items()}, abs=1e-12
    )
    units = {line.key: line.cells[2].unit for line in table.lines}
    assert units["accuracy/micro"] == units["contradiction/by_rule"] == "points"
    assert (units["completions/length"], units["calibration/brier"]) == ("tokens", "number")
    assert "5 pairs were judged by both." in table.notes
    assert not any("left out" in note for note in table.notes)


def world(predict, seed, prompts=40):
    """3 pairs a prompt, whose difficulty they share, in both orders with 2 rollouts."""
    rng = np.random.default_rng(seed)
    easy = np.random.default_rng(99).random(prompts)
    return [
        predict(
            pair_id=f"{prompt}-{pair}",
            prompt_id=str(prompt),
            rollout=rollout,
            first=first,
            label=int(first == "a"),
            answer=(answer := int((rng.random() < easy[prompt]) == (first == "a"))),
            p_second=float(0.5 + (answer - 0.5) * rng.random()),
            length=int(rng.integers(10, 50)),
        )
        for prompt in range(prompts)
        for pair in range(3)
        for first in "ab"
        for rollout in range(2)
    ]


def test_differences_match_those_of_the_summary_and_the_calibration_table(predict):
    first, second = world(predict, 1), world(predict, 2)
    table = comparison_table(("one", first), ("two", second))
    expected = summary_difference(first, second)
    for key, measure in (
        ("accuracy/answer", "accuracy"),
        ("p_correct", "p_correct"),
        ("completions/length", "length"),
        ("contradiction/by_rule", "contradiction_share"),
    ):
        ours = cell(table, key, 2).interval
        assert [ours.mean, ours.low, ours.high] == pytest.approx(
            [expected[measure].mean, expected[measure].low, expected[measure].high], abs=1e-9
        )
    brier = cell(calibration_table({"two": second}), "calibration/brier").interval
    assert cell(table, "calibration/brier", 1).interval == brier


def test_difference_with_itself_is_nothing_and_turns_with_the_runs(predict):
    first, second = world(predict, 1), world(predict, 2)
    same = comparison_table(("one", first), ("copy", first))
    for line in same.lines:
        assert (line.cells[2].interval.mean, line.cells[2].interval.low, line.cells[2].interval.high) == (0, 0, 0)
    there = means(comparison_table(("one", first), ("two", second)), 2)
    back = means(comparison_table(("two", second), ("one", first)), 2)
    assert there == pytest.approx({key: -value for key, value in back.items()}, abs=1e-12)


def test_only_shared_pairs_count_under_the_first_runs_prompts(predict):
    first, second = world(predict, 1), world(predict, 2)
    some = [row for row in second if row.prompt_id not in ("0", "1")]
    renamed = [replace(row, prompt_id="renamed " + row.prompt_id) for row in some]
    extra = [predict(pair_id="extra", prompt_id="extra")]
    kept = [row for row in first if row.prompt_id not in ("0", "1")]
    plain = comparison_table(("one", kept), ("two", some))
    table = comparison_table(("one", first), ("two", renamed + extra))
    assert table.lines == plain.lines
    assert "114 pairs were judged by both." in table.notes
    assert "6 pairs that only one judged are left out." in table.notes
    assert "1 pairs that only two judged are left out." in table.notes
    assert mcnemar_table(("one", first), ("two", renamed + extra)).lines == (
        mcnemar_table(("one", kept), ("two", some)).lines
    )


def test_what_is_not_measured_has_a_reason(predict):
    unread = [predict(pair_id="1", prompt_id="x", answer=None, p_second=None), predict(pair_id="2", prompt_id="y")]
    other = [predict(pair_id="1", prompt_id="x"), predict(pair_id="2", prompt_id="y", answer=None, p_second=None)]
    apart = comparison_table(("one", unread), ("two", other))
    assert cell(apart, "contradiction/by_rule", 2).reason == "not measured on any prompt of both"
    assert cell(apart, "contradiction/by_rule", 0).reason == "a single prompt has no interval"
    silent = comparison_table(("one", unread[:1]), ("two", other[:1]))
    assert cell(silent, "contradiction/by_rule", 2).reason == "no answer can be read"
    assert cell(silent, "accuracy/micro", 2).interval.mean == 1.0
    assert cell(silent, "accuracy/micro", 2).reason == "a single prompt has no interval"


def test_mcnemar_by_hand(before, after):
    # 1: only before, 2, 3 and 4: only after. 2 (1 + 4) / 2^4 = 10/16
    table = mcnemar_table(("before", before), ("after", after))
    numbers = means(table)
    assert numbers["mcnemar/only_first"] == 1
    assert numbers["mcnemar/only_second"] == 3
    assert numbers["mcnemar/both"] == numbers["mcnemar/neither"] == 0
    assert numbers["mcnemar/p_value"] == 10 / 16
    assert numbers["mcnemar/discordant_share"] == 1.0
    # Differences -1, 1 (x), 1, 1 (y), mean 1/2: sums 0 - 1 and 2 - 1: 2 · 2 / 16 = 1/4; alone: 3 / 3 / 4 = 1/4.
    assert numbers["mcnemar/design_effect"] == pytest.approx(1.0)
    assert numbers["mcnemar/pairs_needed"] == pairs_needed(0.01, discordant_share=1.0)
    assert cell(table, "mcnemar/both").reason == "a count has no interval"
    assert cell(table, "mcnemar/both").rows == 4


def test_mcnemar_matches_the_pure_functions(predict):
    first, second = world(predict, 1), world(predict, 2)
    numbers = means(mcnemar_table(("one", first), ("two", second)))
    right = {}
    for name, rows in (("one", first), ("two", second)):
        by_pair = {}
        for row in rows:  # people prefer image b everywhere; orders and rollouts are balanced, so a plain mean does
            by_pair.setdefault(row.pair_id, []).append(1 - row.p_a)
        right[name] = [float(np.mean(scores) > 0.5) for scores in by_pair.values()]
    prompts = [name.split("-")[0] for name in by_pair]
    test = mcnemar(right["one"], right["two"])
    effect = design_effect(np.subtract(right["two"], right["one"]), prompts)
    assert numbers["mcnemar/p_value"] == test.p_value
    assert numbers["mcnemar/design_effect"] == pytest.approx(effect, abs=1e-12)
    assert numbers["mcnemar/discordant_share"] == pytest.approx(test.discordant_share, abs=1e-12)
    assert numbers["mcnemar/pairs_needed"] == pairs_needed(discordant_share=test.discordant_share, design_effect=effect)
    difference = cell(comparison_table(("one", first), ("two", second)), "accuracy/micro", 2).interval
    expected = clustered_difference(right["two"], prompts, right["one"], prompts, paired=True)
    assert [difference.mean, difference.low] == pytest.approx([expected.mean, expected.low], abs=1e-9)


def test_mcnemar_reasons(predict):
    same = [predict(pair_id=str(n), prompt_id=str(n)) for n in range(300)]
    table = mcnemar_table(("one", same), ("two", same))
    assert cell(table, "mcnemar/pairs_needed").reason == "the runs differ on all pairs alike"
    assert cell(table, "mcnemar/p_value").interval.mean == 1.0
    one_apart = [predict(pair_id="0", prompt_id="0", answer=0, p_second=0.25), *same[1:]]
    rarely = cell(mcnemar_table(("one", same), ("two", one_apart)), "mcnemar/pairs_needed")
    assert rarely.reason == "the runs are apart on less than one pair in a hundred"
    alone = [replace(row, prompt_id="x") for row in one_apart]
    table = mcnemar_table(("one", alone), ("two", same))
    assert cell(table, "mcnemar/design_effect").reason == "the pairs are of a single prompt"
    tied = [predict(label=None, share_a=0.5)]
    for line in mcnemar_table(("one", tied), ("two", tied)).lines:
        assert line.cells[0].reason == "no pair has an image that people prefer"
        assert math.isnan(line.cells[0].interval.mean)
    # Two prompts whose differences are alike: 1 and 0 in each.
    level = [predict(pair_id=str(n), prompt_id=str(n // 2)) for n in range(4)]
    below = [predict(pair_id=str(n), prompt_id=str(n // 2), p_second=0.25 if n % 2 else 0.75) for n in range(4)]
    needed = cell(mcnemar_table(("one", level), ("two", below)), "mcnemar/pairs_needed")
    assert needed.reason == "the difference is the same in every prompt"


@pytest.mark.parametrize("table", [comparison_table, mcnemar_table])
def test_runs_that_cannot_be_compared(predict, table):
    with pytest.raises(ValueError, match=r"share no pair: one has 1 pairs \(the first is 'p'\) and two has 1 .* 'q'"):
        table(("one", [predict(pair_id="p")]), ("two", [predict(pair_id="q")]))
    with pytest.raises(ValueError, match="two has 0 pairs; compare runs"):
        table(("one", [predict(pair_id="p")]), ("two", []))
    with pytest.raises(ValueError, match="got 'one' twice; rename one"):
        table(("one", [predict()]), ("one", [predict()]))
    with pytest.raises(ValueError, match="disagree on what people prefer"):
        table(("one", [predict()]), ("two", [predict(share_a=0.75, label=0)]))
