"""Traces as ``predict`` records them, without a model that samples."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lit_listener.data.records import PairSource, Side
from lit_listener.data.shown import ShownPair
from lit_listener.evaluation.prediction import Prediction
from lit_listener.evaluation.predictions_file import write_predictions
from lit_listener.training.judged import shown_facts


def right_trace(pairs: PairSource, index: int, rollout: int = 0, first: Side = "a", **change: Any) -> Prediction:
    """A well-formed, right and consistent trace about a pair, that convinced the listener by 0.8."""
    shown = ShownPair(pairs[index], first, index)
    sampled = Prediction(
        **shown_facts(shown, "train_pairs"),
        rollout=rollout,
        answer=shown.label,
        outcome="ok",
        p_second=0.5,
        listener_p_second=None,
        listener_p_correct=0.8,
        contradicts=False,
        stated_verdict=shown.label,
        length=9,
        truncated=False,
        trace=f"about {index}, {first} first, rollout {rollout}",
    )
    return replace(sampled, **change)


def write_right_traces(pairs: PairSource, places: Sequence[int], path: Path) -> Path:
    """One such trace about each of some pairs, as a file."""
    write_predictions([right_trace(pairs, index) for index in places], path)
    return path
