"""Accuracy with the thoughts and with a fixed sentence in their place (Listener paper, Table 5)."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from types import MappingProxyType

from lit_listener.evaluation.diagnoses.lines import THINKS_NOT, table_lines, told
from lit_listener.evaluation.judged_pairs import JudgedPair, judged_pairs
from lit_listener.evaluation.results import Measured, ResultTable, Runs, measured

NAMES: Mapping[str, str] = MappingProxyType(
    {
        "thinking/with": "accuracy with thoughts",
        "thinking/without": 'accuracy after "I have finished thinking."',
        "thinking/difference": "what thinking adds",
    }
)


def p_a_without_thinking(pair: JudgedPair) -> float | None:
    """The model's probability that image a is better, given no thoughts, mean over the display orders.

    Returns:
        A number in [0, 1]; None unless the question was asked in every order in which the pair was shown, since the
        orders left would carry a bias towards a position that the judgement with thoughts does not have.
    """
    means = []
    for first in pair.orders:
        p_second = [p for row in pair.of_order(first) if (p := row.p_second_without_thinking) is not None]
        if not p_second:
            return None
        means.append(fmean(p_second) if first == "b" else 1.0 - fmean(p_second))
    return fmean(means)


def table_5(runs: Runs) -> ResultTable:
    """Accuracy of the soft decision with and without thoughts on the same pairs, and the paired difference.

    Args:
        runs: The predictions of each run on one source.
    """
    cells, ties = [], {}
    for name, rows in runs.items():
        pairs = judged_pairs(rows)
        ties[name] = sum(pair.preferred is None for pair in pairs)
        cells.append(_cells(pairs))
    return ResultTable(
        "table_5",
        "Accuracy with and without thinking",
        tuple(runs),
        table_lines(NAMES, cells),
        paper="Listener paper, Table 5",
        notes=(
            "Decisions by the mean soft score over rollouts and display orders; an exact tie of the images, or a pair "
            "without any readable answer, counts as wrong.",
            "The difference is paired: with thoughts minus without, on the same pairs.",
            *told(ties, "Pairs on which people are tied are left out"),
        ),
    )


def _cells(pairs: Sequence[JudgedPair]) -> dict[str, Measured]:
    worth = [
        (pair.prompt_id, with_thoughts, without)
        for pair in pairs
        if (p_a := p_a_without_thinking(pair)) is not None
        and (with_thoughts := pair.correct()) is not None
        and (without := pair.worth(p_a)) is not None
    ]
    prompts = [prompt for prompt, _, _ in worth]
    if not any(pair.preferred for pair in pairs):
        none = "no pair has an image that people prefer"
    elif not any(row.thinks for pair in pairs for row in pair.rows):
        none = THINKS_NOT
    else:
        none = "no answer without thoughts was asked for: set model.evaluation.without_thinking"
    # Both sides have one value a pair, so that the paired bootstrap of their means is that of the differences.
    gained = [with_thoughts - without for _, with_thoughts, without in worth]
    return {
        "thinking/with": measured([with_thoughts for _, with_thoughts, _ in worth], prompts, none=none),
        "thinking/without": measured([without for _, _, without in worth], prompts, none=none),
        "thinking/difference": measured(gained, prompts, unit="points", none=none),
    }
