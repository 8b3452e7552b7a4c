from collections import Counter
from dataclasses import replace

import pytest

from lit_listener.data.shapes import (
    Scene,
    ShapesPair,
    ShapesPairs,
    ShapesTraces,
    Voters,
    attribute_accuracy,
    displayed_scenes,
)
from lit_listener.data.shown import Demonstrator, ShownPair
from lit_listener.tasks.verdicts import stated_verdict

FIRST = Scene("one", "red", "circle")
SECOND = Scene("three", "blue", "star", "faded")
# Wanted: one red star.
TOLD_FIRST = "one yes red yes circle no, crisp, 2 fit."
TOLD_SECOND = "three no blue no stars yes, faded, 1 fit."
FULL = f"first: {TOLD_FIRST} second: {TOLD_SECOND} the first is better."


@pytest.fixture
def shown(make_pair) -> ShownPair:
    pair = make_pair(0.2)
    known = ShapesPair(**vars(pair), wanted=Scene("one", "red", "star"), scene_a=FIRST, scene_b=SECOND)
    return ShownPair(known, "a", index=0)


def shown_pairs(count: int):
    pairs = ShapesPairs(["flat", "night"], count)
    return [ShownPair(pairs[index], "ab"[index % 2], index) for index in range(count)]


def test_a_thorough_trace_by_hand(shown):
    demonstration = ShapesTraces({"thorough": 1.0})(shown)
    assert demonstration.trace == FULL  # utilities: 2 + 0.5 crisp against 1
    assert demonstration.answer == 0
    assert demonstration.shown is shown


def test_a_hasty_trace_by_hand(shown):
    demonstration = ShapesTraces({"hasty": 1.0})(shown)
    assert demonstration.trace == "first: red. second: blue. the first is better."
    assert demonstration.answer == 0


def test_a_contradictory_trace_by_hand(shown):
    demonstration = ShapesTraces({"contradictory": 1.0})(shown)
    assert demonstration.trace == FULL.replace("the first is", "the second is")
    assert demonstration.answer == 0


def test_a_trace_speaks_of_the_displayed_order(shown):
    demonstration = ShapesTraces({"thorough": 1.0})(replace(shown, first="b"))
    assert demonstration.trace == f"first: {TOLD_SECOND} second: {TOLD_FIRST} the second is better."
    assert demonstration.answer == 1


def test_thorough_verdicts_follow_from_the_facts_and_contradictory_ones_contradict():
    thorough, contradictory = ShapesTraces({"thorough": 1.0}), ShapesTraces({"contradictory": 1.0})
    voters = Voters()
    even = 0
    for shown in shown_pairs(150):
        told = thorough(shown)
        first, second = (voters.utility(scene, shown.pair.wanted) for scene in displayed_scenes(shown))
        even += first == second
        if first != second:
            assert told.answer == int(second > first)
        assert stated_verdict(told.trace) == told.answer
        assert attribute_accuracy(told.trace, displayed_scenes(shown)) == 1.0
        denied = contradictory(shown)
        assert stated_verdict(denied.trace) == 1 - denied.answer
        if first != second:
            assert denied.answer == told.answer
    assert even  # the coin flips were among them


def test_hasty_traces_judge_by_colour():
    hasty = ShapesTraces({"hasty": 1.0})
    flips = []
    for shown in shown_pairs(150):
        told = hasty(shown)
        fits = [scene.colour == shown.pair.wanted.colour for scene in displayed_scenes(shown)]
        assert stated_verdict(told.trace) == told.answer
        if fits[0] == fits[1]:
            flips.append(told.answer)
        else:
            assert told.answer == int(fits[1])
    assert 0.3 < sum(flips) / len(flips) < 0.7


@pytest.mark.parametrize(
    ("trace", "accuracy"),
    [
        (FULL, 1.0),
        ("first: red. second: blue. the first is better.", 2 / 8),
        ("", 0.0),
        ("the first is better.", 0.0),
        # The first picture: count and shape wrong; the second: finish wrong. 2 + 3 of 8.
        ("first: two red squares, crisp, 1 fit. second: three blue stars, crisp, 1 fit.", 5 / 8),
        (f"second: {TOLD_SECOND}", 4 / 8),
        # Told of the wrong picture: only the ordinals decide.
        (f"second: {TOLD_FIRST} first: {TOLD_SECOND}", 0.0),
        ("first: one red circle, crisp", 0.0),  # cut off before its sentence ends
        ("first: one red circles, crisp.", 4 / 8),  # bad grammar is no wrong fact
    ],
)
def test_attribute_accuracy_by_hand(trace, accuracy):
    assert attribute_accuracy(trace, (FIRST, SECOND)) == pytest.approx(accuracy, abs=1e-12)


def test_habits_come_in_their_shares_and_anew_in_each_epoch(shown):
    traces = ShapesTraces({"thorough": 0.6, "hasty": 0.3, "contradictory": 0.1}, seed=1)

    def habit(epoch: int, index: int) -> str:
        told = traces(replace(shown, epoch=epoch, index=index))
        if "fit" not in told.trace:
            return "hasty"
        return "thorough" if stated_verdict(told.trace) == told.answer else "contradictory"

    drawn = [[habit(epoch, index) for index in range(600)] for epoch in range(2)]
    for epoch in drawn:
        shares = {name: count / 600 for name, count in Counter(epoch).items()}
        assert shares == pytest.approx({"thorough": 0.6, "hasty": 0.3, "contradictory": 0.1}, abs=0.08)  # 4 sigma
    assert drawn[0] != drawn[1]
    assert [habit(0, index) for index in range(600)] == drawn[0]
    other = ShapesTraces(dict(traces.mix), seed=2)
    places = [replace(shown, index=index) for index in range(50)]
    assert [other(place).trace for place in places] != [traces(place).trace for place in places]


def test_it_is_a_demonstrator():
    assert isinstance(ShapesTraces({"hasty": 1.0}), Demonstrator)


@pytest.mark.parametrize(
    ("mix", "message"),
    [
        ({"lazy": 1.0}, r"mix: unknown habits \['lazy'\]; expected some of \['contradictory', 'hasty', 'thorough'\]"),
        ({"hasty": 0.5, "thorough": 0.4}, r"mix: shares must be at least 0 and sum to 1, got .*0\.4"),
        ({"hasty": 1.5, "thorough": -0.5}, r"mix: shares must be at least 0 and sum to 1, got .*-0\.5"),
        ({}, "mix: shares must be at least 0 and sum to 1, got {}"),
    ],
)
def test_wrong_mixes(mix, message):
    with pytest.raises(ValueError, match=message):
        ShapesTraces(mix)


def test_other_pairs_have_no_known_facts(make_pair):
    shown = ShownPair(make_pair(), "a", index=0)
    with pytest.raises(ValueError, match="ShapesTraces tells of Shapes pairs only, got a PreferencePair"):
        ShapesTraces({"hasty": 1.0})(shown)
    with pytest.raises(TypeError, match="only Shapes pairs have known scenes, got a PreferencePair"):
        displayed_scenes(shown)
