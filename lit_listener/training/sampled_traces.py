"""A model's own traces to learn from: those of many that came out right (rejection sampling).

``predict`` on the training pairs, with several rollouts, leaves predictions.parquet. The traces in it that keep the
form, answer rightly and do not contradict their answer are demonstrations; with ``convinces`` those only that convinced
the listener too. (UnifiedReward-Think, Wang et al. 2025, calls its second stage so, with right answers alone.)
Left out: rows of tasks that ask more than one question about a pair.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from lightning.pytorch.utilities import rank_zero_info

from lit_listener.data.records import PairSource
from lit_listener.data.shown import Demonstration, Demonstrator, Shown, a_pair
from lit_listener.evaluation.prediction import Prediction
from lit_listener.evaluation.predictions_file import read_predictions


class SampledTraces(Demonstrator):
    """Hands on traces that a model has sampled: one of each pair an epoch, shown in the order it was sampled in.

    Pairs without a trace to learn from are left out of training, and their number is told.

    Args:
        predictions: the predictions.parquet of ``predict`` or ``test``, made with the training pairs as a source.
        source: name of that source among ``data.test``; may be left out where there is one alone.
        consistent: leave out traces that state one verdict and answer with the other.
        convinces: leave out traces after which the listener gave the right image this probability or less, in [0, 1);
            null asks no listener.
        seed: seed of the choice among a pair's traces.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds no predictions, several sources, or nothing to learn from.
    """

    def __init__(
        self,
        predictions: str | Path,
        source: str | None = None,
        consistent: bool = True,
        convinces: float | None = None,
        seed: int = 0,
    ) -> None:
        if convinces is not None and not 0 <= convinces < 1:
            raise ValueError(f"data.traces.convinces: expected a probability in [0, 1) or null, got {convinces}")
        self.path = Path(predictions)
        self.seed = seed
        rows = self._of_source(read_predictions(self.path), source)
        why = Counter(_why_not(row, consistent=consistent, convinces=convinces) for row in rows)
        good = [row for row in rows if _why_not(row, consistent=consistent, convinces=convinces) is None]
        self.told = f"{len(good)} of {len(rows)} traces in {self.path} can be learnt from" + "".join(
            f"; {count} {reason}" for reason, count in sorted(why.items(), key=str) if reason is not None
        )
        if not good:
            raise ValueError(f"data.traces: {self.told}; sample more rollouts, or ask for less")
        self._traces: dict[str, list[Prediction]] = {}
        for row in sorted(good, key=lambda row: (row.index, row.first, row.rollout)):
            self._traces.setdefault(row.pair_id, []).append(row)

    @property
    def traces(self) -> Mapping[str, Sequence[Prediction]]:
        """The traces of each pair that there are, by the pairs' names."""
        return self._traces

    def places(self, pairs: PairSource) -> Sequence[int]:
        """The places of the pairs that have a trace.

        Raises:
            ValueError: the source is shorter than the one that was sampled for, or its prompts are others.
        """
        found = sorted({(row.index, row.prompt) for rows in self._traces.values() for row in rows})
        places = [place for place, _ in found]
        if places[-1] >= len(pairs):
            raise ValueError(
                f"data.traces: {self.path} has traces about pair {places[-1]}, and data.train has {len(pairs)} pairs "
                "alone: sample them for the very source that is trained on"
            )
        for place, prompt in found:
            if pairs.prompt(place) != prompt:
                raise ValueError(
                    f"data.traces: pair {place} of data.train has the prompt {pairs.prompt(place)[:80]!r}, and had "
                    f"{prompt[:80]!r} in {self.path}: sample them for the very source that is trained on"
                )
        rank_zero_info(f"{self.told}. {len(places)} of {len(pairs)} pairs have one; the others are left out")
        return places

    def __call__(self, shown: Shown) -> Demonstration:
        """One of the pair's traces, drawn by seed, epoch and place.

        Raises:
            TypeError: no pair is shown.
            ValueError: there is no trace about the pair, or its answer is not right any more.
        """
        pair = a_pair(shown, "SampledTraces")
        rows = self._traces.get(pair.pair.pair_id)
        if rows is None:
            raise ValueError(
                f"data.traces: {self.path} has no trace about {pair.name}: sample them for the very source that is "
                "trained on"
            )
        rng = np.random.default_rng([self.seed, pair.epoch, pair.index])
        row = rows[int(rng.integers(len(rows)))]
        as_sampled = replace(pair, first="a" if row.first == "a" else "b")
        if row.answer is None or as_sampled.label != row.answer:
            raise ValueError(
                f"data.traces: {pair.name} prefers another image than it did when {self.path} was sampled: sample anew"
            )
        return Demonstration(as_sampled, row.trace, row.answer)

    def _of_source(self, rows: Sequence[Prediction], source: str | None) -> list[Prediction]:
        names = sorted({row.source for row in rows})
        if source is None and len(names) > 1:
            raise ValueError(
                f"data.traces.source: {self.path} has the sources {names}: name the one that is trained on"
            )
        if source is not None and source not in names:
            raise ValueError(f"data.traces.source: {self.path} has the sources {names}, and no {source!r}")
        return [row for row in rows if source is None or row.source == source]


def _why_not(row: Prediction, *, consistent: bool, convinces: float | None) -> str | None:
    """Why a trace is not learnt from; None where it is."""
    if row.outcome != "ok":
        return "are not well-formed"
    if row.correct != 1:
        return "answer wrongly"
    if consistent and row.contradicts:
        return "contradict their answer"
    if convinces is not None and (row.listener_p_correct is None or row.listener_p_correct <= convinces):
        return "do not convince the listener"
    return None
