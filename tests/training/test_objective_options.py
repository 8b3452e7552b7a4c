"""What each option of the objective changes, in numbers worked by hand; the shipped overlays among them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from lit_listener.objective import loss_denominator
from lit_listener.training.grpo_options import Objective
from lit_listener.training.grpo_update import pass_loss
from lit_listener.training.lesson import Lesson
from lit_listener.training.rewards import Rewards
from lit_listener.vlm.backbone import Scores
from lit_listener.vlm.completions import Completions
from lit_listener.vlm.passes import Pass

OVERLAYS = Path(__file__).parents[2] / "configs" / "objective"
LIMIT = 4


def overlay(name: str) -> dict[str, Any]:
    options: dict[str, Any] = yaml.safe_load((OVERLAYS / f"{name}.yaml").read_text())["model"]["init_args"]
    return options


def objective_of(name: str) -> Objective:
    return Objective(**overlay(name)["objective"])


def completions(truncated: bool = False, length: int = LIMIT) -> Completions:
    """One of two tokens, and one as long as the limit (or not quite)."""
    return Completions(
        ids_NT=torch.zeros(2, LIMIT, dtype=torch.long),
        mask_NT=torch.arange(LIMIT)[None] < torch.tensor([2, length])[:, None],
        truncated_N=torch.tensor([False, truncated]),
        label_logits_NTL=torch.zeros(2, LIMIT, 2),
    )


def loss(
    objective: Objective,
    *,
    log_ratio: float = 0.0,
    to_reference: float = 0.0,
    advantages: tuple[float, float] = (1.0, -2.0),
    entropy: float = 0.0,
    sampled: Completions | None = None,
) -> float:
    """Of both completions in one pass, every token with the same log-ratios."""
    sampled = sampled or completions()
    zeros = torch.zeros(2, LIMIT)
    scores = Scores(zeros + log_ratio, zeros + entropy, torch.zeros(2, 2), torch.zeros(2))
    mask = objective.learnt_tokens(sampled, LIMIT)
    lesson = Lesson(
        asked=None,  # type: ignore[arg-type]
        completions=sampled,
        mask_NT=mask,
        reference_NT=zeros + log_ratio + to_reference if objective.kl_weight else None,
        old_NT=zeros,
        advantages_N=torch.tensor(advantages),
    )
    denominator = loss_denominator(mask, objective.normalizer, LIMIT)
    result, _ = pass_loss(scores, lesson, Pass(slice(0, 1), slice(0, 2)), objective, denominator)
    return float(result.loss)


PLAIN = Objective(kl_weight=0.0)


def test_plain_grpo():
    # each sequence's mean over its tokens is minus its advantage: (-1 + 2) / 2
    assert loss(PLAIN) == pytest.approx(0.5)


def test_the_entropy_bonus_is_taken_off_every_tokens_loss():
    # both sequences' mean entropy is 3: 0.5 - 0.1 x 3
    assert loss(replace(PLAIN, entropy_weight=0.1), entropy=3.0) == pytest.approx(0.5 - 0.3)
    # over tokens: (-1 x 2 + 2 x 4) / 6 = 1, less 0.3
    by_token = replace(PLAIN, normalizer="token", entropy_weight=0.1)
    assert loss(by_token, entropy=3.0) == pytest.approx(1.0 - 0.3)
    assert loss(PLAIN, entropy=3.0) == pytest.approx(0.5)


@pytest.mark.parametrize(("normalizer", "expected"), [("sequence", -0.5), ("token", -1.0), ("constant", -0.25)])
def test_completions_that_were_cut_off_add_nothing(normalizer, expected):
    # the first alone: -1 of two sequences; -2 over its two tokens; -2 of 2 x 4 places
    masked = replace(PLAIN, normalizer=normalizer, mask_truncated=True)
    assert loss(masked, sampled=completions(truncated=True)) == pytest.approx(expected)
    whole = loss(replace(masked, mask_truncated=False), sampled=completions(truncated=True))
    assert loss(masked) == pytest.approx(whole) != pytest.approx(expected)  # nothing is cut off here


def test_a_completion_that_was_given_up_early_is_learnt_from():
    masked = replace(PLAIN, mask_truncated=True)
    given_up = completions(truncated=True, length=3)
    assert masked.learnt_tokens(given_up, LIMIT).tolist() == given_up.mask_NT.tolist()


def rewards() -> Rewards:
    # groups of two: format (1, 1) and (0, 1); listener (0, 0.1) and (0.3, 0.3); weights 1 and 0.5
    terms = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 0.3], [1.0, 0.3]])
    weights = torch.tensor([1.0, 0.5])
    return Rewards(("format", "listener"), terms, weights, terms @ weights, torch.full((4,), 0.5))


def test_completions_are_compared_by_their_whole_reward_or_by_each_term():
    by_total = replace(PLAIN, epsilon=0.0).compared(rewards(), 2)
    torch.testing.assert_close(by_total, torch.tensor([[-1.0, 1.0], [-1.0, 1.0]]))
    # per term: group 0 differs by the listener: 0.5 x (-1, 1); group 1 by the format: (-1, 1). The deviation of the
    # four is sqrt((0.25 x 2 + 1 x 2) / 4) = 0.7905694
    by_term = replace(objective_of("gdpo"), epsilon=0.0).compared(rewards(), 2)
    expected = torch.tensor([[-0.5, 0.5], [-1.0, 1.0]]) / 0.7905694
    torch.testing.assert_close(by_term, expected, atol=1e-6, rtol=0)


def test_gdpo_changes_the_comparison_alone():
    assert objective_of("gdpo") == Objective(advantages="per_term")


def test_dapo_clips_higher_and_means_over_tokens():
    dapo = objective_of("dapo")
    assert (dapo.clip_low, dapo.clip_high, dapo.normalizer, dapo.kl_weight) == (0.2, 0.28, "token", 0.0)
    # ratio 2 for advantages 1 and -2: clipped to 1.28 for the first, whole for the second.
    # (-1.28 x 2 tokens + 4 x 4 tokens) / 6 tokens
    assert loss(dapo, log_ratio=0.6931472) == pytest.approx((-1.28 * 2 + 4 * 4) / 6, abs=1e-6)
    # ratio 1/2: the first is whole, 1/2; the second is clipped below at 0.8
    assert loss(dapo, log_ratio=-0.6931472) == pytest.approx((-0.5 * 2 + 1.6 * 4) / 6, abs=1e-6)
    assert overlay("dapo")["groups"]["init_args"] == {"prompts": 16}


def test_dr_grpo_divides_by_a_constant_and_by_no_deviation():
    dr_grpo = objective_of("dr_grpo")
    # (-1 x 2 tokens + 2 x 4 tokens) / (2 sequences x 4 places)
    assert loss(dr_grpo) == pytest.approx(6 / 8)
    # (1 + 0, 1 + 0.05) - 1.025 and (0.15, 1.15) - 0.65
    expected = torch.tensor([[-0.025, 0.025], [-0.5, 0.5]])
    torch.testing.assert_close(dr_grpo.compared(rewards(), 2), expected, atol=1e-6, rtol=0)


def test_gspo_has_one_ratio_a_sequence_in_a_narrow_clip():
    gspo = objective_of("gspo")
    assert (gspo.importance, gspo.normalizer, gspo.clip_low, gspo.clip_high) == ("sequence", "sequence", 3e-4, 4e-4)
    # ratio exp(0.001) = 1.0010005, clipped to 1.0004 for advantage 1; whole for -2; no KL where policy is reference
    assert loss(gspo, log_ratio=0.001) == pytest.approx((-1.0004 + 2 * 1.0010005) / 2, abs=1e-6)
    assert overlay("gspo")["updates"]["minibatches"] == 4  # with one update the ratio is always 1


def test_kl_free_needs_no_reference():
    kl_free, usual = objective_of("kl_free"), Objective()
    assert replace(usual, kl_weight=0.0) == kl_free
    # k3 at log(reference / policy) = 1: e - 1 - 1 = 0.7182818, times 0.04
    assert loss(usual, to_reference=1.0) == pytest.approx(0.5 + 0.04 * 0.7182818, abs=1e-6)
    assert loss(kl_free, to_reference=1.0) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Objective(entropy_weight=-0.1), r"model\.objective\.entropy_weight: expected at least 0, got -0\.1"),
        (
            lambda: Objective(advantages="each"),  # type: ignore[arg-type]
            r"model\.objective\.advantages: expected one of \['per_term', 'total'\], got 'each'",
        ),
    ],
)
def test_options_out_of_range_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
