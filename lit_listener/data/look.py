"""What is in a data set, before anything is trained on it: votes, prompts, generators and image sizes."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from lit_listener.data.sheet import Pairs, contact_sheet, spread

BINS = ("50–60%", "60–70%", "70–80%", "80–90%", "90–100%")
"""Bins of agreement, the majority's share of the votes: each holds its lower bound, the last its upper one too."""
_MOST_NAMES = 8
"""Generators and image sizes listed by name at most; the others are counted together."""


@dataclass(frozen=True)
class PairStatistics:
    """Counts over pairs."""

    count: int
    ties: int
    """Pairs whose votes are split evenly."""
    a_preferred: int
    """Pairs in which image A won: the share of them tells whether the source puts the better image first."""
    agreement: tuple[int, ...]
    """Pairs with a winner in each of ``BINS``."""
    image_sizes: Mapping[tuple[int, int], int]
    """Images of each (width, height), the most frequent size first."""
    generators: Mapping[str, int]
    """Images of each generator, the most frequent first; "" where the source does not tell."""
    distinct_prompts: int


def describe(pairs: Pairs, limit: int | None = None) -> PairStatistics:
    """Count what is in a data set; every image is decoded, one pair at a time.

    Args:
        pairs: The data set.
        limit: Pairs looked at at most, spread evenly over the data set; None looks at all.

    Raises:
        ValueError: There are no pairs, or limit is below 1.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit: expected at least 1 pair, got {limit}")
    wins: Counter[str | None] = Counter()
    agreement = [0] * len(BINS)
    sizes: Counter[tuple[int, int]] = Counter()
    generators: Counter[str] = Counter()
    prompts: set[str] = set()
    for index in spread(len(pairs), limit or len(pairs)):
        pair = pairs[index]
        wins[pair.preferred] += 1
        if pair.preferred is not None:
            agreement[_bin(pair.share_a)] += 1
        sizes.update((pair.image_a.size, pair.image_b.size))
        generators.update((pair.generator_a, pair.generator_b))
        prompts.add(pair.prompt_id)
    if not wins:
        raise ValueError("there are no pairs to describe: the data set is empty")
    return PairStatistics(
        count=wins.total(),
        ties=wins[None],
        a_preferred=wins["a"],
        agreement=tuple(agreement),
        image_sizes=dict(sizes.most_common()),
        generators=dict(generators.most_common()),
        distinct_prompts=len(prompts),
    )


def _bin(share_a: float) -> int:
    """Index of the agreement's bin; rounded, for 0.7 read from a 32-bit column is 0.69999999."""
    percent = round(100 * max(share_a, 1.0 - share_a), 4)
    return min(int((percent - 50) // 10), len(BINS) - 1)


def statistics_table(statistics: PairStatistics, title: str = "") -> Table:
    """The counts as a table for the terminal: a section a question, with shares of the whole.

    Args:
        statistics: What was counted.
        title: Heading of the table.
    """
    table = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        show_header=False,
        title=title or None,
        title_justify="left",
    )
    table.add_column(overflow="fold")
    table.add_column(justify="right")
    table.add_column(justify="right")
    pairs, images = statistics.count, 2 * statistics.count
    winners = statistics.count - statistics.ties
    _section(
        table,
        "pairs",
        [("in all", pairs), ("ties", statistics.ties), ("image A preferred", statistics.a_preferred)],
        pairs,
    )
    _section(
        table,
        f"agreement of the voters, in {winners:,} pairs with a winner",
        zip(BINS, statistics.agreement, strict=True),
        winners,
    )
    table.add_section()
    table.add_row(Text("distinct prompts", style="bold"), f"{statistics.distinct_prompts:,}", "")
    _section(
        table,
        "generators, by image",
        _named({name or "not told": n for name, n in statistics.generators.items()}),
        images,
    )
    _section(table, "image sizes", _named({f"{w} × {h}": n for (w, h), n in statistics.image_sizes.items()}), images)
    return table


def look(pairs: Pairs, sheet: Path | None = None, limit: int = 1000) -> Table:
    """Describe a data set, and draw a contact sheet of it.

    Args:
        pairs: The data set.
        sheet: PNG file to write the contact sheet to, or None for none.
        limit: Pairs described at most, spread evenly over the data set; at least 1.

    Returns:
        The statistics as a table for the terminal.

    Raises:
        ValueError: There are no pairs, or limit is below 1.
    """
    statistics = describe(pairs, limit)
    if sheet is not None:
        contact_sheet(pairs, sheet)
    part = f"{statistics.count:,} of {len(pairs):,} pairs, spread evenly" if statistics.count < len(pairs) else ""
    return statistics_table(statistics, title=part)


def _section(table: Table, heading: str, counts: Iterable[tuple[str, int]], whole: int) -> None:
    table.add_section()
    table.add_row(Text(heading, style="bold"), "", "")
    for name, count in counts:
        # Text, not str: rich would read a name in square brackets as a style.
        table.add_row(Text(f"  {name}"), f"{count:,}", f"{count / whole:.1%}" if whole else "n/a")


def _named(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """The first few names, and the rest as one."""
    rows = list(counts.items())
    if len(rows) <= _MOST_NAMES:
        return rows
    rest = rows[_MOST_NAMES - 1 :]
    return [*rows[: _MOST_NAMES - 1], (f"{len(rest)} others", sum(count for _, count in rest))]
