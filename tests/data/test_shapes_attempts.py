import numpy as np
import pytest

from lit_listener.data.shapes.attempts import SCENES, attempts
from lit_listener.data.shapes.scenes import Scene


def test_every_prompt_is_known_by_its_caption() -> None:
    assert len(SCENES) == 4 * 6 * 4
    assert SCENES["two red circles"] == Scene("two", "red", "circle")
    assert SCENES["one blue star"] == Scene("one", "blue", "star")


def test_a_picture_is_the_same_however_many_are_drawn() -> None:
    few, many = attempts("two red circles", 2, seed=3), attempts("two red circles", 12, seed=3)
    for one, other in zip(few, many, strict=False):
        assert one.scene == other.scene
        assert np.array_equal(one.picture, other.picture)
    assert len({each.scene for each in many}) > 1
    assert {each.fits for each in many} <= {0, 1, 2, 3}
    assert all(each.fits == each.scene.fit(SCENES["two red circles"]) for each in many)
    assert not np.array_equal(many[0].picture, attempts("two red circles", 1, seed=4)[0].picture)


def test_what_cannot_be_drawn_is_told() -> None:
    with pytest.raises(ValueError, match=r"prompt: Shapes has one, two, three, four of red, .* got 'a red circle'"):
        attempts("a red circle", 1)
    with pytest.raises(ValueError, match=r"renderer: expected one of \['flat', 'night', 'paper'\], got 'oil'"):
        attempts("one red circle", 1, "oil")
    with pytest.raises(ValueError, match="count: expected at least 1 picture, got 0"):
        attempts("one red circle", 0)
