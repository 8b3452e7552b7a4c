from dataclasses import FrozenInstanceError

import pytest

from lit_listener.data import records, shown
from lit_listener.data.shown import Demonstration, ShownPair


@pytest.mark.parametrize(
    ("share_a", "first", "label"), [(0.8, "a", 0), (0.8, "b", 1), (0.2, "a", 1), (0.2, "b", 0), (0.5, "a", None)]
)
def test_the_label_is_the_place_of_the_preferred_image_on_display(make_pair, share_a, first, label):
    pair = make_pair(share_a)
    pair_shown = ShownPair(pair, first, index=0)
    assert pair_shown.label == label
    if label is not None:
        assert pair_shown.images[label] is (pair.image_a if share_a > 0.5 else pair.image_b)


def test_images_in_displayed_order(make_pair):
    pair = make_pair()
    assert ShownPair(pair, "a", index=0).images == (pair.image_a, pair.image_b)
    assert ShownPair(pair, "b", index=0).images == (pair.image_b, pair.image_a)


def test_records_are_frozen(make_pair):
    pair_shown = ShownPair(make_pair(), "a", index=0)
    for record, field in (
        (pair_shown.pair, "share_a"),
        (pair_shown, "first"),
        (Demonstration(pair_shown, "…", 0), "answer"),
    ):
        with pytest.raises(FrozenInstanceError):
            setattr(record, field, 1)


@pytest.mark.parametrize("name", ["Demonstration", "Demonstrator", "OtherKindError", "Shown", "ShownPair", "a_pair"])
def test_names_are_found_where_they_once_were_too(name):
    assert getattr(records, name) is getattr(shown, name)


def test_other_names_are_not():
    with pytest.raises(AttributeError, match="has no attribute 'ShownFilm'"):
        _ = records.ShownFilm
