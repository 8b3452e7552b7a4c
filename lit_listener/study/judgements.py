"""What the arms of a study said, in the form that measures ask for: by source, seed and pair, made once.

Accuracy is Mean@1 throughout: the soft score of a single thought in both display orders, averaged over the thoughts
there are. Clear pairs have at least 20 votes, as in the paper's Tables 4 and 5, of which at least 80% agree, as in its
Section 5; where it cuts its "most confident" ones the paper does not say.
"""

from collections.abc import Callable, Sequence

from lit_listener.evaluation.crossed import Crossed, crossed
from lit_listener.evaluation.diagnoses.contradictions import p_answered
from lit_listener.evaluation.diagnoses.disagreement import disagreement
from lit_listener.evaluation.diagnoses.thinking import p_a_without_thinking
from lit_listener.evaluation.judged_pairs import JudgedPair, judged_pairs
from lit_listener.evaluation.prediction import Prediction
from lit_listener.evaluation.protocols.rollouts import JudgedRollouts, majority_at, mean_at
from lit_listener.study.record import Study

HELD_IN, HELD_OUT = "held_in", "held_out"
SOURCES = (HELD_IN, HELD_OUT)
SOURCE_NAMES = {HELD_IN: "held-in", HELD_OUT: "held-out"}

GRPO, LISTENER = "grpo", "grpo_listener"
START, INSTRUCT, SFT, REWARD_MODEL, RATING = "start", "instruct", "answer_sft", "bradley_terry", "rating"
CONTROLS = ("random_listener", "shuffled_listener", "mismatched_listener", "own_soft_score", "listener_only")

CLEAR_VOTES, CLEAR_AGREEMENT = 20, 0.8
_ROUNDING = 1e-6
"""Shares may come from single precision, and 0.8 is then 0.79999995."""

Keep = Callable[[JudgedPair], bool]


def is_clear(pair: JudgedPair) -> bool:
    """Whether a pair has many votes and most of them agree."""
    return pair.any_row.votes >= CLEAR_VOTES and pair.agreement >= CLEAR_AGREEMENT - _ROUNDING


def every(pair: JudgedPair) -> bool:
    """All pairs."""
    return bool(pair.rows)


class Judgements:
    """The judged pairs of a study.

    Args:
        study: What was run.

    Raises:
        ValueError: it was not tested on the sources that the paper's tables need, or a seed's run lacks one.
    """

    def __init__(self, study: Study) -> None:
        missing = [source for source in SOURCES if source not in study.sources]
        if missing:
            raise ValueError(
                f"a study needs the test sources {', '.join(SOURCES)}, and {', '.join(missing)} was not judged (there "
                f"are {', '.join(study.sources)}): name it under data.test"
            )
        self.study = study
        self._judged: dict[tuple[str, str], tuple[JudgedRollouts, ...]] = {}
        self._means: dict[tuple[str, str, int], list[list[float | None] | None]] = {}

    def __contains__(self, arm: str) -> bool:
        return arm in self.study.arms

    def name(self, arm: str) -> str:
        """What readers call an arm."""
        return self.study.arms[arm].arm.name

    def judged(self, arm: str, source: str) -> tuple[JudgedRollouts, ...]:
        """The judged pairs of an arm on a source, by seed.

        Raises:
            ValueError: a seed has no predictions of the source.
        """
        if (arm, source) not in self._judged:
            by_seed = self.study.arms[arm].on(source)
            if not all(by_seed):
                raise ValueError(f"arm {arm!r} was not judged on {source!r} with every seed: test it again")
            judged = tuple(JudgedRollouts(judged_pairs(rows)) for rows in by_seed)
            self._judged[arm, source] = judged
        return self._judged[arm, source]

    def pairs(self, source: str) -> Sequence[JudgedPair]:
        """The pairs of a source, as any arm was asked about them; for what hangs on people alone."""
        return self.judged(next(iter(self.study.arms)), source)[0].pairs

    def states_verdicts(self, arm: str) -> bool:
        """Whether the arm's traces ever state a verdict, without which there is nothing to contradict."""
        rows = (row for source in SOURCES for of in self.judged(arm, source) for pair in of.pairs for row in pair.rows)
        return any(row.stated_verdict is not None for row in rows)

    def over_pairs(
        self, arm: str, source: str, value: Callable[[JudgedPair], float | None], keep: Keep = every
    ) -> Crossed:
        """One number a pair; None where it is not defined for the pair."""
        kept = [[pair for pair in of.pairs if keep(pair)] for of in self.judged(arm, source)]
        return crossed([[value(pair) for pair in of] for of in kept], [[pair.prompt_id for pair in of] for of in kept])

    def over_rows(
        self, arm: str, source: str, value: Callable[[Prediction], float | None], keep: Keep = every
    ) -> Crossed:
        """One number a completion; None where it is not defined for it."""
        kept = [[row for pair in of.pairs if keep(pair) for row in pair.rows] for of in self.judged(arm, source)]
        return crossed([[value(row) for row in of] for of in kept], [[row.prompt_id for row in of] for of in kept])

    def mean_at(self, arm: str, source: str, k: int = 1, keep: Keep = every) -> Crossed:
        """What the mean score of k thoughts is worth on each pair; nothing where there are fewer."""
        if (arm, source, k) not in self._means:
            self._means[arm, source, k] = [mean_at(of, k) for of in self.judged(arm, source)]
        return self._kept(arm, source, self._means[arm, source, k], keep)

    def majority_at(self, arm: str, source: str, k: int) -> Crossed:
        """What the majority of k answers is worth on each pair; nothing where there are fewer."""
        return self._kept(arm, source, [majority_at(of, k) for of in self.judged(arm, source)], every)

    def rollouts(self, arm: str, source: str) -> int:
        """How many thoughts every pair has in each display order, with every seed."""
        return min(len(of.common) for of in self.judged(arm, source))

    def with_thinking(self, arm: str, source: str, keep: Keep = every) -> Crossed:
        """Mean@1 on the pairs that the arm was asked about without thinking too."""
        return self.mean_at(arm, source, keep=lambda pair: keep(pair) and p_a_without_thinking(pair) is not None)

    def without_thinking(self, arm: str, source: str, keep: Keep = every) -> Crossed:
        """What the answer without thoughts is worth on the same pairs."""
        return self.over_pairs(
            arm,
            source,
            lambda pair: pair.worth(p_a_without_thinking(pair)),
            lambda pair: keep(pair) and p_a_without_thinking(pair) is not None,
        )

    def contradictions(self, arm: str, source: str, keep: Keep = every) -> Crossed:
        """1 where the trace states another verdict than the answer, by rule; of readable completions."""
        return self.over_rows(arm, source, lambda row: row.contradiction, keep)

    def doubts(self, arm: str, source: str, keep: Keep = every) -> Crossed:
        """1 where the independent listener gives the answer less than half; of readable completions."""

        def doubted(row: Prediction) -> float | None:
            p = p_answered(row, row.independent_p_second)
            return None if p is None or row.contradiction is None else float(p < 0.5)

        return self.over_rows(arm, source, doubted, keep)

    def where_apart(self, arm: str, source: str, among: Callable[[float], bool]) -> Crossed:
        """Whether completions are right whose distance from their listener is among some distances (Figure 2)."""

        def right(row: Prediction) -> float | None:
            distance = disagreement(row)
            return None if distance is None or not among(distance) else row.correct

        return self.over_rows(arm, source, right)

    def _kept(self, arm: str, source: str, found: Sequence[list[float | None] | None], keep: Keep) -> Crossed:
        """The numbers of some pairs, given those of all pairs by seed; None for a seed that has none."""
        chosen = [
            [
                (value, pair.prompt_id)
                for value, pair in zip(values or [None] * len(of.pairs), of.pairs, strict=True)
                if keep(pair)
            ]
            for values, of in zip(found, self.judged(arm, source), strict=True)
        ]
        return crossed([[value for value, _ in of] for of in chosen], [[prompt for _, prompt in of] for of in chosen])
