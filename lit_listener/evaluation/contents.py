"""Which tables and plots an evaluation has: those of both papers by their numbers, and what the papers leave out."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from lit_listener.evaluation.comparison import comparison_table, mcnemar_table
from lit_listener.evaluation.diagnoses.breakdown import by_category, by_generator, length_plot, outcomes_table
from lit_listener.evaluation.diagnoses.calibration import calibration_table, reliability_plot
from lit_listener.evaluation.diagnoses.contradictions import table_4
from lit_listener.evaluation.diagnoses.disagreement import figure_2
from lit_listener.evaluation.diagnoses.leakage import leakage_table
from lit_listener.evaluation.diagnoses.thinking import table_5
from lit_listener.evaluation.judged_pairs import TieRule
from lit_listener.evaluation.prediction import Prediction
from lit_listener.evaluation.protocols.accuracy import accuracy_table
from lit_listener.evaluation.protocols.agreement import agreement_table, figure_3
from lit_listener.evaluation.protocols.baselines import table_3
from lit_listener.evaluation.protocols.lists import list_table
from lit_listener.evaluation.protocols.overview import figure_1, table_1
from lit_listener.evaluation.protocols.rollouts import figure_4, table_2
from lit_listener.evaluation.protocols.soft_scores import soft_table_2
from lit_listener.evaluation.results import Line, ResultPlot, ResultTable, Runs, undefined
from lit_listener.evaluation.section import Section

HEADLINES = (
    "data/pairs",
    "data/prompts",
    "lists/anchor_micro",
    "lists/all_pairs_micro",
    "accuracy/micro",
    "accuracy/macro",
    "accuracy/answer",
    "order/flip_share",
    "contradiction/by_rule",
    "contradiction/independent",
    "completions/unparsable_share",
    "calibration/ece",
)
"""The measures that ``test`` prints, as far as any source has them."""


def sections(runs: Mapping[str, Sequence[Prediction]], ties: TieRule = "wrong") -> list[Section]:
    """Everything there is to tell of some runs, a section a source.

    Args:
        runs: the predictions of each run, by its name; a source that a run did not judge is told without it.
        ties: what a judgement is worth that puts both images exactly level.
    """
    by_source: dict[str, dict[str, list[Prediction]]] = {}
    for run, predictions in runs.items():
        for row in predictions:
            by_source.setdefault(row.source, {}).setdefault(run, []).append(row)
    return [Section(source, _tables(own, ties), _plots(own, ties)) for source, own in by_source.items()]


def headlines(found: Sequence[Section]) -> ResultTable:
    """The most telling measures of a single run, a column a source."""
    # a measure that stands in several tables is named as in the first
    by_source = [{line.key: line for line in reversed(_lines(section))} for section in found]
    return ResultTable(
        "headlines",
        "Test",
        tuple(section.source for section in found),
        tuple(_headline(key, by_source) for key in HEADLINES if any(key in lines for lines in by_source)),
        notes=_LISTS_TOLD if any("lists/anchor_micro" in lines for lines in by_source) else (),
    )


_LISTS_TOLD = (
    "Figures of lists are over all pairs of images of each list, the others over the comparisons that were made.",
)


def _headline(key: str, by_source: Sequence[Mapping[str, Line]]) -> Line:
    """One measure of every source that has it."""
    found = [lines.get(key) for lines in by_source]
    name = next(line.name for line in found if line is not None)
    cells = (undefined("this source ranks no lists") if line is None else line.cells[0] for line in found)
    return Line(key, name, tuple(cells))


def _lines(section: Section) -> list[Line]:
    return [line for table in section.tables for line in table.lines]


def _tables(runs: Runs, ties: TieRule) -> list[ResultTable]:
    found: list[ResultTable | None] = [
        *_compared(runs),
        accuracy_table(runs, ties),
        table_1(runs),
        table_2(runs, ties),
        table_3(runs, ties),
        table_4(runs),
        table_5(runs),
        soft_table_2(runs, ties),
        list_table(runs, ties),
        agreement_table(runs, ties),
        calibration_table(runs),
        leakage_table(runs),
        outcomes_table(runs),
        by_generator(runs),
        by_category(runs),
    ]
    return [table for table in found if table is not None]


def _plots(runs: Runs, ties: TieRule) -> list[ResultPlot]:
    return [
        figure_1(runs, ties),
        figure_2(runs),
        figure_3(runs, ties),
        figure_4(runs, ties),
        reliability_plot(runs),
        length_plot(runs),
    ]


def _compared(runs: Runs) -> list[ResultTable]:
    """Each further run against the first, where they judged the same pairs."""
    first, *others = runs.items()
    shared = {row.pair_id for row in first[1]}
    found: list[ResultTable] = []
    for number, other in enumerate(others, 1):
        if any(row.pair_id in shared for row in other[1]):
            suffix = "" if number == 1 else f"_{number}"
            tables = (comparison_table(first, other), mcnemar_table(first, other))
            found += [replace(table, key=table.key + suffix) for table in tables]
    return found
