import json

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, WhiteKernel
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge

from brainage_bids.models.regressor import fit_regressor, regressor_from_files, regressor_to_json
from brainage_bids.records import BadConfiguration


@pytest.fixture(params=[(40, 6), (12, 30)], ids=["long", "wide"])
def rows(request):
    n, d = request.param
    generator = np.random.default_rng(0)
    features = generator.normal(size=(n, d)) / np.sqrt(d)
    features -= features.mean(axis=0)
    return features, 40 + 10 * features[:, 0] + generator.normal(0, 3, n), generator.normal(size=(7, d)) / np.sqrt(d)


@pytest.mark.parametrize("alpha", [0.05, 1.0, 30.0])
def test_linear_mean_is_ridge(rows, alpha):
    features, ages, new = rows
    found, _ = fit_regressor(features, ages, kernel="linear", alpha=alpha).predict(new)
    np.testing.assert_allclose(found, Ridge(alpha=alpha, tol=1e-12).fit(features, ages).predict(new), rtol=1e-9)


@pytest.mark.parametrize("alpha", [0.05, 1.0, 30.0])
@pytest.mark.parametrize(("kernel", "length"), [("linear", 1.0), ("rbf", 0.7), ("rbf", 2.0)])
def test_mean_and_spread_are_those_of_a_gaussian_process(rows, kernel, length, alpha):
    features, ages, new = rows
    mean, sd = (model := fit_regressor(features, ages, kernel=kernel, alpha=alpha, length_scale=length)).predict(new)
    shape = DotProduct(sigma_0=0, sigma_0_bounds="fixed") if kernel == "linear" else RBF(length, "fixed")
    s2 = model.signal_variance
    oracle = GaussianProcessRegressor(ConstantKernel(s2, "fixed") * shape + WhiteKernel(alpha * s2, "fixed"), alpha=0, optimizer=None)
    oracle.fit(features, ages - ages.mean())
    expected, expected_sd = oracle.predict(new, return_std=True)
    np.testing.assert_allclose(mean, expected + ages.mean(), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(sd, expected_sd, rtol=1e-6)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_signal_variance_is_the_likeliest(rows, kernel):
    features, ages, _ = rows
    model = fit_regressor(features, ages, kernel=kernel, alpha=0.5)
    shape = DotProduct(sigma_0=0, sigma_0_bounds="fixed") if kernel == "linear" else RBF(1.0, "fixed")

    def likelihood(s2):
        process = GaussianProcessRegressor(ConstantKernel(s2, "fixed") * shape + WhiteKernel(0.5 * s2, "fixed"), alpha=0, optimizer=None)
        return process.fit(features, ages - ages.mean()).log_marginal_likelihood_value_

    best = likelihood(model.signal_variance)
    assert best > likelihood(model.signal_variance * 1.02)
    assert best > likelihood(model.signal_variance / 1.02)


def test_rbf_mean_is_kernel_ridge(rows):
    features, ages, new = rows
    found, _ = fit_regressor(features, ages, kernel="rbf", alpha=0.3, length_scale=0.9).predict(new)
    oracle = KernelRidge(alpha=0.3, kernel="rbf", gamma=1 / (2 * 0.9**2)).fit(features, ages - ages.mean())
    np.testing.assert_allclose(found, oracle.predict(new) + ages.mean(), rtol=1e-9)


def test_far_from_everyone_the_process_knows_nothing(rows):
    features, ages, _ = rows
    model = fit_regressor(features, ages, kernel="rbf", alpha=0.5)
    mean, sd = model.predict(np.full((1, features.shape[1]), 1e3))
    assert mean[0] == pytest.approx(ages.mean())
    assert sd[0] == pytest.approx(np.sqrt(1.5 * model.signal_variance))


def test_residual_spread_is_constant(rows):
    features, ages, new = rows
    _, sd = fit_regressor(features, ages, kernel="linear", alpha=1.0, spread="residual", residual_sd=6.25).predict(new)
    assert sd.tolist() == [6.25] * 7


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_files_and_back(rows, kernel):
    features, ages, new = rows
    model = fit_regressor(features, ages, kernel=kernel, alpha=0.5, length_scale=1.3)
    again = regressor_from_files(json.loads(json.dumps(regressor_to_json(model))), model.arrays)
    np.testing.assert_array_equal(again.predict(new), model.predict(new))


@pytest.mark.parametrize(
    ("change", "arrays"),
    [
        ({"kernel": "tea"}, {}),
        ({"alpha": None}, {}),
        ({"alpha": -1.0}, {}),
        ({"spread": "butter"}, {}),
        ({"intercept": float("nan")}, {}),
        ({}, {"coefficients": None}),
        ({}, {"coefficients": np.full(6, np.nan)}),
    ],
)
def test_broken_files_are_refused(change, arrays):
    generator = np.random.default_rng(0)
    model = fit_regressor(generator.normal(size=(9, 6)), generator.normal(size=9), kernel="linear", alpha=1.0)
    kept = {name: value for name, value in {**model.arrays, **arrays}.items() if value is not None}
    with pytest.raises(BadConfiguration):
        regressor_from_files({**regressor_to_json(model), **change}, kept)


@pytest.mark.parametrize("how", [{"alpha": 0.0}, {"alpha": 1.0, "length_scale": 0.0}])
def test_scales_are_above_zero(how):
    with pytest.raises(ValueError, match="above zero"):
        fit_regressor(np.eye(3), np.arange(3.0), kernel="rbf", **how)
