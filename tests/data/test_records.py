import math
from dataclasses import replace

import pytest
from PIL import Image

from lit_listener.data.records import ListPlaces, RankedList, RatedImage


@pytest.mark.parametrize(
    ("share_a", "preferred"), [(1.0, "a"), (0.51, "a"), (0.5, None), (0.49, "b"), (0.0, "b"), (7 / 15, "b")]
)
def test_the_majority_is_preferred(make_pair, share_a, preferred):
    assert make_pair(share_a).preferred == preferred


@pytest.mark.parametrize("share_a", [-0.01, 1.01, math.nan, math.inf])
def test_a_share_outside_of_0_to_1_is_refused(make_pair, share_a):
    with pytest.raises(ValueError, match=rf"pair p7: share_a must lie in \[0, 1\], got {share_a}"):
        make_pair(share_a, pair_id="p7")


@pytest.fixture
def ranked() -> RankedList:
    """Three images; the second of the list was left out."""
    images = tuple(Image.new("RGB", (4, 4), colour) for colour in ("red", "green", "blue"))
    return RankedList(
        "a cat", images, (2.0, 1.0, 2.0), "l", "p", ("x", "y", "z"), "animals", scores=(0.1, 0.2, 0.3), items=(0, 2, 3)
    )


def test_a_pair_of_a_list(ranked):
    pair = ranked.pair(0, 1)
    assert (pair.pair_id, pair.prompt_id, pair.prompt, pair.category) == ("l-0-2", "p", "a cat", "animals")
    assert (pair.image_a, pair.image_b) == ranked.images[:2]
    assert (pair.share_a, pair.votes, pair.generator_a, pair.generator_b) == (0.0, 0, "x", "y")
    assert (pair.score_a, pair.score_b) == (0.1, 0.2)
    assert pair.listed == ListPlaces("l", 0, 2, 2.0, 1.0)
    assert (ranked.pair(1, 2).share_a, ranked.pair(0, 2).preferred) == (1.0, None)


def test_a_pair_of_a_list_of_which_no_image_was_left_out(ranked):
    pair = replace(ranked, items=None, scores=None).pair(1, 2)
    assert (pair.pair_id, pair.listed) == ("l-1-2", ListPlaces("l", 1, 2, 1.0, 2.0))
    assert (pair.score_a, pair.score_b) == (None, None)


@pytest.mark.parametrize("field", ["ranks", "generators", "scores", "items"])
def test_a_list_that_lacks_something_of_an_image(ranked, field):
    with pytest.raises(ValueError, match="list l: expected a rank, a generator, a score and a place for each image"):
        replace(ranked, **{field: getattr(ranked, field)[:2]})


@pytest.mark.parametrize(("rating", "lowest", "highest"), [(0.5, 1, 5), (6, 1, 5), (math.nan, 1, 5), (3, 3, 3)])
def test_a_rating_lies_on_a_scale_that_is_one(rating, lowest, highest):
    with pytest.raises(ValueError, match=rf"rating r1: expected one from {lowest} to {highest}, got {rating}"):
        RatedImage("p", Image.new("RGB", (1, 1)), rating, lowest, highest, "r1", "p")


def test_a_rating_is_a_place_on_its_scale():
    assert RatedImage("p", Image.new("RGB", (1, 1)), 4.0, 1.0, 7.0, "r1", "p").share == 0.5
