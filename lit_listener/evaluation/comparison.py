"""Two runs on the same pairs: what each measures, how they differ, and whether that can be chance.

Pairs are matched by ``pair_id``; those that only one run judged are left out of all figures, and a note tells how many.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from lit_listener.evaluation.diagnoses.calibration import shown_scores
from lit_listener.evaluation.diagnoses.lines import table_lines
from lit_listener.evaluation.judged_pairs import JudgedPair, judged_pairs
from lit_listener.evaluation.metrics import SUMMARY_MEASURES
from lit_listener.evaluation.prediction import Prediction
from lit_listener.evaluation.results import Line, Measured, ResultTable, Unit, measured, undefined
from lit_listener.evaluation.significance import design_effect, mcnemar, pairs_needed
from lit_listener.evaluation.statistics import Interval, clustered_difference

Run = tuple[str, Sequence[Prediction]]
"""A run's name and its predictions."""

_Column = tuple[list[float | None], list[str]]
"""Values, and the prompt of each."""


@dataclass(frozen=True)
class _Compared:
    """One measure of both runs."""

    name: str
    column: Callable[[Sequence[JudgedPair]], _Column]
    unit: Unit
    difference_unit: Unit
    none: str


def _by_pair(pairs: Sequence[JudgedPair]) -> _Column:
    return [pair.correct() for pair in pairs], [pair.prompt_id for pair in pairs]


def _by_score(pairs: Sequence[JudgedPair]) -> _Column:
    scores = shown_scores(pairs)
    return [score.squared_error for score in scores], [score.pair.prompt_id for score in scores]


def _by_completion(measure: str) -> Callable[[Sequence[JudgedPair]], _Column]:
    def column(pairs: Sequence[JudgedPair]) -> _Column:
        rows = [row for pair in pairs for row in pair.rows]
        return [SUMMARY_MEASURES[measure](row) for row in rows], [row.prompt_id for row in rows]

    return column


_TIED = "no pair has an image that people prefer"
_UNREAD = "no answer can be read"
_MEASURES: Mapping[str, _Compared] = MappingProxyType(
    {
        "accuracy/micro": _Compared("accuracy of the soft decision", _by_pair, "share", "points", _TIED),
        "accuracy/answer": _Compared(
            "accuracy of the sampled answer", _by_completion("accuracy"), "share", "points", _TIED
        ),
        "p_correct": _Compared(
            "probability of the right image",
            _by_completion("p_correct"),
            "probability",
            "probability",
            "no pair with a preferred image has a readable answer",
        ),
        "calibration/brier": _Compared(
            "Brier score", _by_score, "number", "number", "no pair with a preferred image has a readable answer"
        ),
        "contradiction/by_rule": _Compared(
            "contradictions, by rule", _by_completion("contradiction_share"), "share", "points", _UNREAD
        ),
        "completions/unparsable": _Compared(
            "without a readable answer", _by_completion("unparsable_share"), "share", "points", "no completions"
        ),
        "completions/length": _Compared("mean length", _by_completion("length"), "tokens", "tokens", "no completions"),
    }
)


def comparison_table(first: Run, second: Run) -> ResultTable:
    """The main measures of two runs on the pairs that both judged, and second minus first.

    Args:
        first: The first run's name and its predictions on one source.
        second: The second run's.

    Raises:
        ValueError: Runs of one name, or that share no pair.
    """
    pairs_first, pairs_second, notes = _shared(first, second)
    lines = []
    for key, compared in _MEASURES.items():
        columns = compared.column(pairs_first), compared.column(pairs_second)
        cells = [measured(*column, unit=compared.unit, none=compared.none) for column in columns]
        lines.append(Line(key, compared.name, (*cells, _difference(*columns, compared))))
    return ResultTable(
        "comparison",
        f"{second[0]} against {first[0]}",
        (first[0], second[0], "difference"),
        tuple(lines),
        notes=(
            f"The difference is {second[0]} minus {first[0]}, with a paired interval: each draw takes the same prompts "
            "of both.",
            "An exact tie of the images, or a pair without any readable answer, counts as wrong.",
            *notes,
        ),
    )


_MCNEMAR_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "mcnemar/both": "pairs that both judge right",
        "mcnemar/only_first": "pairs that only the first judges right",
        "mcnemar/only_second": "pairs that only the second judges right",
        "mcnemar/neither": "pairs that neither judges right",
        "mcnemar/p_value": "p-value",
        "mcnemar/discordant_share": "pairs that just one judges right",
        "mcnemar/design_effect": "design effect of shared prompts",
        "mcnemar/pairs_needed": "pairs needed to find one point",
    }
)


def mcnemar_table(first: Run, second: Run) -> ResultTable:
    """McNemar's test of the soft decisions of two runs, and how many pairs would show a difference of one point.

    Args:
        first: The first run's name and its predictions on one source.
        second: The second run's.

    Raises:
        ValueError: Runs of one name, or that share no pair.
    """
    pairs_first, pairs_second, notes = _shared(first, second)
    worth = [
        (a, b, pair.prompt_id)
        for pair, other in zip(pairs_first, pairs_second, strict=True)
        if (a := pair.correct()) is not None and (b := other.correct()) is not None
    ]
    title = f"McNemar's test: {first[0]} (first) and {second[0]} (second)"
    notes = (
        "Of the soft decisions on the same pairs; fewer than 25 discordant pairs: exact binomial test, otherwise "
        "chi-squared with continuity correction.",
        "The test takes pairs as independent; pairs of one prompt are not, so that its p-value is too small where the "
        "design effect is above 1. The bootstrap interval of the comparison allows for that.",
        "Pairs needed: to find a difference of one point with a power of 80 % at the 5 % level, at the discordance and "
        "the design effect seen here.",
        *notes,
    )
    cells = _mcnemar_cells(worth) if worth else {key: undefined(_TIED) for key in _MCNEMAR_NAMES}
    return ResultTable("mcnemar", title, ("both runs",), table_lines(_MCNEMAR_NAMES, [cells]), notes=notes)


def _mcnemar_cells(worth: Sequence[tuple[float, float, str]]) -> dict[str, Measured]:
    right_first, right_second = [a for a, _, _ in worth], [b for _, b, _ in worth]
    prompts = [prompt for _, _, prompt in worth]
    test = mcnemar(right_first, right_second)

    def alone(value: float, unit: Unit, reason: str) -> Measured:
        return Measured(Interval(value, math.nan, math.nan), len(worth), len(set(prompts)), unit, reason)

    cells = {
        f"mcnemar/{name}": alone(count, "count", "a count has no interval")
        for name, count in (
            ("both", test.both),
            ("only_first", test.only_a),
            ("only_second", test.only_b),
            ("neither", test.neither),
        )
    }
    cells["mcnemar/p_value"] = alone(test.p_value, "number", "a p-value has no interval")
    apart = [float(a != b) for a, b, _ in worth]
    cells["mcnemar/discordant_share"] = measured(apart, prompts)
    differences = [b - a for a, b, _ in worth]
    if len(set(prompts)) < 2 or len(set(differences)) < 2:
        why = "the pairs are of a single prompt" if len(set(prompts)) < 2 else "the runs differ on all pairs alike"
        return cells | {
            "mcnemar/design_effect": undefined(why, "number"),
            "mcnemar/pairs_needed": undefined(why, "count"),
        }
    effect = design_effect(differences, prompts)
    cells["mcnemar/design_effect"] = alone(effect, "number", "a ratio of variances, given without an interval")
    if test.discordant_share < 0.01:
        needed = undefined("the runs are apart on less than one pair in a hundred", "count")
    elif effect < 1e-9:
        needed = undefined("the difference is the same in every prompt", "count")
    else:
        count = pairs_needed(0.01, discordant_share=test.discordant_share, design_effect=effect)
        needed = alone(count, "count", "an estimate, given without an interval")
    return cells | {"mcnemar/pairs_needed": needed}


def _shared(first: Run, second: Run) -> tuple[list[JudgedPair], list[JudgedPair], tuple[str, ...]]:
    """The pairs that both runs judged, in the first run's order and under its prompts, and a note on the others."""
    if first[0] == second[0]:
        raise ValueError(f"expected two runs of different names, got {first[0]!r} twice; rename one")
    pairs_first, pairs_second = judged_pairs(first[1]), judged_pairs(second[1])
    by_id = {pair.any_row.pair_id: pair for pair in pairs_second}
    shared = [pair for pair in pairs_first if pair.any_row.pair_id in by_id]
    if not shared:
        has = " and ".join(
            f"{name} has {len(pairs)} pairs" + (f" (the first is {pairs[0].any_row.pair_id!r})" if pairs else "")
            for name, pairs in ((first[0], pairs_first), (second[0], pairs_second))
        )
        raise ValueError(f"the runs share no pair: {has}; compare runs that were evaluated on the same source")
    # Clusters must be the same on both sides, even if one run's source named its prompts otherwise.
    others = [_under_prompt(by_id[pair.any_row.pair_id], pair.prompt_id) for pair in shared]
    notes = [f"{len(shared):,} pairs were judged by both."]
    for name, pairs in ((first[0], pairs_first), (second[0], pairs_second)):
        if len(pairs) > len(shared):
            notes.append(f"{len(pairs) - len(shared):,} pairs that only {name} judged are left out.")
    if any(pair.any_row.share_a != other.any_row.share_a for pair, other in zip(shared, others, strict=True)):
        raise ValueError(
            "the runs disagree on what people prefer: a pair of the same pair_id has two shares of votes; compare runs "
            "that were evaluated on the same source"
        )
    return shared, others, tuple(notes)


def _under_prompt(pair: JudgedPair, prompt_id: str) -> JudgedPair:
    if pair.prompt_id == prompt_id:
        return pair
    return JudgedPair(tuple(replace(row, prompt_id=prompt_id) for row in pair.rows))


def _difference(first: _Column, second: _Column, compared: _Compared) -> Measured:
    """Second minus first, with an interval that draws the same prompts of both."""
    defined = [
        [(value, prompt) for value, prompt in zip(*column, strict=True) if value is not None]
        for column in (first, second)
    ]
    shared_prompts = set.intersection(*({prompt for _, prompt in column} for column in defined))
    if not shared_prompts:
        reason = "not measured on any prompt of both" if all(defined) else compared.none
        return undefined(reason, compared.difference_unit)
    before, after = (([value for value, _ in column], [prompt for _, prompt in column]) for column in defined)
    interval = clustered_difference(*after, *before, paired=True)
    reason = "a single prompt has no interval" if math.isnan(interval.low) else ""
    return Measured(interval, len(after[0]), len(shared_prompts), compared.difference_unit, reason)
