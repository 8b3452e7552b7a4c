"""Why a claim holds here or does not: what was measured besides, and sentences that are chosen by rule.

Two tables: how well the judges, the listener and the traces do, and what the intervals of the main differences are made
of. No sentence is written that the numbers beside it do not say.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from statistics import NormalDist

from lit_listener.evaluation.crossed import (
    Crossed,
    crossed_measured,
    crossed_measured_difference,
    crossed_parts,
)
from lit_listener.evaluation.diagnoses.disagreement import disagreement
from lit_listener.evaluation.number_text import bounds_text, mean_text
from lit_listener.evaluation.prediction import Prediction
from lit_listener.evaluation.results import Line, Measured, ResultTable, Unit, undefined
from lit_listener.evaluation.statistics import Interval
from lit_listener.study import papers
from lit_listener.study.claims import HALF_APART
from lit_listener.study.judgements import (
    GRPO,
    HELD_IN,
    HELD_OUT,
    INSTRUCT,
    LISTENER,
    SOURCE_NAMES,
    SOURCES,
    Judgements,
    is_clear,
)
from lit_listener.study.room import Room, knowing, rooms
from lit_listener.study.tables import single_human
from lit_listener.study.truth import knowing_correct, stated_rightly
from lit_listener.study.verdicts import Finding, told

POWER = 0.8


@dataclass(frozen=True)
class Diagnosis:
    """What the study tells of its own results."""

    tables: tuple[ResultTable, ...]
    sentences: tuple[str, ...]
    no_room: frozenset[str]
    """Keys of the claims whose gain, as large as the paper's, has no place here: not finding it says nothing."""


def diagnose(judged: Judgements, found: tuple[Finding, ...]) -> Diagnosis:
    """All diagnostics of a study, and what they say of its verdicts."""
    by_key = {finding.claim.key: finding for finding in found}
    found_rooms = tuple(rooms(judged))
    return Diagnosis(
        (reading_table(judged), interval_table(judged)),
        tuple(_sentences(judged, by_key, found_rooms)),
        frozenset(room.claim for room in found_rooms if room.none),
    )


def reading_table(judged: Judgements) -> ResultTable:
    """How much can be reached, and how well listener and traces do."""
    lines = [
        Line("ceiling/single_human", "single human", _by_source(lambda s: single_human(judged, s))),
        Line("ceiling/knowing", "somebody who knows what is drawn", _by_source(lambda s: knowing(judged, s))),
    ]
    for arm in (arm for arm in (INSTRUCT, GRPO, LISTENER) if arm in judged):
        lines += _of_arm(judged, arm)
    return ResultTable(
        "reading",
        "How much can be reached, and how well listener and traces do",
        tuple(SOURCE_NAMES[source] for source in SOURCES),
        tuple(lines),
        notes=(
            "The listener is right where it gives the preferred image more than half, having heard the trace. "
            "Attributes: the share of the eight true ones (count, colour, shape and finish of both pictures) that the "
            "first thought of each display order states rightly.",
            "Somebody who knows what is drawn, and what voters like, is wrong where the voters' coins fell otherwise.",
        ),
    )


def interval_table(judged: Judgements) -> ResultTable:
    """What the listener's differences from plain GRPO are made of, and what it would take to see the paper's."""
    lines = []
    if GRPO in judged and LISTENER in judged:
        for source, paper in ((HELD_IN, papers.LISTENER.less(papers.GRPO)), (HELD_OUT, papers.MOST_GAINED)):
            sides = judged.mean_at(LISTENER, source), judged.mean_at(GRPO, source)
            lines.append(Line(f"accuracy/{source}", f"accuracy, {SOURCE_NAMES[source]}", _made_of(*sides, paper.value)))
        fewer = papers.CONTRADICTIONS_GRPO.less(papers.CONTRADICTIONS_LISTENER)
        sides = judged.contradictions(GRPO, HELD_OUT, is_clear), judged.contradictions(LISTENER, HELD_OUT, is_clear)
        lines.append(
            Line("contradictions/clear", "fewer contradictions, clear held-out pairs", _made_of(*sides, fewer.value))
        )
    return ResultTable(
        "intervals",
        "What the intervals of the listener's gains over GRPO are made of",
        ("gain", "seeds alone", "prompts alone", "paper", "times as much, at most"),
        tuple(lines),
        notes=(
            "Seeds alone, prompts alone: the interval if only these were drawn. Times as much: how many times as many "
            f"seeds and prompts would show an effect as large as the paper's with a power of {POWER:.0%}; below 1, "
            "there were enough. At most, since the intervals are on the wide side. The paper's held-out gain in "
            "accuracy is its largest (“up to”).",
        ),
    )


def times_as_many(interval: Interval, effect: float, power: float = POWER) -> float:
    """How many times as many seeds and prompts would show an effect, ((z(0.975) + z(power)) error / effect)^2.

    Args:
        interval: A 95% interval of the difference, of some width. Its half width is taken for z(0.975) errors; where
            it is more of them, as with few seeds, too many are asked for.
        effect: The effect to show.
        power: Probability to show it, in (0, 1).
    """
    z, z_power = NormalDist().inv_cdf(0.975), NormalDist().inv_cdf(power)
    return ((z + z_power) * interval.half_width / z / effect) ** 2


def _by_source(sample: Callable[[str], Crossed]) -> tuple[Measured, ...]:
    return tuple(crossed_measured(sample(source), none="not known of these pairs") for source in SOURCES)


def _of_arm(judged: Judgements, arm: str) -> Iterator[Line]:
    rows: Mapping[str, tuple[str, Callable[[Prediction], float | None]]] = {
        "listener": ("its listener is right", lambda row: row.listener_correct),
        "attributes": ("attributes stated rightly", lambda row: stated_rightly(row) if row.rollout == 0 else None),
        "stated": ("verdict stated by the trace is right", _stated_right),
        "contradicting": ("answer is right where it contradicts", lambda row: _right_where(row, True)),
        "consistent": ("answer is right where it does not", lambda row: _right_where(row, False)),
    }
    name = judged.name(arm)
    yield Line(f"{arm}/accuracy", f"{name}: accuracy", _by_source(lambda source: judged.mean_at(arm, source)))
    for key, (what, value) in rows.items():
        cells = tuple(
            crossed_measured(judged.over_rows(arm, source, value), none="no completion counts here")
            for source in SOURCES
        )
        yield Line(f"{arm}/{key}", f"{name}: {what}", cells)


def _stated_right(row: Prediction) -> float | None:
    return None if row.stated_verdict is None or row.label is None else float(row.stated_verdict == row.label)


def _right_where(row: Prediction, contradicts: bool) -> float | None:
    return None if row.contradiction is None or bool(row.contradiction) != contradicts else row.correct


def _made_of(more: Crossed, less: Crossed, paper: float) -> tuple[Measured, ...]:
    difference = crossed_measured_difference(more, less)
    claimed = Measured(Interval(paper, math.nan, math.nan), 0, 0, "points", papers.NO_INTERVAL)
    if math.isnan(difference.interval.low):
        nothing = undefined(difference.reason, "points")
        return difference, nothing, nothing, claimed, undefined(difference.reason, "number")
    needed = undefined("every draw of seeds and prompts gives the same number", "number")
    if difference.interval.half_width > 0.0:
        times = times_as_many(difference.interval, paper)
        unit: Unit = "number" if times < 10 else "count"
        needed = Measured(Interval(times, times, times), difference.rows, difference.clusters, unit)
    if more.seeds < 2:
        return difference, undefined("one seed tells nothing of others", "points"), difference, claimed, needed
    parts = crossed_parts(more, less)
    by_seeds, by_prompts = (
        Measured(part, difference.rows, difference.clusters, "points") for part in (parts.seeds, parts.prompts)
    )
    return difference, by_seeds, by_prompts, claimed, needed


def _sentences(judged: Judgements, found: Mapping[str, Finding], found_rooms: tuple[Room, ...]) -> Iterator[str]:
    if GRPO not in judged:
        return
    yield from (room.sentence for room in found_rooms)
    yield from _shift(judged)
    yield from _cost_of_contradicting(judged)
    yield from _who_is_far(judged, found)
    yield from _thinking(judged, found)
    yield from _seeds(judged)


def _shift(judged: Judgements) -> Iterator[str]:
    """What a new renderer costs: sources differ by the voters' coins too, which cost those who know as much."""

    def short(source: str) -> Crossed:
        return judged.over_pairs(GRPO, source, knowing_correct).less(judged.mean_at(GRPO, source))

    lost = crossed_measured_difference(short(HELD_OUT), short(HELD_IN))
    if math.isnan(lost.interval.low):
        return
    if lost.interval.low > 0:
        says = "a new renderer costs accuracy, so that there is something to generalise over"
    elif lost.interval.high < 0:
        says = "the new renderer is the easier one, so that “out of domain” is no test of generalising here"
    else:
        says = "a new renderer is not seen to cost accuracy, so that “out of domain” is a mild test here"
    coins = crossed_measured_difference(knowing(judged, HELD_IN), knowing(judged, HELD_OUT))
    yield (
        f"**Shift.** GRPO is further below somebody who knows what is drawn held-out than held-in by {told(lost)}: "
        f"{says}. (By the voters' coins alone, held-in less held-out accuracy of such a one is {told(coins)}: columns "
        "of the two sources are not to be compared without that.)"
    )


def _cost_of_contradicting(judged: Judgements) -> Iterator[str]:
    consistent, contradicting = (
        judged.over_rows(GRPO, HELD_OUT, partial(_right_where, contradicts=which)) for which in (False, True)
    )
    cost = crossed_measured_difference(consistent, contradicting)
    if math.isnan(cost.interval.low):
        return
    if cost.interval.low > 0:
        says = "contradicting oneself comes with errors, so that fewer contradictions can be worth accuracy"
    elif cost.interval.high < 0:
        says = (
            "answers that contradict their trace are right *more* often: the answer does not follow the trace's wrong "
            "verdict, so that taking contradictions away gains no accuracy by itself"
        )
    else:
        says = "contradicting oneself is not seen to cost accuracy, so that fewer contradictions need not gain any"
    yield (
        "**Contradictions and accuracy.** Under GRPO, held-out, the accuracy of completions that do not contradict "
        f"themselves less that of those that do is {told(cost)}: {says}."
    )


def _who_is_far(judged: Judgements, found: Mapping[str, Finding]) -> Iterator[str]:
    if found[f"disagreement_{GRPO}"].decision.verdict == "holds":
        return

    def contradicts(row: Prediction, far: bool) -> float | None:
        distance = disagreement(row)
        return None if distance is None or (distance >= HALF_APART) != far else row.contradiction

    far, near = (judged.over_rows(GRPO, HELD_IN, partial(contradicts, far=which)) for which in (True, False))
    more = crossed_measured_difference(far, near)
    if math.isnan(more.interval.low):
        return
    if more.interval.low > 0:
        says = "here the listener's distance tells contradictions before it tells errors"
    else:
        says = "contradictions are not seen to be what parts them, so that this does not explain it"
    yield (
        "**What disagreement is.** Under GRPO, held-in, "
        f"{_with_bounds(crossed_measured(far))} of the completions whose listener is more than half of the way apart "
        f"contradict themselves, and {_with_bounds(crossed_measured(near))} of the others: {says}."
    )


def _thinking(judged: Judgements, found: Mapping[str, Finding]) -> Iterator[str]:
    if found["grpo_needs_no_thinking"].decision.verdict != "does not hold":
        return
    silent = crossed_measured(judged.without_thinking(GRPO, HELD_OUT))
    yield (
        f"**Thinking.** Without thoughts GRPO's reasoner is right {_with_bounds(silent)} of the time on all held-out "
        f"pairs; in the paper {100 * papers.GRPO_WITHOUT.value:.0f}%, and {100 * papers.GRPO_WITH.value:.0f}% with "
        "them."
    )


def _seeds(judged: Judgements) -> Iterator[str]:
    if LISTENER not in judged:
        return
    more, less = judged.mean_at(LISTENER, HELD_OUT), judged.mean_at(GRPO, HELD_OUT)
    if more.seeds < 2:
        yield "**Seeds.** There is one seed: nothing here tells what another would give."
        return
    by_seed = ", ".join(f"{100 * (a - b):+.1f}" for a, b in zip(more.means, less.means, strict=True))
    parts = crossed_parts(more, less)
    wider = "seeds" if parts.seeds.half_width > parts.prompts.half_width else "prompts"
    yield (
        f"**Seeds.** The listener's held-out gain in accuracy, seed by seed: {by_seed} points. Seeds alone make "
        f"±{100 * parts.seeds.half_width:.1f} points of its interval and prompts alone "
        f"±{100 * parts.prompts.half_width:.1f}: more {wider} would narrow it most."
    )


def _with_bounds(measured: Measured) -> str:
    return f"{mean_text(measured)} {bounds_text(measured)}".rstrip()
