import math
from dataclasses import FrozenInstanceError

import pytest

from lit_listener.data.records import Demonstration, ShownPair


@pytest.mark.parametrize(
    ("share_a", "preferred"), [(1.0, "a"), (0.51, "a"), (0.5, None), (0.49, "b"), (0.0, "b"), (7 / 15, "b")]
)
def test_the_majority_is_preferred(make_pair, share_a, preferred):
    assert make_pair(share_a).preferred == preferred


@pytest.mark.parametrize("share_a", [-0.01, 1.01, math.nan, math.inf])
def test_a_share_outside_of_0_to_1_is_refused(make_pair, share_a):
    with pytest.raises(ValueError, match=rf"pair p7: share_a must lie in \[0, 1\], got {share_a}"):
        make_pair(share_a, pair_id="p7")


@pytest.mark.parametrize(
    ("share_a", "first", "label"), [(0.8, "a", 0), (0.8, "b", 1), (0.2, "a", 1), (0.2, "b", 0), (0.5, "a", None)]
)
def test_the_label_is_the_place_of_the_preferred_image_on_display(make_pair, share_a, first, label):
    pair = make_pair(share_a)
    shown = ShownPair(pair, first, index=0)
    assert shown.label == label
    if label is not None:
        assert shown.images[label] is (pair.image_a if share_a > 0.5 else pair.image_b)


def test_images_in_displayed_order(make_pair):
    pair = make_pair()
    assert ShownPair(pair, "a", index=0).images == (pair.image_a, pair.image_b)
    assert ShownPair(pair, "b", index=0).images == (pair.image_b, pair.image_a)


def test_records_are_frozen(make_pair):
    shown = ShownPair(make_pair(), "a", index=0)
    for record, field in ((shown.pair, "share_a"), (shown, "first"), (Demonstration(shown, "…", 0), "answer")):
        with pytest.raises(FrozenInstanceError):
            setattr(record, field, 1)
