import itertools

import numpy as np
import pytest
from scipy import stats

from brainage_bids.stats.permutation import shuffle_test, sign_flip_test


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


def test_rows_of_a_person_flip_together():
    generator = np.random.default_rng(5)
    first, second = generator.normal(0, 4, 9), generator.normal(0, 6, 9)
    people = ["a", "a", "a", "b", "c", "c", "d", "e", "f"]
    differences = np.abs(first) - np.abs(second)
    sums = np.array([sum(d for d, who in zip(differences, people) if who == name) for name in "abcdef"])
    exact = np.mean([abs(sums @ signs) >= abs(sums.sum()) - 1e-12 for signs in itertools.product([-1, 1], repeat=6)])
    found = sign_flip_test(first, second, n_permutations=20_000, participants=people)
    assert found.p == pytest.approx(exact, abs=0.012)
    assert found.difference == pytest.approx(differences.mean())
    alone = sign_flip_test(first, second, participants=list("abcdefghi"))
    assert alone.p == sign_flip_test(first, second).p
    with pytest.raises(ValueError, match="person of each of the 9"):
        sign_flip_test(first, second, participants=["a"])


def test_shuffle_against_scipy():
    generator = np.random.default_rng(3)
    first, second = generator.normal(0, 4, 40), generator.normal(0, 6, 40)
    sizes = np.abs(first), np.abs(second)
    expected = stats.permutation_test(sizes, lambda a, b: a.mean() - b.mean(), n_resamples=20_000, rng=1).pvalue
    found = shuffle_test(first, second, n_permutations=20_000)
    assert found.p == pytest.approx(expected, abs=0.01)
    assert found.difference == pytest.approx(sizes[0].mean() - sizes[1].mean())


def test_shuffle_finds_less_where_errors_go_together():
    generator = np.random.default_rng(4)
    errors = generator.normal(0, 6, 60)
    worse = np.sign(errors) * (np.abs(errors) + generator.normal(0.4, 0.5, 60))
    assert sign_flip_test(errors, worse).p < 0.01 < 0.3 < shuffle_test(errors, worse).p
