"""Rated pictures of the Shapes world, and thoughts about them."""

import numpy as np
import pytest

from lit_listener.data.order import ShownImages
from lit_listener.data.shapes import Raters, ShapesRatings, ShapesRatingTraces
from lit_listener.data.shapes.scenes import Scene
from lit_listener.data.shown import ShownImage
from lit_listener.tasks import AbsoluteRating

WANTED = Scene("three", "red", "circle")
RATINGS = ShapesRatings(["flat", "paper"], 300, "train", seed=6)


def shown(index: int, epoch: int = 0) -> ShownImage:
    return ShownImages(RATINGS)[index, 0, epoch]


def habit(name: str, **options) -> ShapesRatingTraces:
    return ShapesRatingTraces({name: 1.0}, **options)


@pytest.mark.parametrize(
    ("scene", "worth"),
    [
        (Scene("three", "red", "circle"), 5.0),  # utility 3.5 of 3.5
        (Scene("three", "red", "circle", "faded"), 1 + 4 * 3 / 3.5),
        (Scene("one", "red", "circle"), 1 + 4 * 2.5 / 3.5),
        (Scene("one", "blue", "star", "faded"), 1.0),
    ],
)
def test_what_a_picture_is_worth(scene, worth):
    assert Raters().worth(scene, WANTED) == pytest.approx(worth)


def test_raters_agree_with_the_worth_on_average_and_stay_on_the_scale():
    rng, raters = np.random.default_rng(0), Raters()
    scene = Scene("one", "red", "circle", "faded")  # 1 + 4 * 2 / 3.5 = 3.29
    stars = [raters.one(scene, WANTED, rng) for _ in range(4000)]
    assert np.mean(stars) == pytest.approx(23 / 7, abs=0.05)
    assert 0.5 < np.std(stars) < 0.8
    best = [raters.one(WANTED, WANTED, rng) for _ in range(200)]
    assert (min(best) >= 3, max(best)) == (True, 5)


def test_a_picture_is_the_same_every_time_and_the_splits_differ():
    one, again = RATINGS[7], ShapesRatings(["flat", "paper"], 300, "train", seed=6)[7]
    assert (one.prompt, one.rating, one.rating_id) == (again.prompt, again.rating, again.rating_id)
    assert one.image.tobytes() == again.image.tobytes()
    other = ShapesRatings(["flat", "paper"], 300, "validation", seed=6)[7]
    assert other.image.tobytes() != one.image.tobytes()
    assert RATINGS.prompt(7) == one.prompt
    assert RATINGS[-1].rating_id.endswith("-299")
    with pytest.raises(IndexError, match="picture 300 of a data set of 300"):
        RATINGS[300]


def test_all_ratings_occur_and_follow_the_truth():
    rated = [RATINGS[index] for index in range(300)]
    shares = [each.share for each in rated]
    assert all((each.lowest, each.highest) == (1, 5) for each in rated)
    task = AbsoluteRating()
    assert {task.encode(shown(index)).label for index in range(300)} == {0, 1, 2, 3, 4}
    worth = [Raters().worth(each.columns["scene"], each.columns["wanted"]) for each in rated]
    assert np.corrcoef(shares, worth)[0, 1] > 0.9


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match=r"renderers: expected one or more of .*, got \['oil'\]"):
        ShapesRatings(["oil"], 3)
    with pytest.raises(ValueError, match="size: a data set needs at least 1"):
        ShapesRatings(["flat"], 0)


def test_thorough_thoughts_state_what_they_answer():
    task, traces = AbsoluteRating(), habit("thorough")
    for index in range(40):
        told = traces(shown(index))
        assert task.stated_verdict(told.trace) == told.answer
        scene = told.shown.columns["scene"]
        assert f", {scene.finish}, {scene.fit(told.shown.columns['wanted'])} fit." in told.trace
        assert scene.colour in told.trace


def test_open_thoughts_state_nothing_and_contradictory_ones_something_else():
    task = AbsoluteRating()
    for index in range(40):
        assert task.stated_verdict(habit("open")(shown(index)).trace) is None
        told = habit("contradictory")(shown(index))
        assert task.stated_verdict(told.trace) not in (None, told.answer)


def test_hasty_thoughts_look_at_the_colour_alone():
    for index in range(60):
        told = habit("hasty")(shown(index))
        right = told.shown.columns["scene"].colour == told.shown.columns["wanted"].colour
        assert told.answer in ((2, 3, 4) if right else (0, 1, 2))
        assert "fit" not in told.trace


def test_thoughts_follow_from_seed_epoch_and_place():
    traces = ShapesRatingTraces({"thorough": 0.5, "hasty": 0.5}, seed=1)
    texts = [traces(shown(index)).trace for index in range(30)]
    assert texts == [traces(shown(index)).trace for index in range(30)]
    assert texts != [traces(shown(index, epoch=1)).trace for index in range(30)]
    assert 5 < sum("fit" in text for text in texts) < 25


def test_other_pictures_and_mixes_are_refused():
    with pytest.raises(
        ValueError, match="ShapesRatingTraces tells of the pictures of ShapesRatings only, got rating r"
    ):
        habit("thorough")(ShownImage("a cat", RATINGS[0].image, "rating r", 0, 0.5))
    with pytest.raises(ValueError, match=r"unknown habits \['lazy'\]"):
        habit("lazy")
    with pytest.raises(ValueError, match="sum to 1"):
        ShapesRatingTraces({"thorough": 0.7})
