"""A shape over group sizes and over image sides: what a further completion costs, and how images weigh in."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.shapes import Job, Shape, Vision
from benchmarks.step_time import WORK, both, facts, figures, model_folder, paired_ratio

GROUPS = (2, 4, 8, 16)
SIDES = (112, 224, 336, 448)
_SIDES_GROUP = 8


def points(shape: Shape) -> Iterator[tuple[str, Shape]]:
    """Each point's axis (``group`` or ``image``) and shape."""
    yield from (("group", replace(shape, group_size=group)) for group in GROUPS)
    yield from (("image", replace(shape, image_side=side, group_size=_SIDES_GROUP)) for side in SIDES)


def measure_sweep(shape: Shape, vision: Vision, pairs: int, seen: Callable[[dict[str, Any]], None]) -> None:
    """Measure every point, without a listener; ``seen`` is given each record as it is measured."""
    with tempfile.TemporaryDirectory(prefix="step_time-") as name:
        model_folder(shape, Path(name))
        for axis, point in points(shape):
            ours, trl = both(Job(point, f"{name}/model", vision), pairs, Path(name))
            record: dict[str, Any] = {
                **facts(point, vision, pairs),
                "sweep": axis,
                "group_size": point.group_size,
                "image_side": point.image_side,
                "prompts": point.prompts,
                "peak_of": ours[1]["peak_of"],
                **{key: ours[0][0][key] for key in WORK},
                "ours": figures(ours),
                "trl": figures(trl),
                "ratio": paired_ratio(ours[0], trl[0]),
            }
            record["memory_ratio"] = record["ours"]["peak_mib"] / record["trl"]["peak_mib"]
            seen(record)


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Least-squares slope of y over x."""
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    spread = sum((one - mean_x) ** 2 for one in x)
    return sum((one - mean_x) * (other - mean_y) for one, other in zip(x, y, strict=True)) / spread


def growth(records: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The group axis in numbers: how time and tokens grow from its smallest to its largest group.

    Returns:
        ``ours`` and ``trl``: time(largest) / time(smallest); ``packed_tokens`` and ``plain_tokens``: the same of the
        tokens a pass reads, prompt once a group or once a completion; ``ours_ms`` and ``trl_ms``: milliseconds of a
        further completion, the least-squares slope.
    """
    by_size = sorted((record for record in records if record["sweep"] == "group"), key=lambda r: r["group_size"])
    small, large = by_size[0], by_size[-1]

    def packed(record: dict[str, Any]) -> float:
        return record["prompt_tokens"] / record["group_size"] + record["completion_tokens"]

    def plain(record: dict[str, Any]) -> float:
        return float(record["prompt_tokens"] + record["completion_tokens"])

    counts = [float(record["rollouts"]) for record in by_size]
    return {
        "packed_tokens": packed(large) / packed(small),
        "plain_tokens": plain(large) / plain(small),
        **{side: large[side]["step_s"] / small[side]["step_s"] for side in ("ours", "trl")},
        **{f"{side}_ms": 1e3 * slope(counts, [r[side]["step_s"] for r in by_size]) for side in ("ours", "trl")},
    }


def told_sweep(records: Sequence[dict[str, Any]]) -> str:
    """``growth`` for people."""
    of = growth(records)
    return (
        f"from G = {GROUPS[0]} to G = {GROUPS[-1]}: ours x {of['ours']:.2f} (packed tokens x {of['packed_tokens']:.2f})"
        f", TRL x {of['trl']:.2f} (its tokens x {of['plain_tokens']:.2f})\n"
        f"a further completion: ours {of['ours_ms']:.1f} ms, TRL {of['trl_ms']:.1f} ms"
    )
