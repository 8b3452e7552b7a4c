"""Ranked lists of each layout, and that their pairs are the source's own."""

import json
import pickle
from itertools import combinations
from pathlib import Path

import pytest
from PIL import Image

from lit_listener.data.records import ListPlaces, ListSource, PairSource, PreferencePair
from lit_listener.data.shown import ShownList
from lit_listener.data.sources import HPDv2, ImageRewardDB, PairTable, WholeLists, row_images
from lit_listener.tasks import Listwise
from tests.data.published import parquet, tone
from tests.data.tables import rows, write


def paint(path: Path, level: int) -> None:
    Image.new("RGB", (4, 4), (level,) * 3).save(path)


def known(pair: PreferencePair) -> tuple:
    """All fields, images by their tone."""
    fields = {name: value for name, value in vars(pair).items() if name not in ("image_a", "image_b")}
    return tone(pair.image_a), tone(pair.image_b), *fields.items()


PLACED = [("p0", 2), ("p1", 1), ("p1", 3), ("p2", 1), ("p0", 1), ("p0", 2), ("p1", 2), ("p1", 4)]
"""Prompt and rank of each row; row n has the tone 20 n. p2 has one image."""


def image_rows() -> list[dict]:
    return [
        {
            "image": f"{row}.png",
            "prompt_id": prompt,
            "prompt": f"prompt {prompt}",
            "classification": f"kind {prompt}",
            "rank": rank,
            "hps": row / 8,
        }
        for row, (prompt, rank) in enumerate(PLACED)
    ]


@pytest.fixture
def images(folder: Path) -> Path:
    for row in range(len(PLACED)):
        paint(folder / f"{row}.png", 20 * row)
    return folder


def list_rows() -> list[dict]:
    """Two lists, of four and three images."""
    ranks = [[2, 1, 2, 3], [1, 1, 2]]
    files = [["0.png", "1.png", "2.png", "3.png"], ["4.png", "5.png", "6.png"]]
    return [
        {
            "id": f"{n:06d}",
            "prompt_id": f"q{n}",
            "prompt": f"prompt {n}",
            "generations": files[n],
            "image": files[n],
            "ranking": ranks[n],
            "rank": ranks[n],
            "classification": "people",
            "hps": [0.25 * rank for rank in ranks[n]],
        }
        for n in range(2)
    ]


def without(cells: list[dict], *names: str) -> list[dict]:
    return [{name: value for name, value in row.items() if name not in names} for row in cells]


def an_image_a_row(folder: Path, **options) -> PairSource:
    return ImageRewardDB(parquet(folder / "metadata-train.parquet", image_rows()), **options)


def authors_list(folder: Path, **options) -> PairSource:
    (folder / "test.json").write_text(json.dumps(without(list_rows(), "image", "rank", "prompt_id")))
    return ImageRewardDB(folder / "test.json", "test", **options)


def the_group_variant(folder: Path, **options) -> PairSource:
    return ImageRewardDB(
        parquet(folder / "group.parquet", without(list_rows(), "id", "generations", "ranking")), **options
    )


def lists_of_hpd(folder: Path, **options) -> PairSource:
    (folder / "test.json").write_text(
        json.dumps(without(list_rows(), "id", "generations", "ranking", "classification", "prompt_id"))
    )
    return HPDv2(folder, "test", **options)


LAYOUTS = [an_image_a_row, authors_list, the_group_variant, lists_of_hpd]


@pytest.mark.parametrize("workers_copy", [False, True])
@pytest.mark.parametrize("scores", [None, "hps"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_pairs_of_the_lists_are_the_sources_own(images, layout, scores, workers_copy):
    pairs = layout(images, drop_ties=False, scores=scores)
    lists = pairs.ranked_lists()
    assert isinstance(lists, ListSource)
    if workers_copy:
        pairs, lists = pickle.loads(pickle.dumps((pairs, lists)))
    made = [
        (n, known(ranked.pair(i, j)))
        for n, ranked in enumerate(lists)
        for i, j in combinations(range(len(ranked.images)), 2)
    ]
    assert made == [(pairs.list_of(index), known(pairs[index])) for index in range(len(pairs))]
    assert [lists.size(n) for n in range(len(lists))] == [len(ranked.images) for ranked in lists]
    assert {pair.score_a is None for pair in pairs} == {scores is None}
    assert len({pair.pair_id for pair in pairs}) == len(pairs)


def test_an_image_a_row(images):
    # p0 is in rows 0, 4, 5 with the ranks 2, 1, 2; p1 in rows 1, 2, 6, 7; p2 in row 3 alone
    pairs = an_image_a_row(images, scores="hps")
    lists = pairs.ranked_lists()
    assert [(r.list_id, r.ranks, [round(tone(i) / 20) for i in r.images], r.category) for r in lists] == [
        ("p0", (2, 1, 2), [0, 4, 5], "kind p0"),
        ("p1", (1, 3, 2, 4), [1, 2, 6, 7], "kind p1"),
        ("p2", (1,), [3], "kind p2"),
    ]
    assert lists[0].scores == (0, 0.5, 0.625)
    assert (lists[0].prompt, lists[0].prompt_id, lists[0].generators) == ("prompt p0", "p0", ("", "", ""))
    assert [pairs.list_of(n) for n in range(len(pairs))] == [0] * 2 + [1] * 6  # one pair of p0 is a tie
    assert pairs[1].listed == ListPlaces("p0", 1, 2, 1.0, 2.0)
    assert (pairs[1].score_a, pairs[1].score_b, pairs[1].category) == (0.5, 0.625, "kind p0")
    assert lists[-1].list_id == "p2"
    with pytest.raises(IndexError):
        lists[3]


@pytest.mark.parametrize("fault", ["bad rank", "bad score", "unreadable"])
def test_names_stay_as_they_are_where_an_image_is_left_out(images, fault):
    cells = image_rows()
    if fault == "unreadable":
        (images / "4.png").write_bytes(b"no image")
        (images / "3.png").unlink()  # of a list of one, which is in no pair
    else:
        cells[4] |= {"rank": None} if fault == "bad rank" else {"hps": float("nan")}
        cells[3] |= {"rank": None} if fault == "bad rank" else {"hps": None}
    path = parquet(images / "metadata-train.parquet", cells)
    pairs = ImageRewardDB(path, scores="hps", drop_ties=False, on_bad_row="skip")
    lists = pairs.ranked_lists()
    assert [(ranked.list_id, ranked.items) for ranked in lists] == [("p0", (0, 2)), ("p1", (0, 1, 2, 3))]
    assert pairs[0].pair_id == "p0-0-2"
    assert known(lists[0].pair(0, 1)) == known(pairs[0])
    assert [pairs.list_of(n) for n in range(len(pairs))] == [0] + [1] * 6
    assert pairs.counts.unreadable == (2 if fault == "unreadable" else 0)


def test_a_list_that_is_gone_moves_the_numbers_of_those_after_it(images):
    for row in (0, 4, 5):
        (images / f"{row}.png").unlink()
    pairs = an_image_a_row(images, on_bad_row="skip")
    lists = pairs.ranked_lists()
    assert [ranked.list_id for ranked in lists] == ["p1", "p2"]
    assert {lists[pairs.list_of(n)].list_id for n in range(len(pairs))} == {"p1"}


@pytest.mark.parametrize("layout", [authors_list, the_group_variant, lists_of_hpd])
def test_unreadable_images_of_rows_with_lists(images, layout):
    (images / "1.png").unlink()
    pairs = layout(images, on_bad_row="skip", drop_ties=False)
    lists = pairs.ranked_lists()
    assert [ranked.items for ranked in lists] == [(0, 2, 3), (0, 1, 2)]
    made = [known(r.pair(i, j)) for r in lists for i, j in combinations(range(len(r.images)), 2)]
    assert made == [known(pair) for pair in pairs]


def test_an_image_of_a_list_is_read_once(images, monkeypatch):
    lists = authors_list(images).ranked_lists()
    opened = []
    real = row_images.open_image
    monkeypatch.setattr(row_images, "open_image", lambda *args, **named: opened.append(1) or real(*args, **named))
    assert (lists.size(0), len(opened)) == (4, 0)
    ranked = lists[0]
    assert len(opened) == 4
    assert ranked.pair(0, 1).image_a is ranked.pair(0, 2).image_a


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"fraction": 0.5}, "fraction=0.5"),
        ({"pairs_per_list": 1}, "pairs_per_list=1"),
        ({"most_confident": 3}, "most_confident=3"),
        ({"min_agreement": 0.8}, "min_agreement=0.8"),
        ({"pairs_per_list": 1, "drop_ties": False, "seed": 3}, "pairs_per_list=1"),
    ],
)
def test_whole_lists_of_some_of_the_pairs_are_refused(images, options, named):
    pairs = an_image_a_row(images, **options)
    assert pairs.list_of(0) is not None
    with pytest.raises(ValueError, match=rf"metadata-train\.parquet: ranked lists are whole, but {named} keeps some"):
        pairs.ranked_lists()


def test_unreadable_images_of_some_of_the_pairs(images):
    (images / "1.png").unlink()
    pairs = an_image_a_row(images, on_bad_row="skip", pairs_per_list=9)
    assert {pair.prompt_id for pair in pairs} == {"p0", "p1"}
    assert {pairs.list_of(n) for n in range(len(pairs))} == {0, 1}


def test_pairs_that_come_as_pairs(folder):
    pairs = PairTable(write(folder / "t.jsonl", rows({"share_a": 1.0})), fraction=0.5)
    assert pairs.ranked_lists() is None
    assert pairs.list_of(0) is None
    assert (pairs[0].listed, pairs[0].score_a, pairs[0].category) == (None, None, "")


def test_hpdv2s_training_pairs_are_of_no_list(images):
    cells = [{"prompt": "x", "file_path": ["0.png", "1.png"], "human_preference": [0, 1], "hps": [0.5, 2.0]}]
    (images / "train.json").write_text(json.dumps(cells))
    pairs = HPDv2(images, scores="hps")
    assert (pairs.ranked_lists(), pairs.list_of(0), pairs[0].listed) == (None, None, None)
    assert (pairs[0].pair_id, pairs[0].score_a, pairs[0].score_b) == ("train-0-0-1", 0.5, 2.0)


@pytest.mark.parametrize(
    ("layout", "cell", "message"),
    [
        (authors_list, [1.0, 2.0], r"row 0, column 'generations' and column 'hps': expected lists of two or more im"),
        (authors_list, None, r"row 0, column 'generations' and column 'hps': expected lists of two or more"),
        (lists_of_hpd, [1.0, None, 2.0, 3.0], r"row 0, column 'hps': expected numbers, got \[1\.0, None"),
        (an_image_a_row, float("inf"), r"row 0, column 'hps': expected a number, got inf"),
    ],
)
def test_bad_scores_are_bad_rows(images, monkeypatch, layout, cell, message):
    whole = {name: globals()[name]() for name in ("image_rows", "list_rows")}
    for cells in whole.values():
        cells[0]["hps"] = cell
    monkeypatch.setitem(globals(), "image_rows", lambda: whole["image_rows"])
    monkeypatch.setitem(globals(), "list_rows", lambda: whole["list_rows"])
    layout(images)  # who does not ask for the scores does not mind them
    with pytest.raises(ValueError, match=message):
        layout(images, scores="hps")
    assert layout(images, scores="hps", on_bad_row="skip").counts.skipped_rows == 1


def test_a_column_of_scores_that_is_not_there(images):
    for layout in LAYOUTS:
        with pytest.raises(ValueError, match="there is no column 'pickscore'; the columns are"):
            layout(images, scores="pickscore")


def test_scores_and_a_better_and_a_worse_image(images):
    cells = [{"prompt": "x", "img_better": "0.png", "img_worse": "1.png", "hps": 1.0, "classification": "people"}]
    path = parquet(images / "pair.parquet", cells)
    assert ImageRewardDB(path)[0].category == "people"
    with pytest.raises(ValueError, match=r"scores='hps': .*has a better and a worse image a row"):
        ImageRewardDB(path, scores="hps")


# ---- lists to train on -----------------------------------------------------------------------------------------------


class Given(ListSource):
    """Lists with given ranks, of which no image may be asked for."""

    def __init__(self, *ranks: tuple[float, ...]) -> None:
        self._ranks = ranks

    def __len__(self) -> int:
        return len(self._ranks)

    def __getitem__(self, index: int):
        raise AssertionError("images were read")

    def size(self, index: int) -> int:
        return len(self._ranks[index])

    def ranks(self, index: int) -> tuple[float, ...]:
        return self._ranks[index]


class OfLists(PairSource):
    """Pairs that come of given lists."""

    def __init__(self, lists: ListSource | None) -> None:
        self._lists = lists

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int):
        raise AssertionError("images were read")

    def ranked_lists(self) -> ListSource | None:
        return self._lists


def test_lists_of_which_nothing_can_be_learnt_are_left_out():
    lists = WholeLists(OfLists(Given((1, 2), (1,), (1, 1), (2, 1, 1), (1, 2, 3, 4))), at_most=3)
    assert (len(lists), lists.left_out) == (2, 3)
    assert [lists.ranks(n) for n in range(2)] == [(1, 2), (2, 1, 1)]
    assert [lists.size(n) for n in range(2)] == [2, 3]
    with pytest.raises(ValueError, match="no lists left: all 2 are of one image, of more than 9, or ties alone"):
        WholeLists(OfLists(Given((1,), (1, 1))))
    with pytest.raises(ValueError, match="pairs: the pairs of OfLists do not come of ranked lists"):
        WholeLists(OfLists(None))
    with pytest.raises(ValueError, match="at_most: a list has 2 images or more, got at_most=1"):
        WholeLists(OfLists(Given((1, 2))), at_most=1)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_lists_of_a_published_layout_can_be_trained_on(images, layout):
    lists = WholeLists(layout(images))
    assert [len(lists), lists.left_out] == ([2, 1] if layout is an_image_a_row else [2, 0])  # p2 has one image
    for n in range(2):
        ranked = lists[n]
        assert (lists.ranks(n), lists.size(n), lists.prompt(n)) == (ranked.ranks, len(ranked.images), ranked.prompt)
        shown = ShownList(ranked, tuple(range(len(ranked.images))), n)
        assert len(Listwise().encode(shown).images) == lists.size(n)
    assert pickle.loads(pickle.dumps(lists)).ranks(1) == lists.ranks(1)
