from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lit_listener.data.scenes import KINDS, Part, Scene, Slips, attempt, random_prompt
from lit_listener.data.scenes.scene import CONTAINERS, WORDS
from lit_listener.data.scenes.slips import misspell
from tests.data.scenes.drawn import attempts, prompts, seeds

NONE = Slips(count=0, colour=0, form=0, swap=0, relation=0, spelling=0, faded=0)
WANTED = Scene((Part("two", "red", "circle"), Part("one", "blue", "star")), ("left of",))


def words(scene: Scene) -> list[str]:
    return sorted(word for part in scene.parts for word in (part.count, part.colour, part.form))


def only(**slips: float) -> Slips:
    return Slips(**({name: 0.0 for name in vars(NONE)} | slips))


def tries(wanted: Scene, slips: Slips, count: int = 600) -> list[Scene]:
    rng = np.random.default_rng(0)
    return [attempt(wanted, slips, rng) for _ in range(count)]


@settings(max_examples=30, deadline=None)
@given(prompts(), seeds)
def test_without_slips_the_prompt_is_drawn(wanted, seed):
    assert attempt(wanted, NONE, np.random.default_rng(seed)) == wanted


def test_a_swap_binds_what_is_there_to_the_wrong_parts():
    drawn = Counter(tries(WANTED, only(swap=1.0)))
    colours = Scene((Part("two", "blue", "circle"), Part("one", "red", "star")), ("left of",))
    counts = Scene((Part("one", "red", "circle"), Part("two", "blue", "star")), ("left of",))
    assert set(drawn) == {colours, counts}
    assert drawn[counts] / 600 == pytest.approx(1 / 3, abs=0.08)  # four standard errors
    for scene in drawn:
        assert words(scene) == words(WANTED)
        assert scene.fit(WANTED) == 5


def test_a_relation_slips_to_its_opposite_mostly():
    drawn = Counter(scene.relations for scene in tries(WANTED, only(relation=1.0)))
    assert set(drawn) == {("right of",), ("above",), ("below",)}
    assert drawn["right of",] / 600 == pytest.approx(0.5, abs=0.09)


@pytest.mark.parametrize(
    ("slip", "fit"), [("count", 5), ("colour", 5), ("form", 5), ("faded", 7)]
)  # of 7 facts: each slip is made in both parts
def test_a_slip_of_each_part(slip, fit):
    assert {scene.fit(WANTED) for scene in tries(WANTED, only(**{slip: 1.0}), 100)} == {fit}


def test_generators_slip_as_often_as_they_say():
    wanted = Scene((Part("one", "red", "word CAT"), Part("one", "blue", "star")), ("above",))
    drawn = tries(wanted, Slips(), 2000)
    rates = {
        "spelling": np.mean([scene.parts[0].form != "word CAT" for scene in drawn]),
        "form": np.mean([scene.parts[1].form != "star" for scene in drawn]),
        "relation": np.mean([scene.relations != wanted.relations for scene in drawn]),
        "faded": np.mean([scene.parts[0].finish == "faded" for scene in drawn]),
    }
    assert rates == pytest.approx({"spelling": 0.4, "form": 0.12, "relation": 0.25, "faded": 0.3}, abs=0.04)


@settings(max_examples=100, deadline=None)
@given(attempts())
def test_what_is_drawn_can_be_drawn(drawn):
    wanted, scene = drawn
    assert len({part.colour for part in scene.parts}) == len(scene.parts)  # an object stays visible on another
    assert len(scene.parts) == len(wanted.parts)
    if scene.relations[0] == "inside":
        assert scene.parts[1].form in CONTAINERS
        assert scene.parts[1].count == "one"
    assert all(part.count == "one" for part in scene.parts if part.is_word)
    assert scene.relations[1:] == wanted.relations[1:]


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(WORDS), seeds)
def test_a_misspelt_word_is_nearly_the_word(form, seed):
    word = form.removeprefix("word ")
    spelt = misspell(word, np.random.default_rng(seed))
    assert spelt != word
    assert abs(len(spelt) - len(word)) <= 1
    # exchanged letters are the same letters; else one letter is put in, taken out or replaced
    missing, added = Counter(word) - Counter(spelt), Counter(spelt) - Counter(word)
    assert missing.total() <= 1
    assert added.total() <= 1


def test_prompts_name_no_colour_twice_and_have_every_kind():
    rng = np.random.default_rng(0)
    for kind in KINDS:
        wanted = [random_prompt(kind, rng) for _ in range(60)]
        assert all(len({part.colour for part in scene.parts}) == len(scene.parts) for scene in wanted)
        assert {len(scene.parts) for scene in wanted} == {3 if kind == "three" else 2}
        assert all((scene.relations == ("inside",)) == (kind == "inside") for scene in wanted)
        assert all(any(part.is_word for part in scene.parts) == (kind == "word") for scene in wanted)
