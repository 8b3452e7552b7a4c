import math
import re
from dataclasses import replace

import numpy as np
import pytest

from lit_listener.data.shapes import ShapesPairs
from lit_listener.data.shapes.world import Voters
from lit_listener.evaluation.statistics import Interval
from lit_listener.study.claims import findings
from lit_listener.study.judgements import Judgements
from lit_listener.study.record import ArmRuns
from lit_listener.study.truth import shapes_pair
from lit_listener.study.why import diagnose, interval_table, times_as_many
from tests.study.simulating import Judge, study


def said(judged):
    diagnosis = diagnose(judged, findings(judged))
    return {sentence.split(".**")[0].strip("*"): sentence for sentence in diagnosis.sentences}, diagnosis


def test_times_as_many_by_hand():
    # A half width of 1.96 points is an error of 1 point. For 2.8 points, ((1.96 + 0.84) · 1 / 2.8)² = 1; for half of
    # that, four times as much.
    interval = Interval(0.0, -0.0196, 0.0196)
    assert times_as_many(interval, 0.028) == pytest.approx(1.0, abs=0.01)
    assert times_as_many(interval, 0.014) == pytest.approx(4.0, abs=0.03)


def test_what_it_promises_is_kept():
    # The power of a z-test with n times the data, by simulation.
    interval, effect = Interval(0.0, -0.0196, 0.0196), 0.02
    error = 0.01 / math.sqrt(times_as_many(interval, effect))
    draws = np.random.default_rng(0).normal(effect, error, 20_000)
    assert np.mean(np.abs(draws) > 1.96 * error) == pytest.approx(0.8, abs=0.01)


def test_sentences_follow_the_numbers(judged, turned_round):
    claimed, _ = said(judged)
    assert "Thinking" not in claimed  # GRPO loses nothing without, as claimed: there is nothing to explain
    assert "What disagreement is" not in claimed
    other, _ = said(turned_round)
    assert "Without thoughts GRPO's reasoner is right" in other["Thinking"]
    assert other["Thinking"].endswith("in the paper 73%, and 72% with them.")
    assert (
        "of the completions whose listener is more than half of the way apart contradict"
        in (other["What disagreement is"])
    )
    assert not [name for name in claimed if name.startswith(("Room", "Shift"))]  # nobody knows what is drawn here


@pytest.mark.parametrize(
    ("contradicts", "told"),
    [
        (0.4, "here the listener's distance tells contradictions before it tells errors."),
        (0.0, "so that this does not explain it."),
    ],
)
def test_disagreement_is_explained_by_contradictions_only_where_they_part_it(contradicts, told):
    # The listener is far from right answers, and from those that contradict their trace somewhat more often.
    sentences, _ = said(Judgements(study({"grpo": Judge(contradicts=contradicts, far_wrong=False)})))
    assert sentences["What disagreement is"].endswith(told)


def of_shapes(simulated):
    """The same judge, as right or wrong as before, about pairs that Shapes knows."""
    drawn = {source: ShapesPairs(["flat"], 240, "test", seed) for seed, source in enumerate(("held_in", "held_out"))}

    def asked(row):
        pair = drawn[row.source][row.index]
        label = int((pair.share_a > 0.5) != (row.first == "a"))
        answer = label if row.correct else 1 - label
        told = {"pair_id": pair.pair_id, "share_a": pair.share_a, "votes": pair.votes, "label": label, "answer": answer}
        return replace(row, **told, p_second=0.9 if answer else 0.1)

    arms = {
        key: ArmRuns(runs.arm, tuple(tuple(map(asked, rows)) for rows in runs.by_seed))
        for key, runs in simulated.arms.items()
    }
    return replace(simulated, arms=arms)


@pytest.mark.parametrize(
    ("right", "held_in", "held_out"),
    [
        (0.6, "there is room for", "there is room for"),
        (0.97, "there is room for", "cannot be told"),
        (1.0, "cannot be told", "has no place"),
    ],
)
def test_whether_there_is_room_for_the_papers_gain(right, held_in, held_out):
    simulated = study({"grpo": Judge(held_in=right, held_out=right)}, pairs=240, rollouts=1, seeds=3)
    sentences, diagnosis = said(Judgements(of_shapes(simulated)))
    assert ("listener_out_of_domain" in diagnosis.no_room) == (held_out == "has no place")
    assert held_in in sentences["Room over GRPO (held-in)"]
    assert "0.2 points" in sentences["Room over GRPO (held-in)"]
    assert held_out in sentences["Room over GRPO (held-out)"]
    assert "6.0 points, the paper's largest" in sentences["Room over GRPO (held-out)"]
    assert "4.0 points" in sentences["Room over GRPO (clear held-out pairs)"]


def test_a_renderer_that_is_easier_is_no_test():
    simulated = study({"grpo": Judge(held_in=0.5, held_out=0.9)}, pairs=240, rollouts=1, seeds=3)
    sentences, _ = said(Judgements(of_shapes(simulated)))
    assert "is no test of generalising here" in sentences["Shift"]


def test_a_shift_that_costs_accuracy_is_said():
    simulated = study({"grpo": Judge(held_in=0.9, held_out=0.5)}, pairs=240, rollouts=1, seeds=3)
    sentences, _ = said(Judgements(of_shapes(simulated)))
    assert "a new renderer costs accuracy" in sentences["Shift"]
    assert "Seeds" not in sentences  # there is no listener to compare with


def test_luck_of_the_voters_is_no_shift():
    # On both sources the judge knows what is drawn, and is wrong where the voters' coins fell otherwise.
    simulated = of_shapes(study({"grpo": Judge()}, pairs=240, rollouts=1, seeds=3))

    def knows(row):
        pair = shapes_pair(row.pair_id)
        a, b = (Voters().utility(scene, pair.wanted) for scene in (pair.scene_a, pair.scene_b))
        answer = int((a > b) != (row.first == "a"))
        return replace(row, answer=answer, p_second=0.9 if answer else 0.1)

    arms = {
        key: ArmRuns(runs.arm, tuple(tuple(map(knows, rows)) for rows in runs.by_seed))
        for key, runs in simulated.arms.items()
    }
    sentences, _ = said(Judgements(replace(simulated, arms=arms)))
    raw = re.search(r"of such a one is ([+-][0-9.]+) points", sentences["Shift"])
    assert abs(float(raw[1])) > 0.5
    assert "a new renderer is not seen to cost accuracy" in sentences["Shift"]


def test_an_interval_of_no_width_needs_no_number_of_seeds():
    judges = {"grpo": Judge(contradicts=0.0), "grpo_listener": Judge(contradicts=0.0)}
    *_, fewer = interval_table(Judgements(study(judges))).lines
    assert fewer.cells[-1].reason == "every draw of seeds and prompts gives the same number"


def test_seeds_or_prompts_whichever_makes_the_interval_wide():
    judges = {"grpo": Judge(), "grpo_listener": Judge()}
    spread, _ = said(Judgements(study(judges, spread=0.15)))
    assert "more seeds would narrow it most" in spread["Seeds"]
    one, diagnosis = said(Judgements(study(judges, seeds=1)))
    assert one["Seeds"] == "**Seeds.** There is one seed: nothing here tells what another would give."
    seeds_alone = diagnosis.tables[1].lines[0].cells[1]
    assert seeds_alone.reason == "one seed tells nothing of others"


def test_the_reading_table_parts_contradicting_completions_from_others(judged, as_claimed):
    _, diagnosis = said(judged)
    lines = {line.key: line.cells[1].interval.mean for line in diagnosis.tables[0].lines}
    rows = [row for of_seed in as_claimed.arms["grpo"].on("held_out") for row in of_seed]
    for key, contradicts in (("contradicting", True), ("consistent", False)):
        right = [row.correct for row in rows if row.contradicts == contradicts]
        assert lines[f"grpo/{key}"] == pytest.approx(np.mean(right))
    stated = [row.stated_verdict == row.label for row in rows]
    assert lines["grpo/stated"] == pytest.approx(np.mean(stated))
    assert lines["grpo/listener"] == pytest.approx(np.mean([row.listener_p_correct > 0.5 for row in rows]))
