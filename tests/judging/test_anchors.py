import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lit_listener.judging.anchors import choose_anchor
from lit_listener.judging.pictures import Picture, picture


def images(count: int) -> list[Picture]:
    return [picture(Image.new("RGB", (2, 2), (place, 3, 9))) for place in range(count)]


@given(st.integers(2, 12), st.integers(), st.text(), st.randoms(use_true_random=False))
def test_the_draw_is_of_the_images_and_not_of_their_places(count, seed, prompt, rng):
    given_order = images(count)
    shuffled = rng.sample(given_order, count)
    one, other = (choose_anchor(None, prompt, order, seed) for order in (given_order, shuffled))
    assert one.image.digest == other.image.digest
    assert shuffled[other.place] is other.image
    assert one.choice == other.choice == "seed"


def test_every_image_may_be_drawn():
    drawn = [choose_anchor(None, "a cat", images(4), seed).place for seed in range(400)]
    assert np.abs(np.bincount(drawn, minlength=4) - 100).max() < 35  # 4 standard deviations of a fair draw


def test_named_anchors():
    several = images(3)
    other = Image.new("RGB", (2, 2), (250, 250, 250))
    by_place = choose_anchor(2, "p", several, 0)
    assert (by_place.place, by_place.choice, by_place.image) == (2, "place", several[2])
    outside = choose_anchor(other, "p", several, 0)
    assert (outside.place, outside.choice, outside.image.digest) == (None, "image", picture(other).digest)
    among = choose_anchor(several[1].image.copy(), "p", several, 0)
    assert (among.place, among.choice) == (1, "image")
    asked = []
    called = choose_anchor(lambda prompt: asked.append(prompt) or other, "a dog", several, 0)
    assert (called.place, called.choice, asked) == (None, "callable", ["a dog"])
    assert choose_anchor(other, "p", several[:1], 0).place is None  # one image will do against a given anchor


@pytest.mark.parametrize(
    ("anchor", "count", "error", "message"),
    [
        (None, 0, ValueError, "at least one image, got none"),
        (None, 1, ValueError, "one image alone has nothing to be compared with"),
        (3, 3, IndexError, "no image 3 among 3"),
        (-1, 3, IndexError, "no image -1 among 3"),
        (True, 3, TypeError, "anchor: expected a place, an image or a callable"),
        (lambda prompt: None, 3, TypeError, "anchor, for the prompt 'p': an image must be"),
        (lambda prompt: {}[prompt], 3, ValueError, "the callable raised KeyError for the prompt 'p': 'p'"),
        ("nowhere.png", 3, FileNotFoundError, "anchor: there is no image nowhere.png"),
    ],
)
def test_no_anchor_is_an_error(anchor, count, error, message):
    with pytest.raises(error, match=message):
        choose_anchor(anchor, "p", images(count), 0)


def test_random_is_not_asked():
    random.seed(0)
    before = random.getstate()
    choose_anchor(None, "p", images(3), 1)
    assert random.getstate() == before
