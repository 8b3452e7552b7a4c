"""A contact sheet: pairs of a data set on one page, to look at before training.

A cell shows a prompt, its two images with the generators that made them, and how the votes were split; the preferred
image is framed. Letters that no font of the system knows are drawn as boxes.
"""

import math
import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from lit_listener.data.records import PairSource, PreferencePair, Side

Pairs = PairSource | Sequence[PreferencePair]

_SIDE = 208
"""Width and height of the square that an image is fitted into, in pixels."""
_GAP = 14
_FRAME = 5
_LINE = 20
_PROMPT_LINES = 3
_TEXT, _SMALL = 16, 15  # font sizes, in pixels
_LONGEST = 200  # no line holds more letters
_BAR = 6
_HEIGHT = 3 * _GAP + _SIDE + 2 * _LINE + _FRAME + _BAR + 12
"""Height of a card without its prompt."""
_PAGE, _CARD, _BORDER = "#eceef1", "#ffffff", "#ccd1d8"
_INK, _FAINT, _WINNER = "#1c2128", "#68707c", "#0b7a4b"
_FONTS = ("DejaVuSans.ttf", "Arial.ttf", "arial.ttf", "LiberationSans-Regular.ttf")


def contact_sheet(pairs: Pairs, path: Path, *, count: int = 24, columns: int = 4) -> None:
    """Write a PNG of some pairs, spread evenly over the data set; those that cannot be read are left out.

    Args:
        pairs: The data set.
        path: The file to write; it is there whole or not at all. Missing folders are made.
        count: Pairs to show at most; at least 1.
        columns: Pairs beside each other; at least 1.

    Raises:
        ValueError: There are no pairs that can be read, or count or columns is below 1.
    """
    if count < 1 or columns < 1:
        raise ValueError(f"a contact sheet needs count and columns of at least 1, got {count} and {columns}")
    shown = [pair for index in spread(len(pairs), count) if (pair := _readable(pairs, index)) is not None]
    if not shown:
        what = f"none that can be read, of {min(len(pairs), count)}" if len(pairs) else "an empty data set"
        raise ValueError(f"a contact sheet needs at least 1 pair, got {what}")
    prompts = [_wrapped(pair.prompt) for pair in shown]
    lines = max(map(len, prompts))
    width, height = 2 * _SIDE + 3 * _GAP, _HEIGHT + lines * _LINE
    columns = min(columns, len(shown))
    rows = math.ceil(len(shown) / columns)
    page = Image.new("RGB", (columns * (width + _GAP) + _GAP, rows * (height + _GAP) + _GAP), _PAGE)
    for place, (pair, prompt) in enumerate(zip(shown, prompts, strict=True)):
        row, column = divmod(place, columns)
        cell = Image.new("RGB", (width, height), _CARD)
        _draw(cell, pair, prompt, top=2 * _GAP + lines * _LINE)
        page.paste(cell, (_GAP + column * (width + _GAP), _GAP + row * (height + _GAP)))
    _save(page, path)


def spread(size: int, count: int) -> list[int]:
    """At most ``count`` indices of a data set of ``size``, evenly over all of it, the first among them."""
    shown = min(size, count)
    return [place * size // shown for place in range(shown)]


def vote_text(pair: PreferencePair) -> str:
    """The vote in words: "A 73% of 15", "tie of 10", "B 100%" where the number of votes is not told."""
    share = max(pair.share_a, 1.0 - pair.share_a)
    outcome = "tie" if pair.preferred is None else f"{pair.preferred.upper()} {100 * share:.0f}%"
    return f"{outcome} of {pair.votes}" if pair.votes else outcome


def _readable(pairs: Pairs, index: int) -> PreferencePair | None:
    try:
        return _shrunk(pairs[index])
    except (OSError, ValueError):
        return None


def _shrunk(pair: PreferencePair) -> PreferencePair:
    """The pair with images as large as fit into their squares: a sheet of large ones must not fill the memory."""
    return replace(pair, image_a=_fitted(pair.image_a), image_b=_fitted(pair.image_b))


def _fitted(image: Image.Image) -> Image.Image:
    longer = max(image.size)
    width, height = (max(1, round(length * _SIDE / longer)) for length in image.size)
    return image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)


def _draw(cell: Image.Image, pair: PreferencePair, prompt: list[str], top: int) -> None:
    """Draw a pair on its card, with the images' squares from ``top`` downwards."""
    pen = ImageDraw.Draw(cell)
    pen.rectangle((0, 0, cell.width - 1, cell.height - 1), outline=_BORDER)
    for number, line in enumerate(prompt):
        pen.text((_GAP, _GAP + number * _LINE), line, fill=_INK, font=_font(_TEXT))
    sides: tuple[tuple[Side, Image.Image, str], ...] = (
        ("a", pair.image_a, pair.generator_a),
        ("b", pair.image_b, pair.generator_b),
    )
    below = top + _SIDE + _FRAME + 3
    for left, (side, image, generator) in zip((_GAP, 2 * _GAP + _SIDE), sides, strict=True):
        preferred = pair.preferred == side
        x, y = left + (_SIDE - image.width) // 2, top + (_SIDE - image.height) // 2
        cell.paste(image, (x, y))
        frame = _FRAME if preferred else 1  # a thin line shows where a white picture ends
        box = (x - frame, y - frame, x + image.width + frame - 1, y + image.height + frame - 1)
        pen.rectangle(box, outline=_WINNER if preferred else _BORDER, width=frame)
        name = _cut(f"{side.upper()}: {generator}" if generator else side.upper(), _SIDE, _SMALL)
        pen.text((left, below), name, fill=_WINNER if preferred else _FAINT, font=_font(_SMALL))
    bar, end = below + _LINE + 4, cell.width - _GAP
    split = _GAP + round(pair.share_a * (end - _GAP))
    for left, right, side in ((_GAP, split, "a"), (split, end, "b")):
        if right > left:
            pen.rectangle((left, bar, right - 1, bar + _BAR - 1), fill=_WINNER if pair.preferred == side else _BORDER)
    colour = _FAINT if pair.preferred is None else _WINNER
    pen.text((cell.width // 2, bar + _BAR + 5), vote_text(pair), fill=colour, font=_font(_TEXT), anchor="ma")


def _wrapped(prompt: str) -> list[str]:
    """The prompt in lines of a card's width; the last ends in an ellipsis where there would be more."""
    width = 2 * _SIDE + _GAP
    lines = [""]
    for piece in _pieces(_printable(prompt), width):
        longer = f"{lines[-1]} {piece}".lstrip()
        if _width(longer, _TEXT) <= width:
            lines[-1] = longer
        elif len(lines) < _PROMPT_LINES:
            lines.append(piece)
        else:
            lines[-1] = _cut(longer, width, _TEXT)
            break
    return lines


def _pieces(text: str, width: int) -> Iterator[str]:
    """The words of a text; those wider than a line (a URL, Chinese) in pieces that are not."""
    for word in text.split():
        rest = word
        while rest:
            end = _fitting(rest, width, _TEXT)
            yield rest[:end]
            rest = rest[end:]


def _cut(text: str, width: int, size: int) -> str:
    """The text on one line, its end replaced by an ellipsis where it is wider than ``width`` pixels."""
    text = _printable(text)
    end = _fitting(text, width, size)
    if end >= len(text):
        return text
    return f"{text[: _fitting(text, width - _width('…', size), size)].rstrip()}…"


def _fitting(text: str, width: float, size: int) -> int:
    """How many letters of a text, at least one, fit into ``width`` pixels."""
    # Widths grow with every letter; measuring all of a very long text would take minutes.
    lengths = [_width(text[: end + 1], size) for end in range(min(len(text), _LONGEST))]
    return max(1, bisect_right(lengths, width))


def _printable(text: str) -> str:
    """The text with single spaces for white space, and a mark for each letter that no font can draw."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in " ".join(text.split()))


def _width(text: str, size: int) -> float:
    return _font(size).getlength(text)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    for name in _FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:  # not on this system
            continue
    return ImageFont.load_default(size)


def _save(page: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        page.save(beside, format="PNG")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
