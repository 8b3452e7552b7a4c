import json

import pytest

from lit_listener.data.records import RankedList
from lit_listener.data.shapes import ShapesPairs
from lit_listener.data.shown import ShownImage, ShownList
from lit_listener.training.watch.shown_files import read_shown, write_shown

PAIR = ShapesPairs(["flat"], 1, "test")[0]


def again(shown, folder):
    return read_shown(json.loads(json.dumps(write_shown(shown, 3, folder))), folder)


def test_an_image_is_read_back(tmp_path):
    shown = ShownImage(PAIR.prompt, PAIR.image_a, "rating 7", index=7, share=0.75, epoch=2)
    read = again(shown, tmp_path)
    assert isinstance(read, ShownImage)
    assert (read.prompt, read.name, read.index, read.share, read.epoch) == (PAIR.prompt, "rating 7", 7, 0.75, 2)
    assert read.image.tobytes() == PAIR.image_a.tobytes()
    assert [path.name for path in tmp_path.iterdir()] == ["image-3.png"]


def test_a_list_is_read_back_in_its_display_order(tmp_path):
    ranked = RankedList(PAIR.prompt, (PAIR.image_a, PAIR.image_b), (2.0, 1.0), "l", "p", ("x", "y"))
    read = again(ShownList(ranked, (1, 0), index=4), tmp_path)
    assert isinstance(read, ShownList)
    assert (read.order, read.ranks, read.ranked.generators, read.name) == ((1, 0), (1.0, 2.0), ("x", "y"), "list l")
    assert [image.tobytes() for image in read.images] == [PAIR.image_b.tobytes(), PAIR.image_a.tobytes()]


def test_something_else_is_refused(tmp_path):
    with pytest.raises(TypeError, match="expected a shown pair, image or list, got a ShapesPair"):
        write_shown(PAIR, 0, tmp_path)
