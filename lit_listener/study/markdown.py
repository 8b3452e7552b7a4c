"""Results as Markdown that reads well on GitHub and on a documentation site."""

import math
from collections.abc import Iterable, Sequence

from lit_listener.evaluation.number_text import bounds_text, footnotes, mean_text
from lit_listener.evaluation.report.markup import alternative_text
from lit_listener.evaluation.results import Measured, ResultPlot, ResultTable
from lit_listener.study.papers import NO_INTERVAL
from lit_listener.study.verdicts import Finding, told


def table_markdown(table: ResultTable, folder: str, controls_from: int | None = None) -> str:
    """A table of results under a heading, with footnotes, notes and a link to its CSV.

    Args:
        table: The results.
        folder: Where its CSV lies, relative to the document.
        controls_from: The first line below the rule; None for a table without one.
    """
    cells = [cell for line in table.lines for cell in line.cells]
    reasons = footnotes([cell for cell in cells if cell.reason != NO_INTERVAL])
    rows = [[line.name, *(_cell(cell, reasons) for cell in line.cells)] for line in table.lines]
    if controls_from is not None and controls_from < len(rows):
        rows.insert(controls_from, ["*controls, and soft rewards alone*", *("" for _ in table.columns)])
    notes = [*(f"{number}: {reason}." for reason, number in reasons.items()), *table.notes]
    parts = [
        _heading(table),
        pipe_table(["", *table.columns], rows),
        *([_listed(notes)] if notes else []),
        f"[CSV]({folder}/{table.key}.csv)",
    ]
    return "\n\n".join(parts)


def plot_markdown(plot: ResultPlot, folder: str) -> str:
    """A picture under a heading, with its numbers as alternative text, notes and a link to its CSV."""
    parts = [
        _heading(plot),
        f"![{_one_line(alternative_text(plot))}]({folder}/{plot.key}.png)",
        *([_listed(plot.notes)] if plot.notes else []),
        f"[CSV]({folder}/{plot.key}.csv)",
    ]
    return "\n\n".join(parts)


def claims_markdown(found: Sequence[Finding]) -> str:
    """The claims in short: what the paper says and has, what comes out here, and the verdict."""
    rows = [
        [
            finding.claim.says,
            finding.claim.where,
            finding.claim.paper.points if finding.claim.paper else "–",
            told(finding.ours).replace(" points", ""),
            f"**{finding.decision.verdict}**",
        ]
        for finding in found
    ]
    return pipe_table(["claim", "in the paper", "paper, points", "here, points", "verdict"], rows, texts=2)


def pipe_table(columns: Sequence[str], rows: Iterable[Sequence[str]], texts: int = 1) -> str:
    """A table whose first columns are texts, which stand left; numbers stand right."""
    lines = [columns, ["---" if place < texts else "---:" for place in range(len(columns))], *rows]
    return "\n".join(f"| {' | '.join(map(_escaped, line))} |" for line in lines)


def _heading(result: ResultTable | ResultPlot) -> str:
    place = result.paper.removeprefix("Listener paper, ")
    return f"### {place}: {result.title}" if place else f"### {result.title}"


def _cell(cell: Measured, reasons: dict[str, int]) -> str:
    number = reasons.get(cell.reason)
    mark = f"<sup>{number}</sup>" if number else ""
    text = " ".join(part for part in (mean_text(cell), bounds_text(cell)) if part)
    return text + mark if math.isnan(cell.interval.mean) or mark else text


def _listed(notes: Sequence[str]) -> str:
    return "\n".join(f"- {_one_line(note)}" for note in notes)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _escaped(text: str) -> str:
    return _one_line(text).replace("|", r"\|")
