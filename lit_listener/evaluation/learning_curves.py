"""Learning curves of a training run, drawn from the metrics.csv of its folder.

Six panels: rewards, listener, policy, groups and completions, completion length, validation. Logged values are faint,
their running mean is bold; lines of a panel differ in dash as well as in colour. Nothing else imports matplotlib.
"""

import csv
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lit_listener.evaluation.pens import COLOURS, DASHES
from lit_listener.evaluation.replaced_file import replaced_file

try:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter
except ImportError as error:
    raise ImportError("figures need matplotlib: pip install 'lit-listener[plots]'") from error

_Floats = NDArray[np.float64]

_INK, _FAINT_INK = "#333333", "#8a8a8a"


@dataclass(frozen=True)
class Series:
    """One column of metrics.csv where it was logged, by ascending step (a step logged twice counts as last logged)."""

    steps: _Floats
    values: _Floats


@dataclass(frozen=True)
class _Panel:
    title: str
    unit: str
    lines: Mapping[str, str]
    """Column of metrics.csv to name in the legend."""
    bounded: bool = False
    """Whether the values are shares: the axis then runs from 0 to 1."""
    logarithmic: bool = False


_PANELS = (
    _Panel(
        "Reward",
        "reward per completion",
        {
            "reward/total": "total",
            "reward/format": "format",
            "reward/accuracy": "accuracy",
            "reward/listener": "listener",
        },
    ),
    _Panel(
        "Listener",
        "probability or share",
        {"listener/p_correct": "p(correct)", "listener/disagreement": "disagreement"},
        bounded=True,
    ),
    # The KL is often a tenth of the entropy: on a linear axis it would be a line along the bottom.
    _Panel(
        "Policy",
        "nats per token",
        {"policy/kl": "KL to reference", "policy/entropy": "entropy"},
        logarithmic=True,
    ),
    _Panel(
        "Groups and completions",
        "share",
        {
            "group/zero_variance_share": "equal-reward groups",
            "completion/unparsable_share": "unparsable",
            "completion/truncated_share": "truncated",
        },
        bounded=True,
    ),
    _Panel("Completion length", "tokens", {"completion/length": "length"}),
)
_VALIDATED = {"val/accuracy": "accuracy", "val/contradiction_share": "contradictions"}


def learning_curves(metrics_csv: Path, output_png: Path, title: str = "") -> None:
    """Draw the learning curves of a run as a PNG of 2 x 3 panels.

    Args:
        metrics_csv: The run's metrics.csv; cells are blank where a metric was not logged in a row.
        output_png: The picture to write, replacing one that is there only once the new one is whole.
        title: Heading of the picture, none if empty.

    Raises:
        FileNotFoundError: There is no such metrics file.
        ValueError: The metrics file has no rows, no ``step`` column, or a cell that is no number.
    """
    figure = curves_figure(read_metrics(metrics_csv), title)
    with replaced_file(Path(output_png)) as beside:
        figure.savefig(beside, format="png", dpi=130)


def read_metrics(metrics_csv: Path) -> dict[str, Series]:
    """Read the columns of a metrics.csv that hold at least one number.

    Args:
        metrics_csv: The file to read.

    Returns:
        Each column's numbers and their steps. Blank and NaN cells are left out.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It has no rows, no ``step`` column, or a cell that is no number.
    """
    path = Path(metrics_csv)
    if not path.is_file():
        raise FileNotFoundError(f"no metrics at {path}; a training run writes metrics.csv into its folder")
    with path.open(newline="", encoding="utf-8") as lines:
        reader = csv.DictReader(lines)
        columns = list(reader.fieldnames or ())
        rows = list(reader)
    if not rows:
        raise ValueError(f"{path} holds no rows: nothing was logged (yet); see trainer.log_every_n_steps")
    if "step" not in columns:
        raise ValueError(f"{path} must have a 'step' column, got {columns}")
    logged: dict[str, dict[float, float]] = {name: {} for name in columns if name != "step"}
    for number, row in enumerate(rows, start=2):
        step = _number(row["step"], path, number, "step")
        for name, values in logged.items():
            value = _number(row[name], path, number, name)
            if not math.isnan(step) and not math.isnan(value):
                values[step] = value
    return {name: _series(values) for name, values in logged.items() if values}


def running_mean(values_N: _Floats, window: int) -> _Floats:
    """Mean over the values around each value, over those that there are at the ends.

    Args:
        values_N: The values in order.
        window: Width of the window; an even one is taken one wider, so that it is centred. 1 changes nothing.

    Returns:
        As many values: entry i is the mean of ``values[max(0, i - h) : i + h + 1]`` with ``h = window // 2``.
    """
    sums = np.concatenate([[0.0], np.cumsum(values_N)])
    places = np.arange(len(values_N))
    # A window that shrank evenly would end in the last raw value, and noise would read as a result.
    first, end = np.maximum(places - window // 2, 0), np.minimum(places + window // 2 + 1, len(values_N))
    return np.asarray((sums[end] - sums[first]) / (end - first))


def curves_figure(metrics: Mapping[str, Series], title: str = "") -> Figure:
    """The figure of ``learning_curves``, from columns already read."""
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1)  # inches
    figure = Figure(figsize=(13.5, 7.4), layout=layout, facecolor="white")
    if title:
        figure.suptitle(title, x=0.012, ha="left", fontsize=14, fontweight="bold", color=_INK)
    axes = figure.subplots(2, 3).ravel()
    for axis, panel in zip(axes, _PANELS, strict=False):
        _draw_panel(axis, panel, metrics)
    _draw_validation(axes[-1], metrics)
    figure.supxlabel(
        "Faint: logged values. Bold: their running mean over 1/15 of the run.", fontsize=9, color=_FAINT_INK
    )
    return figure


def _draw_panel(axis: Axes, panel: _Panel, metrics: Mapping[str, Series]) -> None:
    drawn = {label: metrics[key] for key, label in panel.lines.items() if key in metrics}
    colours = dict(zip(panel.lines.values(), COLOURS, strict=False))
    dashes = dict(zip(panel.lines.values(), DASHES, strict=False))
    for label, series in drawn.items():
        axis.plot(series.steps, series.values, color=colours[label], alpha=0.25, linewidth=0.9)
        # A run of a few steps is its own smooth line: a dot keeps a single one visible.
        smooth = running_mean(series.values, max(1, len(series.values) // 15))
        marker = "o" if len(smooth) < 3 else ""
        axis.plot(series.steps, smooth, dashes[label], marker=marker, color=colours[label], linewidth=1.9, label=label)
    unit = panel.unit
    if panel.logarithmic and drawn and all((series.values > 0).all() for series in drawn.values()):
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.yaxis.set_minor_formatter(NullFormatter())
        unit += " (log scale)"
    _finish(axis, panel.title, unit, bounded=panel.bounded, missing=panel.lines)
    if drawn:
        # Above the panel, where it hides no curve.
        axis.legend(
            loc="lower left",
            bbox_to_anchor=(-0.02, 0.985),
            ncols=4,
            fontsize=8.5,
            frameon=False,
            handlelength=2.0,
            columnspacing=1.2,
        ).set_in_layout(False)


def _draw_validation(axis: Axes, metrics: Mapping[str, Series]) -> None:
    """All validation sets in one panel: a colour a set, solid with dots for accuracy, dashed with squares otherwise."""
    sets: dict[str, str] = {}
    colours = cycle(COLOURS)
    for (prefix, measure), (dash, marker) in zip(_VALIDATED.items(), (("-", "o"), ("--", "s")), strict=True):
        for key in sorted(name for name in metrics if name.startswith(prefix)):
            name = key.removeprefix(prefix).strip("/_").replace("dataloader_idx_", "set ")
            colour = sets.setdefault(name, "") or next(colours)
            sets[name] = colour
            label = f"{measure}, {name}" if name else measure
            series = metrics[key]
            axis.plot(series.steps, series.values, dash, marker=marker, markersize=4, color=colour, label=label)
    _finish(axis, "Validation", "share", bounded=True, missing=_VALIDATED)
    if sets:
        axis.legend(fontsize=8.5, framealpha=0.8, edgecolor="none", ncols=2)


def _finish(axis: Axes, title: str, unit: str, *, bounded: bool, missing: Iterable[str]) -> None:
    axis.set_title(title, loc="left", pad=20, fontsize=11, fontweight="bold", color=_INK)
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color(_FAINT_INK)
    axis.tick_params(colors=_INK, labelsize=9)
    axis.set_xlabel("step", fontsize=9.5, color=_INK)
    axis.set_ylabel(unit, fontsize=9.5, color=_INK)
    if not axis.lines:
        axis.set_xticks([])
        axis.set_yticks([])
        text = "\n".join(["no data for", *missing])
        axis.text(0.5, 0.5, text, ha="center", va="center", fontsize=9, color=_FAINT_INK, transform=axis.transAxes)
        return
    axis.grid(color="#e6e6e6", linewidth=0.8)
    axis.set_axisbelow(True)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7, min_n_ticks=1))
    if bounded:
        axis.set_ylim(-0.02, 1.02)


def _series(values: Mapping[float, float]) -> Series:
    steps = sorted(values)
    return Series(np.array(steps), np.array([values[step] for step in steps]))


def _number(cell: str | None, path: Path, line: int, column: str) -> float:
    """A cell as a number, NaN where blank (or cut off, as in a row still being written)."""
    try:
        return float(cell) if cell else math.nan
    except ValueError as error:
        raise ValueError(f"{path}, line {line}: column {column!r} must hold numbers, got {cell!r}") from error
