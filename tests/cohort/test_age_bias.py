import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from brainage_bids.cohort import age_bias, intervals
from brainage_bids.cohort.age_bias import AgeBias, fit_age_bias, spline_basis
from brainage_bids.cohort.intervals import ConformalIntervals
from brainage_bids.cohort.saving import load, save
from brainage_bids.records import BadConfiguration, UnusableInput


def reference(n=80, seed=0):
    generator = np.random.default_rng(seed)
    ages = generator.uniform(20, 80, n)
    return ages, 60 + 0.7 * (ages - 50) + 0.004 * (ages - 50) ** 2 + generator.normal(0, 5, n)


cohorts = st.lists(st.tuples(st.integers(18, 90), st.integers(10, 99)), min_size=12, max_size=40).filter(
    lambda rows: len({age for age, _ in rows}) > 8
)


def test_beheshti_and_de_lange_are_the_same_numbers():
    ages, predictions = reference()
    fit = stats.linregress(ages, predictions)
    gap = stats.linregress(ages, predictions - ages)
    bias = fit_age_bias(ages, predictions)
    assert (bias.alpha, bias.beta) == pytest.approx((fit.slope, fit.intercept))
    assert (bias.alpha - 1, bias.beta) == pytest.approx((gap.slope, gap.intercept))
    new_age, new = np.array([25.0, 71.0]), np.array([40.0, 66.0])
    beheshti = new - (gap.slope * new_age + gap.intercept)
    de_lange = new + (new_age - (fit.slope * new_age + fit.intercept))
    np.testing.assert_allclose(bias.corrected_age(new_age, new), beheshti)
    np.testing.assert_allclose(bias.corrected_age(new_age, new), de_lange)


def test_coles_gap_is_beheshtis_over_alpha_and_needs_no_age():
    ages, predictions = reference()
    linear, cole = fit_age_bias(ages, predictions), fit_age_bias(ages, predictions, "linear-predicted")
    np.testing.assert_allclose(cole.corrected_gap(ages, predictions), linear.corrected_gap(ages, predictions) / linear.alpha)
    np.testing.assert_allclose(cole.corrected_age([None], [50.0]), (50 - cole.beta) / cole.alpha)
    assert np.isnan(linear.corrected_age([None], [50.0])).all()


@pytest.mark.parametrize("method", ["linear", "linear-predicted", "spline"])
def test_on_the_reference_the_corrected_gap_has_no_mean_and_no_slope(method):
    ages, predictions = reference()
    gap = fit_age_bias(ages, predictions, method).corrected_gap(ages, predictions)
    assert gap.mean() == pytest.approx(0, abs=1e-9)
    assert stats.linregress(ages, gap).slope == pytest.approx(0, abs=1e-10)


@given(cohorts)
def test_the_sign_of_beta(rows):
    # "gap - alpha A + beta" would shift every value by 2 beta; the mean says which one it is
    ages, predictions = np.array(rows, dtype=float).T
    bias = fit_age_bias(ages, predictions)
    np.testing.assert_allclose(bias.corrected_gap(ages, predictions).mean(), 0, atol=1e-8)
    np.testing.assert_allclose(bias.corrected_gap(ages, predictions), predictions - bias.alpha * ages - bias.beta, atol=1e-9)


@given(cohorts, st.floats(-20, 20))
def test_a_shift_of_all_predictions_is_taken_off(rows, shift):
    ages, predictions = np.array(rows, dtype=float).T
    plain, moved = fit_age_bias(ages, predictions), fit_age_bias(ages, predictions + shift)
    np.testing.assert_allclose(moved.corrected_gap(ages, predictions + shift), plain.corrected_gap(ages, predictions), atol=1e-7)


def test_nothing_is_corrected_by_none():
    bias = fit_age_bias([20.0, 40.0], [25.0, 50.0], "none")
    assert bias.corrected_gap([30.0], [37.0]).tolist() == [7.0]


def test_a_spline_takes_off_a_bend_that_a_line_leaves():
    ages, predictions = reference(400)
    bend = (ages - 50) ** 2
    left = {
        m: abs(stats.pearsonr(bend, fit_age_bias(ages, predictions, m).corrected_gap(ages, predictions))[0]) for m in ("linear", "spline")
    }
    assert left["spline"] < 0.05 < 0.2 < left["linear"]


def test_spline_is_a_line_outside_and_smooth_inside():
    knots = [20.0, 35.0, 60.0, 80.0]
    far = spline_basis(np.array([0.0, 5.0, 10.0, 90.0, 95.0, 100.0]), knots)
    np.testing.assert_allclose(far[0] - 2 * far[1] + far[2], 0, atol=1e-12)
    np.testing.assert_allclose(far[3] - 2 * far[4] + far[5], 0, atol=1e-9)
    for knot in knots:  # second differences are continuous
        before, after = (np.diff(spline_basis(knot + side * np.array([0.0, 0.01, 0.02]), knots), 2, axis=0) for side in (-1, 1))
        np.testing.assert_allclose(before, after, atol=1e-7)
    from patsy import cr

    x = np.linspace(20, 80, 50)  # the same space as another library's natural spline
    theirs = np.asarray(cr(x, knots=knots[1:-1], lower_bound=20, upper_bound=80))
    ours = spline_basis(x, knots)
    np.testing.assert_allclose(ours @ np.linalg.lstsq(ours, theirs, rcond=None)[0], theirs, atol=1e-8)


def test_ages_outside_the_reference_are_flagged():
    bias = fit_age_bias([20.0, 40.0, 60.0], [25.0, 41.0, 57.0])
    assert bias.flags([20.0, 60.1, None, 19.0]) == [(), (age_bias.OUTSIDE,), (), (age_bias.OUTSIDE,)]
    assert (bias.n, bias.age_min, bias.age_max) == (3, 20, 60)


def test_nothing_in_these_files_computes_an_error():
    for room in (age_bias, intervals):
        assert not {"mean_absolute_error", "error_metrics", "accuracy_rows"} & set(vars(room))
    assert not any(word in name for name in dir(AgeBias) for word in ("mae", "error", "score", "accuracy"))


@pytest.mark.parametrize(
    ("ages", "predictions", "method", "words"),
    [
        ([20.0, 30.0], [20.0, 30.0], "linear", "needs 3 reference rows"),
        ([20.0, None, 30.0], [20.0, 30.0, None], "linear", "there are 1"),
        ([30.0] * 5, [20.0, 30.0, 25.0, 31.0, 33.0], "linear", "All reference rows are 30 years"),
        ([20.0, 30.0, 40.0], [30.0, 30.0, 30.0], "linear-predicted", "cannot be divided by"),
        ([20.0] * 9 + [30.0], [20.0] * 10, "spline", "too much alike"),
    ],
)
def test_refuses(ages, predictions, method, words):
    with pytest.raises(UnusableInput, match=words):
        fit_age_bias(ages, predictions, method)


def test_saved_and_read(tmp_path):
    ages, predictions = reference()
    for method in ("none", "linear", "linear-predicted", "spline"):
        bias = fit_age_bias(ages, predictions, method)
        path = save(bias, tmp_path / "bias.json")
        assert load(AgeBias, path) == bias
    content = json.loads(path.read_text())
    assert (content["kind"], content["n"]) == ("AgeBias", 80)
    with pytest.raises(BadConfiguration, match="holds 'AgeBias', not a ConformalIntervals"):
        load(ConformalIntervals, path)
    path.write_text(json.dumps({**content, "format": 9}))
    with pytest.raises(BadConfiguration, match="layout 9"):
        load(AgeBias, path)
    path.write_text(json.dumps({key: value for key, value in content.items() if key != "alpha"}))
    with pytest.raises(BadConfiguration, match="lacks alpha"):
        load(AgeBias, path)
    path.write_text("{")
    with pytest.raises(BadConfiguration, match="cannot be read as JSON"):
        load(AgeBias, path)
    with pytest.raises(BadConfiguration, match="not finite"):
        save(AgeBias("linear", np.nan, 0.0, (), (), 3, 20.0, 30.0), path)
    with pytest.raises(BadConfiguration, match="no bias correction 'cubic'"):
        fit_age_bias(ages, predictions, "cubic")
