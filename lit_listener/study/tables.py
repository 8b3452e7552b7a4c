"""Tables 2 to 5 of the listener paper in its layout, the paper's numbers beside ours; the controls stand below a rule.

Rows that have no counterpart here keep the paper's number, and arms that the paper lacks have none of it.
"""

from dataclasses import dataclass

from lit_listener.evaluation.crossed import Crossed, crossed, crossed_measured, crossed_measured_difference
from lit_listener.evaluation.protocols.baselines import single_human_correct
from lit_listener.evaluation.results import Line, Measured, ResultTable, undefined
from lit_listener.study import papers
from lit_listener.study.judgements import (
    CLEAR_AGREEMENT,
    CLEAR_VOTES,
    CONTROLS,
    GRPO,
    HELD_IN,
    HELD_OUT,
    INSTRUCT,
    LISTENER,
    RATING,
    REWARD_MODEL,
    SFT,
    SOURCE_NAMES,
    SOURCES,
    START,
    Judgements,
    Keep,
    every,
    is_clear,
)
from lit_listener.study.papers import Published

NO_ARM = "this study has no such arm"
CLEAR = (
    f"at least {CLEAR_VOTES} votes, as in the paper's Tables 4 and 5, of which at least {CLEAR_AGREEMENT:.0%} agree, "
    "as in its Section 5; how it chose its most confident pairs it does not say"
)
_MEAN_AT_1 = (
    "Mean@1: one thought in each display order, their soft scores averaged; the mean over all thoughts there are. A "
    "level judgement, and one that cannot be read, is wrong."
)


@dataclass(frozen=True)
class PaperTable:
    """A table in the paper's layout."""

    table: ResultTable
    controls_from: int
    """The first line below the rule: arms that the paper lacks."""


@dataclass(frozen=True)
class _Row:
    key: str
    name: str
    arm: str
    """The arm that answers to it; empty where nothing here does."""
    published: tuple[Published | None, ...] = ()


def all_tables(judged: Judgements) -> tuple[PaperTable, ...]:
    """Tables 2 to 5."""
    return table_2(judged), table_3(judged), table_4(judged), table_5(judged)


def table_2(judged: Judgements) -> PaperTable:
    """Mean@1 and Mean@3 by what was trained on."""
    rows = (
        _Row("rating", "GRPO on ratings (ImageReward)", RATING, (papers.ABS_SCORE_1, papers.ABS_SCORE_3)),
        _Row("grpo", "GRPO on pairs (HPDv2)", GRPO, (papers.GRPO_1, papers.GRPO_3)),
        _Row("grpo_listener", "+ Listener", LISTENER, (papers.LISTENER_1, papers.LISTENER_3)),
    )
    controls = _control_rows(judged)

    def cells(row: _Row) -> tuple[Measured, ...]:
        ours = (_mean_at(judged, row.arm, source, k) for source in SOURCES for k in (1, 3))
        return (*_published(row, 2), *ours)

    return PaperTable(
        ResultTable(
            "table_2",
            "Mean of the scores of one and of three thoughts",
            tuple(
                f"{where}, Mean@{k}"
                for where in ("paper", *(SOURCE_NAMES[source] for source in SOURCES))
                for k in (1, 3)
            ),
            tuple(Line(row.key, row.name, cells(row)) for row in (*rows, *controls)),
            paper="Listener paper, Table 2",
            notes=(
                f"Paper: {papers.IN_DOMAIN}; in brackets, what the paper trained on.",
                _MEAN_AT_1 + " Mean@3: of three thoughts, over all sets of three.",
            ),
        ),
        len(rows),
    )


def table_3(judged: Judgements) -> PaperTable:
    """Accuracy beside a single person and other judges."""
    human = _Row("single_human", "Single human", "", (papers.SINGLE_HUMAN,))
    rows = (
        _Row("hpsv2.1", "HPSv2.1", "", (papers.HPS_V2_1,)),
        _Row("start", "Zero-shot reasoning (start)", START, (papers.ZERO_SHOT,)),
        _Row("instruct", "Zero-shot reasoning (instruct model)", INSTRUCT, (papers.ZERO_SHOT,)),
        _Row("bradley_terry", "Bradley-Terry reward model (ImageReward)", REWARD_MODEL, (papers.IMAGE_REWARD,)),
        _Row("rating", "GRPO on ratings (abs score)", RATING, (papers.ABS_SCORE,)),
        _Row("answer_sft", "SFT on pairs (HPDv2)", SFT, (papers.SFT,)),
        _Row("grpo", "GRPO on pairs (HPDv2)", GRPO, (papers.GRPO,)),
        _Row("grpo_listener", "+ Listener", LISTENER, (papers.LISTENER,)),
    )
    controls = _control_rows(judged)

    def cells(row: _Row) -> tuple[Measured, ...]:
        ours = (_mean_at(judged, row.arm, source, 1) for source in SOURCES)
        return (*_published(row, 1), *ours)

    people = (crossed_measured(single_human(judged, source)) for source in SOURCES)
    lines = [Line(human.key, human.name, (*_published(human, 1), *people))]
    lines += [Line(row.key, row.name, cells(row)) for row in (*rows, *controls)]
    return PaperTable(
        ResultTable(
            "table_3",
            "Accuracy",
            ("paper", *(SOURCE_NAMES[source] for source in SOURCES)),
            tuple(lines),
            paper="Listener paper, Table 3",
            notes=(
                f"Paper: {papers.IN_DOMAIN}, which is in domain; in brackets, what stands in the paper's table. Its "
                "instruct model is its start, so that one number stands in both rows.",
                _MEAN_AT_1,
                "Single human: a voter drawn at random against the majority of the others; an interval over prompts.",
            ),
        ),
        1 + len(rows),
    )


def table_4(judged: Judgements) -> PaperTable:
    """Answers that contradict their own thoughts, of every arm that states verdicts."""
    published = {GRPO: papers.CONTRADICTIONS_GRPO, LISTENER: papers.CONTRADICTIONS_LISTENER}
    main = [arm for arm in (START, INSTRUCT, GRPO, LISTENER) if arm in judged and judged.states_verdicts(arm)]
    rows = [_Row(arm, judged.name(arm), arm, (published.get(arm),)) for arm in main]
    controls = [row for row in _control_rows(judged) if judged.states_verdicts(row.arm)]
    subsets: tuple[tuple[str, str, Keep], ...] = (
        ("clear held-out pairs", HELD_OUT, is_clear),
        ("all held-out pairs", HELD_OUT, every),
        ("held-in pairs", HELD_IN, every),
    )

    def cells(row: _Row) -> tuple[Measured, ...]:
        ours: list[Measured] = []
        for _, source, keep in subsets:
            ours.append(crossed_measured(judged.contradictions(row.arm, source, keep), none="no readable thought"))
            doubts = judged.doubts(row.arm, source, keep)
            ours.append(crossed_measured(doubts, none="no independent listener was asked"))
        return (*_published(row, 1), *ours)

    return PaperTable(
        ResultTable(
            "table_4",
            "Answers that contradict their own thoughts",
            (
                "paper (text judge)",
                *(f"{where}, {by}" for where, _, _ in subsets for by in ("by rule", "by listener")),
            ),
            tuple(Line(row.key, row.name, cells(row)) for row in (*rows, *controls)),
            paper="Listener paper, Table 4",
            notes=(
                f"Paper: {papers.OUT_OF_DOMAIN}, asked of Qwen2.5-14B-Instruct, which is not here. By rule: the "
                "verdict that the trace states is not the answer. By listener: one that took no part in training gives "
                "the answer less than half, having heard the trace.",
                f"Clear: {CLEAR}. Of completions with a readable answer; a trace that states no verdict contradicts "
                "none.",
            ),
        ),
        len(rows),
    )


def table_5(judged: Judgements) -> PaperTable:
    """Accuracy with thoughts, and with a fixed sentence in their place."""
    published = {
        GRPO: (papers.GRPO_WITH, papers.GRPO_WITHOUT),
        LISTENER: (papers.LISTENER_WITH, papers.LISTENER_WITHOUT),
    }
    subsets: tuple[tuple[str, Keep], ...] = ((HELD_OUT, is_clear), (HELD_OUT, every), (HELD_IN, every))
    main = [arm for arm in (GRPO, LISTENER, START, INSTRUCT) if arm in judged and judged.states_verdicts(arm)]
    controls = [row.arm for row in _control_rows(judged) if judged.states_verdicts(row.arm)]

    def lines(arm: str) -> tuple[Line, ...]:
        none = "no answer without thoughts was asked for"
        cells_with, cells_without, gained = ([cell] for cell in _thinking_cells(published.get(arm)))
        for source, keep in subsets:
            thinking, silent = judged.with_thinking(arm, source, keep), judged.without_thinking(arm, source, keep)
            cells_with.append(crossed_measured(thinking, none=none))
            cells_without.append(crossed_measured(silent, none=none))
            gained.append(crossed_measured_difference(thinking, silent, none=none))
        name = judged.name(arm)
        return (
            Line(f"{arm}/with", f"{name}, with thinking", tuple(cells_with)),
            Line(f"{arm}/without", f"{name}, without", tuple(cells_without)),
            Line(f"{arm}/difference", f"{name}, what thinking adds", tuple(gained)),
        )

    above = [line for arm in main for line in lines(arm)]
    return PaperTable(
        ResultTable(
            "table_5",
            "Accuracy with and without thinking",
            ("paper", "clear held-out pairs", "all held-out pairs", "held-in pairs"),
            (*above, *(line for arm in controls for line in lines(arm))),
            paper="Listener paper, Table 5",
            notes=(
                f"Paper: {papers.OUT_OF_DOMAIN}; in its brackets is its ± 1.2, of which it does not say what it is; "
                "its differences are derived here, with errors as if independent.",
                'Without: "I have finished thinking." stands in place of the thoughts. Ours differ pair by pair.',
                f"Clear: {CLEAR}.",
            ),
        ),
        len(above),
    )


def single_human(judged: Judgements, source: str) -> Crossed:
    """How often a voter sides with the majority of the others, on each pair of a source; of people, so of no seed."""
    pairs = judged.pairs(source)
    return crossed([[single_human_correct(pair) for pair in pairs]], [[pair.prompt_id for pair in pairs]])


def _control_rows(judged: Judgements) -> list[_Row]:
    return [_Row(arm, judged.name(arm), arm) for arm in CONTROLS if arm in judged]


def _published(row: _Row, columns: int) -> tuple[Measured, ...]:
    told = row.published or (None,) * columns
    return tuple(undefined(papers.NOT_IN_PAPER) if number is None else number.cell() for number in told)


def _thinking_cells(told: tuple[Published, Published] | None) -> tuple[Measured, Measured, Measured]:
    """The paper's accuracy with thinking and without, and the difference."""
    if told is None:
        nothing = undefined(papers.NOT_IN_PAPER)
        return nothing, nothing, undefined(papers.NOT_IN_PAPER, "points")
    with_thinking, without = told
    return with_thinking.cell(), without.cell(), with_thinking.less(without).cell("points")


def _mean_at(judged: Judgements, arm: str, source: str, k: int) -> Measured:
    if not arm:
        return undefined("nothing here answers to it")
    if arm not in judged:
        return undefined(NO_ARM)
    return crossed_measured(judged.mean_at(arm, source, k), none=f"this judge was asked fewer than {k} times")
