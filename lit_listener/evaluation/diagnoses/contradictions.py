"""How often the thoughts and the answer disagree, by several judges of that (Listener paper, Table 4).

The paper asks a text model whether the answer contradicts the trace. The listener trained with is no neutral judge,
since the reward asks for its agreement; so the same is measured by a rule, a text model and a listener that took no
part in training. All lines are about completions whose answer can be read.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType

from lit_listener.evaluation.diagnoses.lines import THINKS_NOT, table_lines, told
from lit_listener.evaluation.prediction import Prediction
from lit_listener.evaluation.results import Measured, ResultTable, Runs, Unit, measured

NAMES: Mapping[str, str] = MappingProxyType(
    {
        "contradiction/by_rule": "contradictions, by the verdict that the trace states",
        "contradiction/stated_share": "traces that state a verdict",
        "contradiction/text_judge": "contradictions, by the text judge",
        "contradiction/text_judge_soft": "text judge's probability of a contradiction",
        "contradiction/listener": "answers that the training listener gives less than half",
        "contradiction/independent": "answers that the independent listener gives less than half",
        "contradiction/independent_soft": "independent listener's probability of the other image",
        "contradiction/accuracy_given": "accuracy where the trace contradicts the answer, by rule",
        "contradiction/accuracy_without": "accuracy where it does not",
    }
)


def p_answered(row: Prediction, p_second: float | None) -> float | None:
    """Somebody's probability of the image that was answered with; None without an answer or a probability."""
    if row.answer is None or p_second is None:
        return None
    return p_second if row.answer == 1 else 1.0 - p_second


def table_4(runs: Runs) -> ResultTable:
    """Contradictions between trace and answer, by each judge of them, and the accuracy with and without.

    Args:
        runs: The predictions of each run on one source.
    """
    return ResultTable(
        "table_4",
        "Contradictions between thoughts and answer",
        tuple(runs),
        table_lines(NAMES, [_cells(rows) for rows in runs.values()]),
        paper="Listener paper, Table 4",
        notes=(
            "Of completions with a readable answer; the paper's number is the text judge's.",
            "The rule finds a contradiction only where the trace states a verdict.",
            *told(
                {name: sum(row.unparsable for row in rows) for name, rows in runs.items()},
                "Completions without a readable answer are left out",
            ),
        ),
    )


def _cells(rows: Sequence[Prediction]) -> dict[str, Measured]:
    answered = [row for row in rows if not row.unparsable]
    readable = [row for row in answered if row.thinks]
    none = THINKS_NOT if answered else "no answer can be read"
    missing_judge = "no text judge was asked: set model.evaluation.text_judge" if readable else none
    missing_listener = "no listener heard these traces" if readable else none
    missing_independent = (
        "no independent listener was asked: set model.evaluation.independent_listener" if readable else none
    )

    def mean(measure: Callable[[Prediction], float | None], missing: str = none, unit: Unit = "share") -> Measured:
        values = [measure(row) for row in readable]
        return measured(values, [row.prompt_id for row in readable], none=missing, unit=unit)

    def doubted(row: Prediction, by: str) -> float | None:
        p = p_answered(row, getattr(row, by))
        return None if p is None else float(p < 0.5)

    def soft_doubt(row: Prediction) -> float | None:
        p = p_answered(row, row.independent_p_second)
        return None if p is None else 1.0 - p

    return {
        "contradiction/by_rule": mean(lambda row: float(row.contradicts)),
        "contradiction/stated_share": mean(lambda row: float(row.stated_verdict is not None)),
        "contradiction/text_judge": mean(
            lambda row: None if row.p_contradiction is None else float(row.p_contradiction > 0.5), missing_judge
        ),
        "contradiction/text_judge_soft": mean(lambda row: row.p_contradiction, missing_judge, "probability"),
        "contradiction/listener": mean(partial(doubted, by="listener_p_second"), missing_listener),
        "contradiction/independent": mean(partial(doubted, by="independent_p_second"), missing_independent),
        "contradiction/independent_soft": mean(soft_doubt, missing_independent, "probability"),
        "contradiction/accuracy_given": mean(
            lambda row: row.correct if row.contradicts else None, "no judged completion contradicts its trace"
        ),
        "contradiction/accuracy_without": mean(
            lambda row: None if row.contradicts else row.correct, "no judged completion agrees with its trace"
        ),
    }
