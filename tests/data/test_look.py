import re
from io import StringIO

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from lit_listener.data.look import (
    BINS,
    VOTE_BINS,
    PairStatistics,
    counts_table,
    describe,
    look,
    quantiles,
    statistics_table,
)
from lit_listener.data.shapes import ShapesPairs
from lit_listener.data.sources.table import PairTable
from tests.data.tables import rows, write


def render(table, width: int = 80) -> str:
    console = Console(width=width, file=StringIO(), force_terminal=False)
    console.print(table)
    return console.file.getvalue()


def test_counts_by_hand(make_pair):
    small, large = Image.new("RGB", (8, 8)), Image.new("RGB", (16, 8))
    pairs = [
        make_pair(0.5, image_a=large),
        make_pair(0.55, image_a=small, image_b=small, generator_a="flat", generator_b="night"),
        make_pair(0.3, image_a=small, image_b=small, generator_a="flat", prompt_id="a dog"),
        make_pair(1.0, image_a=small, image_b=large),
    ]
    assert describe(pairs) == PairStatistics(
        count=4,
        ties=1,
        a_preferred=2,
        agreement=(1, 0, 1, 0, 1),
        image_sizes={(8, 8): 5, (16, 8): 2, (8, 6): 1},
        generators={"": 5, "flat": 2, "night": 1},
        distinct_prompts=2,
        votes=(0, 0, 0, 0, 0, 4, 0, 0),
    )
    assert list(describe(pairs).image_sizes) == [(8, 8), (16, 8), (8, 6)]  # the most frequent first


@pytest.mark.parametrize(
    ("votes_a", "votes", "index"),
    # 9 of 15 is 0.6 and 6 of 15 for A is 0.6 for B: both in the bin that begins there; 1.0 is in the last.
    [
        (8, 15, 0),
        (9, 15, 1),
        (6, 15, 1),
        (7, 10, 2),
        (3, 10, 2),
        (8, 10, 3),
        (2, 10, 3),
        (9, 10, 4),
        (1, 10, 4),
        (7, 7, 4),
    ],
)
def test_bins_hold_their_lower_bounds(make_pair, votes_a, votes, index):
    agreement = describe([make_pair(votes_a / votes)]).agreement
    assert agreement == tuple(int(place == index) for place in range(len(BINS)))


@pytest.mark.parametrize("share_a", [0.7, 0.3])
def test_bins_of_32_bit_shares(make_pair, share_a):
    assert describe([make_pair(float(np.float32(share_a)))]).agreement == (0, 0, 1, 0, 0)


def test_a_part_is_spread_over_the_whole(make_pair):
    pairs = [make_pair(0.9 if index % 2 == 0 else 0.1, prompt_id=str(index)) for index in range(10)]
    assert describe(pairs, limit=5).a_preferred == 5  # 0, 2, 4, 6, 8
    assert describe(pairs, limit=3).distinct_prompts == 3
    assert describe(pairs, limit=100).count == describe(pairs).count == 10


def test_the_table_shows_every_number(make_pair):
    statistics = PairStatistics(
        count=1200,
        ties=200,
        a_preferred=480,
        agreement=(100, 150, 200, 250, 300),
        image_sizes={(512, 512): 2300, (8, 6): 100},
        generators={"[red]flat": 1800, "": 600},
        distinct_prompts=77,
        votes=(0, 100, 0, 200, 300, 0, 600, 0),
        unreadable=300,
    )
    lines = [re.sub(" +", " ", line).strip() for line in render(statistics_table(statistics, "a part")).splitlines()]
    assert [line for line in lines if line] == [
        "a part",
        "pairs",
        "in all 1,200 100.0%",
        "ties 200 16.7%",
        "image A preferred 480 40.0%",
        "agreement of the voters, in 1,000 pairs with a winner",
        "50–60% 100 10.0%",
        "60–70% 150 15.0%",
        "70–80% 200 20.0%",
        "80–90% 250 25.0%",
        "90–100% 300 30.0%",
        "votes on a pair",
        "not told 0 0.0%",
        "1 100 8.3%",
        "2–4 0 0.0%",
        "5–9 200 16.7%",
        "10–14 300 25.0%",
        "15–19 0 0.0%",
        "20–49 600 50.0%",
        "50 or more 0 0.0%",
        "unreadable, of 1,500 looked at",
        "pairs 300 20.0%",
        "distinct prompts 77",
        "generators, by image",
        "[red]flat 1,800 75.0%",  # not taken for a colour
        "not told 600 25.0%",
        "image sizes",
        "512 × 512 2,300 95.8%",
        "8 × 6 100 4.2%",
        "0% / 5% / 50% / 95% / 100% are at most",
        "width 8 / 512 / 512 / 512 / 512",
        "height 6 / 512 / 512 / 512 / 512",
    ]


def test_many_sizes_are_summed_up(make_pair):
    one = Image.new("RGB", (1, 1))
    pairs = [make_pair(image_a=Image.new("RGB", (width, 1)), image_b=one) for width in range(2, 22)]
    text = render(statistics_table(describe(pairs)))
    assert re.search(r"1 × 1 +20 +50\.0%", text)
    assert re.search(r"14 others +14 +35\.0%", text)  # 1 + 20 sizes, 7 of them by name
    assert text.count("×") == 7
    assert "width 1 / 1 / 1 / 19 / 21" in text  # 20 of 1, then 2 to 21: the 38th of 40 is 19


def test_pairs_that_are_all_ties(make_pair):
    text = render(statistics_table(describe([make_pair(0.5)])))
    assert re.search(r"ties +1 +100\.0%", text)
    assert re.search(r"50–60% +0 +n/a", text)


def test_look_at_the_shapes_world(tmp_path):
    text = render(look(ShapesPairs(["flat", "night"], 60), tmp_path / "sheet.png", limit=20)[0])
    assert text.startswith("20 of 60 pairs, spread evenly")
    assert re.search(r"112 × 112 +40 +100\.0%", text)
    assert re.search(r"in all +20 ", text)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size[0] > 1500
    whole = render(look(ShapesPairs(["flat"], 5))[0])
    assert "spread" not in whole
    assert re.search(r"flat +10 +100\.0%", whole)


def test_nothing_to_look_at(make_pair):
    with pytest.raises(ValueError, match="there are no pairs to describe: the data set is empty"):
        look([])
    with pytest.raises(ValueError, match="limit: expected at least 1 pair, got 0"):
        look([make_pair()], limit=0)


@pytest.mark.parametrize(
    ("votes", "name"),
    [
        (0, "not told"),
        (1, "1"),
        (4, "2–4"),
        (5, "5–9"),
        (14, "10–14"),
        (20, "20–49"),
        (49, "20–49"),
        (50, "50 or more"),
    ],
)
def test_bins_of_votes(make_pair, votes, name):
    assert describe([make_pair(votes=votes)]).votes == tuple(int(each == name) for each in VOTE_BINS)


def test_quantiles_are_values_that_occur():
    values = {3: 1, 10: 18, 70: 1}
    assert quantiles(values) == [3, 3, 10, 10, 70]
    assert quantiles({5: 1}) == [5] * 5
    assert quantiles({number: 1 for number in range(1, 101)}) == [1, 5, 50, 95, 100]


class Broken(list):
    """Pairs of which some cannot be read."""

    def __getitem__(self, index):
        if index % 3 == 1:
            raise ValueError(f"t.csv, row {index}: cannot read it")
        return super().__getitem__(index)


def test_unreadable_pairs_are_counted_and_do_not_stop_a_look(make_pair, tmp_path):
    pairs = Broken([make_pair()] * 20)
    statistics = describe(pairs)
    assert (statistics.count, statistics.unreadable, statistics.a_preferred) == (13, 7, 13)
    assert statistics.reasons == tuple(f"t.csv, row {index}: cannot read it" for index in (1, 4, 7, 10, 13))
    table, reasons = look(pairs, tmp_path / "sheet.png")
    assert re.search(r"pairs +7 +35\.0%", render(table))
    assert reasons == statistics.reasons
    assert (tmp_path / "sheet.png").is_file()


def test_nothing_that_can_be_read(tmp_path):
    class NonePairs(list):
        def __getitem__(self, index):
            raise OSError("gone")

    table, reasons = look(NonePairs([1, 2]), tmp_path / "sheet.png")
    assert re.search(r"pairs +2 +100\.0%", render(table))
    assert reasons == ("gone", "gone")
    assert not (tmp_path / "sheet.png").exists()


def test_how_the_pairs_of_a_table_came_about(folder):
    path = write(folder / "t.jsonl", rows({"share_a": 0.5}, {"share_a": 1.0}, {"share_a": 7.0}, {"share_a": 0.1}))
    text = re.sub(" +", " ", render(counts_table(PairTable(path, on_bad_row="skip"))))
    assert [line.strip() for line in text.splitlines() if line.strip()] == [
        "rows 4",
        "skipped 1",
        "pairs they make 3",
        "ties 1",
        "unreadable, left out 0",
        "pairs used 2",
    ]
