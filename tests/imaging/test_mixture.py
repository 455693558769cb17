import numpy as np
import pytest

from brainage_bids.imaging.mixture import Column, fit, likelihood, weighted_median


def three_classes(rng, scale=1.0):
    truth = rng.integers(0, 3, 30_000)
    values = np.array([0.25, 0.6, 1.0])[truth] + rng.normal(0, 0.06, truth.size)
    prior = np.full((truth.size, 3), 0.2, dtype=np.float32)
    prior[np.arange(truth.size), truth] = 0.6
    return truth, np.clip(values * scale, 0, None).astype(np.float32), prior


def test_em_recovers_the_planted_means_and_spreads():
    _, values, prior = three_classes(np.random.default_rng(1))
    model = fit(values, prior, [Column("CSF"), Column("GM"), Column("WM")], 30)
    np.testing.assert_allclose([float(g.mean[0]) for g in model], [0.25, 0.6, 1.0], rtol=0.02)
    np.testing.assert_allclose([float(np.sqrt(g.variance[0])) for g in model], 0.06, rtol=0.05)


def test_a_flat_prior_that_misses_a_class_does_not_break_the_fit():
    _, values, prior = three_classes(np.random.default_rng(2))
    prior[:, 1] = 0
    model = fit(values, prior / prior.sum(axis=1, keepdims=True), [Column("CSF"), Column("GM"), Column("WM")], 10)
    assert all(np.isfinite(g.mean).all() and (g.variance > 0).all() for g in model)


def test_a_mixed_column_lies_between_its_two_groups():
    _, values, prior = three_classes(np.random.default_rng(3))
    prior = np.concatenate([prior, np.full((len(prior), 1), 0.05, np.float32)], axis=1)
    model = fit(values, prior, [Column("CSF"), Column("GM"), Column("WM"), Column("WM", between=(2, 0, 0.25))], 20)
    assert float(model[3].mean[0]) == pytest.approx(0.75 * float(model[2].mean[0]) + 0.25 * float(model[0].mean[0]), abs=1e-6)


def test_the_table_of_densities_is_close_to_the_density():
    values = np.linspace(0, 1.2, 1000, dtype=np.float32)
    model = fit(*three_classes(np.random.default_rng(4))[1:], [Column("CSF"), Column("GM"), Column("WM")], 5)
    exact = np.exp(-0.5 * (values - model[1].mean[0]) ** 2 / model[1].variance[0]) / np.sqrt(2 * np.pi * model[1].variance[0])
    np.testing.assert_allclose(likelihood(values, model)[:, 1], exact, atol=0.02 * exact.max())


def test_a_median_without_weight_is_refused():
    with pytest.raises(ValueError, match="weight"):
        weighted_median(np.ones(3), np.zeros(3))
