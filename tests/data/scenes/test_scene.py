from dataclasses import replace

import pytest
from hypothesis import given, settings

from lit_listener.data.scenes import Part, Scene
from lit_listener.data.scenes.scene import INVERSE
from tests.data.scenes.drawn import attempts, prompts

CIRCLES = Part("two", "red", "circle")
STAR = Part("one", "blue", "star")
WANTED = Scene((CIRCLES, STAR), ("left of",))
WORD = Part("one", "red", "word CAT")


@pytest.mark.parametrize(
    ("part", "caption"),
    [
        (CIRCLES, "two red circles"),
        (STAR, "one blue star"),
        (Part("three", "green", "cross"), "three green crosses"),
        (Part("one", "red", "letter B"), "one red letter B"),
        (Part("four", "red", "digit 7"), "four red digits 7"),
        (WORD, "the red word CAT"),
    ],
)
def test_captions_of_parts(part, caption):
    assert part.caption == caption


def test_captions_of_scenes():
    assert WANTED.caption == "two red circles left of one blue star"
    three = Scene((CIRCLES, STAR, Part("one", "green", "ring")), ("left of", "above"))
    assert three.caption == "two red circles left of one blue star, both above one green ring"


@pytest.mark.parametrize(
    ("scene", "fit"),
    [
        (WANTED, 7),  # two parts of count, colour and form, and the relation
        (replace(WANTED, parts=(replace(CIRCLES, finish="faded"), STAR)), 7),  # a finish is no fact of the prompt
        (replace(WANTED, parts=(replace(CIRCLES, count="three"), STAR)), 6),
        (replace(WANTED, relations=("right of",)), 6),
        # colours bound to the wrong parts: every word of the prompt is there, two facts are not
        (replace(WANTED, parts=(replace(CIRCLES, colour="blue"), replace(STAR, colour="red"))), 5),
        # the same picture told from the star: nothing is wrong with it
        (Scene((STAR, CIRCLES), ("right of",)), 7),
        # two blue circles right of one red star: read so, two colours and the relation are wrong; as one red star left
        # of two blue circles, two counts and two forms
        (Scene((replace(CIRCLES, colour="blue"), replace(STAR, colour="red")), ("right of",)), 4),
    ],
)
def test_fit_by_hand(scene, fit):
    assert scene.fit(WANTED) == fit


def test_a_word_counts_for_its_colour_and_spelling():
    wanted = Scene((WORD, STAR), ("above",))
    assert wanted.fit(wanted) == 2 + 3 + 1
    assert replace(wanted, parts=(replace(WORD, form="word CTA"), STAR)).fit(wanted) == 5


@settings(max_examples=60, deadline=None)
@given(prompts())
def test_what_was_asked_for_fits_best(wanted):
    facts = sum(2 if part.is_word else 3 for part in wanted.parts) + len(wanted.relations)
    assert wanted.fit(wanted) == facts
    assert wanted.read_for(wanted) == wanted


@settings(max_examples=100, deadline=None)
@given(attempts())
def test_a_picture_fits_the_same_however_it_is_told(drawn):
    wanted, scene = drawn
    fits = {reading.fit(wanted) for reading in scene.readings()}
    assert fits == {scene.fit(wanted)}
    assert scene.readings()[1].readings()[1] == scene
    assert 0 <= scene.fit(wanted) <= wanted.fit(wanted)


@settings(max_examples=100, deadline=None)
@given(prompts())
def test_each_thing_that_is_wrong_costs_one(wanted):
    others = ("violet", "no form")
    part = wanted.parts[-1]
    worse = replace(wanted, parts=(*wanted.parts[:-1], replace(part, colour=others[0])))
    worst = replace(wanted, parts=(*wanted.parts[:-1], replace(part, colour=others[0], form=others[1])))
    best = wanted.fit(wanted)
    assert (worse.fit(wanted), worst.fit(wanted)) == (best - 1, best - 2)


def test_a_relation_turned_twice_is_itself():
    assert all(INVERSE[INVERSE[relation]] == relation for relation in INVERSE)
