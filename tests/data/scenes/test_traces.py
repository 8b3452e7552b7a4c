import re
from dataclasses import replace

import pytest

from lit_listener.data.scenes import (
    RENDERERS,
    Part,
    Scene,
    ScenesPairs,
    ScenesTraces,
    ScenesVoters,
    attribute_accuracy,
    displayed_scenes,
)
from lit_listener.data.scenes.scene import COLOURS
from lit_listener.data.shapes import ShapesPairs
from lit_listener.data.shown import ShownPair
from lit_listener.tasks.verdicts import stated_verdict

THOROUGH = ScenesTraces({"thorough": 1.0})
HASTY = ScenesTraces({"hasty": 1.0})
WANTED = Scene((Part("two", "red", "circle"), Part("one", "blue", "star")), ("left of",))
SWAPPED = Scene((Part("two", "blue", "circle", "faded"), Part("one", "red", "star")), ("left of",))


@pytest.fixture(scope="module")
def pairs() -> list:
    source = ScenesPairs(sorted(RENDERERS), 300)
    return [source.undrawn(index) for index in range(300)]


@pytest.fixture
def shown(pairs) -> ShownPair:
    pair = replace(pairs[0], wanted=WANTED, scene_a=SWAPPED, scene_b=replace(WANTED, relations=("right of",)))
    return ShownPair(pair, "a", 0)


def test_a_thorough_trace_by_hand(shown):
    told = THOROUGH(shown)
    assert told.trace == (
        "first: two yes blue no circles yes faded, left of yes, one yes red no star yes crisp, 5 fit, 1 crisp. "
        "second: two yes red yes circles yes crisp, right of no, one yes blue yes star yes crisp, 6 fit, 2 crisp. "
        "the second is better."
    )
    assert told.answer == 1


def test_three_parts_and_a_word_by_hand(shown):
    wanted = Scene((*WANTED.parts, Part("one", "green", "letter B")), ("left of", "above"))
    shown = ShownPair(replace(shown.pair, wanted=wanted, scene_a=wanted, scene_b=wanted), "a", 0)
    assert "one yes blue yes star yes crisp, both above yes, one yes green yes letter B yes crisp, 11 fit" in (
        THOROUGH(shown).trace
    )
    wanted = Scene((Part("one", "red", "word CAT"), WANTED.parts[1]), ("above",))
    drawn = replace(wanted, parts=(Part("one", "red", "word CTA"), WANTED.parts[1]))
    shown = ShownPair(replace(shown.pair, wanted=wanted, scene_a=drawn, scene_b=wanted), "a", 0)
    assert THOROUGH(shown).trace.startswith("first: red yes word CTA no crisp, above yes, one yes blue yes star yes")


def test_the_claims_of_a_thorough_trace_are_true_of_the_pictures(pairs):
    for index, pair in enumerate(pairs):
        shown = ShownPair(pair, "ab"[index % 2], index)
        told = THOROUGH(shown)
        scenes = (pair.scene_a, pair.scene_b) if shown.first == "a" else (pair.scene_b, pair.scene_a)
        said = re.findall(r"(?:first|second): ([^.]*)\.", told.trace)
        assert attribute_accuracy(told.trace, shown) == 1.0
        for scene, description in zip(scenes, said, strict=True):
            # independently of the reading: the parts as captions, and the numbers of marks
            plain = re.sub(r" (yes|no)\b", "", description)
            for part in scene.parts:
                assert f"{part.caption.removeprefix('the ')} {part.finish}," in plain
            assert f", {scene.fit(pair.wanted)} fit, {scene.crisp} crisp" in description
            assert len(re.findall(r"\byes\b", description)) == scene.fit(pair.wanted)
        first, second = (ScenesVoters().utility(scene, pair.wanted) for scene in scenes)
        assert first == second or told.answer == int(second > first)
        assert stated_verdict(told.trace) == told.answer


def test_a_contradictory_trace_states_the_other_verdict(pairs):
    for index, pair in enumerate(pairs[:40]):
        shown = ShownPair(pair, "a", index)
        told = ScenesTraces({"contradictory": 1.0})(shown)
        assert stated_verdict(told.trace) == 1 - told.answer
        assert attribute_accuracy(told.trace, shown) == 1.0


def test_a_hasty_trace_knows_colours_and_not_what_they_are_bound_to(shown):
    told = HASTY(replace(shown, pair=replace(shown.pair, scene_b=replace(WANTED, parts=(WANTED.parts[0],) * 2))))
    assert told.trace == "first: blue red. second: red red. the first is better."  # both colours beat one
    assert told.answer == 0
    words = set(re.findall(r"\w+", HASTY(shown).trace))
    assert words - set(COLOURS) == {"first", "second", "the", "is", "better"}


@pytest.mark.parametrize(
    ("changed", "accuracy"),
    [
        (("", ""), 1.0),
        (("two yes blue", "two yes red"), 17 / 18),  # of 2 x (2 x 4 + 1) facts
        (("faded", "crisp"), 17 / 18),
        (("right of no", "left of yes"), 17 / 18),
        (
            (
                "blue no circles yes faded, left of yes, one yes red",
                "red yes circles yes faded, left of yes, one yes blue",
            ),
            16 / 18,
        ),
        (("second: ", "other: "), 9 / 18),
        (("5 fit", "2 fit"), 1.0),  # a count of what fits is no fact of the picture
    ],
)
def test_attribute_accuracy_by_hand(shown, changed, accuracy):
    trace = THOROUGH(shown).trace.replace(*changed) if changed[0] else THOROUGH(shown).trace
    assert attribute_accuracy(trace, shown) == pytest.approx(accuracy, abs=1e-12)


def test_a_hasty_trace_and_none_score_nothing(shown):
    assert attribute_accuracy(HASTY(shown).trace, shown) == 0.0
    assert attribute_accuracy("", shown) == 0.0


def test_a_picture_is_told_in_the_prompts_order(shown):
    turned = Scene((WANTED.parts[1], WANTED.parts[0]), ("right of",))  # the star first: the same picture
    told = displayed_scenes(ShownPair(replace(shown.pair, scene_a=turned), "a", 0))
    assert told[0] == WANTED


def test_the_mix_has_its_shares_and_an_epoch_draws_anew(pairs):
    traces = ScenesTraces({"thorough": 0.25, "hasty": 0.5, "contradictory": 0.25}, seed=3)
    told = [traces(ShownPair(pair, "a", index)) for index, pair in enumerate(pairs)]
    hasty = sum("fit" not in each.trace for each in told)
    assert abs(hasty - 150) < 35  # four standard errors of 8.7
    again = [traces(ShownPair(pair, "a", index)) for index, pair in enumerate(pairs)]
    assert [each.trace for each in told] == [each.trace for each in again]
    later = [traces(ShownPair(pair, "a", index, epoch=1)) for index, pair in enumerate(pairs)]
    assert [each.trace for each in told] != [each.trace for each in later]


def test_what_it_refuses():
    with pytest.raises(ValueError, match=r"mix: unknown habits \['lazy'\]"):
        ScenesTraces({"lazy": 1.0})
    with pytest.raises(ValueError, match="sum to 1"):
        ScenesTraces({"hasty": 0.5})
    with pytest.raises(ValueError, match="Scenes pairs only, got a ShapesPair: train on Scenes pairs"):
        THOROUGH(ShownPair(ShapesPairs(["flat"], 1)[0], "a", 0))
