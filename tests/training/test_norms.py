import numpy as np
import pytest

from brainage_bids.records import BadDataset
from brainage_bids.training.norms import fit_norm, natural_spline, quantile_fit


def test_curves_of_a_known_spread():
    generator = np.random.default_rng(0)
    ages = generator.uniform(20, 80, 3000)
    curve = fit_norm("x", "x", ages, np.log(0.01) + 0.01 * (ages - 50) + generator.normal(0, 0.1, 3000))
    for age in (25.0, 50.0, 75.0):
        middle = np.exp(0.01 * (age - 50))
        expected = middle * np.exp(0.1 * 1.645 * np.array([-1, 0, 1]))
        np.testing.assert_allclose(curve.at(age), expected, rtol=0.04)
    assert curve.ages == tuple(range(20, 81))


def test_quantile_regression_against_the_empirical_quantile():
    values = np.random.default_rng(1).normal(size=101)
    assert quantile_fit(np.ones((101, 1)), values, 0.05)[0] == pytest.approx(np.sort(values)[5])


def test_splines_are_straight_outside():
    knots = np.array([20.0, 40.0, 60.0, 80.0])
    basis = natural_spline(np.array([0.0, 10.0, 20.0, 80.0, 90.0, 100.0]), knots)
    np.testing.assert_allclose(basis[1] - basis[0], basis[2] - basis[1], atol=1e-12)
    np.testing.assert_allclose(basis[4] - basis[3], basis[5] - basis[4], atol=1e-12)


def test_crossing_curves_are_refused():
    ages = np.linspace(20, 80, 30)
    with pytest.raises(BadDataset, match="cross"):
        fit_norm("x", "the nose", ages, np.zeros(30))
