import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from brainage_bids.cohort.intervals import ConformalIntervals, conformal_quantile, coverage_rows, fit_intervals
from brainage_bids.cohort.saving import load, save
from brainage_bids.records import BadConfiguration, UnusableInput


def people(n, seed, growing=False):
    generator = np.random.default_rng(seed)
    ages = generator.uniform(20, 80, n)
    return ages, ages + generator.standard_t(4, n) * (0.1 * ages if growing else 5.0)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=200), st.sampled_from([0.5, 0.8, 0.9, 0.95]))
def test_quantile_is_the_smallest_that_enough_scores_do_not_exceed(scores, level):
    found = conformal_quantile(np.array(scores), level)
    needed = math.ceil(round((len(scores) + 1) * level, 9))
    if needed > len(scores):
        assert math.isinf(found)
    else:
        assert sum(score <= found for score in scores) >= needed
        assert sum(score < found for score in scores) < needed


def test_nineteen_are_enough_for_ninety_five_percent():
    assert conformal_quantile(np.arange(19.0)) == 18
    assert math.isinf(conformal_quantile(np.arange(18.0)))
    with pytest.raises(UnusableInput, match="need 19 calibration rows at least; there are 18"):
        fit_intervals(np.arange(18.0), np.zeros(18))
    fit_intervals(np.arange(19.0), np.zeros(19))


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_coverage_is_as_promised_on_exchangeable_people(level):
    inside, covered = 0, 0
    for seed in range(200):
        fitted = fit_intervals(*people(60, seed), level=level)
        row = coverage_rows(fitted, *people(50, 10_000 + seed))[0]
        inside, covered = inside + row["within_band"], covered + row["covered"]
    rank = math.ceil(round(61 * level, 9))
    spread = stats.betabinom(50, rank, 61 - rank).std() * math.sqrt(200)
    assert abs(covered - 200 * 50 * rank / 61) < 3 * spread
    assert stats.binomtest(inside, 200, 0.97).pvalue > 0.001 or inside > 190


def test_bins_and_spread_follow_errors_that_grow():
    calibration, new = people(4000, 1, growing=True), people(4000, 2, growing=True)
    plain = fit_intervals(*calibration)
    binned = fit_intervals(*calibration, edges=[20, 40, 60, 80], by="age")
    young = new[0] < 40
    share = [np.mean(np.abs(new[1] - new[0])[young] <= fitted.half_width(new[1], ages=new[0])[young]) for fitted in (plain, binned)]
    assert share[0] > 0.98 > 0.965 > share[1] > 0.935
    assert all(row["within_band"] for row in coverage_rows(binned, *new))
    scaled = fit_intervals(*calibration, sds=0.1 * calibration[0])
    assert np.mean(np.abs(new[1] - new[0])[young] <= scaled.half_width(new[1], sds=0.1 * new[0])[young]) == pytest.approx(0.95, abs=0.02)
    ratio = scaled.half_width([30.0, 60.0], sds=[3.0, 6.0])
    assert ratio[1] == pytest.approx(2 * ratio[0])


def test_a_bin_with_few_rows_uses_all():
    ages = np.r_[np.linspace(20, 40, 100), 70.0]
    fitted = fit_intervals(ages, ages + np.linspace(-5, 5, 101), edges=[0, 50, 80])
    assert (fitted.pooled, fitted.counts) == ((False, True), (100, 101))
    assert fitted.half_widths[1] == fitted.overall
    rows = coverage_rows(fitted, [70.0, 30.0], [70.0, 30.0])
    assert "not promised" in rows[2]["note"]
    assert rows[1]["note"] == ""
    low, high = fitted.bounds([95.0, None])  # outside all bins, and missing
    assert high[0] - low[0] == pytest.approx(2 * fitted.overall)
    assert np.isnan(low[1])
    assert coverage_rows(fitted, [None], [70.0])[0]["note"] == "Nobody."


def test_saved_and_read(tmp_path):
    fitted = fit_intervals(*people(200, 0), edges=[20, 50, 80])
    assert load(ConformalIntervals, save(fitted, tmp_path / "intervals.json")) == fitted


def test_refuses():
    ages, predictions = people(50, 0)
    with pytest.raises(UnusableInput, match="above 0"):
        fit_intervals(ages, predictions, sds=np.zeros(50))
    with pytest.raises(BadConfiguration, match="growing edges"):
        fit_intervals(ages, predictions, edges=[50, 20])
    with pytest.raises(BadConfiguration, match="level"):
        fit_intervals(ages, predictions, level=95)
    with pytest.raises(BadConfiguration, match="none is given"):
        fit_intervals(ages, predictions, sds=np.ones(50)).bounds([40.0])
    with pytest.raises(BadConfiguration, match="no ages"):
        fit_intervals(ages, predictions, by="age").bounds([40.0])
