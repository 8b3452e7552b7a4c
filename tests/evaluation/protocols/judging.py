"""Judgements made up for the tests of the protocols: rows, and scores on lists laid out as ImageReward's test file."""

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np
from hypothesis import strategies as st

from lit_listener.evaluation.prediction import Prediction


def row(pair="pair", *, prompt="prompt", share_a=1.0, first="a", rollout=0, p_a=0.75, answer="p_a", **changes):
    """One judgement of a pair; ``p_a`` None is an unreadable one, and ``answer`` a side or what p_a says."""
    label = None if share_a == 0.5 else int(("a" if share_a > 0.5 else "b") != first)
    p_second = None if p_a is None else (p_a if first == "b" else 1.0 - p_a)
    if answer == "p_a":
        answer = None if p_a is None else ("a" if p_a > 0.5 else "b")
    fields = {
        "pair_id": pair,
        "prompt_id": prompt,
        "prompt": prompt,
        "rollout": rollout,
        "first": first,
        "label": label,
        "answer": None if answer is None else int(answer != first),
        "outcome": "ok" if p_a is not None else "no_answer",
        "p_second": p_second,
        "listener_p_second": None,
        "listener_p_correct": None,
        "contradicts": False,
        "stated_verdict": None,
        "length": 20,
        "truncated": False,
        "trace": "",
        "share_a": share_a,
        "generator_a": "",
        "generator_b": "",
    }
    return Prediction(**{**fields, **changes})


def list_row(item_a: int, item_b: int, ranks: Sequence[float], *, list_id="list", prompt=None, **changes):
    """One judgement of two images of a ranked list."""
    better = ranks[item_b] - ranks[item_a]
    return row(
        f"{list_id}-{item_a}-{item_b}",
        prompt=prompt or list_id,
        share_a=0.5 if better == 0 else float(better > 0),
        list_id=list_id,
        item_a=item_a,
        item_b=item_b,
        rank_a=float(ranks[item_a]),
        rank_b=float(ranks[item_b]),
        **changes,
    )


def planted_lists(lists=60, *, tied_ranks=True, seed=0):
    """Ranks and scores, both with ties, of lists of 4 to 9 images: ImageReward's layout."""
    rng = np.random.default_rng(seed)
    planted = []
    for size in rng.integers(4, 10, size=lists).tolist():
        ranks = rng.integers(1, size, size=size) if tied_ranks else rng.permutation(size) + 1
        planted.append((ranks.tolist(), (rng.integers(0, 6, size=size) / 4).tolist()))
    return planted


def rows_of_scores(planted, first="ab"):
    """A scorer's judgements: p is a sigmoid of the difference of scores, so exactly 0.5 for equal ones."""
    return [
        list_row(
            one, other, ranks, list_id=f"list-{number}", first=side, p_a=1 / (1 + math.exp(scores[other] - scores[one]))
        )
        for number, (ranks, scores) in enumerate(planted)
        for one, other in combinations(range(len(ranks)), 2)
        for side in first
    ]


def cell(table, key, column=0):
    """A table's cell by its line's key."""
    return next(line for line in table.lines if line.key == key).cells[column]


def mean(table, key, column=0):
    return cell(table, key, column).interval.mean


def curve(plot, name):
    return next(found for found in plot.curves if found.name == name)


@st.composite
def runs_of_rows(draw, least_rollouts=1):
    """Rows of a few pairs of a few prompts, each with the same rollouts in both orders; some unreadable or level."""
    pairs = draw(st.integers(1, 6))
    rollouts = draw(st.integers(least_rollouts, 3))
    scores = st.sampled_from([None, 0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0])
    rows = []
    for number in range(pairs):
        share_a = draw(st.sampled_from([0.0, 0.3, 0.5, 0.6, 1.0]))
        prompt = f"prompt-{draw(st.integers(0, 2))}"
        for first in draw(st.sampled_from(["a", "b", "ab"])):
            for rollout in range(rollouts):
                p_a = draw(scores)
                answer = None if p_a is None else draw(st.sampled_from(["a", "b"]))
                rows.append(
                    row(
                        f"pair-{number}",
                        prompt=prompt,
                        share_a=share_a,
                        first=first,
                        rollout=rollout,
                        p_a=p_a,
                        answer=answer,
                    )
                )
    return rows
