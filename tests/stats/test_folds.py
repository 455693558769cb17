import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

from brainage_bids.records import BadDataset
from brainage_bids.stats.folds import (
    PARTS,
    divergence,
    participant_folds,
    repeated_folds,
    stratified_parts,
)

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


def test_divergence_against_scipy():
    part, whole = np.array([3, 0, 2]), np.array([10, 4, 9])
    assert divergence(part, whole) == pytest.approx(entropy(part + 0.5, whole + 0.5), rel=1e-9)


@given(st.integers(12, 120), st.integers(1, 4), st.integers(0, 50))
def test_eight_one_one(n, n_sites, seed):
    generator = np.random.default_rng(seed)
    people = [f"sub-{row:03d}" for row in range(n)]
    rows = people + people[: n // 3]  # some come twice
    age_of = dict(zip(people, generator.uniform(18, 90, n), strict=True))
    site_of = dict(zip(people, generator.integers(0, n_sites, n), strict=True))
    ages, sites = np.array([age_of[row] for row in rows]), [f"site{site_of[row]}" for row in rows]
    parts, found = stratified_parts(rows, ages, sites, seed=seed)
    assert len({(person, part) for person, part in zip(rows, parts, strict=True)}) == n
    counts = {name: len({row for row, part in zip(rows, parts, strict=True) if part == name}) for name in PARTS}
    assert sum(counts.values()) == n
    assert {counts["validation"], counts["test"]} <= {n // 10, n // 10 + 1}
    assert 0 <= found[0] <= found[1]
    order = generator.permutation(len(rows))
    again, _ = stratified_parts([rows[k] for k in order], ages[order], [sites[k] for k in order], seed=seed)
    np.testing.assert_array_equal(again, parts[order])


def test_the_parts_are_the_two_most_like_the_whole():
    generator = np.random.default_rng(1)
    rows, ages = [f"sub-{row}" for row in range(200)], generator.gamma(9, 5, 200)
    parts, (first, second) = stratified_parts(rows, ages, ["a"] * 200, seed=0)
    decile = np.searchsorted(np.quantile(ages, np.arange(1, 10) / 10), ages, side="right")
    whole = np.bincount(decile, minlength=10)
    for name, value in (("validation", first), ("test", second)):
        assert divergence(np.bincount(decile[parts == name], minlength=10), whole) == pytest.approx(value)
    plain = [divergence(np.bincount(decile[generator.permutation(200)[:20]], minlength=10), whole) for _ in range(50)]
    assert second < np.quantile(plain, 0.1)


def test_too_few_people_for_parts():
    with pytest.raises(BadDataset, match="9 people cannot be divided 8:1:1"):
        stratified_parts([str(row) for row in range(9)], np.arange(9.0), [None] * 9, seed=0)
