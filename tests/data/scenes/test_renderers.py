import hashlib
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from scipy import ndimage

from lit_listener.data.scenes import HELD_OUT, RENDERERS, TRAINED_ON, Part, Scene
from lit_listener.data.scenes.figures import LETTERS_DRAWN, figure
from lit_listener.data.scenes.layout import SIZE, arrange
from lit_listener.data.scenes.scene import COLOURS, COUNTS, DIGITS, LETTERS, SHAPES, WORDS
from lit_listener.data.simulated.drawing import FADE, PALETTE, towards
from tests.data.scenes.drawn import attempts, seeds

ONE_RED = Part("one", "red", "circle")
ONE_BLUE = Part("one", "blue", "square")


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def inked(renderer, image, colour: str, finish: str = "crisp") -> np.ndarray:
    """Where a picture has this colour."""
    ink = towards(PALETTE[colour], renderer.background, FADE if finish == "faded" else 0.0)
    return np.abs(np.asarray(image).astype(int) - ink).max(-1) <= 6


def test_five_are_trained_on_and_two_are_held_out():
    assert (len(TRAINED_ON), len(HELD_OUT)) == (5, 2)
    assert {*TRAINED_ON, *HELD_OUT} == set(RENDERERS)
    assert len({renderer.background for renderer in RENDERERS.values()}) == 7


@settings(max_examples=150, deadline=None)
@given(attempts(), seeds)
def test_where_objects_stand_shows_the_relation_and_no_other(drawn, seed):
    _, scene = drawn
    placed = arrange(scene, rng(seed))
    first, second, *_ = (
        np.array([(at.x, at.y, at.radius) for at in placed if at.part == part]) for part in scene.parts
    )
    if scene.relations[0] == "inside":
        (x, y, radius), inner = second[0], first
        inside = 0.72 * radius if scene.parts[1].form == "ring" else radius
        assert (np.hypot(inner[:, 0] - x, inner[:, 1] - y) + 0.5 * inner[:, 2] < inside).all()
        return
    axis, sign = {"left of": (0, 1), "right of": (0, -1), "above": (1, 1), "below": (1, -1)}[scene.relations[0]]
    apart = sign * (
        second[:, axis].min() - first[:, axis].max() if sign > 0 else second[:, axis].max() - first[:, axis].min()
    )
    assert apart > 30  # every object of the one lies before every one of the other
    assert abs(first[:, 1 - axis].mean() - second[:, 1 - axis].mean()) < 25  # and their middles at one height


@settings(max_examples=80, deadline=None)
@given(attempts(), seeds)
def test_nothing_leaves_the_picture(drawn, seed):
    for at in arrange(drawn[1], rng(seed)):
        left, top, right, bottom = figure(at.part.form, at.x, at.y, at.radius).bounds(1.0)
        assert min(left, top) >= 0, at
        assert max(right, bottom) <= SIZE, at


@pytest.mark.parametrize("name", RENDERERS)
def test_a_renderer_draws_the_counts_and_colours_it_is_asked_for(name):
    renderer = RENDERERS[name]
    for seed, (count, colour) in enumerate(zip(COUNTS * 2, (*COLOURS, "red", "green"), strict=True)):
        other = "purple" if colour == "blue" else "blue"
        shape = SHAPES[seed]
        scene = Scene((Part(count, colour, shape), Part("two", other, "square")), ("left of",))
        image = renderer.draw(scene, rng(seed))
        assert (image.mode, image.size) == ("RGB", (SIZE, SIZE))
        for ink, wanted in ((colour, COUNTS.index(count) + 1), (other, 2)):
            labelled, found = ndimage.label(inked(renderer, image, ink))
            areas = np.bincount(labelled.ravel(), minlength=found + 1)[1:]
            assert (areas > 60).sum() == wanted, (scene, ink)
        _, columns = np.nonzero(inked(renderer, image, colour))
        assert columns.max() < np.nonzero(inked(renderer, image, other))[1].min()


@pytest.mark.parametrize("name", RENDERERS)
def test_a_faded_part_has_lower_contrast_and_the_other_keeps_its_own(name):
    renderer = RENDERERS[name]
    scene = Scene((replace(ONE_RED, finish="faded"), ONE_BLUE), ("above",))
    image = renderer.draw(scene, rng())
    assert inked(renderer, image, "red", "faded").sum() > 300
    assert not inked(renderer, image, "red").any()
    assert inked(renderer, image, "blue").sum() > 300


def test_one_stands_inside_another_and_both_are_seen():
    for renderer in RENDERERS.values():
        image = renderer.draw(Scene((ONE_RED, ONE_BLUE), ("inside",)), rng())
        red, blue = inked(renderer, image, "red"), inked(renderer, image, "blue")
        assert red.sum() > 300, renderer.name
        assert blue.sum() > 10_000, renderer.name
        assert (red & ndimage.binary_fill_holes(blue)).sum() == red.sum(), renderer.name


def test_every_form_looks_different():
    forms = [*SHAPES, *LETTERS, *DIGITS, *WORDS]
    renderer = RENDERERS["flat"]
    scenes = [Scene((replace(ONE_RED, form=form), ONE_BLUE), ("left of",)) for form in forms]
    drawn = {form: inked(renderer, renderer.draw(s, rng()), "red") for form, s in zip(forms, scenes, strict=True)}
    for form, ink in drawn.items():
        likest = min((ink ^ other).sum() for name, other in drawn.items() if name != form)
        assert likest > 0.1 * ink.sum(), form


def test_every_letter_of_every_word_is_written_in_strokes():
    assert {*"ABCDEFGHIJKLMNOPQRSTUVWXYZ"} <= LETTERS_DRAWN
    assert {form.split()[1] for form in (*LETTERS, *DIGITS)} <= LETTERS_DRAWN
    spelt = figure("word CAT", 50.0, 50.0, 40.0)
    assert Counter(len(stroke) for stroke in spelt.strokes) == Counter([8, 3, 2, 2, 2])  # C; A and its bar; T's two
    assert not spelt.solid


def test_a_word_is_spelt_from_left_to_right():
    """The second letter of an exchange stands first: CAT and ACT share their ink but not its places."""
    cat, act = (figure(f"word {word}", 50.0, 50.0, 40.0).strokes for word in ("CAT", "ACT"))
    assert cat[-2:] == act[-2:]  # T
    assert cat[0] != act[0]
    shift = act[2][0][0] - cat[0][0][0]
    assert np.array(cat[0]) + np.array([shift, 0.0]) == pytest.approx(np.array(act[2]))  # the same C, one place on
    assert shift > 10


def test_pictures_are_the_same_on_every_machine():
    """Pixels of one scene of letters and shapes by every renderer, as they were when the world was made."""
    scene = Scene((Part("one", "purple", "word RIVER"), Part("three", "green", "heart", "faded")), ("below",))
    digest = hashlib.sha256(b"".join(RENDERERS[name].draw(scene, rng(1)).tobytes() for name in sorted(RENDERERS)))
    assert digest.hexdigest()[:16] == "42238eb0366a55b3"
