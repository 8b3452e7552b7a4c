"""What is in a data set, before anything is trained on it: votes, prompts, generators and image sizes.

A pair that cannot be read is counted as such and enters no other count.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from math import ceil
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from lit_listener.data.records import Side
from lit_listener.data.sheet import Pairs, contact_sheet, spread
from lit_listener.data.sources.pairs import TablePairs
from lit_listener.data.watched import watched

BINS = ("50–60%", "60–70%", "70–80%", "80–90%", "90–100%")
"""Bins of agreement, the majority's share of the votes: each holds its lower bound, the last its upper one too."""
VOTE_BINS = ("not told", "1", "2–4", "5–9", "10–14", "15–19", "20–49", "50 or more")
"""Bins of the number of votes on a pair."""
_FEWEST_VOTES = (0, 1, 2, 5, 10, 15, 20, 50)
_QUANTILES = (0.0, 0.05, 0.5, 0.95, 1.0)
_TOLD = 5  # reasons, at most
_MOST_NAMES = 8
"""Generators and image sizes listed by name at most; the others are counted together."""


@dataclass(frozen=True)
class PairStatistics:
    """Counts over the pairs that can be read."""

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
    votes: tuple[int, ...] = (0,) * len(VOTE_BINS)
    """Pairs with a number of votes in each of ``VOTE_BINS``."""
    unreadable: int = 0
    """Pairs that were looked at as well and cannot be read."""
    reasons: tuple[str, ...] = ()
    """Why the first few of them cannot be read."""


@dataclass(frozen=True)
class _Pair:
    """What is counted of one pair."""

    preferred: Side | None
    share_a: float
    votes: int
    sizes: tuple[tuple[int, int], tuple[int, int]]
    generators: tuple[str, str]
    prompt_id: str


def describe(pairs: Pairs, limit: int | None = None) -> PairStatistics:
    """Count what is in a data set; every image that is looked at is decoded, a few pairs at a time.

    Args:
        pairs: The data set.
        limit: Pairs looked at at most, spread evenly over the data set; None looks at all.

    Raises:
        ValueError: There are no pairs, or limit is below 1.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit: expected at least 1 pair, got {limit}")

    def see(index: int) -> _Pair | str:
        try:
            pair = pairs[index]
        except (OSError, ValueError) as error:
            return str(error)
        sizes, generators = (pair.image_a.size, pair.image_b.size), (pair.generator_a, pair.generator_b)
        return _Pair(pair.preferred, pair.share_a, pair.votes, sizes, generators, pair.prompt_id)

    wins: Counter[str | None] = Counter()
    agreement, votes = [0] * len(BINS), [0] * len(VOTE_BINS)
    sizes: Counter[tuple[int, int]] = Counter()
    generators: Counter[str] = Counter()
    prompts: set[str] = set()
    unreadable: list[str] = []
    looked_at = spread(len(pairs), limit or len(pairs))
    for pair in watched(see, looked_at, "looking at pairs"):
        if isinstance(pair, str):
            unreadable.append(pair)
            continue
        wins[pair.preferred] += 1
        if pair.preferred is not None:
            agreement[_bin(pair.share_a)] += 1
        votes[bisect_right(_FEWEST_VOTES, pair.votes) - 1] += 1
        sizes.update(pair.sizes)
        generators.update(pair.generators)
        prompts.add(pair.prompt_id)
    if not looked_at:
        raise ValueError("there are no pairs to describe: the data set is empty")
    return PairStatistics(
        count=wins.total(),
        ties=wins[None],
        a_preferred=wins["a"],
        agreement=tuple(agreement),
        image_sizes=dict(sizes.most_common()),
        generators=dict(generators.most_common()),
        distinct_prompts=len(prompts),
        votes=tuple(votes),
        unreadable=len(unreadable),
        reasons=tuple(unreadable[:_TOLD]),
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
    if any(statistics.votes):
        _section(table, "votes on a pair", zip(VOTE_BINS, statistics.votes, strict=True), pairs)
    if statistics.unreadable:
        looked_at = pairs + statistics.unreadable
        _section(table, f"unreadable, of {looked_at:,} looked at", [("pairs", statistics.unreadable)], looked_at)
    table.add_section()
    table.add_row(Text("distinct prompts", style="bold"), f"{statistics.distinct_prompts:,}", "")
    _section(
        table,
        "generators, by image",
        _named({name or "not told": n for name, n in statistics.generators.items()}),
        images,
    )
    _section(table, "image sizes", _named({f"{w} × {h}": n for (w, h), n in statistics.image_sizes.items()}), images)
    if len(statistics.image_sizes) > 1:
        table.add_section()
        table.add_row(Text(f"{' / '.join(f'{share:.0%}' for share in _QUANTILES)} are at most", style="bold"))
        for side, name in enumerate(("width", "height")):
            lengths = Counter[int]()
            for size, count in statistics.image_sizes.items():
                lengths[size[side]] += count
            table.add_row(Text(f"  {name} {' / '.join(str(length) for length in quantiles(lengths))}"), "", "")
    return table


def quantiles(counts: Mapping[int, int]) -> list[int]:
    """The least, the 5%, the middle, the 95% and the greatest of values that occur so many times each."""
    values = sorted(counts)
    up_to = list(accumulate(counts[value] for value in values))
    return [values[bisect_right(up_to, max(ceil(share * up_to[-1]), 1) - 1)] for share in _QUANTILES]


def look(pairs: Pairs, sheet: Path | None = None, limit: int = 1000) -> tuple[Table, tuple[str, ...]]:
    """Describe a data set, and draw a contact sheet of it.

    Args:
        pairs: The data set.
        sheet: PNG file to write the contact sheet to, or None for none.
        limit: Pairs described at most, spread evenly over the data set; at least 1.

    Returns:
        The statistics as a table for the terminal, and why the first few unreadable pairs are so.

    Raises:
        ValueError: There are no pairs, or limit is below 1.
    """
    statistics = describe(pairs, limit)
    if sheet is not None and statistics.count:
        contact_sheet(pairs, sheet)
    looked_at = statistics.count + statistics.unreadable
    part = f"{looked_at:,} of {len(pairs):,} pairs, spread evenly" if looked_at < len(pairs) else ""
    return statistics_table(statistics, title=part), statistics.reasons


def counts_table(pairs: TablePairs) -> Table:
    """How the pairs of a table came about, as a table for the terminal: from its rows to the pairs that are used."""
    counts = pairs.counts
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    rows = [
        ("rows", counts.rows),
        ("  skipped", counts.skipped_rows),
        ("pairs they make", counts.pairs),
        ("  ties", counts.ties),
        ("  unreadable, left out", counts.unreadable),
        ("pairs used", counts.used),
    ]
    for name, count in rows:
        table.add_row(Text(name, style="" if name.startswith(" ") else "bold"), f"{count:,}")
    return table


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
