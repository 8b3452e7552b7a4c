"""The policy loss against hand-worked numbers, float64 loops with their own derivatives, and its identities."""

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lit_listener.objective import loss_denominator, policy_loss

NORMALIZERS = ["sequence", "token", "constant"]
LEVELS = ["token", "sequence"]
MAX_LENGTH = 9
LENGTHS = (6, 1, 4, 0, 3)
every_variant = pytest.mark.parametrize(
    ("normalizer", "importance"), [(normalizer, level) for normalizer in NORMALIZERS for level in LEVELS]
)


def batch(dtype: torch.dtype = torch.float64, *, spread: float = 0.4) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Five sequences of 6, 1, 4, 0 and 3 tokens; ratios on both sides of the clip range, advantages of both signs."""
    generator = torch.Generator().manual_seed(3)
    count, width = len(LENGTHS), max(LENGTHS)
    log_probs = -torch.rand(count, width, generator=generator, dtype=dtype) - 0.5
    old = log_probs + spread * torch.randn(count, width, generator=generator, dtype=dtype)
    reference = log_probs + 0.5 * torch.randn(count, width, generator=generator, dtype=dtype)
    advantages = torch.tensor([1.3, -0.7, -1.1, 2.0, 0.4], dtype=dtype)
    mask = torch.arange(width) < torch.tensor(LENGTHS)[:, None]
    return log_probs.requires_grad_(), old, reference, advantages, mask


def reference_loss(
    rows: Sequence[tuple[list[float], list[float], list[float], float]],
    *,
    low: float,
    high: float,
    weight: float,
    normalizer: str,
    importance: str,
    denominator: float | None = None,
) -> tuple[float, list[list[float]], float, float, float]:
    """Plain loops over (log-probs, old, reference, advantage) of unpadded rows: loss, gradient, KL, clip share, ratio.

    The gradient is written out by hand: d min(rho A, clip(rho) A) / d logp = rho A where the plain term is taken, else
    0 (with rho of the sequence: s A / length at every token); d k3 / d logp = 1 - exp(ref - logp).
    """
    lengths = [len(row[0]) for row in rows]
    counts = {"sequence": len(rows), "token": sum(lengths), "constant": len(rows) * MAX_LENGTH}
    divisor = counts[normalizer] if denominator is None else denominator
    loss, gradient, kls, binds, ratios = 0.0, [], [], [], []
    for (logp, old, ref, advantage), length in zip(rows, lengths, strict=True):
        share = 1.0 / divisor / (length if normalizer == "sequence" and length else 1)
        row_gradient = [0.0] * length
        for t in range(length):
            logs = [a - b for a, b in zip(logp, old, strict=True)]
            rho = math.exp(logs[t] if importance == "token" else sum(logs) / length)
            plain, clipped = rho * advantage, min(max(rho, 1 - low), 1 + high) * advantage
            difference = ref[t] - logp[t]
            kl = math.exp(difference) - difference - 1
            loss += share * (-min(plain, clipped) + weight * kl)
            if plain <= clipped:
                touched = [t] if importance == "token" else range(length)
                for place in touched:
                    row_gradient[place] -= share * plain / len(touched)
            row_gradient[t] += share * weight * (1 - math.exp(difference))
            kls.append(kl)
            binds.append(float(clipped < plain))
            ratios.append(rho)
        gradient.append(row_gradient)
    tokens = max(sum(lengths), 1)
    return loss, gradient, sum(kls) / tokens, sum(binds) / tokens, sum(ratios) / tokens


def unpadded(
    tensors: tuple[Tensor, Tensor, Tensor, Tensor, Tensor],
) -> list[tuple[list[float], list[float], list[float], float]]:
    logp, old, ref, advantages, _ = (tensor.detach() for tensor in tensors)
    return [
        (logp[n, :length].tolist(), old[n, :length].tolist(), ref[n, :length].tolist(), advantages[n].item())
        for n, length in enumerate(LENGTHS)
    ]


@every_variant
@pytest.mark.parametrize("denominator", [None, 2.5])
@pytest.mark.parametrize(("low", "high", "weight"), [(0.2, 0.2, 0.04), (0.1, 0.3, 1.5), (0.2, 0.2, 0.0)])
def test_matches_plain_loops(
    normalizer: Any, importance: Any, denominator: float | None, low: float, high: float, weight: float
) -> None:
    tensors = batch()
    result = policy_loss(
        *tensors,
        clip_low=low,
        clip_high=high,
        kl_weight=weight,
        normalizer=normalizer,
        importance=importance,
        denominator=denominator,
        max_length=MAX_LENGTH,
    )
    loss, gradient, kl, clip_share, ratio = reference_loss(
        unpadded(tensors),
        low=low,
        high=high,
        weight=weight,
        normalizer=normalizer,
        importance=importance,
        denominator=denominator,
    )
    assert result.loss.item() == pytest.approx(loss, abs=1e-9)
    assert result.kl.item() == pytest.approx(kl, abs=1e-9)
    assert result.clip_share.item() == pytest.approx(clip_share, abs=1e-9)
    assert result.ratio.item() == pytest.approx(ratio, abs=1e-9)
    assert result.tokens.item() == sum(LENGTHS)
    assert 0 < clip_share < 1  # the batch is made so that some tokens clip and some do not
    actual = torch.autograd.grad(result.loss, tensors[0])[0]
    for n, length in enumerate(LENGTHS):
        assert actual[n, :length].tolist() == pytest.approx(gradient[n], abs=1e-9)
        assert (actual[n, length:] == 0).all()


@every_variant
def test_float32_agrees(normalizer: Any, importance: Any) -> None:
    tensors = batch()
    singles = tuple(tensor.detach().float() if tensor.is_floating_point() else tensor for tensor in tensors)
    single_log_probs = singles[0].requires_grad_()
    options: dict[str, Any] = {"normalizer": normalizer, "importance": importance, "max_length": MAX_LENGTH}
    expected, single = policy_loss(*tensors, **options), policy_loss(*singles, **options)  # type: ignore[misc]
    assert single.loss.dtype == torch.float32
    torch.testing.assert_close(single.loss.double(), expected.loss, atol=1e-6, rtol=1e-6)
    gradients = torch.autograd.grad(single.loss, single_log_probs)[0], torch.autograd.grad(expected.loss, tensors[0])[0]
    torch.testing.assert_close(gradients[0].double(), gradients[1], atol=1e-6, rtol=1e-6)


def test_clipping_by_hand() -> None:
    # Ratios 1.5, 0.5, 1.5, 0.5 with advantages 2, 2, -2, -2, clip 0.2:
    # min(3, 2.4) = 2.4 clipped; min(1, 1.6) = 1; min(-3, -2.4) = -3; min(-1, -1.6) = -1.6 clipped.
    # Loss -(2.4 + 1 - 3 - 1.6) / 4 = 0.3; two of four clip; mean ratio 1. Gradients -(0, 1, -3, 0) / 4.
    log_probs = torch.tensor([[1.5], [0.5], [1.5], [0.5]]).log().requires_grad_()
    old = torch.zeros(4, 1)
    advantages = torch.tensor([2.0, 2.0, -2.0, -2.0])
    result = policy_loss(log_probs, old, None, advantages, torch.ones(4, 1, dtype=torch.bool), kl_weight=0.0)
    assert result.loss.item() == pytest.approx(0.3, abs=1e-6)
    assert result.clip_share.item() == 0.5
    assert result.ratio.item() == pytest.approx(1.0, abs=1e-6)
    gradient = torch.autograd.grad(result.loss, log_probs)[0]
    torch.testing.assert_close(gradient, torch.tensor([[0.0], [-0.25], [0.75], [0.0]]), atol=1e-6, rtol=0)


def test_asymmetric_clip_by_hand() -> None:
    # Ratio 1.5, clip_high 0.28, A 1: min(1.5, 1.28) = 1.28. Ratio 0.5, clip_low 0.1, A -1: min(-0.5, -0.9) = -0.9.
    log_probs = torch.tensor([[1.5], [0.5]]).log()
    result = policy_loss(
        log_probs,
        torch.zeros(2, 1),
        None,
        torch.tensor([1.0, -1.0]),
        torch.ones(2, 1),
        clip_low=0.1,
        clip_high=0.28,
        kl_weight=0.0,
    )
    assert result.loss.item() == pytest.approx(-(1.28 - 0.9) / 2, abs=1e-6)


def test_kl_by_hand() -> None:
    # d = log 2 at one token, 0 at the other: k3 = 2 - 0.693147 - 1 = 0.306853; mean 0.153426; ratio 1, advantage 0.
    log_probs = torch.tensor([[-1.0, -1.0]], requires_grad=True)
    reference = torch.tensor([[-1.0 + math.log(2.0), -1.0]])
    result = policy_loss(
        log_probs, log_probs, reference, torch.zeros(1), torch.ones(1, 2, dtype=torch.bool), kl_weight=0.5
    )
    assert result.kl.item() == pytest.approx(0.1534264, abs=1e-6)
    assert result.loss.item() == pytest.approx(0.0767132, abs=1e-6)
    # d k3 / d logp = 1 - exp(d) = -1, times 0.5 / 2 tokens.
    gradient = torch.autograd.grad(result.loss, log_probs)[0]
    torch.testing.assert_close(gradient, torch.tensor([[-0.25, 0.0]]), atol=1e-6, rtol=0)


def test_normalizers_by_hand() -> None:
    # Ratio 1: each token's loss is minus its sequence's advantage. Lengths 3 and 1, advantages 2 and -1:
    # sequence: (-2 + 1) / 2 = -0.5. token: (-6 + 1) / 4 = -1.25. constant with length 5: (-6 + 1) / 10 = -0.5.
    log_probs = torch.zeros(2, 3)
    mask = torch.tensor([[True, True, True], [True, False, False]])
    advantages = torch.tensor([2.0, -1.0])
    for normalizer, expected in (("sequence", -0.5), ("token", -1.25), ("constant", -0.5)):
        options: Any = {"normalizer": normalizer, "max_length": 5, "kl_weight": 0.0}
        assert policy_loss(log_probs, log_probs, None, advantages, mask, **options).loss.item() == pytest.approx(
            expected
        )


def test_sequence_importance_by_hand() -> None:
    # Log-ratios 0.3 and 0.1: mean 0.2, s = exp(0.2) = 1.221403. Advantage 1, clip 0.2: clipped to 1.2 at both tokens.
    # Clip 0.3: not clipped, loss -1.221403, gradient -s / 2 at each token; token by token they would differ.
    log_probs = torch.tensor([[0.3, 0.1]], requires_grad=True)
    arguments = (log_probs, torch.zeros(1, 2), None, torch.ones(1), torch.ones(1, 2, dtype=torch.bool))
    clipped = policy_loss(*arguments, kl_weight=0.0, importance="sequence")
    assert clipped.loss.item() == pytest.approx(-1.2, abs=1e-6)
    assert clipped.clip_share.item() == 1.0
    free = policy_loss(*arguments, kl_weight=0.0, importance="sequence", clip_high=0.3)
    assert free.loss.item() == pytest.approx(-1.2214028, abs=1e-6)
    assert free.ratio.item() == pytest.approx(1.2214028, abs=1e-6)
    gradient = torch.autograd.grad(free.loss, log_probs)[0]
    torch.testing.assert_close(gradient, torch.full((1, 2), -0.6107014), atol=1e-6, rtol=0)


@every_variant
def test_gradient_at_ratio_one_is_reinforce(normalizer: Any, importance: Any) -> None:
    log_probs, _, _, advantages, mask = batch()
    options: dict[str, Any] = {"normalizer": normalizer, "importance": importance, "max_length": MAX_LENGTH}
    result = policy_loss(log_probs, log_probs.detach(), None, advantages, mask, kl_weight=0.0, **options)
    actual = torch.autograd.grad(result.loss, log_probs)[0]
    # REINFORCE: minus the advantage-weighted log-probability of each token, under the same weights.
    weights = mask.double()
    if normalizer == "sequence":
        weights = weights / mask.sum(1, keepdim=True).clamp(min=1)
    divisor = {"sequence": 5, "token": 14, "constant": 5 * MAX_LENGTH}[normalizer]
    expected = torch.autograd.grad(-(weights * advantages[:, None] * log_probs).sum() / divisor, log_probs)[0]
    torch.testing.assert_close(actual, expected, atol=1e-12, rtol=0)
    assert result.clip_share.item() == 0.0
    assert result.ratio.item() == 1.0


@every_variant
@pytest.mark.parametrize("cuts", [[1, 4], [3, 1, 1], [2, 3], [1, 1, 1, 1, 1]])
def test_split_into_micro_batches_changes_nothing(normalizer: Any, importance: Any, cuts: list[int]) -> None:
    tensors = batch()
    options: dict[str, Any] = {"normalizer": normalizer, "importance": importance, "max_length": MAX_LENGTH}
    whole = policy_loss(*tensors, **options)
    expected = torch.autograd.grad(whole.loss, tensors[0])[0]
    pieces = list(zip(*(tensor.detach().split(cuts) for tensor in tensors), strict=True))
    denominator = torch.stack([loss_denominator(piece[-1], normalizer, MAX_LENGTH) for piece in pieces]).sum()
    loss, gradients = 0.0, []
    for log_probs, *rest in pieces:
        log_probs.requires_grad_()
        result = policy_loss(log_probs, *rest, denominator=denominator, **options)
        loss += result.loss.item()
        gradients.append(torch.autograd.grad(result.loss, log_probs)[0])
    assert loss == pytest.approx(whole.loss.item(), abs=1e-9)
    torch.testing.assert_close(torch.cat(gradients), expected, atol=1e-9, rtol=0)


@every_variant
def test_token_weighted_diagnostics_of_micro_batches_add_up(normalizer: Any, importance: Any) -> None:
    tensors = batch()
    options: dict[str, Any] = {"normalizer": normalizer, "importance": importance, "max_length": MAX_LENGTH}
    whole = policy_loss(*tensors, **options)
    parts = [
        policy_loss(*piece, **options) for piece in zip(*(tensor.split([1, 3, 1]) for tensor in tensors), strict=True)
    ]
    for name in ("kl", "clip_share", "ratio"):
        mean = sum(getattr(part, name) * part.tokens for part in parts) / whole.tokens
        torch.testing.assert_close(mean, getattr(whole, name), atol=1e-9, rtol=0)


@every_variant
@pytest.mark.parametrize("garbage", [float("nan"), float("inf"), -float("inf"), 1e30])
def test_padding_and_garbage_change_nothing(normalizer: Any, importance: Any, garbage: float) -> None:
    log_probs, old, reference, advantages, mask = batch()
    options: dict[str, Any] = {"normalizer": normalizer, "importance": importance, "max_length": MAX_LENGTH}
    clean = policy_loss(log_probs, old, reference, advantages, mask, **options)
    expected = torch.autograd.grad(clean.loss, log_probs)[0]

    wide_mask = torch.cat([mask, torch.zeros(5, 2, dtype=torch.bool)], dim=1)
    dirty = [
        torch.cat([tensor.detach(), torch.zeros(5, 2, dtype=torch.float64)], dim=1).masked_fill(~wide_mask, garbage)
        for tensor in (log_probs, old, reference)
    ]
    dirty[0].requires_grad_()
    result = policy_loss(dirty[0], dirty[1], dirty[2], advantages, wide_mask, **options)
    gradient = torch.autograd.grad(result.loss, dirty[0])[0]
    for name in ("loss", "kl", "clip_share", "ratio"):
        torch.testing.assert_close(getattr(result, name), getattr(clean, name), atol=1e-12, rtol=0)
    torch.testing.assert_close(gradient[:, :6], expected, atol=1e-12, rtol=0)
    assert (gradient[~wide_mask] == 0).all()


@every_variant
def test_left_and_scattered_masks_are_honoured(normalizer: Any, importance: Any) -> None:
    log_probs, old, reference, advantages, mask = batch()
    options: dict[str, Any] = {"normalizer": normalizer, "importance": importance, "max_length": MAX_LENGTH}
    straight = policy_loss(log_probs, old, reference, advantages, mask, **options)
    flipped = policy_loss(
        log_probs.flip(1), old.flip(1), reference.flip(1), advantages, mask.flip(1).to(torch.int64), **options
    )
    torch.testing.assert_close(flipped.loss, straight.loss, atol=1e-12, rtol=0)


@every_variant
def test_batch_without_tokens_is_zero(normalizer: Any, importance: Any) -> None:
    log_probs = torch.full((2, 3), float("nan"), requires_grad=True)
    mask = torch.zeros(2, 3, dtype=torch.bool)
    options: dict[str, Any] = {"normalizer": normalizer, "importance": importance, "max_length": MAX_LENGTH}
    for denominator in (None, 4.0, 0.0):
        result = policy_loss(log_probs, log_probs, log_probs, torch.ones(2), mask, denominator=denominator, **options)
        assert result.loss.item() == 0.0
        assert result.kl.item() == 0.0
        assert (torch.autograd.grad(result.loss, log_probs)[0] == 0).all()


def test_empty_rows_count_as_sequences() -> None:
    mask = torch.tensor([[True, True, False], [False, False, False]])
    assert loss_denominator(mask, "sequence").item() == 2
    assert loss_denominator(mask, "token").item() == 2
    assert loss_denominator(mask, "constant", 7).item() == 14
    # The empty row has advantage 100; loss -(1 + 0) / 2.
    log_probs = torch.zeros(2, 3)
    result = policy_loss(log_probs, log_probs, None, torch.tensor([1.0, 100.0]), mask, kl_weight=0.0)
    assert result.loss.item() == pytest.approx(-0.5)


@given(
    log_prob=st.floats(-15.0, 0.0, width=32),
    difference=st.floats(-15.0, 15.0, width=32) | st.floats(-(2.0**-10), 2.0**-10, width=32),
)
@settings(max_examples=200, deadline=None)
def test_kl_is_not_negative_and_zero_at_equality(log_prob: float, difference: float) -> None:
    log_probs, reference = torch.tensor([[log_prob]]), torch.tensor([[log_prob + difference]])
    mask = torch.ones(1, 1, dtype=torch.bool)
    assert policy_loss(log_probs, log_probs, reference, torch.zeros(1), mask).kl.item() >= 0.0
    assert policy_loss(log_probs, log_probs, log_probs, torch.zeros(1), mask).kl.item() == 0.0


def test_small_kl_keeps_its_digits_in_float32() -> None:
    # d = 0.001: k3 = d^2 / 2 + d^3 / 6 = 5.0017e-7; exp(d) - d - 1 in float32 comes in steps of 1.2e-7.
    reference, mask = torch.tensor([[0.001]]), torch.ones(1, 1, dtype=torch.bool)
    result = policy_loss(torch.zeros(1, 1), torch.zeros(1, 1), reference, torch.zeros(1), mask)
    assert result.kl.item() == pytest.approx(5.0017e-7, rel=1e-3)


@pytest.mark.parametrize("importance", LEVELS)
@pytest.mark.parametrize("advantage", [1.0, -1.0, 0.0])
def test_runaway_tokens_do_not_make_nan(importance: Any, advantage: float) -> None:
    log_probs = torch.tensor([[-1.0, 200.0, -200.0]], requires_grad=True)
    old, mask = torch.zeros(1, 3), torch.ones(1, 3, dtype=torch.bool)
    result = policy_loss(log_probs, old, old, torch.tensor([advantage]), mask, importance=importance)
    assert result.loss.isfinite()
    assert torch.autograd.grad(result.loss, log_probs)[0].isfinite().all()


def test_nan_under_the_mask_is_not_hidden() -> None:
    log_probs = torch.tensor([[-1.0, float("nan")]])
    old = torch.full((1, 2), -1.0)
    mask = torch.ones(1, 2, dtype=torch.bool)
    assert policy_loss(log_probs, old, old, torch.ones(1), mask).loss.isnan()


def test_gradient_flows_through_the_policy_only() -> None:
    log_probs, old, reference, advantages, mask = batch()
    for tensor in (old, reference, advantages):
        tensor.requires_grad_()
    result = policy_loss(log_probs, old, reference, advantages, mask)
    result.loss.backward()  # type: ignore[no-untyped-call]
    assert log_probs.grad is not None
    assert old.grad is None
    assert reference.grad is None
    assert advantages.grad is None
    assert not any(tensor.requires_grad for tensor in (result.kl, result.clip_share, result.ratio, result.tokens))


def test_without_reference_the_kl_is_not_a_number() -> None:
    log_probs, old, reference, advantages, mask = batch()
    without = policy_loss(log_probs, old, None, advantages, mask, kl_weight=0.0)
    watched = policy_loss(log_probs, old, reference, advantages, mask, kl_weight=0.0)
    assert without.kl.isnan()
    assert watched.kl.item() > 0.05
    torch.testing.assert_close(without.loss, watched.loss, atol=0, rtol=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reference_log_probs_NT": None}, r"kl_weight 0\.04 needs reference_log_probs_NT"),
        ({"normalizer": "mean"}, r"normalizer must be one of \['constant', 'sequence', 'token'\], got 'mean'"),
        ({"importance": "word"}, r"importance must be one of \['sequence', 'token'\], got 'word'"),
        ({"normalizer": "constant"}, "max_length >= 1, got None"),
        ({"normalizer": "constant", "max_length": 0}, "max_length >= 1, got 0"),
        ({"denominator": 0.0}, r"denominator must be > 0 for a batch with tokens, got 0\.0"),
        ({"denominator": torch.tensor(-1.0)}, r"denominator must be > 0 for a batch with tokens, got -1\.0"),
        ({"clip_low": -0.1}, r"clip_low must be >= 0, got -0\.1"),
        ({"clip_high": -0.1}, r"clip_high must be >= 0, got -0\.1"),
        ({"kl_weight": -0.1}, r"kl_weight must be >= 0, got -0\.1"),
        ({"advantages_N": torch.zeros(5, 1)}, r"advantages_N must have shape \[5\].*got \[5, 1\]"),
        ({"mask_NT": torch.ones(5, 5)}, r"mask_NT must have shape \[5, 6\].*got \[5, 5\]"),
        ({"old_log_probs_NT": torch.zeros(5, 1)}, r"old_log_probs_NT must have shape \[5, 6\].*got \[5, 1\]"),
        ({"log_probs_NT": torch.zeros(5)}, r"\[sequences, tokens\], got \[5\]"),
    ],
)
def test_bad_arguments_are_named(changes: dict[str, Any], message: str) -> None:
    names = ("log_probs_NT", "old_log_probs_NT", "reference_log_probs_NT", "advantages_N", "mask_NT")
    arguments: dict[str, Any] = dict(zip(names, batch(), strict=True))
    with pytest.raises(ValueError, match=message):
        policy_loss(**(arguments | changes))
