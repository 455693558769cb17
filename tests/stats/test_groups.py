import itertools
import math

import numpy as np
import pingouin
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from sklearn.metrics import roc_auc_score
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from brainage_bids.records import BadConfiguration, UnusableInput
from brainage_bids.stats.counts import compare_counts
from brainage_bids.stats.effects import auc, auc_interval, cohens_d, cohens_d_interval, hedges_factor, rank_biserial
from brainage_bids.stats.groups import compare_groups, compare_means, compare_ranks, over_repeats, welch

numbers = st.integers(-50, 50).map(float)
pairs = st.tuples(st.integers(2, 15), st.integers(2, 15)).flatmap(lambda n: st.tuples(*(arrays(float, k, elements=numbers) for k in n)))
varied = pairs.filter(lambda pair: np.ptp(pair[0]) > 0 and np.ptp(pair[1]) > 0)


def two(seed=0, shift=3.0):
    generator = np.random.default_rng(seed)
    return generator.normal(shift, 4, 23), generator.normal(0, 7, 31)


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
def test_welch_against_scipy(alternative):
    expected = stats.ttest_ind(*two(), equal_var=False, alternative=alternative)
    assert welch(*two(), alternative) == pytest.approx((expected.statistic, expected.df, expected.pvalue), rel=1e-10)


def test_means_against_statsmodels_and_pingouin():
    first, second = two()
    row = compare_means(first, second, variable="pad")
    expected = CompareMeans(DescrStatsW(first), DescrStatsW(second)).tconfint_diff(usevar="unequal")
    assert (row["low"], row["high"]) == pytest.approx(expected, rel=1e-10)
    assert row["d"] == pytest.approx(pingouin.compute_effsize(first, second, eftype="cohen"), rel=1e-10)
    assert row["g"] == pytest.approx(pingouin.compute_effsize(first, second, eftype="hedges"), rel=2e-4)  # by the approximate factor
    assert (row["n"], row["n_first"], row["n_second"]) == (54, 23, 31)


def test_cohens_d_does_not_know_the_unit_of_age():
    years = two()
    assert cohens_d(*years) == pytest.approx(cohens_d(*(12 * group for group in years)), rel=1e-12)
    # by hand: s2 = 4 and 2, n = 3 and 2, pooled (2*4 + 1*2)/3, means 4 and 2
    assert cohens_d([2.0, 4.0, 6.0], [1.0, 3.0]) == pytest.approx(2 / math.sqrt(10 / 3), rel=1e-12)


def test_interval_of_d_inverts_the_noncentral_t():
    for d, n_first, n_second in [(0.5, 20, 30), (-1.2, 8, 9), (2.0, 4000, 6000)]:
        scale = math.sqrt(n_first * n_second / (n_first + n_second))
        low, high = cohens_d_interval(d, n_first, n_second)
        degrees = n_first + n_second - 2
        assert stats.nct.cdf(d * scale, degrees, low * scale) == pytest.approx(0.975, abs=1e-5)
        assert stats.nct.cdf(d * scale, degrees, high * scale) == pytest.approx(0.025, abs=1e-5)


def test_hedges_factor_by_known_values():
    assert hedges_factor(2) == pytest.approx(1 / math.sqrt(math.pi), rel=1e-12)  # Gamma(1)/(1 * Gamma(1/2))
    assert hedges_factor(500) == pytest.approx(1 - 3 / (4 * 500 - 1), rel=1e-5)


def test_auc_and_rank_biserial_agree_in_sign_with_u_of_the_first():
    first, second = np.round(two()[0]), np.round(two()[1])  # with ties
    u = stats.mannwhitneyu(first, second).statistic
    assert auc(first, second) == pytest.approx(u / (23 * 31), rel=1e-12)
    assert rank_biserial(first, second) == pytest.approx(2 * u / (23 * 31) - 1, rel=1e-12)
    expected = roc_auc_score([1] * 23 + [0] * 31, np.concatenate([first, second]))
    assert auc(first, second) == pytest.approx(expected, rel=1e-12)
    row = compare_ranks(first, second)
    assert np.sign(row["rank_biserial"]) == np.sign(row["auc"] - 0.5) == np.sign(compare_means(first, second)["d"]) == 1
    assert row["rank_biserial"] == pytest.approx(pingouin.mwu(first, second)["RBC"].iloc[0], rel=1e-10)


def test_delong_by_hand():
    # placements of the first .5 .5 1 / of the second; variances over n, on the logit
    first, second = np.array([2.0, 4.0, 6.0]), np.array([1.0, 5.0])
    of_first, of_second = np.array([0.5, 0.5, 1.0]), np.array([1.0, 1 / 3])
    area = 2 / 3
    error = math.sqrt(of_first.var(ddof=1) / 3 + of_second.var(ddof=1) / 2)
    half = stats.norm.ppf(0.975) * error / (area * (1 - area))
    expected = [1 / (1 + math.exp(-(math.log(2) + sign * half))) for sign in (-1, 1)]
    assert auc_interval(first, second) == pytest.approx(expected, rel=1e-12)


@given(varied)
def test_exchanging_the_groups_changes_signs_and_nothing_else(pair):
    there, back = compare_means(*pair), compare_means(*pair[::-1])
    for name in ("difference", "t", "d", "g"):
        assert there[name] == pytest.approx(-back[name], abs=1e-9)
    assert there["p"] == pytest.approx(back["p"], abs=1e-9)
    assert (there["d_low"], there["d_high"]) == pytest.approx((-back["d_high"], -back["d_low"]), abs=2e-4)
    assert auc(*pair) + auc(*pair[::-1]) == pytest.approx(1.0)


@given(varied, st.floats(0.1, 10), st.floats(-100, 100))
def test_effects_ignore_scale_and_origin(pair, scale, shift):
    moved = [scale * group + shift for group in pair]
    assert cohens_d(*moved) == pytest.approx(cohens_d(*pair), abs=1e-6)


def test_pairs_of_groups_in_the_order_named():
    generator = np.random.default_rng(1)
    values = generator.normal(size=60)
    groups = np.repeat(["CN", "MCI", "AD"], 20)
    rows = compare_groups(values, groups, order=["AD", "MCI", "CN"], ranks=True)
    assert [(row["first"], row["second"]) for row in rows] == [("AD", "MCI"), ("AD", "CN"), ("MCI", "CN")]
    for row, (one, other) in zip(rows, itertools.combinations(["AD", "MCI", "CN"], 2)):
        expected = stats.mannwhitneyu(values[groups == one], values[groups == other]).pvalue
        assert row["p"] == pytest.approx(expected)
        assert row["p_corrected"] == pytest.approx(min(1, 3 * expected))
        assert row["correction"].startswith("Bonferroni over 3 tests")


def test_repeats_are_averaged():
    rows = [{**compare_ranks(*two(seed)), "p": p} for seed, p in enumerate([0.01, 0.03, 0.05])]
    (found,) = over_repeats(rows)
    assert (found["p_mean"], found["p_sd"], found["repeats"]) == (pytest.approx(0.03), pytest.approx(0.02), 3)


def test_chi_squared_against_scipy_and_by_hand():
    sexes, groups = ["F"] * 30 + ["M"] * 10 + ["F"] * 20 + ["M"] * 20, ["a"] * 40 + ["b"] * 40
    row = compare_counts(sexes, groups, variable="sex")
    # expected 25 and 15 each: 25/25 + 25/15 twice
    assert row["chi2"] == pytest.approx(2 * (1 + 25 / 15))
    assert row["cramers_v"] == pytest.approx(math.sqrt(row["chi2"] / 80))
    assert row["counts"] == "a: F 30, M 10; b: F 20, M 20"
    small = compare_counts(["F", "M", "M", "F", "F"], ["a", "a", "b", "b", "b"])
    assert small["p_exact"] == pytest.approx(stats.fisher_exact([[1, 1], [2, 1]])[1])
    assert "smallest expected count" in small["note"]


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ([], [1.0, 2.0], "two values a group"),
        ([1.0], [1.0, 2.0], "two values a group"),
        ([3.0, 3.0], [1.0, 1.0], "Neither group varies"),
        ([None, math.nan], [1.0, 2.0], "two values a group"),
    ],
)
def test_empty_rows_say_why(first, second, words):
    row = compare_means(first, second)
    assert words in row["note"]
    assert row["t"] is row["p"] is row["d"] is None


def test_rank_rows_say_why():
    row = compare_ranks([5.0, 6.0], [1.0, 2.0])
    assert (row["auc"], row["auc_low"]) == (1.0, None)
    assert "0 or 1" in row["note"]
    assert compare_ranks([], [1.0])["note"] == "A group has no value."
    assert "two of each" in compare_counts(["F", "F"], ["a", "b"])["note"]


def test_refuses_one_group_wrong_words_and_text():
    with pytest.raises(UnusableInput, match="two groups"):
        compare_groups([1.0, 2.0], ["a", "a"])
    with pytest.raises(UnusableInput, match="group 'c'"):
        compare_groups([1.0, 2.0], ["a", "b"], order=["a", "c"])
    with pytest.raises(UnusableInput, match="one length"):
        compare_groups([1.0, 2.0], ["a"])
    with pytest.raises(UnusableInput, match="no number"):
        compare_groups([1.0, "x"], ["a", "b"])
    with pytest.raises(BadConfiguration, match="two-sided"):
        compare_ranks([1.0, 2.0], [1.0, 3.0], alternative="both")
