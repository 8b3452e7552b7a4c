import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lit_listener.evaluation.significance import McNemar, design_effect, mcnemar, pairs_needed


def judged(both, only_a, only_b, neither):
    """Two rows of right and wrong with these counts."""
    a = [1] * both + [1] * only_a + [0] * only_b + [0] * neither
    b = [1] * both + [0] * only_a + [1] * only_b + [0] * neither
    return a, b


def test_exact_by_hand():
    # 1 of 6 discordant pairs: 2 (C(6,0) + C(6,1)) / 2^6 = 14/64
    assert mcnemar(*judged(3, 1, 5, 2)) == McNemar(3, 1, 5, 2, None, 14 / 64, exact=True)
    assert mcnemar(*judged(3, 1, 5, 2)).discordant_share == 6 / 11


def test_chi_squared_by_hand():
    # (|10 - 30| - 1)² / 40 = 361/40
    test = mcnemar(*judged(0, 10, 30, 0))
    assert test.statistic == 9.025
    assert not test.exact


counts = st.integers(0, 60)


@given(counts, counts)
def test_matches_scipy_and_is_symmetric(only_a, only_b):
    test = mcnemar(*judged(2, only_a, only_b, 1))
    discordant = only_a + only_b
    if discordant == 0:
        assert test.p_value == 1.0
    elif discordant < 25:
        assert test.exact
        assert test.p_value == pytest.approx(stats.binomtest(only_a, discordant, 0.5).pvalue, abs=1e-12)
    else:
        statistic = (max(abs(only_a - only_b) - 1, 0)) ** 2 / discordant
        assert test.p_value == pytest.approx(stats.chi2.sf(statistic, 1), abs=1e-12)
    turned = mcnemar(*judged(2, only_b, only_a, 1))
    assert (turned.p_value, turned.only_a, turned.only_b) == (test.p_value, only_b, only_a)


def test_both_ways_meet_where_one_takes_over():
    exact, rough = mcnemar(*judged(0, 7, 17, 0)), mcnemar(*judged(0, 7, 18, 0))
    assert (exact.exact, rough.exact) == (True, False)
    assert rough.p_value == pytest.approx(stats.binomtest(7, 25).pvalue, abs=0.003)


def test_judges_that_are_equally_often_right_give_no_evidence():
    assert mcnemar(*judged(5, 20, 20, 5)).p_value == 1.0
    assert mcnemar([1, 0], [1, 0]).p_value == 1.0


def test_level_holds_where_pairs_are_independent():
    # Under no difference a test at the 5% level rejects at most about 5% of the time; clusters of alike pairs break it.
    rng = np.random.default_rng(0)
    rejected = np.zeros(2)
    for _ in range(500):
        who = rng.choice(4, size=400, p=[0.5, 0.15, 0.15, 0.2])
        for way, outcome in enumerate((who, np.repeat(who[:80], 5))):
            rejected[way] += mcnemar(outcome < 2, (outcome == 0) | (outcome == 2)).p_value < 0.05
    independent, clustered = rejected / 500
    assert independent < 0.07
    assert clustered > 0.2


def test_pairs_needed_by_hand():
    # z(0.975) = 1.959964, z(0.8) = 0.841621; s = 0.2, d = 0.1:
    # (1.959964 · 0.4472136 + 0.841621 · sqrt(0.19))² / 0.01 = (0.876522 + 0.366852)² / 0.01 = 154.60
    assert pairs_needed(0.1, discordant_share=0.2) == 155
    assert pairs_needed(0.1, discordant_share=0.2, design_effect=3.0) == 464  # 463.79
    assert pairs_needed(-0.1, discordant_share=0.2) == 155


def test_pairs_needed_matches_scipys_normal_and_grows_as_it_must():
    z = stats.norm.ppf([0.995, 0.9])
    expected = ((z[0] * math.sqrt(0.3) + z[1] * math.sqrt(0.3 - 0.02**2)) / 0.02) ** 2
    assert pairs_needed(0.02, discordant_share=0.3, power=0.9, level=0.01) == math.ceil(expected)
    needed = [pairs_needed(0.01, discordant_share=share) for share in (0.05, 0.1, 0.2, 0.4)]
    assert needed == sorted(needed)
    assert needed[2] == pytest.approx(2 * needed[1], rel=0.01)  # nearly in proportion to the discordance


@pytest.mark.parametrize(("difference", "share", "power"), [(0.05, 0.2, 0.8), (0.03, 0.1, 0.9), (0.02, 0.3, 0.5)])
def test_power_is_as_promised(difference, share, power):
    pairs = pairs_needed(difference, discordant_share=share, power=power)
    rng = np.random.default_rng(1)
    split = [(share + difference) / 2, (share - difference) / 2, 1 - share]
    only_a, only_b, _ = rng.multinomial(pairs, split, size=20_000).T
    found = (only_a - only_b) ** 2 / (only_a + only_b) > stats.chi2.isf(0.05, 1)
    assert found.mean() == pytest.approx(power, abs=0.015)
    corrected = [mcnemar(*judged(0, a, b, 1)).p_value < 0.05 for a, b in zip(only_a[:400], only_b[:400], strict=True)]
    assert power - 0.09 <= np.mean(corrected) <= power + 0.05


def test_design_effect_by_hand():
    # mean 3/4; deviations of the sums: x 2 - 1.5, y 1 - 1.5, each 0.5 away: 2/1 · 0.5 / 16 = 1/16
    # independent: (3 · 1/16 + 9/16) / 3 / 4 = 1/16
    assert design_effect([1, 1, 1, 0], ["x", "x", "y", "y"]) == pytest.approx(1.0, abs=1e-12)
    # mean 1/2; sums 2 and 0, 1 away each: 2 · 2 / 16 = 1/4; independent: 4 · 1/4 / 3 / 4 = 1/12
    assert design_effect([1, 1, 0, 0], ["x", "x", "y", "y"]) == pytest.approx(3.0, abs=1e-12)
    assert design_effect([1, math.nan, 1, 0, 0], ["x", "z", "x", "y", "y"]) == pytest.approx(3.0, abs=1e-12)


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=30).filter(lambda values: np.ptp(values) > 0.01))
def test_design_effect_of_rows_alone_is_one(values):
    assert design_effect(values, list(range(len(values)))) == pytest.approx(1.0, abs=1e-9)


def test_design_effect_is_that_of_the_bootstrap():
    rng = np.random.default_rng(2)
    names = np.repeat(np.arange(200), rng.integers(1, 9, 200))
    values = rng.normal(size=200)[names] + rng.normal(size=len(names))
    sums, counts = np.bincount(names, values), np.bincount(names)
    drawn = rng.integers(0, 200, size=(20_000, 200))
    clustered = (sums[drawn].sum(1) / counts[drawn].sum(1)).var()
    independent = values.var(ddof=1) / len(values)
    assert design_effect(values, names) == pytest.approx(clustered / independent, rel=0.05)
    assert design_effect(values, names) > 2


def test_errors_name_what_arrived():
    with pytest.raises(ValueError, match=r"got shapes \(2,\) and \(1,\)"):
        mcnemar([1, 0], [1])
    with pytest.raises(ValueError, match=r"got shapes \(0,\) and \(0,\)"):
        mcnemar([], [])
    for half in (0.5, math.nan):
        with pytest.raises(ValueError, match=rf"right \(1\) or wrong \(0\), got {half}"):
            mcnemar([1, 0], [1, half])
    for difference in (0.0, 0.3):
        with pytest.raises(ValueError, match=rf"difference <= discordant_share <= 1, got {difference} and 0.2"):
            pairs_needed(difference, discordant_share=0.2)
    with pytest.raises(ValueError, match="power must lie strictly between 0 and 1, got 80"):
        pairs_needed(discordant_share=0.2, power=80)
    with pytest.raises(ValueError, match="level must lie strictly between 0 and 1, got 0"):
        pairs_needed(discordant_share=0.2, level=0)
    with pytest.raises(ValueError, match="design_effect must be a number above 0, got nan"):
        pairs_needed(discordant_share=0.2, design_effect=math.nan)
    with pytest.raises(ValueError, match="at least two clusters, got 1"):
        design_effect([1, 0], ["x", "x"])
    with pytest.raises(ValueError, match=r"values that differ, got 1\.0 alone"):
        design_effect([1, 1], ["x", "y"])
    with pytest.raises(ValueError, match="a cluster a value"):
        design_effect([1, 1], ["x"])
