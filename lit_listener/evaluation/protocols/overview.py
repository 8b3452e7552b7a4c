"""What was judged, and the papers' headline: Table 1 (data sets) and Figure 1 (accuracy beside contradictions)."""

from collections.abc import Callable, Mapping, Sequence

from lit_listener.evaluation.judged_pairs import JudgedPair, TieRule
from lit_listener.evaluation.prediction import Prediction
from lit_listener.evaluation.protocols.cells import Measure, exact, judged_runs, over_pairs, take_lines
from lit_listener.evaluation.results import Curve, Measured, Point, ResultPlot, ResultTable, Runs, measured, undefined

_Count = Callable[[Sequence[JudgedPair]], float | None]


def table_1(runs: Runs) -> ResultTable:
    """What was judged: pairs, prompts, votes, generators (the listener paper's Table 1 tells its data sets so)."""
    judged = judged_runs(runs)
    counts: Mapping[str, tuple[str, _Count, str]] = {
        "data/pairs": ("pairs", len, ""),
        "data/prompts": ("prompts", lambda pairs: len({pair.prompt_id for pair in pairs}), ""),
        "data/ties": ("pairs on which people are split evenly", _ties, ""),
        "data/lists": ("ranked lists", _lists, "pairs come as pairs"),
        "data/votes": ("votes", _votes, "the source tells no numbers of votes"),
        "data/generators": ("generators", _generators, "the source names no generators"),
        "data/completions": ("completions judged", lambda pairs: sum(len(pair.rows) for pair in pairs), ""),
    }
    measures = [Measure(key, name, _counted(count, none)) for key, (name, count, none) in counts.items()]
    return ResultTable(
        "table_1",
        "What was judged",
        tuple(runs),
        take_lines(judged, measures),
        paper="Listener paper, Table 1",
        notes=("Counts of what was judged, not of the whole data set.",),
    )


def figure_1(runs: Runs, ties: TieRule = "wrong") -> ResultPlot:
    """Accuracy and contradictions of each run side by side (the listener paper's opening figure makes this point)."""
    judged = judged_runs(runs)
    accuracies = [over_pairs(pairs, lambda pair: pair.correct(ties=ties)) for pairs in judged.values()]
    contradictions = [_contradictions(rows) for rows in runs.values()]
    curves = [
        Curve(name, tuple(Point(float(x), y, run) for x, (run, y) in enumerate(zip(runs, values, strict=True))))
        for name, values in (("accuracy", accuracies), ("contradictions, by rule", contradictions))
    ]
    return ResultPlot(
        "figure_1",
        "Accuracy, and answers that contradict their own thoughts",
        "",
        "share",
        tuple(curves),
        kind="bars",
        paper="Listener paper, Figure 1",
        notes=("A contradiction: the trace states one verdict, the answer gives the other; found by rule.",),
    )


def _counted(count: _Count, none: str) -> Callable[[Sequence[JudgedPair]], Measured]:
    def take(pairs: Sequence[JudgedPair]) -> Measured:
        number = count(pairs)
        return undefined(none, "count") if number is None else exact(number, pairs, "count")

    return take


def _ties(pairs: Sequence[JudgedPair]) -> int:
    return sum(pair.preferred is None for pair in pairs)


def _lists(pairs: Sequence[JudgedPair]) -> int | None:
    return len({pair.any_row.list_id for pair in pairs} - {None}) or None


def _votes(pairs: Sequence[JudgedPair]) -> int | None:
    return sum(pair.any_row.votes for pair in pairs) or None


def _generators(pairs: Sequence[JudgedPair]) -> int | None:
    named = {name for pair in pairs for name in (pair.any_row.generator_a, pair.any_row.generator_b)}
    return len(named - {""}) or None


def _contradictions(rows: Sequence[Prediction]) -> Measured:
    none = "no completion has thoughts and an answer that can be read"
    return measured([row.contradiction for row in rows], [row.prompt_id for row in rows], none=none)
