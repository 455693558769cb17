import itertools

import numpy as np
import pytest
from scipy import stats

from brainage_bids.stats.permutation import sign_flip_test


def test_against_all_sign_patterns():
    generator = np.random.default_rng(0)
    first, second = generator.normal(0, 4, 11), generator.normal(0, 7, 11)
    differences = np.abs(first) - np.abs(second)
    observed = abs(differences.mean()) - 1e-12
    exact = np.mean([abs(np.mean(differences * signs)) >= observed for signs in itertools.product([-1, 1], repeat=11)])
    found = sign_flip_test(first, second, n_permutations=40_000)
    assert found.p == pytest.approx(exact, abs=0.01)
    expected = stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert found.p == pytest.approx(expected.pvalue, abs=0.01)
    assert found.difference == pytest.approx(differences.mean())


def test_smallest_p_is_one_in_a_thousand():
    found = sign_flip_test(np.full(40, 1.0), np.full(40, 9.0))
    assert found.p == 1 / 1000
    assert found.difference == -8


def test_equal_predictions_give_one():
    errors = np.random.default_rng(0).normal(size=20)
    assert sign_flip_test(errors, -errors).p == 1.0


def test_both_orders_agree():
    generator = np.random.default_rng(2)
    first, second = generator.normal(size=(2, 25))
    assert sign_flip_test(first, second, seed=4).p == sign_flip_test(second, first, seed=4).p
    np.testing.assert_allclose(sign_flip_test(first, second, seed=4).null, -sign_flip_test(second, first, seed=4).null)


def test_p_is_uniform_without_a_difference():
    generator = np.random.default_rng(1)
    found = [sign_flip_test(*generator.normal(0, 6, (2, 30)), n_permutations=199, seed=seed).p for seed in range(400)]
    assert stats.kstest(found, "uniform").pvalue > 0.01


@pytest.mark.parametrize("errors", [([1.0], [1.0, 2.0]), ([], []), ([np.nan], [1.0])])
def test_refuses_what_cannot_be_paired(errors):
    with pytest.raises(ValueError, match="The test needs"):
        sign_flip_test(*map(np.array, errors))
