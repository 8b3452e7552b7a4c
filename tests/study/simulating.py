"""Studies with known effects: simulated judges, no model."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from lit_listener.evaluation.prediction import Prediction
from lit_listener.study.design import Arm, Design, Short
from lit_listener.study.record import ArmRuns, Made, Study

NAMES = {
    "instruct": "Instruct model",
    "start": "Zero-shot (start)",
    "bradley_terry": "Bradley-Terry reward model",
    "rating": "GRPO on ratings (abs score)",
    "answer_sft": "SFT on answers",
    "grpo": "GRPO",
    "grpo_listener": "GRPO + listener",
    "random_listener": "GRPO + random listener",
    "shuffled_listener": "GRPO + shuffled listener",
    "mismatched_listener": "GRPO + mismatched listener",
    "own_soft_score": "Soft reward only (own score)",
    "listener_only": "Soft reward only (listener)",
}
WORDLESS = ("bradley_terry", "answer_sft", "rating")


@dataclass(frozen=True)
class Judge:
    """What an arm's judge is like; shares in [0, 1]."""

    held_in: float = 0.7
    held_out: float = 0.7
    contradicts: float = 0.2
    without: float = 0.6
    """Right so often where it does not think."""
    far_wrong: bool = True
    """Its listener is far from its wrong answers, not from its right ones."""


def study(
    judges: Mapping[str, Judge], *, seeds: int = 4, pairs: int = 80, rollouts: int = 2, short: bool = False, spread=0.01
) -> Study:
    """A finished study of simulated judges; a seed moves a judge's accuracy by ``spread``."""
    runs = {}
    for number, (key, judge) in enumerate(judges.items()):
        arm = Arm(key, NAMES[key], [])
        by_seed = []
        for seed in range(seeds):
            rng = np.random.default_rng([number, seed])
            moved = spread * rng.normal()
            moved_judge = replace(judge, held_in=judge.held_in + moved, held_out=judge.held_out + moved)
            words = key not in WORDLESS
            by_seed.append(
                tuple(
                    row
                    for source in ("held_in", "held_out")
                    for row in _rows(rng, moved_judge, source, pairs, rollouts if words else 1, words)
                )
            )
        runs[key] = ArmRuns(arm, tuple(by_seed))
    design = Design(
        "A simulated study", list(range(seeds)), [run.arm for run in runs.values()], [], [], Short([0], 0.2, []), short
    )
    seconds = {f"arms/{key}/seed{seed}/test": 90.0 for key in judges for seed in range(seeds)}
    made = Made(("0123abc",), {"python": "3.11.9", "torch": "2.9.0"}, "a processor, 2 cores", 2, seconds, "2025-11-21")
    return Study(design, runs, made)


def _rows(rng, judge, source, pairs, rollouts, words):
    people = np.random.default_rng([7, source == "held_out"])  # the same pairs for every arm and seed
    for index in range(pairs):
        votes = int(people.integers(18, 26))
        for_a = int(people.binomial(votes, people.choice([0.1, 0.9, 0.4])))
        for_a += 2 * for_a == votes
        share_a, hardness = for_a / votes, float(people.normal(0, 0.05))
        silent = rng.random() < judge.without
        for first in "ab":
            label = int((share_a > 0.5) != (first == "a"))
            for rollout in range(rollouts):
                right = rng.random() < getattr(judge, source) + hardness
                yield _row(rng, judge, words, (source, index, votes, share_a), (first, rollout, label, right, silent))


def _row(rng, judge, words, pair, asked):
    source, index, votes, share_a = pair
    first, rollout, label, right, silent = asked
    answer = label if right else 1 - label
    contradicts = words and bool(rng.random() < judge.contradicts)
    sure = rng.uniform(0.8, 0.95)
    far = (not right) == judge.far_wrong if rng.random() < 0.8 else contradicts
    heard = 1 - sure if far else sure
    doubted = 1 - sure if contradicts else sure

    def of_second(p_answer):
        return p_answer if answer == 1 else 1.0 - p_answer

    return Prediction(
        pair_id=f"{source}-{index}",
        prompt_id=f"prompt-{index % 40}",
        prompt="three red circles",
        rollout=rollout,
        first=first,
        label=label,
        answer=answer,
        outcome="ok",
        p_second=of_second(sure),
        listener_p_second=of_second(heard) if words else None,
        listener_p_correct=(heard if right else 1.0 - heard) if words else None,
        contradicts=contradicts,
        stated_verdict=(1 - answer if contradicts else answer) if words else None,
        length=20 if words else 0,
        truncated=False,
        trace="first: red. second: blue. the first is better." if words else "",
        share_a=share_a,
        generator_a="night",
        generator_b="night",
        source=source,
        index=index,
        votes=votes,
        p_second_without_thinking=(0.8 if silent == (label == 1) else 0.2) if words else None,
        independent_p_second=of_second(doubted) if words else None,
    )
