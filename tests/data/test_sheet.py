import numpy as np
import pytest
from PIL import Image

from lit_listener.data import sheet
from lit_listener.data.sheet import contact_sheet, spread, vote_text

GREEN = (11, 122, 75)  # of the frame
RED, BLUE = (255, 0, 0), (0, 0, 255)


def read(path) -> np.ndarray:
    with Image.open(path) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        return np.asarray(image).astype(int)


def box(page: np.ndarray, colour) -> tuple[int, int, int, int]:
    """First and last row, first and last column of a colour."""
    rows, columns = np.nonzero((page == colour).all(-1))
    return rows.min(), rows.max(), columns.min(), columns.max()


def area(page: np.ndarray, colour) -> int:
    return int((page == colour).all(-1).sum())


@pytest.mark.parametrize(
    ("share_a", "votes", "text"),
    [
        (11 / 15, 15, "A 73% of 15"),
        (4 / 15, 15, "B 73% of 15"),
        (1.0, 1, "A 100% of 1"),
        (0.2, 0, "B 80%"),
        (0.5, 10, "tie of 10"),
        (0.5, 0, "tie"),
    ],
)
def test_the_vote_in_words(make_pair, share_a, votes, text):
    assert vote_text(make_pair(share_a, votes=votes)) == text


@pytest.mark.parametrize(
    ("size", "count", "indices"),
    [(5, 24, [0, 1, 2, 3, 4]), (10, 4, [0, 2, 5, 7]), (100, 2, [0, 50]), (0, 3, []), (3, 1, [0])],
)
def test_pairs_are_spread_over_the_data_set(size, count, indices):
    assert spread(size, count) == indices


def test_both_images_side_by_side_and_the_preferred_one_framed(make_pair, tmp_path):
    pages = {}
    for share_a in (0.8, 0.2, 0.5):
        contact_sheet([make_pair(share_a)], tmp_path / "sheet.png")
        pages[share_a] = page = read(tmp_path / "sheet.png")
        top, bottom, _, red_end = box(page, RED)
        assert box(page, BLUE)[:2] == (top, bottom)  # on one level
        assert box(page, BLUE)[2] > red_end  # A on the left
    for share_a, colour in ((0.8, RED), (0.2, BLUE)):
        page = pages[share_a]
        top, bottom, left, right = box(page, colour)
        frame = [page[top - 1, left], page[bottom + 1, right], page[top, left - 1], page[bottom, right + 1]]
        assert (np.array(frame) == GREEN).all()
    assert area(pages[0.5], GREEN) == 0  # a tie has no winner


def test_the_bar_is_split_as_the_votes(make_pair, tmp_path):
    lengths = []
    for share_a in (0.8, 1.0):
        contact_sheet([make_pair(share_a, votes=10)], tmp_path / "sheet.png")
        page = read(tmp_path / "sheet.png")
        below = page[box(page, RED)[1] + 10 :]
        lengths.append((below == GREEN).all(-1).sum(1).max())
    assert lengths == [round(0.8 * 430), 430]  # 430 pixels: two squares of 208 and the gap of 14 between them


@pytest.mark.parametrize("size", [(512, 512), (16, 16), (640, 160), (160, 640), (1, 3000), (3000, 1), (1, 1)])
def test_images_of_any_size_keep_their_proportions_and_their_place(make_pair, tmp_path, size):
    pair = make_pair(0.2, image_a=Image.new("RGB", size, RED), image_b=Image.new("RGB", (8, 8), BLUE))
    contact_sheet([pair], tmp_path / "sheet.png")
    page = read(tmp_path / "sheet.png")
    top, bottom, left, right = box(page, RED)
    height, width = bottom - top + 1, right - left + 1
    assert max(height, width) == 208
    assert min(height, width) == max(1, round(208 * min(size) / max(size)))
    blue = box(page, BLUE)
    assert (top + bottom) // 2 == pytest.approx((blue[0] + blue[1]) // 2, abs=1)
    assert left + right < blue[2] + blue[3]


@pytest.mark.parametrize(
    ("count", "columns", "grid"), [(24, 4, (2, 4)), (3, 2, (2, 2)), (5, 7, (1, 5)), (1, 1, (1, 1))]
)
def test_pairs_stand_in_a_grid(make_pair, tmp_path, count, columns, grid):
    contact_sheet([make_pair()], tmp_path / "one.png")
    contact_sheet([make_pair() for _ in range(7)], tmp_path / "sheet.png", count=count, columns=columns)
    one, page = read(tmp_path / "one.png").shape, read(tmp_path / "sheet.png").shape
    gap = 14
    assert (page[0] - gap, page[1] - gap) == (grid[0] * (one[0] - gap), grid[1] * (one[1] - gap))


def test_pairs_stand_in_their_order_row_by_row(make_pair, tmp_path):
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255)]
    white = Image.new("RGB", (8, 8), "white")
    pairs = [make_pair(image_a=Image.new("RGB", (8, 8), colour), image_b=white) for colour in colours]
    contact_sheet(pairs, tmp_path / "sheet.png", columns=2)
    page = read(tmp_path / "sheet.png")
    corners = [box(page, colour)[::2] for colour in colours]
    assert corners == sorted(corners)
    rows, columns = zip(*corners, strict=True)
    assert rows[0] == rows[1] < rows[2] == rows[3] < rows[4]
    assert columns[0] == columns[2] == columns[4] < columns[1] == columns[3]


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "a cat",
        "word " * 300,
        "x" * 100_000,
        "https://example.com/" + "y" * 90 + " end",
        "一只戴着红色帽子的猫坐在窗台上" * 20,
        "line\nbreak\tand [bold]tags[/]",
        "\u0000 \ud83d",
    ],
)
def test_prompts_of_any_length_stay_on_their_card(make_pair, tmp_path, prompt):
    lines = sheet._wrapped(prompt)
    assert 1 <= len(lines) <= 3
    assert all(sheet._font(16).getlength(line) <= 430 for line in lines)
    whole = "".join(prompt.split()).replace("\u0000", "\ufffd").replace("\ud83d", "\ufffd")
    shown = "".join("".join(lines).split())
    assert shown == whole or (shown.endswith("…") and whole.startswith(shown[:-1]) and len(lines) == 3)
    contact_sheet([make_pair(prompt=prompt, generator_a=prompt)], tmp_path / "sheet.png")
    page = read(tmp_path / "sheet.png")
    card = page[14:-14, 14:-14]
    assert (card[1:-1, 1:9] == 255).all()  # nothing runs into the card's margins: the frame takes 5 of 14
    assert (card[1:-1, -9:-1] == 255).all()


def test_prompts_generators_and_votes_are_on_it(make_pair, tmp_path):
    plain = make_pair(generator_a="flat", generator_b="night")
    pages = []
    for pair in (plain, make_pair(prompt="a dog"), make_pair(votes=16), make_pair(generator_b="day"), make_pair()):
        contact_sheet([pair], tmp_path / "sheet.png")
        pages.append(read(tmp_path / "sheet.png").tobytes())
    assert len(set(pages)) == 5


def test_it_is_written_whole_or_not_at_all(make_pair, tmp_path, monkeypatch):
    path = tmp_path / "new" / "folder" / "sheet.png"
    contact_sheet([make_pair()], path)
    before = path.read_bytes()

    def fail(self, file, **_):
        file.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        contact_sheet([make_pair(), make_pair()], path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_without_any_system_font(make_pair, tmp_path, monkeypatch):
    monkeypatch.setattr(sheet, "_FONTS", ("there is none.ttf",))
    sheet._font.cache_clear()
    contact_sheet([make_pair(prompt="word " * 300)], tmp_path / "sheet.png")
    sheet._font.cache_clear()
    assert area(read(tmp_path / "sheet.png"), RED) > 10_000


@pytest.mark.parametrize(
    ("pairs", "options", "message"),
    [
        (0, {}, "a contact sheet needs at least 1 pair, got an empty data set"),
        (1, {"count": 0}, "a contact sheet needs count and columns of at least 1, got 0 and 4"),
        (1, {"columns": -1}, "a contact sheet needs count and columns of at least 1, got 24 and -1"),
    ],
)
def test_errors(make_pair, tmp_path, pairs, options, message):
    with pytest.raises(ValueError, match=message):
        contact_sheet([make_pair() for _ in range(pairs)], tmp_path / "sheet.png", **options)
    assert not (tmp_path / "sheet.png").exists()
