import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainage_bids.records import BadConfiguration, UnusableInput
from brainage_bids.stats.accuracy import MEASURES, accuracy_rows, age_bins, compare_models, error_by_age, weighted_measures
from brainage_bids.stats.metrics import bootstrap_intervals, error_metrics
from brainage_bids.stats.permutation import sign_flip_test


def cohort(n=80, seed=0):
    generator = np.random.default_rng(seed)
    ages = generator.uniform(20, 80, n)
    return ages, 50 + 0.6 * (ages - 50) + generator.normal(0, 6, n), [f"sub-{i:03d}" for i in range(n)]


@given(st.lists(st.integers(0, 4), min_size=8, max_size=8).filter(lambda w: sum(v > 0 for v in w) >= 3))
def test_weights_are_repeated_rows(weights):
    ages, predictions, _ = cohort(8)
    found = weighted_measures(ages, predictions, 44.0, np.array([weights], dtype=float))
    repeated = np.repeat(np.arange(8), weights)
    expected = error_metrics(ages[repeated], predictions[repeated], np.full(repeated.size, 44.0))
    for name in MEASURES:
        assert found[name][0] == pytest.approx(getattr(expected, name), abs=1e-8)


def test_all_people_as_the_metrics_say():
    ages, predictions, people = cohort()
    row = accuracy_rows(ages, predictions, people, n_resamples=3000)[0]
    expected, limits = error_metrics(ages, predictions), bootstrap_intervals(ages, predictions, n_resamples=3000, seed=8)
    for name in ("mae", "rmse", "r", "r2", "bias_slope"):
        assert row[name] == pytest.approx(getattr(expected, name))
        width = limits[name][1] - limits[name][0]
        assert (row[f"{name}_low"], row[f"{name}_high"]) == pytest.approx(limits[name], abs=0.06 * width)
    assert (row["n"], row["participants"], row["note"]) == (80, 80, "")


def test_repeated_visits_widen_the_interval_as_people_say():
    ages, predictions, people = cohort(60)
    once = accuracy_rows(ages, predictions, people, seed=2)[0]
    thrice = accuracy_rows(np.tile(ages, 3), np.tile(predictions, 3), people * 3, seed=2)[0]
    assert (thrice["n"], thrice["participants"]) == (180, 60)
    assert (thrice["mae"], thrice["mae_low"], thrice["mae_high"]) == pytest.approx((once["mae"], once["mae_low"], once["mae_high"]))


def test_parts_by_age_site_and_sex():
    ages, predictions, people = cohort(40)
    site = ["x", "y"] * 20
    sex = ["F"] * 39 + [None]
    rows = accuracy_rows(ages, predictions, people, by={"site": site, "sex": sex}, n_resamples=50)
    bins = [row for row in rows if row["by"] == "age"]
    assert sum(row["n"] for row in bins) == 40
    for row in bins:
        low, high = map(float, row["stratum"][1:-1].split(","))
        assert low <= row["age_min"] <= row["age_max"] < high == low + 5
    chosen = np.array(site) == "y"
    (found,) = [row for row in rows if (row["by"], row["stratum"]) == ("site", "y")]
    assert found["mae"] == pytest.approx(np.mean(np.abs(predictions - ages)[chosen]))
    assert found["mae_guess"] == pytest.approx(np.mean(np.abs(ages.mean() - ages[chosen])))
    assert [row["n"] for row in rows if row["by"] == "sex"] == [39]


def test_few_people_give_rows_that_say_so():
    rows = accuracy_rows([20.0, 41.0, None], [21.0, 40.0, 3.0], ["a", "b", "c"])
    assert "1 row(s) without age" in rows[0]["note"]
    assert "2 participant(s): no interval" in rows[0]["note"]
    assert rows[1]["r"] is None
    assert "do not vary" in rows[1]["note"]
    assert rows[1]["mae"] == 1.0
    with pytest.raises(UnusableInput, match="No row has"):
        accuracy_rows([None], [3.0], ["a"])
    with pytest.raises(BadConfiguration, match="above 0"):
        age_bins(np.array([3.0]), 0.0)


def test_a_bin_begins_with_its_edge():
    assert age_bins(np.array([20.0, 25.0])).tolist() == [20, 25, 30]
    row = error_by_age([30.0, 39.9, 40.0], [31.0, 39.9, 44.0], [30, 40])[0]
    assert (row["n"], row["mae"], row["note"]) == (2, 0.5, "1 age(s) lie outside all bins.")


def test_error_by_age_by_hand():
    rows = error_by_age([20, 22, 35, 50], [24, 21, 30, 50], [20, 30, 40, 50, 60, 70], baseline=[28, 20, 35, 60])
    first = rows[0]  # errors 4, -1; baseline 8, -2
    assert (first["mae"], first["mean_error"], first["variance_error"]) == (2.5, 1.5, 12.5)
    assert (first["mae_baseline"], first["reduction_percent"]) == (5.0, 50.0)
    assert "nothing to reduce" in rows[1]["note"]
    assert rows[1]["reduction_percent"] is None
    assert "Nobody of this age" in rows[2]["note"]
    assert rows[3]["reduction_percent"] == 100
    with pytest.raises(BadConfiguration, match="growing edges"):
        error_by_age([20], [20], [30, 20])


def test_models_compared_by_people():
    ages, predictions, people = cohort(50)
    worse = predictions + np.random.default_rng(1).normal(0, 4, 50)
    row = compare_models(ages, predictions, worse, people, names=("a", "b"))
    expected = sign_flip_test(predictions - ages, worse - ages)
    assert row["difference"] == pytest.approx(expected.difference)
    assert row["low"] < row["difference"] < row["high"]
    doubled = compare_models(np.tile(ages, 2), np.tile(predictions, 2), np.tile(worse, 2), people * 2)
    assert doubled["p"] == compare_models(ages, predictions, worse, people)["p"]  # the same people seen twice say no more
    shuffled = compare_models(np.tile(ages, 2), np.tile(predictions, 2), np.tile(worse, 2), people * 2, paired=False)
    assert "as independent" in shuffled["note"]
    assert "No row has" in compare_models([None], [1.0], [1.0], ["a"])["note"]
    assert "no interval" in compare_models([20, 30], [21, 30], [25, 30], ["a", "b"])["note"]
