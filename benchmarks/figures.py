"""The curves of a sweep: seconds of a step over group size, and over the side of the images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lit_listener.evaluation.replaced_file import replaced_file

try:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
except ImportError as error:
    raise ImportError("--plot needs matplotlib: pip install 'lit-listener[bench]'") from error

_SIDES = (("ours", "lit_listener", "#0072B2", "-", "o"), ("trl", "TRL, transformers rollout", "#D55E00", "--", "s"))


def draw(records: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw both axes of a sweep, a panel each.

    Args:
        records: what the sweep measured.
        path: the PNG file; it is there whole or not at all.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    first = records[0]
    _panel(left, [r for r in records if r["sweep"] == "group"], "group_size", "group size G (completions a prompt)")
    _panel(
        right, [r for r in records if r["sweep"] == "image"], "image_side", "image side (pixels, two images a prompt)"
    )
    figure.suptitle(
        f"{first['shape']}, vision tower {first['vision']}, {first['dtype']} on {first['device_name']}: "
        f"medians of {first['pairs']} steps"
    )
    with replaced_file(path) as beside:
        figure.savefig(beside, dpi=150, format="png")


def _panel(axes: Axes, records: Sequence[dict[str, Any]], key: str, label: str) -> None:
    for side, name, colour, dash, marker in _SIDES:
        points = [(record[key], record[side]["step_s"]) for record in records]
        axes.plot(*zip(*points, strict=True), dash, color=colour, marker=marker, label=name)
    axes.set_xlabel(label)
    axes.set_ylabel("one GRPO step (s)")
    axes.set_xticks([record[key] for record in records])
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
