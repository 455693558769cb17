import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from sklearn import metrics as oracle

from brainage_bids.stats.metrics import bias_slope, bootstrap_intervals, error_metrics, mean_absolute_error, pearson_r, r_squared

years = st.floats(18, 90, allow_nan=False)
people = st.integers(3, 30).flatmap(lambda n: st.tuples(arrays(float, n, elements=years), arrays(float, n, elements=years)))


def cohort(n=60, seed=0):
    generator = np.random.default_rng(seed)
    ages = generator.uniform(20, 80, n)
    return ages, 50 + 0.6 * (ages - 50) + generator.normal(0, 6, n)


def test_against_scipy_and_sklearn():
    ages, predictions = cohort()
    found = error_metrics(ages, predictions)
    assert found.mae == pytest.approx(oracle.mean_absolute_error(ages, predictions), rel=1e-12)
    assert found.rmse == pytest.approx(oracle.root_mean_squared_error(ages, predictions), rel=1e-12)
    assert found.r2 == pytest.approx(oracle.r2_score(ages, predictions), rel=1e-12)
    assert found.r == pytest.approx(stats.pearsonr(ages, predictions)[0], rel=1e-12)
    assert found.bias_slope == pytest.approx(stats.linregress(ages, predictions - ages).slope, rel=1e-12)
    assert (found.n, found.age_sd) == (60, pytest.approx(np.std(ages, ddof=1)))
    assert found.mae_guess == pytest.approx(np.mean(np.abs(ages - ages.mean())))


def test_by_hand():
    found = error_metrics(np.array([20.0, 30.0, 40.0]), np.array([24.0, 30.0, 34.0]), np.array([30.0, 30.0, 31.0]))
    # errors 4, 0, -6; SSE 52, SST 200; slope = (-10*4 + 10*-6)/200
    assert found.mae == pytest.approx(10 / 3)
    assert found.rmse == pytest.approx(np.sqrt(52 / 3))
    assert found.r2 == pytest.approx(1 - 52 / 200)
    assert found.bias_slope == pytest.approx(-0.5)
    assert found.mae_guess == pytest.approx((10 + 0 + 9) / 3)


@given(people)
def test_slope_of_difference_is_slope_of_prediction_less_one(pair):
    ages, predictions = pair
    if np.ptp(ages) > 1:
        assert bias_slope(ages, predictions) + 1 == pytest.approx(np.polyfit(ages, predictions, 1)[0], abs=1e-6)


@given(people, st.floats(-5, 5), st.floats(0.2, 4))
def test_correlation_ignores_scale_and_error_does_not(pair, shift, scale):
    ages, predictions = pair
    if np.ptp(ages) > 1 and np.ptp(predictions) > 1:
        assert pearson_r(ages, scale * predictions + shift) == pytest.approx(pearson_r(ages, predictions), abs=1e-9)
    assert mean_absolute_error(ages + shift, predictions + shift) == pytest.approx(mean_absolute_error(ages, predictions), abs=1e-9)


@given(people)
def test_absolute_error_is_below_squared_one(pair):
    found = error_metrics(*pair)
    assert found.mae <= found.rmse + 1e-9


def test_constant_values_have_no_correlation():
    assert np.isnan(pearson_r([20.0, 30.0, 40.0], [0.1, 0.1, 0.1]))
    assert np.isnan(r_squared([0.1, 0.1, 0.1], [20.0, 30.0, 40.0]))


def test_bootstrap_agrees_with_scipy():
    ages, predictions = cohort()
    found = bootstrap_intervals(ages, predictions, n_resamples=4000, seed=3)
    for name, statistic in (("mae", lambda a, p: np.mean(np.abs(p - a))), ("r", lambda a, p: stats.pearsonr(a, p)[0])):
        expected = stats.bootstrap(
            (ages, predictions), statistic, paired=True, vectorized=False, n_resamples=2000, method="percentile", rng=1
        ).confidence_interval
        width = expected.high - expected.low
        assert found[name] == pytest.approx((expected.low, expected.high), abs=0.06 * width)


def test_bootstrap_covers_the_truth_as_often_as_it_says():
    truth = np.sqrt(2 / np.pi) * 5  # mean |N(0, 5)|
    hits = 0
    for seed in range(200):
        generator = np.random.default_rng(seed)
        ages = generator.uniform(20, 80, 80)
        low, high = bootstrap_intervals(ages, ages + generator.normal(0, 5, 80), n_resamples=400, seed=seed)["mae"]
        hits += low <= truth <= high
    assert 0.87 <= hits / 200 <= 0.99


def test_bootstrap_repeats_itself_by_seed():
    ages, predictions = cohort(20)
    first = bootstrap_intervals(ages, predictions, seed=5, n_resamples=200)
    assert first == bootstrap_intervals(ages, predictions, seed=5, n_resamples=200)
    assert first != bootstrap_intervals(ages, predictions, seed=6, n_resamples=200)


@pytest.mark.parametrize(
    ("ages", "predictions"),
    [([20.0], [20.0]), ([20.0, 30.0], [20.0]), ([20.0, np.nan], [20.0, 30.0]), ([20.0, 30.0], [20.0, np.inf])],
)
def test_refuses_what_has_no_error(ages, predictions):
    with pytest.raises(ValueError, match="Errors need"):
        error_metrics(np.array(ages), np.array(predictions))
