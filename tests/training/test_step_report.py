"""Metrics of hand-made steps, worked by hand."""

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from lit_listener.objective import policy_loss
from lit_listener.tasks import Outcome, Transcript
from lit_listener.training.rewards import Rewards
from lit_listener.training.step_report import StepOutcome, StepTimes, UpdateTotals, step_metrics
from lit_listener.vlm.completions import Completions
from lit_listener.vlm.listeners import Heard

KEYS = {
    *(f"reward/{name}" for name in ("total", "format", "accuracy", "listener")),
    *(f"listener/{name}" for name in ("p_correct", "disagreement", "below_half_share", "discarded_mass")),
    *(f"group/{name}" for name in ("zero_variance_share", "reward_std", "listener_only_share")),
    *(f"policy/{name}" for name in ("loss", "kl", "entropy", "clip_share", "grad_norm")),
    *(f"completion/{name}" for name in ("length", "truncated_share", "unparsable_share")),
    *(f"time/{name}" for name in ("rollout_s", "reference_s", "update_s", "step_s")),
    "throughput/completions_per_s",
}


NAMES = ("format", "accuracy", "listener")


def rewards(rows: Sequence[tuple[float, float, float]], p_correct: Sequence[float] | None = None) -> Rewards:
    """From (format, accuracy, listener), with the weights 1, 0.5 and 0.5."""
    format_N, accuracy_N, listener_N = torch.tensor(rows).T
    return Rewards(
        names=NAMES,
        terms_NK=torch.tensor(rows),
        weights_K=torch.tensor([1.0, 0.5, 0.5]),
        total_N=format_N + 0.5 * accuracy_N + 0.5 * listener_N,
        p_correct_N=listener_N + 0.5 if p_correct is None else torch.tensor(p_correct),
    )


def heard(p_second: Sequence[float], readable: Sequence[bool] | None = None, discarded: float = 0.0) -> Heard:
    second_N = torch.tensor(p_second)
    readable_N = torch.ones(len(second_N), dtype=torch.bool) if readable is None else torch.tensor(readable)
    return Heard(torch.stack([1 - second_N, second_N], 1), readable_N, torch.full((len(second_N),), discarded))


def transcript(place: int | None = 0, answer: int | None = 0) -> Transcript:
    return Transcript("", Outcome.OK, "", answer, place)


def completions(logits_NTL: Tensor, lengths: Sequence[int], truncated: Sequence[bool] | None = None) -> Completions:
    count, longest = logits_NTL.shape[:2]
    return Completions(
        ids_NT=torch.zeros(count, longest, dtype=torch.long),
        mask_NT=torch.arange(longest)[None] < torch.tensor(lengths)[:, None],
        truncated_N=torch.tensor(truncated or [False] * count),
        label_logits_NTL=logits_NTL,
    )


def totals() -> UpdateTotals:
    done = UpdateTotals()
    zeros = torch.zeros(1, 2)
    done.add(policy_loss(zeros, zeros, zeros, torch.ones(1), torch.ones(1, 2, dtype=torch.bool)), torch.tensor(1.0))
    done.add_step(torch.tensor(2.0))
    return done


def report(
    given: Rewards,
    ears: Heard | None = None,
    read: Sequence[Transcript] | None = None,
    sampled: Completions | None = None,
    group_size: int = 2,
) -> dict[str, float]:
    count = len(given.total_N)
    times = StepTimes(0.0)
    times.lap()
    outcome = StepOutcome.of(
        given,
        ears or heard([0.5] * count),
        read or [transcript()] * count,
        sampled or completions(torch.zeros(count, 1, 2), [1] * count),
    )
    return step_metrics(outcome, given.names, totals(), times, group_size)


def test_all_published_keys_and_no_others():
    assert set(report(rewards([(1, 1, 0.2), (0, 0, 0.0)]))) == KEYS


def test_rewards_are_means_over_completions():
    metrics = report(rewards([(1, 1, 0.4), (0, 1, 0.0), (1, 0, 0.2), (1, 0, 0.0)]))
    assert metrics["reward/format"] == pytest.approx(0.75)
    assert metrics["reward/accuracy"] == pytest.approx(0.5)
    assert metrics["reward/listener"] == pytest.approx(0.15)
    assert metrics["reward/total"] == pytest.approx(0.75 + 0.25 + 0.075)


def test_groups_that_teach_nothing_and_groups_that_only_the_listener_tells_apart():
    metrics = report(
        rewards(
            [
                *[(1, 1, 0.3), (1, 1, 0.3)],  # no difference at all
                *[(1, 1, 0.3), (1, 1, 0.1)],  # the listener's alone: 0.1 apart, σ 0.05
                *[(1, 1, 0.3), (1, 0, 0.1)],  # accuracy too: 0.6 apart, σ 0.3
                *[(0, 1, 0.0), (1, 0, 0.0)],  # format and accuracy, 0.5 apart, σ 0.25
            ]
        )
    )
    assert metrics["group/zero_variance_share"] == pytest.approx(1 / 4)
    assert metrics["group/listener_only_share"] == pytest.approx(1 / 4)
    assert metrics["group/reward_std"] == pytest.approx((0 + 0.05 + 0.3 + 0.25) / 4, abs=1e-6)


def test_format_and_accuracy_that_cancel_out_are_no_listener_only_group():
    # format 1 + accuracy 0 against format 0 + accuracy 1: sums of the two could coincide, the terms do not
    metrics = report(rewards([(1, 0, 0.1), (0, 1, 0.3)]))
    assert metrics["group/listener_only_share"] == 0


def test_disagreement_is_the_distance_of_the_soft_scores():
    # place 1 of completion 0: the reasoner's own scores are (1/4, 3/4), for log 3 is 3 times as much
    logits = torch.zeros(2, 3, 2)
    logits[0, 1, 1] = math.log(3)
    logits[1, 2, 0] = math.log(9)  # (9/10, 1/10) at place 2
    metrics = report(
        rewards([(1, 1, 0.0), (1, 0, 0.0)]),
        heard([0.25, 0.2]),  # the listener's: (3/4, 1/4) and (4/5, 1/5)
        [transcript(1), transcript(2)],
        completions(logits, [3, 3]),
    )
    # distances: sqrt(1/4 + 1/4) and sqrt(1/100 + 1/100)
    expected = (math.sqrt(0.5) + math.sqrt(0.02)) / 2
    assert metrics["listener/disagreement"] == pytest.approx(expected, abs=1e-6)


def test_what_the_listener_could_not_read_does_not_count():
    metrics = report(
        rewards([(1, 1, 0.4), (1, 0, 0.0), (0, 0, 0.0), (0, 0, 0.0)], p_correct=[0.9, 0.4, 0.1, 0.2]),
        heard([0.9, 0.4, 0.1, 0.2], readable=[True, True, False, False], discarded=0.25),
        [transcript(0), transcript(0, None), transcript(None, None), transcript(None, None)],  # the second: a bad label
    )
    assert metrics["listener/p_correct"] == pytest.approx(0.65)
    assert metrics["listener/below_half_share"] == pytest.approx(0.5)
    assert metrics["listener/discarded_mass"] == pytest.approx(0.25)
    assert metrics["listener/disagreement"] == pytest.approx((0.4 + 0.1) * math.sqrt(2) / 2, abs=1e-6)
    assert metrics["completion/unparsable_share"] == pytest.approx(0.75)


def test_a_listener_that_read_nothing_has_no_numbers_and_all_else_has():
    metrics = report(
        rewards([(0, 0, 0.0), (0, 0, 0.0)]),
        heard([0.5, 0.5], readable=[False, False]),
        [transcript(None, None)] * 2,
    )
    assert {key for key, value in metrics.items() if math.isnan(value)} == {
        key for key in KEYS if key.startswith("listener/")
    }


def test_lengths_count_the_end_token():
    sampled = completions(torch.zeros(2, 5, 2), [2, 5], truncated=[False, True])
    metrics = report(rewards([(1, 1, 0.0), (0, 0, 0.0)]), sampled=sampled)
    assert metrics["completion/length"] == pytest.approx(3.5)
    assert metrics["completion/truncated_share"] == pytest.approx(0.5)


def test_means_over_tokens_weigh_micro_batches_by_their_tokens():
    done = UpdateTotals()
    for tokens, entropy, advantage, log_prob in ((1, 3.0, 2.0, 0.0), (3, 1.0, -1.0, 1.0)):
        mask = torch.ones(1, tokens, dtype=torch.bool)
        new, zeros = torch.full((1, tokens), log_prob), torch.zeros(1, tokens)
        result = policy_loss(new, zeros, zeros, torch.tensor([advantage]), mask, kl_weight=0.0, denominator=2)
        done.add(result, torch.tensor(entropy))
    done.add_step(torch.tensor(4.0))
    metrics = done.metrics()
    assert metrics["policy/entropy"] == pytest.approx((1 * 3 + 3 * 1) / 4)
    # k3 at log-ratio 1: exp(-1) + 1 - 1 on three of four tokens
    assert metrics["policy/kl"] == pytest.approx(3 / 4 * math.exp(-1), abs=1e-6)
    # a sum over micro-batches: -2/2 of the first, and e x 1 / 2 of the second, which no clip binds for A < 0
    assert metrics["policy/loss"] == pytest.approx(-1.0 + math.e / 2, abs=1e-5)
    assert metrics["policy/grad_norm"] == 4.0


def test_several_optimizer_steps_are_averaged():
    done = totals()
    zeros = torch.zeros(1, 2)
    done.add(policy_loss(zeros, zeros, zeros, torch.zeros(1), torch.ones(1, 2, dtype=torch.bool)), torch.tensor(3.0))
    done.add_step(torch.tensor(6.0))
    metrics = done.metrics()
    assert metrics["policy/loss"] == pytest.approx((-1 + 0) / 2)
    assert metrics["policy/grad_norm"] == pytest.approx(4.0)
    assert metrics["policy/entropy"] == pytest.approx(2.0)


def test_without_a_token_to_learn_from_there_are_no_means():
    done = UpdateTotals()
    zeros = torch.zeros(1, 2)
    nothing = torch.zeros(1, 2, dtype=torch.bool)
    done.add(policy_loss(zeros, zeros, zeros, torch.ones(1), nothing), torch.tensor(0.0))
    done.add_step(torch.tensor(0.0))
    metrics = done.metrics()
    assert metrics["policy/loss"] == 0
    assert all(math.isnan(metrics[f"policy/{name}"]) for name in ("kl", "entropy", "clip_share"))


def test_laps_add_up_to_the_step(monkeypatch):
    clock = iter([12.0, 15.5, 16.0])
    monkeypatch.setattr("lit_listener.training.step_report.perf_counter", lambda: next(clock))
    times = StepTimes(10.0)
    times.rollout, times.reference, times.update = times.lap(), times.lap(), times.lap()
    assert (times.rollout, times.reference, times.update) == (2.0, 3.5, 0.5)
    assert times.step == 6.0
