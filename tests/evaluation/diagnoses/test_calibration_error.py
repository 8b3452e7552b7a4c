import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.classification import BinaryCalibrationError, MulticlassCalibrationError

from lit_listener.evaluation.diagnoses.calibration_error import (
    bin_of,
    brier_score,
    calibration_error_interval,
    expected_calibration_error,
    reliability_bins,
)

judged = st.lists(st.tuples(st.floats(0.0, 1.0), st.integers(0, 1)), min_size=1, max_size=40)


def by_loop(p, right, bins):
    """The textbook's formula, bin by bin."""
    total = 0.0
    for b in range(bins):
        inside = [n for n in range(len(p)) if b / bins <= p[n] < (b + 1) / bins or (b == bins - 1 and p[n] == 1.0)]
        if inside:
            gap = sum(right[n] for n in inside) / len(inside) - sum(p[n] for n in inside) / len(inside)
            total += len(inside) / len(p) * abs(gap)
    return total


def test_error_by_hand():
    # Bins of a half. Low: mean p 0.25, of which 1/2 came true. High: mean p (0.5 + 0.9 + 1) / 3 = 0.8, 2/3 came true.
    # 2/5 |1/2 - 0.25| + 3/5 |2/3 - 0.8| = 0.1 + 0.08
    assert expected_calibration_error([0.2, 0.3, 0.5, 0.9, 1.0], [1, 0, 0, 1, 1], bins=2) == pytest.approx(0.18)


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_error_matches_torchmetrics_and_a_loop(bins):
    rng = np.random.default_rng(bins)
    p = rng.random(500).astype(np.float32)
    label = (rng.random(500) < p**2).astype(int)
    ours = expected_calibration_error(p, label, bins)
    assert ours == pytest.approx(by_loop(p.tolist(), label.tolist(), bins), abs=1e-12)
    binary = BinaryCalibrationError(n_bins=bins, norm="l1")(torch.tensor(p), torch.tensor(label))
    assert ours == pytest.approx(float(binary), abs=1e-5)
    # By confidence and whether the favoured label is right, it is the multiclass form of two classes.
    confidence, right = np.maximum(p, 1 - p), label == (p > 0.5)
    multiclass = MulticlassCalibrationError(num_classes=2, n_bins=bins, norm="l1")(
        torch.tensor(np.stack([1 - p, p], axis=1)), torch.tensor(label)
    )
    assert expected_calibration_error(confidence, right, bins) == pytest.approx(float(multiclass), abs=1e-5)


@given(judged)
def test_error_is_bounded_by_the_mean_gap_and_reached_from_the_bins(rows):
    p, right = zip(*rows, strict=True)
    error = expected_calibration_error(p, right)
    # Within a bin gaps cancel, so more bins never give less than one does; rows' own gaps are the most there is.
    assert abs(np.mean(right) - np.mean(p)) - 1e-9 <= error <= np.abs(np.subtract(right, p)).mean() + 1e-9
    filled = [b for b in reliability_bins(p, right) if b.count]
    assert error == pytest.approx(sum(b.count * abs(b.share_right - b.mean_p) for b in filled) / len(p), abs=1e-9)
    assert all(b.low - 1e-9 <= b.mean_p <= b.high + 1e-9 for b in filled)
    assert sum(b.count for b in filled) == len(p)
    assert expected_calibration_error(p[::-1], right[::-1]) == pytest.approx(error, abs=1e-12)


def test_edges_belong_to_the_upper_bin_and_one_to_the_last():
    assert bin_of(np.array([0.0, 0.19, 0.2, 0.6, 1.0]), 5).tolist() == [0, 0, 1, 3, 4]
    first, second = reliability_bins([0.5, 1.0], [1, 0], 2)
    assert (first.count, first.mean_p, first.share_right) == (0, None, None)
    assert (second.low, second.high, second.count, second.mean_p, second.share_right) == (0.5, 1.0, 2, 0.75, 0.5)


def test_brier_by_hand_and_against_a_loop():
    # (0.25² + 0.75² + 0) / 3
    assert brier_score([0.75, 0.75, 0.0], [1, 0, 0]) == pytest.approx((0.0625 + 0.5625) / 3, abs=1e-12)
    rng = np.random.default_rng(2)
    p, share = rng.random(50), rng.random(50)
    assert brier_score(p, share) == pytest.approx(sum((a - b) ** 2 for a, b in zip(p, share, strict=True)) / 50)


@given(judged)
def test_brier_does_not_depend_on_which_label_is_called_one(rows):
    p, label = map(np.array, zip(*rows, strict=True))
    assert brier_score(p, label) == pytest.approx(brier_score(1 - p, 1 - label), abs=1e-12)


def test_interval_is_the_basic_bootstrap_of_clusters():
    rng = np.random.default_rng(3)
    names = [str(n // 4) for n in range(400)]
    p = rng.uniform(0.5, 1.0, 400)
    right = (rng.random(400) < p - 0.2).astype(float)
    ours = calibration_error_interval(p, right, names, resamples=2000)
    assert ours.mean == pytest.approx(by_loop(p, right, 15), abs=1e-12)
    draws = []
    for _ in range(1000):
        rows = np.concatenate([np.arange(4) + 4 * cluster for cluster in rng.integers(0, 100, 100)])
        draws.append(expected_calibration_error(p[rows], right[rows]))
    low, high = np.quantile(draws, [0.025, 0.975])
    assert [ours.low, ours.high] == pytest.approx([2 * ours.mean - high, 2 * ours.mean - low], abs=0.01)


def test_interval_of_a_calibrated_judge_stays_above_zero_and_holds_the_estimate():
    rng = np.random.default_rng(4)
    for _ in range(20):
        p = rng.uniform(0.5, 1.0, 60)
        interval = calibration_error_interval(p, rng.random(60) < p, [str(n) for n in range(60)], resamples=200)
        assert 0.0 <= interval.low <= interval.mean <= interval.high


def test_interval_is_repeatable_in_any_blocks_and_absent_for_one_cluster(monkeypatch):
    p, right, names = [0.6, 0.7, 0.9], [1, 0, 1], ["x", "y", "z"]
    first = calibration_error_interval(p, right, names, seed=3)
    monkeypatch.setattr("lit_listener.evaluation.diagnoses.calibration_error._MAX_DRAWN", 7)
    assert calibration_error_interval(p, right, names, seed=3) == first
    alone = calibration_error_interval(p, right, ["x"] * 3)
    assert alone.mean == first.mean
    assert math.isnan(alone.low)
    assert math.isnan(alone.high)


def test_interval_covers_what_percentiles_do_not():
    # Confidence c in [0.5, 1], right with probability c - 0.05: the error is 0.05 in every bin. Prompts share noise.
    rng = np.random.default_rng(5)
    covered = np.zeros(2)
    worlds = 300
    for seed in range(worlds):
        names = np.repeat(np.arange(80), rng.integers(1, 9, 80))
        p = rng.uniform(0.5, 1.0, len(names))
        latent = 0.7 * rng.normal(size=80)[names] + math.sqrt(0.51) * rng.normal(size=len(names))
        uniform = torch.special.ndtr(torch.tensor(latent)).numpy()
        interval = calibration_error_interval(p, uniform < p - 0.05, names.tolist(), resamples=400, seed=seed)
        mirrored = 2 * interval.mean - interval.high, 2 * interval.mean - interval.low  # the percentiles themselves
        covered += [interval.low <= 0.05 <= interval.high, mirrored[0] <= 0.05 <= mirrored[1]]
    basic, percentile = covered / worlds
    assert basic >= 0.85
    assert percentile < basic - 0.1


def test_errors_name_what_arrived():
    for function in (expected_calibration_error, brier_score):
        with pytest.raises(ValueError, match="at least one probability, got none"):
            function([], [])
        with pytest.raises(ValueError, match=r"each probability must lie in \[0, 1\], got 1.5"):
            function([0.5, 1.5], [1, 0])
        with pytest.raises(ValueError, match=r"each outcome must lie in \[0, 1\], got nan"):
            function([0.5], [math.nan])
        with pytest.raises(ValueError, match=r"one length, got shapes \(2,\) and \(1,\)"):
            function([0.5, 0.5], [1])
    with pytest.raises(ValueError, match="bins must be at least 1, got 0"):
        expected_calibration_error([0.5], [1], bins=0)
    with pytest.raises(ValueError, match="expected a cluster a probability, got 1 for 2"):
        calibration_error_interval([0.5, 0.5], [1, 0], ["x"])
