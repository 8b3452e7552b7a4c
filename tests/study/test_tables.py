import math

import numpy as np
import pytest

from lit_listener.evaluation.results import measured
from lit_listener.study.judgements import Judgements, is_clear
from lit_listener.study.record import Study
from lit_listener.study.tables import all_tables, table_2, table_3, table_4, table_5


def line(table, key):
    return next(line for line in table.table.lines if line.key == key)


def texts(cells):
    return [None if math.isnan(cell.interval.mean) else round(cell.interval.mean, 3) for cell in cells]


def by_hand(study, arm, source, keep=lambda row: True):
    """Mean@1 of a run whose every pair has two thoughts an order, by a plain loop."""
    worth = []
    for rows in study.arms[arm].on(source):
        pairs = {}
        for row in filter(keep, rows):
            pairs.setdefault((row.pair_id, row.rollout), []).append(row)
        for both in pairs.values():
            p_a = np.mean([row.p_second if row.first == "b" else 1 - row.p_second for row in both])
            worth.append((p_a > 0.5) == (both[0].share_a > 0.5))
    return np.mean(worth)


def test_the_papers_numbers_stand_where_they_stand_in_the_paper(judged):
    two, three = table_2(judged), table_3(judged)
    assert [texts(line(two, key).cells[:2]) for key in ("rating", "grpo", "grpo_listener")] == [
        [0.654, 0.658],
        [0.672, 0.674],
        [0.674, 0.677],
    ]
    assert [texts(line.cells[:1])[0] for line in three.table.lines[:9]] == [
        *(0.653, 0.668, 0.554, 0.554, 0.651, 0.654, 0.669, 0.672, 0.674)
    ]
    assert texts(line(table_4(judged), "grpo").cells[:1]) == [0.101]
    assert texts(line(table_4(judged), "grpo_listener").cells[:1]) == [0.083]
    five = table_5(judged)
    keys = ("grpo/with", "grpo/without", "grpo/difference", "grpo_listener/with", "grpo_listener/without")
    assert [texts(line(five, key).cells[:1])[0] for key in keys] == [0.72, 0.73, -0.01, 0.76, 0.7]


def test_ours_are_means_over_all_seeds(judged, as_claimed):
    for source, cell in zip(("held_in", "held_out"), line(table_3(judged), "grpo").cells[1:], strict=True):
        assert cell.interval.mean == pytest.approx(by_hand(as_claimed, "grpo", source), abs=1e-12)
        assert cell.interval.low < cell.interval.mean < cell.interval.high


def test_clear_pairs_have_many_votes_that_agree(judged, as_claimed):
    def clear(row):
        return row.votes >= 20 and max(row.share_a, 1 - row.share_a) >= 0.8

    cell = line(table_5(judged), "grpo/with").cells[1]
    assert cell.interval.mean == pytest.approx(by_hand(as_claimed, "grpo", "held_out", clear), abs=1e-12)
    assert 0 < sum(map(is_clear, judged.pairs("held_out"))) < len(judged.pairs("held_out"))


def test_contradictions_are_counted_over_completions(judged, as_claimed):
    rows = [row for of_seed in as_claimed.arms["grpo"].on("held_out") for row in of_seed]
    cells = line(table_4(judged), "grpo").cells
    assert cells[3].interval.mean == pytest.approx(np.mean([row.contradicts for row in rows]))
    assert cells[3].rows == len(rows)


def test_thinking_adds_the_difference(judged):
    five = table_5(judged)
    thinking, silent, added = (line(five, f"grpo_listener/{key}") for key in ("with", "without", "difference"))
    for with_it, without, difference in zip(thinking.cells, silent.cells, added.cells, strict=True):
        assert difference.interval.mean == pytest.approx(with_it.interval.mean - without.interval.mean)
        assert difference.unit == "points"


def test_people_are_of_no_seed(judged):
    people = line(table_3(judged), "single_human").cells[1]
    assert people.rows == len(judged.pairs("held_in"))


def test_arms_that_are_missing_or_say_nothing(judged):
    missing = line(table_3(judged), "instruct").cells[1]
    assert missing.reason == "this study has no such arm"
    assert line(table_3(judged), "hpsv2.1").cells[1].reason == "nothing here answers to it"
    assert line(table_2(judged), "rating").cells[3].reason == "this judge was asked fewer than 3 times"
    for table in (table_4(judged), table_5(judged)):
        assert not [each.key for each in table.table.lines if each.key.startswith(("answer_sft", "bradley_terry"))]


def test_controls_stand_below_the_rule(judged):
    for each in all_tables(judged):
        below = [line.key.split("/")[0] for line in each.table.lines[each.controls_from :]]
        assert set(below) == {"random_listener"}


def test_one_seed_gives_the_intervals_of_prompts(as_claimed):
    runs = {key: type(run)(run.arm, run.by_seed[:1]) for key, run in as_claimed.arms.items() if key.startswith("grpo")}
    one = Judgements(Study(as_claimed.design, runs, as_claimed.made))
    rows = runs["grpo"].on("held_out")[0]
    reference = measured([float(row.contradicts) for row in rows], [row.prompt_id for row in rows])
    assert line(table_4(one), "grpo").cells[3] == reference


def test_a_study_of_other_sources_is_refused(as_claimed):
    run = as_claimed.arms["grpo"]
    rows = tuple(tuple(row for row in of if row.source == "held_in") for of in run.by_seed)
    with pytest.raises(ValueError, match="held_out was not judged"):
        Judgements(Study(as_claimed.design, {"grpo": type(run)(run.arm, rows)}, as_claimed.made))
