import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from brainage_bids.cohort.age_intervals import AgeIntervals, fit_age_intervals
from brainage_bids.cohort.intervals import ConformalIntervals, conformal_quantile, coverage_rows, fit_intervals, held_rows
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


def shrinking(kind, n, random):
    """Ages of 20 to 90 years and predictions of a model that calls the young too old and the old too young."""
    ages, noise = random.uniform(20, 90, n), random.normal(size=n)
    return ages, {
        "straight": 50 + 0.5 * (ages - 50) + 6 * noise,
        "growing": 50 + 0.7 * (ages - 50) + (3 + 0.1 * (ages - 20)) * noise,
        "bent": 55 + 35 * np.tanh((ages - 55) / 35) + 4 * noise,
        "tails": 50 + 0.6 * (ages - 50) + 4 * random.standard_t(4, n),
    }[kind]


@pytest.mark.parametrize("kind", ["straight", "growing", "bent", "tails"])
def test_intervals_across_ages_hold_in_every_decade_of_true_age(kind):
    """Twelve calibrations, each scored on others: every decade within its band, while those around the prediction fail at an end."""
    edges, ends, inside, total = list(range(20, 91, 10)), [], 0, 0
    shares = {}
    for seed in range(12):
        random = np.random.default_rng((3, seed))
        calibration, new = shrinking(kind, 300, random), shrinking(kind, 500, random)
        fitted, around = fit_age_intervals(*calibration), fit_intervals(*calibration)
        settings = {"level": 0.95, "calibration_n": 300, "edges": edges, "method": "x"}
        for row in held_rows(*fitted.bounds(new[1]), new[0], **settings):
            inside, total = inside + row["within_band"], total + 1
            shares.setdefault(row["stratum"], []).append(row["coverage"])
        rows = held_rows(*around.bounds(new[1]), new[0], **settings)
        ends.append(min(rows[1]["coverage"], rows[-1]["coverage"]))
    assert list(shares) == ["all", *(f"[{low}, {low + 10})" for low in edges[:-1])] and inside >= 0.9 * total
    assert all(0.92 < np.mean(values) < 0.975 for values in shares.values())
    assert np.mean(ends) < 0.91


def test_straight_intervals_across_ages_are_coles_and_their_width_is_that_over_alpha():
    ages, predictions = shrinking("straight", 140, np.random.default_rng(1))
    fitted = fit_age_intervals(ages, predictions)
    alpha, beta = np.polyfit(ages, predictions, 1)
    low, high = fitted.bounds([50.0])
    least, largest = fitted.usual([low[0], high[0]])
    assert largest[0] == pytest.approx(50, abs=0.2) and least[1] == pytest.approx(50, abs=0.2)
    assert (low + high)[0] / 2 == pytest.approx((50 - beta) / alpha, abs=2)
    assert high[0] - low[0] == pytest.approx(2 * 1.96 * 6 / 0.5, rel=0.2)


def test_intervals_across_ages_say_what_they_cannot():
    ages, predictions = shrinking("bent", 200, np.random.default_rng(2))
    fitted = fit_age_intervals(ages, predictions)
    low, high = fitted.bounds([None, -200.0, 55.0])
    assert np.isnan(low[:2]).all() and np.isnan(high[:2]).all() and low[2] < 55 < high[2]
    useless = fit_age_intervals(ages, np.random.default_rng(3).normal(50, 5, 200))
    assert np.ravel(useless.bounds([50.0])).tolist() == [0.0, 125.0]  # says nothing, so every age is plausible
    with pytest.raises(UnusableInput, match="need 40 calibration rows at least; there are 39"):
        fit_age_intervals(ages[:39], predictions[:39])
    with pytest.raises(UnusableInput, match="need 99 calibration rows"):
        fit_age_intervals(ages[:60], predictions[:60], level=0.99)
    with pytest.raises(UnusableInput, match="All calibration rows are 40 years old"):
        fit_age_intervals([40.0] * 50, predictions[:50])
    with pytest.raises(BadConfiguration, match="level"):
        fit_age_intervals(ages, predictions, level=95)


def test_intervals_across_ages_are_saved_and_read(tmp_path):
    fitted = fit_age_intervals(*shrinking("bent", 200, np.random.default_rng(4)))
    assert load(AgeIntervals, save(fitted, tmp_path / "across.json")) == fitted
