"""What the listener owes to being told the verdict: how it judges with the sentences that state one, and without.

A listener that is right only because the trace says which image is better tells nothing of the thoughts. Not in the
papers.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from lit_listener.evaluation.diagnoses.lines import THINKS_NOT, table_lines, told
from lit_listener.evaluation.prediction import Prediction
from lit_listener.evaluation.results import Measured, ResultTable, Runs, measured

NAMES: Mapping[str, str] = MappingProxyType(
    {
        "leakage/accuracy_kept": "listener's accuracy, traces as they are",
        "leakage/accuracy_stripped": "listener's accuracy, verdicts stripped",
        "leakage/accuracy_difference": "what the verdicts add to its accuracy",
        "leakage/p_correct_kept": "listener's p(correct), traces as they are",
        "leakage/p_correct_stripped": "listener's p(correct), verdicts stripped",
        "leakage/p_correct_difference": "what the verdicts add to its p(correct)",
        "leakage/stated_share": "traces that state a verdict",
    }
)


def leakage_table(runs: Runs) -> ResultTable:
    """The listener's accuracy and mean p(correct) with verdict sentences kept and stripped, on the same completions.

    Args:
        runs: The predictions of each run on one source.
    """
    return ResultTable(
        "leakage",
        "What the listener owes to being told the verdict",
        tuple(runs),
        table_lines(NAMES, [_cells(rows) for rows in runs.values()]),
        notes=(
            "Of completions that the listener heard both ways; it is right where it gives the preferred image more "
            "than half.",
            "The differences are paired: kept minus stripped, on the same completions.",
            *told(
                {name: sum(row.label is None for row in rows) for name, rows in runs.items()},
                "Completions about pairs on which people are tied are left out",
            ),
        ),
    )


def _cells(rows: Sequence[Prediction]) -> dict[str, Measured]:
    labelled = [row for row in rows if row.label is not None]
    heard = [row for row in labelled if None not in (row.listener_p_second, row.listener_p_second_stripped)]
    kept = [_p_label(row, row.listener_p_second) for row in heard]
    stripped = [_p_label(row, row.listener_p_second_stripped) for row in heard]
    if not labelled:
        none = "no completion is about a pair with an image that people prefer"
    elif not any(row.thinks for row in rows):
        none = THINKS_NOT
    elif all(row.listener_p_second_stripped is None for row in rows):
        none = "no listener heard stripped traces: set model.evaluation.strip_verdicts, and a listener"
    else:
        none = "no completion was heard both ways"
    prompts = [row.prompt_id for row in heard]
    right_kept, right_stripped = ([float(p > 0.5) for p in side] for side in (kept, stripped))
    # Both sides have one value a completion, so that the paired bootstrap of their means is that of the differences.
    right_lost = [a - b for a, b in zip(right_kept, right_stripped, strict=True)]
    p_lost = [a - b for a, b in zip(kept, stripped, strict=True)]
    return {
        "leakage/accuracy_kept": measured(right_kept, prompts, none=none),
        "leakage/accuracy_stripped": measured(right_stripped, prompts, none=none),
        "leakage/accuracy_difference": measured(right_lost, prompts, unit="points", none=none),
        "leakage/p_correct_kept": measured(kept, prompts, unit="probability", none=none),
        "leakage/p_correct_stripped": measured(stripped, prompts, unit="probability", none=none),
        "leakage/p_correct_difference": measured(p_lost, prompts, unit="probability", none=none),
        "leakage/stated_share": measured([float(row.stated_verdict is not None) for row in heard], prompts, none=none),
    }


def _p_label(row: Prediction, p_second: float | None) -> float:
    """The probability of the preferred image; of rows with a label and a probability only."""
    if row.label is None or p_second is None:
        raise ValueError(f"pair {row.pair_id!r}, rollout {row.rollout}: expected a label and a probability")
    return p_second if row.label == 1 else 1.0 - p_second
