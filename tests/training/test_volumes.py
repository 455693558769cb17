import numpy as np

from brainage_bids.training.volumes import Candidate, choose, fit, site_folds

LINEAR, CURVED = Candidate("linear", 3.0, 0.0), Candidate("rbf", 0.1, 0.0)


def people(n=150, seed=0, curve=0.0):
    generator = np.random.default_rng(seed)
    ages = generator.uniform(20, 80, n)
    unit = (ages - 50) / 17
    return ages, np.column_stack([unit + curve * unit**3 + generator.normal(0, 0.2, n), unit + generator.normal(0, 0.2, n)])


def test_errors_in_the_variables():
    """With alpha × weight² people, the fit is the regression whose slope is attenuated as the noise asks for."""
    ages, features = people(4000)
    errors = np.array([0.5, 0.0])
    noisy = features + np.random.default_rng(1).normal(size=features.shape) * errors
    trained_on_noise = np.linalg.lstsq(noisy - noisy.mean(axis=0), ages - ages.mean(), rcond=None)[0]
    found = fit(features, ages, errors, Candidate("linear", 0.004, 1000.0))
    slopes = found.regressor.arrays["coefficients"] / found.spread
    np.testing.assert_allclose(slopes, trained_on_noise, rtol=0.06)


def test_unreliable_features_count_for_less():
    ages, features = people()
    plain, careful = (fit(features, ages, np.array([1.0, 0.0]), Candidate("linear", 3.0, weight)) for weight in (0.0, 10.0))
    first = [abs(found.regressor.arrays["coefficients"][0] / found.spread[0]) for found in (plain, careful)]
    assert first[1] < first[0] / 3


def test_the_weight_is_chosen_under_the_errors():
    ages, features = people()
    folds = np.arange(150) % 3
    candidates = [Candidate("linear", 3.0, 0.0), Candidate("linear", 3.0, 10.0)]
    assert choose(features, ages, folds, np.array([1.5, 0.0]), seed=(1,), candidates=candidates).candidate.error_weight == 10.0


def test_linear_unless_clearly_worse():
    folds = np.arange(150) % 3
    ages, features = people()
    assert choose(features, ages, folds, np.zeros(2), seed=(1,), candidates=[LINEAR, CURVED]).candidate == LINEAR
    ages, features = people(curve=3.0)
    chosen = choose(features[:, :1], ages, folds, np.zeros(1), seed=(1,), candidates=[LINEAR, CURVED])
    assert chosen.candidate == CURVED
    assert 0 < chosen.inner_mae < chosen.inner_rmse


def test_sites_are_the_folds():
    names = [f"sub-{row}" for row in range(70)]
    sites = ["a"] * 30 + ["b"] * 25 + ["c"] * 10 + [None] * 5
    folds = site_folds(names, sites, np.arange(70.0), seed=1)
    assert [len(set(folds[part])) for part in (slice(0, 30), slice(30, 55), slice(55, 70))] == [1, 1, 1]
    assert len(set(folds)) == 3
    alone = site_folds(names, ["a"] * 70, np.arange(70.0), seed=1)
    assert np.bincount(alone).tolist() == [14] * 5
