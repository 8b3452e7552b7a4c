from dataclasses import replace

import pytest

from lit_listener.data.shapes import ShapesPairs, ShapesTraces
from lit_listener.data.shown import ShownPair
from lit_listener.evaluation.judged_pairs import JudgedPair
from lit_listener.study.truth import knowing_correct, shapes_pair, stated_rightly
from tests.study.simulating import Judge, study

PAIRS = ShapesPairs(["flat", "paper"], size=60, split="test")


@pytest.fixture(scope="module")
def row():
    """A judgement of pair 7 of the test split, b first."""
    pair = PAIRS[7]
    run = study({"grpo": Judge()}, seeds=1, pairs=1, rollouts=1).arms["grpo"]
    demonstration = ShapesTraces({"thorough": 1.0})(ShownPair(pair, "b", 7))
    return replace(
        run.by_seed[0][1],
        pair_id=pair.pair_id,
        index=7,
        share_a=pair.share_a,
        votes=pair.votes,
        first="b",
        trace=demonstration.trace,
    )


def test_a_name_gives_the_pair_again():
    for index in (0, 7, 59):
        pair = PAIRS[index]
        again = shapes_pair(pair.pair_id)
        assert (again.pair_id, again.scene_a, again.scene_b, again.share_a) == (
            pair.pair_id,
            pair.scene_a,
            pair.scene_b,
            pair.share_a,
        )
    assert shapes_pair("imagereward-12") is None


def test_a_thorough_trace_states_all_eight_attributes(row):
    assert stated_rightly(row) == 1.0
    swapped = row.trace.replace("first", "x").replace("second", "first").replace("x", "second")
    assert stated_rightly(replace(row, trace=swapped)) < 1.0
    assert stated_rightly(replace(row, trace="first: nothing.")) == 0.0


def test_other_votes_are_another_pair(row):
    assert stated_rightly(replace(row, votes=row.votes + 1)) is None
    assert knowing_correct(JudgedPair((replace(row, votes=row.votes + 1),))) is None
    assert stated_rightly(replace(row, pair_id="elsewhere-7")) is None


def test_who_knows_what_is_drawn_prefers_the_better_picture():
    # Worth by hand: the attributes that fit, and half an attribute for a crisp finish; a tie of the two counts half.
    template = study({"grpo": Judge()}, seeds=1, pairs=1, rollouts=1).arms["grpo"].by_seed[0][0]
    seen = set()
    for index in range(len(PAIRS)):
        pair = PAIRS[index]
        rows = (replace(template, pair_id=pair.pair_id, share_a=pair.share_a, votes=pair.votes),)
        a, b = (
            sum(getattr(scene, name) == getattr(pair.wanted, name) for name in ("count", "colour", "shape"))
            + 0.5 * (scene.finish == "crisp")
            for scene in (pair.scene_a, pair.scene_b)
        )
        expected = 0.5 if a == b else float((a > b) == (pair.share_a > 0.5))
        assert knowing_correct(JudgedPair(rows)) == expected
        seen.add(expected)
    assert seen == {0.0, 0.5, 1.0}
