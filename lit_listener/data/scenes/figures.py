"""The forms that Scenes pictures are made of, as polygons and strokes: shapes, letters, digits and words.

Letters are strokes on a grid of 4 by 6, written here, so that they look the same on every machine; fonts would not.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lit_listener.data.simulated.drawing import OUTLINES, Outline, Point

_WIDE, _HIGH = 4.0, 6.0  # the letters' grid
_LETTER_GAP = 2.2  # between the letters of a word, in units of the grid
_STROKE = 0.95  # width of a stroke, in units of the grid
_TALLEST = 2.0
"""Height of a letter in its radius, at most."""


@dataclass(frozen=True)
class Figure:
    """A form at its place; lengths in pixels."""

    solid: tuple[tuple[Point, ...], ...] = ()
    """Polygons that are filled."""
    holes: tuple[tuple[Point, ...], ...] = ()
    """Polygons that are cut out of them."""
    strokes: tuple[tuple[Point, ...], ...] = ()
    """Lines with round ends."""
    width: float = 0.0
    """Of the strokes."""

    def moved(self, move: Callable[[Point], Point]) -> "Figure":
        """The figure with each corner moved."""
        solid, holes, strokes = (tuple(tuple(map(move, line)) for line in lines) for lines in self._lines())
        return Figure(solid, holes, strokes, self.width)

    def bounds(self, margin: float) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of all that is drawn, with a margin."""
        points = [point for lines in self._lines() for line in lines for point in line]
        room = self.width / 2 + margin
        across, down = zip(*points, strict=True)
        return int(min(across) - room), int(min(down) - room), int(max(across) + room) + 1, int(max(down) + room) + 1

    def _lines(self) -> tuple[tuple[tuple[Point, ...], ...], ...]:
        return self.solid, self.holes, self.strokes


def figure(form: str, x: float, y: float, radius: float) -> Figure:
    """A form with its middle at (x, y), of about this radius; a word is twice the radius wide at most.

    Raises:
        KeyError: there is no such shape or letter.
    """
    kind, _, name = form.partition(" ")
    if name:
        return _written(name, x, y, radius)
    if kind == "ring":
        return Figure((tuple(OUTLINES["circle"](x, y, radius)),), (tuple(OUTLINES["circle"](x, y, 0.72 * radius)),))
    return Figure((tuple(_SHAPES[kind](x, y, radius)),))


def _written(text: str, x: float, y: float, radius: float) -> Figure:
    wide = len(text) * _WIDE + (len(text) - 1) * _LETTER_GAP
    unit = min(_TALLEST * radius / _HIGH, 2 * radius / (wide + _STROKE)) if len(text) == 1 else _unit_of(wide, radius)
    left, top = x - unit * wide / 2, y - unit * _HIGH / 2
    strokes = tuple(
        tuple((left + unit * (place * (_WIDE + _LETTER_GAP) + across), top + unit * down) for across, down in stroke)
        for place, letter in enumerate(text)
        for stroke in _STROKES[letter]
    )
    return Figure(strokes=strokes, width=_STROKE * unit)


def _unit_of(wide: float, radius: float) -> float:
    """Size of the grid of a word that is ``wide`` units wide; short words are no higher than half their room."""
    return min(2 * radius / (wide + _STROKE), radius / _HIGH)


def _cross(x: float, y: float, r: float) -> list[Point]:
    long, short = 1.1 * r, 0.4 * r
    corners = [(short, long), (short, short), (long, short)]
    quarter = [*corners, *[(across, -down) for across, down in reversed(corners)]]
    return [(x + a, y + d) for a, d in [*quarter, *[(-across, -down) for across, down in quarter]]]


def _heart(x: float, y: float, r: float) -> list[Point]:
    half = [
        (0, -0.5),
        (0.18, -0.8),
        (0.45, -0.97),
        (0.75, -0.95),
        (1.0, -0.72),
        (1.08, -0.4),
        (1.0, -0.05),
        (0.75, 0.35),
    ]
    left = [(-across, down) for across, down in reversed(half[1:])]
    return [(x + r * across, y + r * down) for across, down in [*half, (0, 1.1), *left]]


_SHAPES: Mapping[str, Outline] = {
    **OUTLINES,
    "diamond": lambda x, y, r: [(x, y - 1.3 * r), (x + 0.85 * r, y), (x, y + 1.3 * r), (x - 0.85 * r, y)],
    "cross": _cross,
    "heart": _heart,
}


def _strokes(written: str) -> tuple[tuple[Point, ...], ...]:
    """Strokes as "across,down across,down;…"."""
    strokes = [[point.split(",") for point in stroke.split()] for stroke in written.split(";")]
    return tuple(tuple((float(across), float(down)) for across, down in stroke) for stroke in strokes)


_O = "1,0 3,0 4,1 4,5 3,6 1,6 0,5 0,1 1,0"
_P = "0,6 0,0 3,0 4,0.9 4,2.5 3,3.4 0,3.4"
_STROKES: Mapping[str, tuple[tuple[Point, ...], ...]] = {
    letter: _strokes(written)
    for letter, written in {
        "A": "0,6 2,0 4,6;0.8,4 3.2,4",
        "B": "0,3 2.9,3 4,4 4,5 3,6 0,6 0,0 2.8,0 3.7,0.9 3.7,2.1 2.9,3",
        "C": "4,1 3,0 1,0 0,1 0,5 1,6 3,6 4,5",
        "D": "0,0 0,6 2.5,6 4,4.5 4,1.5 2.5,0 0,0",
        "E": "4,0 0,0 0,6 4,6;0,3 3.2,3",
        "F": "4,0 0,0 0,6;0,3 3.2,3",
        "G": "4,1 3,0 1,0 0,1 0,5 1,6 3,6 4,5 4,3.2 2.4,3.2",
        "H": "0,0 0,6;4,0 4,6;0,3 4,3",
        "I": "2,0 2,6;0.8,0 3.2,0;0.8,6 3.2,6",
        "J": "4,0 4,5 3,6 1,6 0,5 0,4",
        "K": "0,0 0,6;4,0 0,3.6;1.3,2.5 4,6",
        "L": "0,0 0,6 4,6",
        "M": "0,6 0,0 2,3.2 4,0 4,6",
        "N": "0,6 0,0 4,6 4,0",
        "O": _O,
        "P": _P,
        "Q": f"{_O};2.4,4.2 4.4,6.5",
        "R": f"{_P};1.8,3.4 4,6",
        "S": "4,1 3,0 1,0 0,1 0,2 1,3 3,3 4,4 4,5 3,6 1,6 0,5",
        "T": "0,0 4,0;2,0 2,6",
        "U": "0,0 0,5 1,6 3,6 4,5 4,0",
        "V": "0,0 2,6 4,0",
        "W": "0,0 0.9,6 2,2.4 3.1,6 4,0",
        "X": "0,0 4,6;4,0 0,6",
        "Y": "0,0 2,3 4,0;2,3 2,6",
        "Z": "0,0 4,0 0,6 4,6",
        "2": "0,1.2 1,0 3,0 4,1.1 4,2.2 0,6 4,6",
        "3": "0,0.8 1,0 3,0 3.8,0.9 3.8,2.1 2.9,3 1.4,3;2.9,3 4,4 4,5 3,6 1,6 0,5.2",
        "4": "3,6 3,0 0,4.2 4,4.2",
        "5": "3.8,0 0.4,0 0.2,2.6 2.9,2.4 4,3.4 4,4.9 3,6 1,6 0,5.2",
        "7": "0,0 4,0 1.4,6",
        "9": "4,2.5 3,3.4 1,3.4 0,2.4 0,1 1,0 3,0 4,1 4,4 3,6 0.9,6",
    }.items()
}
LETTERS_DRAWN = frozenset(_STROKES)
