"""The judged pairs that the report's page lets one browse: some of all, with the odd ones among them.

Half of the places are kept for pairs on which a run was wrong, contradicted itself, was swayed by the display order or
could not be read, as far as there are such pairs; the other half is drawn from all pairs. Shares must therefore not be
read off the sample: the tables hold them.
"""

import hashlib
import io
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Literal

from PIL import Image

from lit_listener.evaluation.judged_pairs import JudgedPair, judged_pairs
from lit_listener.evaluation.prediction import Prediction

Flag = Literal["error", "contradiction", "flip", "unreadable"]
FLAGS: tuple[Flag, ...] = ("error", "contradiction", "flip", "unreadable")
Images = Callable[[Prediction], tuple[Image.Image, Image.Image] | None]
"""Gives image a and image b of a pair (not in displayed order), or None where there are none."""

_LONGEST_SIDE = 256
_SMALL = 128


@dataclass(frozen=True)
class ShownImage:
    """An image of a pair as the page shows it."""

    picture: str | None
    """Its key in ``Sample.pictures``; None where the image could not be had."""
    reason: str = ""
    """Why it could not be had."""
    generator: str = ""


@dataclass(frozen=True)
class SampledPair:
    """A pair with what each run said of it."""

    source: str
    any_row: Prediction
    """A row, for what all rows of the pair share."""
    images: tuple[ShownImage, ShownImage]
    """Image a and image b."""
    by_run: Mapping[str, JudgedPair]
    """What the runs said; a run that did not judge the pair is not among them."""


@dataclass(frozen=True)
class Sample:
    """Pairs to browse."""

    runs: tuple[str, ...]
    pairs: tuple[SampledPair, ...]
    """By source and place in it."""
    pictures: Mapping[str, str]
    """JPEGs as data URIs, each once, by the beginning of the SHA-256 of their bytes."""
    of: int
    """How many pairs there are in all."""


def sample(runs: Mapping[str, Sequence[Prediction]], images: Images, limit: int = 200, seed: int = 0) -> Sample:
    """Draw pairs to browse, the same ones for the same predictions and seed.

    Args:
        runs: The predictions of each run, of one or several sources.
        images: Gives the images of a prediction's pair. Where it gives None or raises because they cannot be found or
            read (OSError, ValueError, LookupError), the page tells why in their place.
        limit: Pairs drawn at most; at least 1.
        seed: Seed of the draw.

    Returns:
        The pairs with their images, each at most 256 pixels wide and high.

    Raises:
        ValueError: ``limit`` is below 1, a run judged a pair twice in one order and rollout, or runs know one pair with
            different prompts or votes.
    """
    if limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}")
    judged: dict[tuple[str, str], dict[str, JudgedPair]] = {}
    for run, predictions in runs.items():
        by_source: dict[str, list[Prediction]] = {}
        for row in predictions:
            by_source.setdefault(row.source, []).append(row)
        for source, rows in by_source.items():
            for pair in judged_pairs(rows):
                by_run = judged.setdefault((source, pair.any_row.pair_id), {})
                by_run[run] = pair
                _check_same(by_run, run)
    pictures: dict[str, str] = {}
    pairs = []
    for source, pair_id in _drawn(judged, limit, seed):
        said = judged[source, pair_id]
        any_row = next(iter(said.values())).any_row
        pairs.append(SampledPair(source, any_row, _shown_images(any_row, images, pictures), said))
    return Sample(tuple(runs), tuple(pairs), pictures, len(judged))


def flags_of(pair: JudgedPair) -> tuple[Flag, ...]:
    """What is odd about a run's judgement of a pair.

    error: its soft scores name the other image, or none (a tie of the votes has no error). contradiction: a trace
    states another verdict than its answer. flip: the two display orders name different images. unreadable: an answer
    cannot be read.
    """
    sides = {p_a > 0.5 for first in pair.orders if (p_a := pair.p_a(first=first)) is not None and p_a != 0.5}
    odd: Mapping[Flag, bool] = {
        "error": pair.correct() == 0.0,
        "contradiction": any(row.contradicts for row in pair.rows),
        "flip": len(sides) > 1,
        "unreadable": any(row.unparsable for row in pair.rows),
    }
    return tuple(flag for flag in FLAGS if odd[flag])


_Key = tuple[str, str]


def _check_same(by_run: Mapping[str, JudgedPair], run: str) -> None:
    """Refuse a pair that is another one in another run: beside each other they would tell untruths."""
    other, pair = next(iter(by_run.items()))
    known, row = pair.any_row, by_run[run].any_row
    if (known.prompt, known.share_a) != (row.prompt, row.share_a):
        raise ValueError(
            f"pair {row.pair_id!r} of source {row.source!r} is not the same in {other!r} (prompt {known.prompt!r}, "
            f"share_a {known.share_a}) and {run!r} (prompt {row.prompt!r}, share_a {row.share_a}); judge the same data "
            "with both"
        )


def _drawn(judged: Mapping[_Key, Mapping[str, JudgedPair]], limit: int, seed: int) -> list[_Key]:
    """The sources and ids of the pairs drawn, in the order of their sources and places."""
    # Each pair has a number of its own, so that it is not other pairs that decide which ones are drawn.
    keys = sorted(judged, key=lambda key: hashlib.sha256(repr((seed, *key)).encode()).digest())
    odd: dict[tuple[str, Flag], list[_Key]] = {}
    plain: dict[str, list[_Key]] = {}
    for key in keys:
        plain.setdefault(key[0], []).append(key)
        for flag in sorted({flag for pair in judged[key].values() for flag in flags_of(pair)}, key=FLAGS.index):
            odd.setdefault((key[0], flag), []).append(key)
    drawn: dict[_Key, None] = {}
    for strata, end in ((odd.values(), (limit + 1) // 2), (plain.values(), limit)):
        for key in _in_turn(list(strata)):
            if len(drawn) >= end:
                break
            drawn.setdefault(key)
    sources = list(dict.fromkeys(source for source, _ in judged))

    def place(key: _Key) -> tuple[int, int, str]:
        return sources.index(key[0]), next(iter(judged[key].values())).any_row.index, key[1]

    return sorted(drawn, key=place)


def _in_turn(strata: Sequence[Sequence[_Key]]) -> Iterator[_Key]:
    """One of each stratum, then the next of each, until none is left."""
    for turn in zip_longest(*strata):
        yield from (key for key in turn if key is not None)


def _shown_images(row: Prediction, images: Images, pictures: dict[str, str]) -> tuple[ShownImage, ShownImage]:
    try:
        found = images(row)
        reason = "there is no image"
        keys = (None, None) if found is None else (_encoded(found[0], pictures), _encoded(found[1], pictures))
    except (OSError, ValueError, LookupError) as error:
        keys, reason = (None, None), str(error) or type(error).__name__
    generators = (row.generator_a, row.generator_b)
    a, b = (ShownImage(key, "" if key else reason, generator) for key, generator in zip(keys, generators, strict=True))
    return a, b


def _encoded(image: Image.Image, pictures: dict[str, str]) -> str:
    """Key of an image as a small JPEG, which is put among the pictures."""
    small = image.convert("RGB")
    small.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    fine = max(small.size) <= _SMALL  # few pixels cost little, and coarse ones would show when they are enlarged
    written = io.BytesIO()
    small.save(written, format="JPEG", quality=90 if fine else 72, subsampling=0 if fine else 2, optimize=True)
    key = hashlib.sha256(written.getvalue()).hexdigest()[:16]
    pictures.setdefault(key, f"data:image/jpeg;base64,{b64encode(written.getvalue()).decode()}")
    return key
