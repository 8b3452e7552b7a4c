"""What a judge said, for the terminal (rich). No markup is read in prompts, names and traces."""

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lit_listener.judging.display.exhibit import Exhibit
from lit_listener.judging.display.told import ANCHOR, Told, told_of_images, told_of_list, told_of_pair
from lit_listener.judging.display.wording import (
    FLIPPED,
    Mark,
    how_asked,
    legend,
    plain,
    plain_line,
    verdict,
    what_scores_are,
)
from lit_listener.judging.results import Comparison, Ranking

_BAR = 20
"""Columns of a bar that stands for probability 1."""


class ProbabilityBar:
    """A bar as long as a probability; of ASCII where the terminal knows nothing else."""

    def __init__(self, p: float) -> None:
        self._full = round(p * _BAR)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The bar, and what it lacks of 1."""
        full, empty = ("#", ".") if options.ascii_only else ("█", "░")
        yield Text.assemble((full * self._full, "cyan"), (empty * (_BAR - self._full), "dim"), no_wrap=True)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """It is never squeezed."""
        return Measurement(_BAR, _BAR)


def show_ranking(ranking: Ranking, exhibit: Exhibit, traces: bool = False) -> RenderableType:
    """A ranking as a table, best first.

    Args:
        ranking: the ranking.
        exhibit: its images.
        traces: show the reasoning under it.
    """
    anchor_shown = exhibit.anchor_of(ranking)
    anchor = None if anchor_shown is None else plain_line(anchor_shown.name)
    names = tuple(map(plain_line, exhibit.names))
    told = told_of_images(ranking, names, anchor)
    heard = any(each.listener is not None for each in told)
    table = _table("rank", "image", "score", heard)
    reasoning: list[RenderableType] = []
    for place in ranking.order:
        of_image, rank = told[place], str(ranking.ranks[place])
        listener = (of_image.listener,) if heard else ()
        notes = [mark.text for mark in of_image.marks]
        table.add_row(*_cells(rank, names[place], ranking.scores[place], notes, listener))
        if traces:
            reasoning.extend(_traces(f"{rank}. ", of_image))
    at_once = told_of_list(ranking, names)
    if traces:
        reasoning.extend(line for each in at_once for line in _traces("", each))
    below = (
        what_scores_are(ranking, anchor),
        _oddities([mark for each in at_once for mark in each.marks]),
        f"Seed {ranking.seed}, {how_asked(ranking)}.",
        legend(mark for each in (*told, *at_once) for mark in each.marks if mark is not ANCHOR),
    )
    return Group(*_head(ranking.prompt, exhibit.model), table, *map(Text, filter(None, below)), *reasoning)


def show_comparison(comparison: Comparison, exhibit: Exhibit, traces: bool = False) -> RenderableType:
    """A comparison as a table of its two images.

    Args:
        comparison: the comparison.
        exhibit: its images, A and B.
        traces: show the reasoning under it.
    """
    names = (plain_line(exhibit.images[0].name), plain_line(exhibit.images[1].name))
    p_a, heard = comparison.p_a, comparison.listener_p_a
    table = _table("", "image", "p(preferred)", heard is not None)
    table.add_row(*_cells("A", names[0], p_a, [], () if heard is None else (heard,)))
    table.add_row(*_cells("B", names[1], 1 - p_a, [], () if heard is None else (1 - heard,)))
    told = told_of_pair(comparison, names)
    odd = [mark for each in told for mark in each.marks if mark is not FLIPPED]  # which the verdict tells
    below = (
        verdict(comparison, (f"A, {names[0]}", f"B, {names[1]}")),
        _oddities(odd),
        f"Seed {comparison.seed}, {how_asked(comparison)}.",
        legend(odd),
    )
    reasoning = [line for each in told for line in _traces("", each)] if traces else ()
    return Group(*_head(comparison.prompt, exhibit.model), table, *map(Text, filter(None, below)), *reasoning)


def _oddities(odd: Sequence[Mark]) -> str:
    return f"Traces: {', '.join(mark.text for mark in odd)}." if odd else ""


def _head(prompt: str, model: str) -> list[RenderableType]:
    return [
        Text.assemble(("Prompt: ", "dim"), plain(prompt)),
        Text.assemble(("Judge:  ", "dim"), plain_line(model)),
    ]


def _table(label: str, image: str, number: str, heard: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(label, justify="right")
    table.add_column(image, overflow="fold")
    table.add_column(number, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    if heard:
        table.add_column("listener", justify="right", no_wrap=True)
    table.add_column("")
    return table


def _cells(
    label: str, name: str, p: float, notes: Sequence[str], listener: tuple[float | None, ...]
) -> list[RenderableType]:
    return [
        Text(label),
        Text(name),
        Text(f"{p:.3f}"),
        ProbabilityBar(p),
        *(Text("" if each is None else f"{each:.3f}") for each in listener),
        Text(", ".join(notes), "dim" if notes == ["anchor"] else "yellow"),
    ]


def _traces(rank: str, told: Told) -> Iterator[RenderableType]:
    """The reasoning about a pair or an image."""
    if told.traces:
        yield Text(f"\n{rank}{told.heading}", "bold")
    for trace in told.traces:
        yield Padding(Text(" · ".join(trace.facts), "cyan"), (0, 0, 0, 2), expand=False)
        yield Padding(Text(trace.thoughts), (0, 0, 0, 4), expand=False)
