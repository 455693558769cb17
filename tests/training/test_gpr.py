from dataclasses import replace

import numpy as np
import pytest
from sklearn.decomposition import PCA

from brainage_bids.models.regressor import fit_regressor
from brainage_bids.training.gpr import (
    Candidate,
    Choice,
    Grid,
    choose,
    designs,
    dual_scores,
    fit_model,
    fit_predict,
    median_distance,
    prepare,
    try_alphas,
    wanted_designs,
)


def test_dual_scores_are_principal_components():
    generator = np.random.default_rng(0)
    values = generator.normal(size=(20, 300)) * np.linspace(3, 0.1, 300)
    train, test = np.arange(14), np.arange(14, 20)
    found_train, found_test = dual_scores(values @ values.T, train, test)
    pca = PCA(13, svd_solver="full").fit(values[train])
    expected_train, expected_test = pca.transform(values[train]), pca.transform(values[test])
    scale = np.sqrt((expected_train**2).sum(axis=1).mean())
    signs = np.sign((found_train * expected_train).sum(axis=0))
    np.testing.assert_allclose(found_train * signs * scale, expected_train, atol=1e-8)
    np.testing.assert_allclose(found_test * signs * scale, expected_test, atol=1e-8)


def test_the_centre_of_the_gram_matrix_does_not_matter():
    generator = np.random.default_rng(0)
    values = generator.normal(size=(12, 50))
    train, test = np.arange(8), np.arange(8, 12)
    one = dual_scores(values @ values.T, train, test)
    moved = values - generator.normal(size=50)
    two = dual_scores(moved @ moved.T, train, test)
    np.testing.assert_allclose(np.abs(one[1]), np.abs(two[1]), atol=1e-9)


@pytest.mark.parametrize(("kernel", "factor"), [("linear", 1.0), ("rbf", 0.5), ("rbf", 2.0)])
def test_many_alphas_are_single_fits(kernel, factor):
    generator = np.random.default_rng(1)
    train, test, ages = generator.normal(size=(15, 4)), generator.normal(size=(6, 4)), generator.uniform(20, 60, 15)
    train -= train.mean(axis=0)
    alphas = (10.0, 1.0, 0.05)
    means, sds = try_alphas(train, ages, test, kernel, factor, alphas)
    length = factor * median_distance(train) if kernel == "rbf" else 1.0
    for row, alpha in enumerate(alphas):
        expected = fit_regressor(train, ages, kernel=kernel, alpha=alpha, length_scale=length).predict(test)
        np.testing.assert_allclose((means[row], sds[row]), expected, rtol=1e-8)


@pytest.mark.parametrize("kind", ["maps", "volumes", "both"])
@pytest.mark.parametrize(("kernel", "factor"), [("linear", 1.0), ("rbf", 1.0)])
def test_cross_validated_and_shipped_form_agree(make_cohort, kind, kernel, factor):
    """A person held out is predicted alike by inner products and by the components in the model folder."""
    data = make_cohort(20)
    choice = Choice(Candidate(kind, 0 if kind == "volumes" else 6, kernel, factor, 0.5), "process", 5.0, 6.0)
    train, test = np.arange(17), np.arange(17, 20)
    mean, sd = fit_predict(prepare(data, train), data.ages, train, test, choice)
    part = replace(
        data,
        participants=data.participants[:17],
        ages=data.ages[:17],
        volumes=data.volumes[:17],
        cells={key: values[:17] for key, values in data.cells.items()},
    )
    model = fit_model(part, choice, dtype=np.float64)
    for row, expected in zip(test, zip(mean, sd, strict=True), strict=True):
        cells = {key: values[row][model.mask] for key, values in data.cells.items()}
        assert model.age(cells, data.volumes[row]) == pytest.approx(expected, abs=1e-4)


def test_held_out_people_do_not_touch_what_is_fitted(make_cohort):
    """Whatever the held-out rows hold, features, choice and predictions of the others stay what they are."""
    data = make_cohort(20)
    train, test = np.arange(15), np.arange(15, 20)
    spoiled = replace(
        data,
        ages=np.where(np.arange(20) < 15, data.ages, 500.0),
        cells={key: np.where(np.arange(20)[:, None, None, None] < 15, values, values * 7 + 3) for key, values in data.cells.items()},
        volumes=data.volumes[:15] + ({"GM": 1.0, "brain": 9e6},) * 5,
    )
    grid = Grid(n_components=(3,), inner_folds=5, inner_repeats=1)
    one, two = prepare(data, train), prepare(spoiled, train)
    np.testing.assert_array_equal(one.mask, two.mask)
    for a, b in zip(designs(one, train, test, [("both", 3)]), designs(two, train, test, [("both", 3)]), strict=True):
        np.testing.assert_allclose(a[2], b[2], atol=1e-7)
        assert np.abs(a[3] - b[3]).max() > 0.1
    assert choose(one, data, train, grid, (1,)).candidate == choose(two, spoiled, train, grid, (1,)).candidate


def test_regularisation_follows_the_signal(make_cohort):
    grid = Grid(inner_folds=5, inner_repeats=1)
    strong, none = make_cohort(40, 2.0), make_cohort(40, 0.0)
    rows = np.arange(40)
    with_signal = choose(prepare(strong, rows), strong, rows, grid, (1,))
    without = choose(prepare(none, rows), none, rows, grid, (1,))
    assert with_signal.inner_mae < 5 < without.inner_mae
    assert without.inner_rmse > 0.9 * none.ages.std()


def test_designs_follow_what_there_is():
    grid = Grid(n_components=(3, 5))
    assert wanted_designs(grid, 2) == [("volumes", 0), ("maps", 3), ("maps", 5), ("both", 3), ("both", 5)]
    assert wanted_designs(grid, 0) == [("maps", 3), ("maps", 5)]
    with pytest.raises(ValueError, match="nothing to train on"):
        wanted_designs(Grid(features=("volumes",)), 0)


def test_more_components_than_people_means_all(make_cohort):
    data = make_cohort(12)
    rows = np.arange(12)
    found = {count: next(designs(prepare(data, rows), rows, rows, [("maps", count)]))[2].shape[1] for count in (3, 11, 500)}
    assert found == {3: 3, 11: 11, 500: 11}


def test_volumes_alone_need_no_components(make_cohort):
    model = fit_model(make_cohort(12), Choice(Candidate("volumes", 0, "linear", 1.0, 1.0), "residual", 5.0, 6.0))
    assert model.components.shape[0] == 0
    assert model.regressor.residual_sd == 6.0
