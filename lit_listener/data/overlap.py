"""What two data sets share: prompts, and images that look alike, so that no test pair was trained on unnoticed.

Of a prompt its words count: case, spacing, punctuation and the ways Unicode has of writing one letter do not. Images
are compared by ``image_hash``; those without structure, of one colour, are left out. What is held in memory is a few
numbers a pair.
"""

import hashlib
import unicodedata
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from rich import box
from rich.table import Table
from rich.text import Text

from lit_listener.data.image_hash import BITS, Hashes, image_hash, nearest
from lit_listener.data.records import PairSource
from lit_listener.data.sheet import Pairs, spread
from lit_listener.data.watched import watched

_EXAMPLES = 5


@dataclass(frozen=True)
class OverlapSide:
    """One data set's part in the overlap."""

    pairs: int
    """Pairs looked at."""
    unreadable: int
    """Those of them whose images cannot be read; their prompts are not counted either."""
    prompts: int
    """Different prompts, after normalisation."""
    shared_prompts: int
    """Those of them that the other data set has."""
    pairs_with_shared_prompts: int
    images: int
    """Different images, by their hashes."""
    shared_images: int
    """Those of them that look like an image of the other data set."""
    pairs_with_shared_images: int


@dataclass(frozen=True)
class Overlap:
    """What two data sets share."""

    first: OverlapSide
    second: OverlapSide
    prompts: tuple[str, ...]
    """The first few shared prompts, as the second data set writes them."""
    images: tuple[tuple[str, str, int], ...]
    """The first few images of the second data set that the first has too: "pair id, image" of both, bits that differ"""


@dataclass(frozen=True)
class _Seen:
    """What is kept of a data set: a row for each pair that can be read."""

    size: int
    places_N: npt.NDArray[np.int64]
    prompts_N: Hashes
    images_N2: Hashes
    hashed_N2: npt.NDArray[np.bool_]


def normalised(prompt: str) -> str:
    """The words of a prompt, in lower case with single spaces between them and nothing else."""
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", prompt).casefold())
    kept = (" " if unicodedata.category(letter)[0] in "PZC" else letter for letter in text)
    return " ".join("".join(kept).split())


def overlap(
    first: Pairs, second: Pairs, *, distance: int = 4, limit: int | None = None, images: bool = True
) -> Overlap:
    """Find what two data sets share; every image is decoded once.

    Args:
        first: A data set, such as one that is trained on.
        second: Another, such as one that is tested on.
        distance: Bits in which the hashes of images may differ that are taken for one, from 0 to 63. Unrelated images
            differ in about 32 of the 64; copies rescaled or compressed again in 4 at most, as a rule.
        limit: Pairs looked at at most in each data set, spread evenly over it; None looks at all.
        images: Compare images too; prompts alone are found much sooner.

    Raises:
        ValueError: A distance or limit out of range, or a data set without a pair that can be read.
    """
    if not 0 <= distance < BITS:
        raise ValueError(f"distance: expected a number of bits from 0 to {BITS - 1}, got {distance}")
    if limit is not None and limit < 1:
        raise ValueError(f"limit: expected at least 1 pair, got {limit}")
    one, other = (
        _see(pairs, limit, f"the {name} data set", images=images)
        for pairs, name in ((first, "first"), (second, "second"))
    )
    common = np.flatnonzero(np.isin(other.prompts_N, one.prompts_N))
    _, once = np.unique(other.prompts_N[common], return_index=True)
    places = other.places_N[common[np.sort(once)[:_EXAMPLES]]]
    shared_of_first, shared_of_second = _alike(one, other, distance), _alike(other, one, distance)
    return Overlap(
        first=_side(one, other, shared_of_first),
        second=_side(other, one, shared_of_second),
        prompts=tuple(_prompt(second, place) for place in places.tolist()),
        images=_examples_of_images((first, one), (second, other), shared_of_second),
    )


def overlap_table(found: Overlap, names: tuple[str, str]) -> Table:
    """The overlap as a table for the terminal: a column a data set, with shares of its whole.

    Args:
        found: What was found.
        names: What the two data sets are called.
    """
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column(overflow="fold")
    for name in names:
        table.add_column(Text(name), justify="right", overflow="fold")
    sides = (found.first, found.second)

    def row(name: str, counts: list[int], wholes: list[int] | None = None) -> None:
        shares = [
            "" if not whole else f" ({count / whole:.1%})"
            for count, whole in zip(counts, wholes or [0, 0], strict=True)
        ]
        table.add_row(Text(name), *(f"{count:,}{share}" for count, share in zip(counts, shares, strict=True)))

    readable = [side.pairs - side.unreadable for side in sides]
    row("pairs looked at", [side.pairs for side in sides])
    row("  unreadable", [side.unreadable for side in sides], [side.pairs for side in sides])
    table.add_section()
    row("different prompts", [side.prompts for side in sides])
    row("  shared", [side.shared_prompts for side in sides], [side.prompts for side in sides])
    row("  pairs with one", [side.pairs_with_shared_prompts for side in sides], readable)
    if any(side.images for side in sides):  # images were compared
        table.add_section()
        row("different images", [side.images for side in sides])
        row("  shared", [side.shared_images for side in sides], [side.images for side in sides])
        row("  pairs with one", [side.pairs_with_shared_images for side in sides], readable)
    return table


def _see(pairs: Pairs, limit: int | None, name: str, *, images: bool) -> _Seen:
    def look(place: int) -> tuple[int, int, int | None, int | None] | None:
        try:
            pair = pairs[place] if images else None
            prompt = _prompt(pairs, place) if pair is None else pair.prompt
        except (OSError, ValueError):
            return None
        digest = hashlib.blake2b(normalised(prompt).encode(), digest_size=8).digest()
        hashes = (None, None) if pair is None else (image_hash(pair.image_a), image_hash(pair.image_b))
        return place, int.from_bytes(digest, "big"), *hashes

    places = spread(len(pairs), limit or len(pairs))
    kept = np.zeros(
        len(places), dtype=[("place", np.int64), ("prompt", np.uint64), ("images", np.uint64, 2), ("hashed", bool, 2)]
    )
    count = 0
    for seen in watched(look, places, f"reading {name}"):
        if seen is not None:
            place, prompt, *hashes = seen
            kept[count] = place, prompt, [known or 0 for known in hashes], [known is not None for known in hashes]
            count += 1
    if not count:
        raise ValueError(f"{name} has no pair that can be read, of {len(places)}")
    kept = kept[:count]
    return _Seen(len(places), kept["place"], kept["prompt"], kept["images"], kept["hashed"])


def _alike(own: _Seen, other: _Seen, distance: int) -> Hashes:
    """The hashes of a data set that are near one of the other."""
    hashes, others = (np.unique(seen.images_N2[seen.hashed_N2]) for seen in (own, other))
    return hashes[nearest(hashes, others)[1] <= distance] if len(others) else hashes[:0]


def _side(own: _Seen, other: _Seen, shared_images: Hashes) -> OverlapSide:
    prompts, shared_N = np.unique(own.prompts_N), np.isin(own.prompts_N, other.prompts_N)
    with_image_N = (np.isin(own.images_N2, shared_images) & own.hashed_N2).any(axis=1)
    return OverlapSide(
        pairs=own.size,
        unreadable=own.size - len(own.places_N),
        prompts=len(prompts),
        shared_prompts=int(np.isin(prompts, other.prompts_N).sum()),
        pairs_with_shared_prompts=int(shared_N.sum()),
        images=len(np.unique(own.images_N2[own.hashed_N2])),
        shared_images=len(shared_images),
        pairs_with_shared_images=int(with_image_N.sum()),
    )


def _examples_of_images(
    one: tuple[Pairs, _Seen], other: tuple[Pairs, _Seen], shared: Hashes
) -> tuple[tuple[str, str, int], ...]:
    """For the first of the shared hashes of the other data set: an image of each, and the bits that differ."""
    (first, seen), (second, also_seen) = one, other
    rows_M, sides_M = np.nonzero(seen.hashed_N2)
    examples: list[tuple[str, str, int]] = []
    met = set[int]()
    for row, side in np.argwhere(np.isin(also_seen.images_N2, shared) & also_seen.hashed_N2).tolist():
        wanted = also_seen.images_N2[row, side]
        if len(examples) < _EXAMPLES and int(wanted) not in met:
            met.add(int(wanted))
            (at,), (bits,) = nearest(wanted[None], seen.images_N2[seen.hashed_N2])
            theirs = _named(first, seen.places_N[rows_M[at]], int(sides_M[at]))
            examples.append((theirs, _named(second, also_seen.places_N[row], side), int(bits)))
    return tuple(examples)


def _prompt(pairs: Pairs, place: int) -> str:
    return pairs.prompt(place) if isinstance(pairs, PairSource) else pairs[place].prompt


def _named(pairs: Pairs, place: np.int64, side: int) -> str:
    return f"{pairs[int(place)].pair_id}, image {'AB'[side]}"
