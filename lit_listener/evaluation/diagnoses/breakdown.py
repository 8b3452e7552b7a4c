"""Where the judge is right and where it is not: by length of the completion, generator, category, and outcome.

Breakdowns of the papers' accuracy that the papers do not give.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from lit_listener.evaluation.diagnoses.lines import table_lines, told
from lit_listener.evaluation.judged_pairs import JudgedPair, judged_pairs
from lit_listener.evaluation.results import Curve, Measured, Point, ResultPlot, ResultTable, Runs, measured

LENGTH_BINS = 5
MOST_SHOWN = 30
"""Lines of a table by generator or category; the rarer ones are told in a note."""


def length_bins(lengths: Sequence[int], bins: int = LENGTH_BINS) -> list[tuple[int, int]]:
    """Shortest and longest length of bins that hold about equally many.

    Args:
        lengths: Lengths in tokens.
        bins: Bins wanted; where many lengths are equal there are fewer.

    Returns:
        Bins that follow one another and hold all lengths, each with at least one; none for no lengths.
    """
    if not lengths:
        return []
    # A bin's upper edge is a length that occurs, so that equal lengths never part.
    uppers = np.unique(np.quantile(lengths, np.arange(1, bins + 1) / bins, method="inverted_cdf")).astype(int)
    sorted_lengths = np.unique(lengths)
    lowers = [int(sorted_lengths[0])]
    lowers += [int(sorted_lengths[np.searchsorted(sorted_lengths, upper, side="right")]) for upper in uppers[:-1]]
    return list(zip(lowers, uppers.tolist(), strict=True))


def length_plot(runs: Runs) -> ResultPlot:
    """Accuracy of the sampled answer against the completion's length, in bins shared by all runs; a curve a run.

    Args:
        runs: The predictions of each run on one source.
    """
    labelled = {name: [row for row in rows if row.label is not None] for name, rows in runs.items()}
    all_lengths = np.array([row.length for rows in labelled.values() for row in rows], dtype=int)
    curves = {name: list[Point]() for name in runs}
    for low, high in length_bins(all_lengths.tolist()):
        middle = float(all_lengths[(all_lengths >= low) & (all_lengths <= high)].mean())
        for name, rows in labelled.items():
            inside = [row for row in rows if low <= row.length <= high]
            accuracy = measured(
                [row.correct for row in inside],
                [row.prompt_id for row in inside],
                none="no completion of this run is so long",
            )
            curves[name].append(Point(middle, accuracy, f"{low}-{high}"))
    return ResultPlot(
        "length",
        "Accuracy against length",
        "tokens of the completion",
        "accuracy of the sampled answer",
        tuple(Curve(name, tuple(points)) for name, points in curves.items()),
        notes=(
            f"{LENGTH_BINS} bins that hold about equally many completions of all runs together (fewer where many are "
            "equally long); a point stands at the mean length of its bin. An unreadable answer is wrong.",
            *told(
                {name: len(rows) - len(labelled[name]) for name, rows in runs.items()},
                "Completions about pairs on which people are tied are left out",
            ),
        ),
    )


def by_generator(runs: Runs) -> ResultTable | None:
    """Accuracy of the pairs in which each generator takes part; None where the source tells no generators."""
    return _by_group(
        runs,
        lambda pair: {name for name in (pair.any_row.generator_a, pair.any_row.generator_b) if name},
        "generator",
        "Accuracy by generator",
        "A pair counts for both of its generators.",
    )


def by_category(runs: Runs) -> ResultTable | None:
    """Accuracy by category of the prompt; None where the source tells no categories."""
    return _by_group(
        runs,
        lambda pair: {pair.any_row.category} - {""},
        "category",
        "Accuracy by category of the prompt",
    )


def outcomes_table(runs: Runs) -> ResultTable:
    """How completions came out: the share of each outcome of the parser, of those cut off, and the mean length.

    Args:
        runs: The predictions of each run on one source.
    """
    seen = Counter(row.outcome for rows in runs.values() for row in rows)
    outcomes = sorted(seen, key=lambda outcome: (outcome != "ok", -seen[outcome], outcome))
    names = {f"outcome/{outcome}": outcome for outcome in outcomes} | {
        "completions/unparsable": "without a readable answer",
        "completions/truncated": "cut off at the length limit",
        "completions/length": "mean length",
    }
    none = "there are no completions"
    cells = []
    for rows in runs.values():
        prompts = [row.prompt_id for row in rows]
        shares = {f"outcome/{outcome}": [float(row.outcome == outcome) for row in rows] for outcome in outcomes}
        shares["completions/unparsable"] = [float(row.unparsable) for row in rows]
        shares["completions/truncated"] = [float(row.truncated) for row in rows]
        of_run = {key: measured(values, prompts, none=none) for key, values in shares.items()}
        of_run["completions/length"] = measured([float(row.length) for row in rows], prompts, unit="tokens", none=none)
        cells.append(of_run)
    return ResultTable(
        "outcomes",
        "How completions came out",
        tuple(runs),
        table_lines(names, cells),
        notes=("An answer may be readable under faults of form; where several faults meet, the gravest is counted.",),
    )


def _by_group(
    runs: Runs, groups_of: Callable[[JudgedPair], set[str]], kind: str, title: str, note: str = ""
) -> ResultTable | None:
    pairs = {name: judged_pairs(rows) for name, rows in runs.items()}
    grouped = {name: _grouped(of_run, groups_of) for name, of_run in pairs.items()}
    sizes: Counter[str] = Counter()
    for of_run in grouped.values():
        sizes |= Counter({group: len(members) for group, members in of_run.items()})  # the larger number of the two
    if not sizes:
        return None
    by_size = sorted(sizes, key=lambda group: (-sizes[group], group))
    shown, rare = sorted(by_size[:MOST_SHOWN]), by_size[MOST_SHOWN:]
    cells: list[dict[str, Measured]] = []
    for of_run in grouped.values():
        members = {group: of_run.get(group, []) for group in shown}
        cells.append(
            {
                f"{kind}/{group}": measured(
                    [pair.correct() for pair in inside],
                    [pair.prompt_id for pair in inside],
                    none="people are tied on all of its pairs" if inside else "this run has no such pair",
                )
                for group, inside in members.items()
            }
        )
    ties = {name: sum(pair.preferred is None for pair in of_run) for name, of_run in pairs.items()}
    notes = [
        "Decisions by the mean soft score over rollouts and display orders; an exact tie of the images, or a pair "
        "without any readable answer, counts as wrong.",
        note,
        *told(ties, "Pairs on which people are tied are left out"),
    ]
    if rare:
        others = f", and {len(rare) - MOST_SHOWN:,} others" if len(rare) > MOST_SHOWN else ""
        notes.append(f"The {MOST_SHOWN} most frequent are shown, and not: {', '.join(rare[:MOST_SHOWN])}{others}.")
    return ResultTable(
        f"by_{kind}",
        title,
        tuple(runs),
        table_lines({f"{kind}/{group}": group for group in shown}, cells),
        notes=tuple(filter(None, notes)),
    )


def _grouped(
    pairs: Sequence[JudgedPair], groups_of: Callable[[JudgedPair], set[str]]
) -> Mapping[str, list[JudgedPair]]:
    members: dict[str, list[JudgedPair]] = {}
    for pair in pairs:
        for group in groups_of(pair):
            members.setdefault(group, []).append(pair)
    return members
