"""All tables and plots of an evaluation at once, on ordinary judgements and on odd ones."""

import io
import json
import math
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import pytest
from rich.console import Console

from lit_listener.evaluation.contents import HEADLINES, headlines, sections
from lit_listener.evaluation.prediction import Prediction
from lit_listener.evaluation.report.compose import write_report
from lit_listener.evaluation.report.sample import sample
from lit_listener.evaluation.results import Measured
from lit_listener.evaluation.results_file import write_results
from lit_listener.evaluation.section import Section
from lit_listener.evaluation.tables import result_table

Predict = Callable[..., Prediction]

PAPERS = {
    "Listener paper, Table 1": "table_1",
    "Listener paper, Table 2": "table_2",
    "Listener paper, Table 3": "table_3",
    "Listener paper, Table 4": "table_4",
    "Listener paper, Table 5": "table_5",
    "Listener paper, Figure 1": "figure_1",
    "Listener paper, Figure 2": "figure_2",
    "Listener paper, Figure 3": "figure_3",
    "Listener paper, Figure 4": "figure_4",
    "soft-rewards paper, Table 1": "table_2",
    "Soft-rewards paper, Table 2": "soft_rewards_table_2",
}


def judged(predict: Predict, pairs: int = 12, prompts: int = 5, **changes: Any) -> list[Prediction]:
    """Pairs in both orders with three rollouts, right in two of three."""
    rows = []
    for n, first, rollout in product(range(pairs), "ab", range(3)):
        label = int(first == "a")  # b is preferred
        answer = label if (n + rollout) % 3 else 1 - label
        known = {
            "pair_id": f"pair-{n}",
            "prompt_id": f"prompt-{n % prompts}",
            "index": n,
            "first": first,
            "rollout": rollout,
            "label": label,
            "answer": answer,
            "p_second": 0.9 if answer else 0.2,
            "votes": 20,
            "source": "held_in",
            "length": 10 + n,
        }
        rows.append(predict(**{**known, **changes}))
    return rows


def cells(section: Section) -> Iterator[Measured]:
    for table in section.tables:
        yield from (cell for line in table.lines for cell in line.cells)
    for plot in section.plots:
        yield from (point.y for curve in plot.curves for point in curve.points)


def measure(section: Section, key: str, column: int = 0) -> Measured:
    return next(line.cells[column] for table in section.tables for line in table.lines if line.key == key)


def test_every_table_and_figure_of_both_papers_is_there_by_its_number(predict):
    (section,) = sections({"run": judged(predict)})
    by_key = {result.key: result.paper for result in section.results}
    for number, key in PAPERS.items():
        assert number.lower() in by_key[key].lower()


def test_sources_have_sections_and_runs_columns(predict):
    first = [*judged(predict), *judged(predict, source="held_out")]
    second = judged(predict, listener_p_second=0.9)
    one, other = sections({"first": first, "second": second})
    assert (one.source, other.source) == ("held_in", "held_out")
    assert {table.columns for table in one.tables if table.key.startswith("table_")} == {("first", "second")}
    assert {table.columns for table in other.tables if table.key.startswith("table_")} == {("first",)}
    compared = {table.key: table for table in one.tables}["comparison"]
    assert compared.columns == ("first", "second", "difference")
    assert not {"comparison", "mcnemar"} & {table.key for table in other.tables}


def test_every_further_run_is_compared_with_the_first(predict):
    rows = judged(predict)
    (section,) = sections({"a": rows, "b": rows, "c": rows})
    compared = [table for table in section.tables if table.key.startswith("comparison")]
    assert [(table.key, table.columns) for table in compared] == [
        ("comparison", ("a", "b", "difference")),
        ("comparison_2", ("a", "c", "difference")),
    ]


def test_two_runs_on_other_pairs_are_shown_but_not_compared(predict):
    (section,) = sections({"a": judged(predict, 3), "b": judged(predict, 3, pair_id="x", rollout=0, first="a")[:1]})
    assert "comparison" not in {table.key for table in section.tables}


ODD = {
    "answers that cannot be read": {"answer": None, "p_second": None, "outcome": "no_answer", "stated_verdict": None},
    "people tied on all pairs": {"label": None, "share_a": 0.5},
    "exactly level scores": {"p_second": 0.5},
    "one prompt": {"prompt_id": "the same"},
    "no listener": {"listener_p_second": None, "listener_p_correct": None},
    "no votes, no generators": {"votes": 0, "share_a": 0.0, "generator_a": "", "generator_b": ""},
}


@pytest.mark.parametrize("odd", ODD)
def test_what_is_not_defined_says_why(predict, odd, tmp_path):
    rows = judged(predict, **ODD[odd])
    (section,) = sections({"run": rows})
    for cell in cells(section):
        bounds = (cell.interval.mean, cell.interval.low, cell.interval.high)
        assert cell.reason or not any(map(math.isnan, bounds))
    write_results(tmp_path / "results.json", [section], {"rows": len(rows)})
    assert "NaN" not in (tmp_path / "results.json").read_text()
    shown = io.StringIO()
    Console(file=shown, width=100).print(result_table(headlines([section])))
    assert "nan" not in shown.getvalue().lower()
    page = write_report(["run"], [section], sample({"run": rows}, lambda row: None, 5), tmp_path, {})
    assert ">nan" not in page.read_text().lower()


def test_a_judge_that_cannot_be_read_is_wrong_and_told_apart(predict):
    (section,) = sections({"run": judged(predict, **ODD["answers that cannot be read"])})
    assert measure(section, "accuracy/micro").interval.mean == 0.0
    assert measure(section, "accuracy/answer").interval.mean == 0.0
    assert measure(section, "completions/unparsable_share").interval.mean == 1.0
    assert measure(section, "calibration/ece").reason


def test_level_scores_are_worth_what_the_rule_says(predict):
    rows = judged(predict, **ODD["exactly level scores"])
    for ties, expected in (("wrong", 0.0), ("half", 0.5), ("right", 1.0)):
        (section,) = sections({"run": rows}, ties)
        assert measure(section, "accuracy/micro").interval.mean == expected


def test_headlines_have_a_column_a_source(predict, tmp_path):
    found = sections({"run": [*judged(predict), *judged(predict, source="other")]})
    table = headlines(found)
    assert table.columns == ("held_in", "other")
    assert [line.key for line in table.lines] == [key for key in HEADLINES if not key.startswith("lists/")]
    write_results(tmp_path / "results.json", found, {})
    stored = json.loads((tmp_path / "results.json").read_text())
    for line in table.lines:
        mean = stored["sources"]["held_in"]["measures"]["run"][line.key]["mean"]
        assert mean == pytest.approx(line.cells[0].interval.mean) or (mean is None and line.cells[0].reason)


def test_ranked_lists_have_headlines_of_their_own(predict):
    rows = [
        row
        for n in range(3)
        for row in judged(
            predict,
            2,
            list_id=f"list-{n}",
            item_a=0,
            item_b=1,
            rank_a=2.0,
            rank_b=1.0,
            pair_id=f"list-{n}-0-1",
            index=n,
        )[:6]
    ]
    rows = [*rows, *judged(predict, source="pairs")]
    table = headlines(sections({"run": rows}))
    cells = {line.key: line.cells for line in table.lines}
    assert cells["lists/anchor_micro"][0].rows == 3
    assert cells["lists/anchor_micro"][1].reason == "this source ranks no lists"
    assert "Figures of lists are over all pairs" in table.notes[0]


def test_what_was_judged_is_counted(predict):
    rows = judged(predict, pairs=6, prompts=2)
    listed = [
        Prediction(
            **{**vars(row), "list_id": f"list-{row.index % 3}", "item_a": 0, "item_b": 1, "rank_a": 2.0, "rank_b": 1.0}
        )
        for row in rows
    ]
    (section,) = sections({"run": listed})
    counts = {
        line.key: line.cells[0].interval.mean
        for line in next(table for table in section.tables if table.key == "table_1").lines
    }
    # 6 pairs of 2 prompts with 20 votes each; 2 orders x 3 rollouts
    assert counts == {
        "data/pairs": 6,
        "data/prompts": 2,
        "data/ties": 0,
        "data/lists": 3,
        "data/votes": 120,
        "data/generators": 2,
        "data/completions": 36,
    }


def test_figure_1_sets_accuracy_beside_contradictions(predict):
    wrong_way = judged(predict, contradicts=True)
    (section,) = sections({"plain": wrong_way, "listener": judged(predict)})
    figure = next(plot for plot in section.plots if plot.key == "figure_1")
    accuracy, contradictions = figure.curves
    assert [point.label for point in accuracy.points] == ["plain", "listener"]
    assert [point.y.interval.mean for point in contradictions.points] == [1.0, 0.0]
    # rollouts 0 to 2 of a pair: one wrong of three, p_a = mean of (0.1, 0.1, 0.8) = 1/3: b, which is right
    assert [point.y.interval.mean for point in accuracy.points] == [1.0, 1.0]
