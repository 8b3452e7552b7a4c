import re
from io import StringIO

import pytest
from PIL import Image, ImageOps
from rich.console import Console

from lit_listener.data.overlap import OverlapSide, normalised, overlap, overlap_table
from lit_listener.data.records import PairSource
from tests.data.test_image_hash import jpeg, picture


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("A  Cat,\tsleeping!\n", "a cat sleeping"),
        ("“a cat”—sleeping…", "a cat sleeping"),
        ("\uff26\uff35\uff2c\uff2c\u3000width", "full width"),
        ("cafe\u0301", "caf\u00e9"),  # the accent as a letter of its own
        ("Straße", "strasse"),
        ("猫\uff0c走る", "猫 走る"),
        ("50% grey + 3 cats", "50 grey + 3 cats"),  # symbols other than punctuation say something
        ("", ""),
    ],
)
def test_of_a_prompt_its_words_count(written, words):
    assert normalised(written) == words


@pytest.fixture
def sets(make_pair):
    """Five pairs trained on and four tested on: two prompts and three images are shared."""

    def pair(name, prompt, a, b):
        return make_pair(prompt=prompt, pair_id=name, image_a=a, image_b=b)

    blank = Image.new("RGB", (8, 8), "red")  # without structure: never shared
    train = [
        pair("t0", "A cat.", picture(0), picture(1)),
        pair("t1", "a  cat", picture(2), picture(3)),
        pair("t2", "a dog", picture(4), blank),
        pair("t3", "a boat", picture(5), picture(6)),
        pair("t4", "a tree", picture(7), picture(8)),
    ]
    test = [
        pair("e0", "a CAT", picture(10), jpeg(picture(3), 40)),  # a prompt, and an image compressed again
        pair("e1", "a house", picture(4).resize((64, 48)), blank),  # an image scaled
        pair("e2", "a boat!", ImageOps.mirror(picture(5)), picture(11)),  # a prompt; a mirrored image is another
        pair("e3", "a hill", picture(0), picture(0)),
    ]
    return train, test


def test_what_is_shared_is_counted_on_both_sides(sets):
    found = overlap(*sets)
    assert found.first == OverlapSide(
        pairs=5,
        unreadable=0,
        prompts=4,
        shared_prompts=2,
        pairs_with_shared_prompts=3,
        images=9,
        shared_images=3,
        pairs_with_shared_images=3,
    )
    assert found.second == OverlapSide(
        pairs=4,
        unreadable=0,
        prompts=4,
        shared_prompts=2,
        pairs_with_shared_prompts=2,
        images=6,
        shared_images=3,
        pairs_with_shared_images=3,
    )
    assert found.prompts == ("a CAT", "a boat!")
    assert [image[:2] for image in found.images] == [
        ("t1, image B", "e0, image B"),
        ("t2, image A", "e1, image A"),
        ("t0, image A", "e3, image A"),
    ]
    assert found.images[2][2] == 0
    assert all(bits <= 4 for *_, bits in found.images)


def test_a_larger_distance_finds_more(sets):
    assert overlap(*sets, distance=63).second.shared_images == 6
    assert overlap(*sets, distance=0).second.shared_images >= 1


def test_the_other_way_round(sets):
    there, back = overlap(*sets), overlap(*reversed(sets))
    assert (there.first, there.second) == (back.second, back.first)


def test_nothing_is_shared(sets, make_pair):
    other = [make_pair(prompt="else", image_a=picture(20), image_b=picture(21))]
    found = overlap(sets[0], other)
    assert (found.first.shared_prompts, found.first.shared_images, found.second.pairs_with_shared_images) == (0, 0, 0)
    assert (found.prompts, found.images) == ((), ())
    blank = [make_pair(prompt="a cat")]  # red and blue
    assert overlap(sets[0], blank).first.shared_images == overlap(blank, sets[0]).first.shared_images == 0


class Broken(PairSource):
    """Pairs of which one image cannot be read."""

    def __init__(self, pairs, broken):
        self.pairs, self.broken, self.decoded = pairs, broken, []

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, index):
        self.decoded.append(index)
        if index in self.broken:
            raise ValueError("a.jsonl, row 1: cannot read it")
        return self.pairs[index]

    def prompt(self, index):
        return self.pairs[index].prompt


def test_unreadable_pairs_are_counted(sets):
    train, test = sets
    found = overlap(train, Broken(test, {0}))
    assert (found.second.pairs, found.second.unreadable, found.second.shared_prompts) == (4, 1, 1)
    assert found.second.shared_images == 2
    with pytest.raises(ValueError, match="the second data set has no pair that can be read, of 4"):
        overlap(train, Broken(test, {0, 1, 2, 3}))


def test_prompts_alone_decode_no_image(sets):
    train, test = sets[0], Broken(sets[1], {0})
    found = overlap(train, test, images=False)
    assert test.decoded == []
    assert (found.second.shared_prompts, found.second.images, found.images) == (2, 0, ())
    assert "images" not in shown(found)


def shown(found):
    console = Console(width=100, file=StringIO())
    console.print(overlap_table(found, ("train", "[red]test")))
    return console.file.getvalue()


def test_the_table_shows_shares(sets):
    text = re.sub(" +", " ", shown(overlap(sets[0], Broken(sets[1], {0}))))
    assert "train [red]test" in text
    assert "pairs looked at 5 4" in text
    assert "unreadable 0 (0.0%) 1 (25.0%)" in text
    assert "different prompts 4 3" in text
    assert "shared 1 (25.0%) 1 (33.3%)" in text
    assert "pairs with one 1 (20.0%) 1 (33.3%)" in text
    assert "different images 9 4" in text
    assert "shared 2 (22.2%) 2 (50.0%)" in text
    assert "pairs with one 2 (40.0%) 2 (66.7%)" in text


def test_a_part(sets):
    found = overlap(*sets, limit=2)
    assert (found.first.pairs, found.second.pairs) == (2, 2)


def test_values_out_of_range(sets):
    with pytest.raises(ValueError, match="distance: expected a number of bits from 0 to 63, got 64"):
        overlap(*sets, distance=64)
    with pytest.raises(ValueError, match="limit: expected at least 1 pair, got 0"):
        overlap(*sets, limit=0)
