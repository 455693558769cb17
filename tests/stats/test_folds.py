import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainage_bids.stats.folds import participant_folds, repeated_folds

cohorts = st.lists(st.sampled_from([f"sub-{i:02d}" for i in range(25)]), min_size=8, max_size=60).filter(lambda rows: len(set(rows)) >= 5)


@given(cohorts, st.integers(2, 5), st.integers(0, 99), st.booleans())
def test_nobody_is_on_both_sides_and_folds_are_even(rows, n_folds, seed, stratify):
    ages = np.array([20.0 + int(row[4:]) for row in rows]) if stratify else None
    folds = participant_folds(rows, n_folds, seed=seed, ages=ages)
    of_person = {}
    for person, fold in zip(rows, folds, strict=True):
        assert of_person.setdefault(person, fold) == fold
    sizes = np.bincount(list(of_person.values()), minlength=n_folds)
    assert sizes.max() - sizes.min() <= 1
    assert len(sizes) == n_folds


@given(cohorts, st.integers(0, 99), st.randoms())
def test_order_of_rows_does_not_matter(rows, seed, random):
    folds = dict(zip(rows, participant_folds(rows, 4, seed=seed), strict=True))
    mixed = rows.copy()
    random.shuffle(mixed)
    assert dict(zip(mixed, participant_folds(mixed, 4, seed=seed), strict=True)) == folds


def test_seed_decides():
    rows = [f"sub-{i}" for i in range(40)]
    one, two = repeated_folds(rows, 10, 2, seed=1)
    assert (one != two).any()
    np.testing.assert_array_equal(repeated_folds(rows, 10, 2, seed=1), [one, two])
    assert (repeated_folds(rows, 10, 1, seed=2)[0] != one).any()


def test_ages_are_alike_in_stratified_folds():
    generator = np.random.default_rng(0)
    ages = generator.uniform(20, 80, 60)
    rows = [f"sub-{i:02d}" for i in range(60)]

    def spread(folds):
        return np.std([ages[folds == fold].mean() for fold in range(6)])

    plain = [spread(participant_folds(rows, 6, seed=seed)) for seed in range(20)]
    dealt = [spread(participant_folds(rows, 6, seed=seed, ages=ages)) for seed in range(20)]
    assert np.mean(dealt) < 0.4 * np.mean(plain)


@pytest.mark.parametrize("n_folds", [1, 4])
def test_impossible_folds(n_folds):
    with pytest.raises(ValueError, match="cannot be divided"):
        participant_folds(["a", "b", "c", "a"], n_folds, seed=0)
