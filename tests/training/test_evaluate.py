from dataclasses import replace

import numpy as np
import pytest

from brainage_bids.records import BadDataset
from brainage_bids.training.evaluate import cross_validate, train_model
from brainage_bids.training.gpr import Grid

GRID = Grid(n_components=(3, 10), kernels=(("linear", 1.0),), inner_folds=5, inner_repeats=1)


def test_recovers_a_planted_signal(make_cohort):
    found = cross_validate(make_cohort(40, 1.0), folds=5, repeats=2, grid=GRID)
    assert found.metrics.r > 0.8
    assert found.metrics.r2 > 0.5
    assert found.metrics.mae < 0.6 * found.metrics.mae_guess
    assert found.test.p <= 0.01
    assert found.intervals["mae"][0] < found.metrics.mae < found.intervals["mae"][1]
    assert found.coverage > 0.8


def test_noise_stays_noise(make_cohort):
    """Nothing is there to be found: an honest cross-validation must not find it, over several cohorts."""
    found = [cross_validate(make_cohort(36, 0.0, seed=seed), folds=6, repeats=1, seed=seed, grid=GRID) for seed in range(8)]
    assert np.mean([one.metrics.r2 for one in found]) < 0.02
    assert np.median([one.metrics.r2 for one in found]) < 0.05
    assert sum(one.test.p < 0.05 and one.test.difference < 0 for one in found) <= 2
    assert np.median([one.test.p for one in found]) > 0.1


def test_guess_is_held_out_as_well(make_cohort):
    data = make_cohort(20)
    found = cross_validate(data, folds=4, repeats=1, grid=GRID)
    for person, age, guess in zip(found.participants, found.ages, found.guesses, strict=True):
        assert age == data.ages[data.participants.index(person)]
        assert guess != pytest.approx(data.ages.mean(), abs=1e-9)
    assert found.metrics.mae_guess == pytest.approx(np.mean(np.abs(found.ages - found.guesses)))
    assert found.metrics.mae_guess > np.mean(np.abs(data.ages - data.ages.mean()))  # a person's own age is not in it


def test_one_prediction_a_person_from_all_repeats(make_cohort):
    data = make_cohort(15, sessions=2)
    found = cross_validate(data, folds=5, repeats=3, grid=GRID)
    assert found.metrics.n == 15
    assert found.by_repeat.shape == (3, 15)
    np.testing.assert_allclose(found.predictions, found.by_repeat.mean(axis=0))
    assert len(found.choices) == 15


def test_repeats_itself(make_cohort):
    data = make_cohort(16)
    one, two = (cross_validate(data, folds=4, repeats=1, seed=7, grid=GRID) for _ in range(2))
    np.testing.assert_array_equal(one.predictions, two.predictions)
    assert one.intervals == two.intervals
    assert (cross_validate(data, folds=4, repeats=1, seed=8, grid=GRID).predictions != one.predictions).any()


def test_sessions_of_a_person_do_not_leak(make_cohort):
    """Twice the same scan with pure noise: a split by session would recognise the person and find a 'signal'."""
    data = make_cohort(24, 0.0, sessions=2)
    rows = np.arange(48) // 2 * 2
    twins = replace(data, cells={key: values[rows] for key, values in data.cells.items()}, volumes=tuple(data.volumes[row] for row in rows))
    grid = replace(GRID, n_components=(40,), alphas=(1e-3,), features=("maps",))
    leaking = replace(twins, participants=tuple(f"sub-{row:03d}" for row in range(48)))
    assert cross_validate(leaking, folds=24, repeats=1, grid=grid).metrics.r2 > 0.3
    assert cross_validate(twins, folds=24, repeats=1, grid=grid).metrics.r2 < 0.05


def test_progress_is_told(make_cohort):
    seen = []
    cross_validate(make_cohort(8), folds=4, repeats=2, grid=GRID, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 8) for done in range(1, 9)]


@pytest.mark.parametrize(("people", "folds"), [(3, 2), (8, 9), (8, 1)])
def test_too_few_people(make_cohort, people, folds):
    with pytest.raises(BadDataset, match=f"{people} people cannot"):
        cross_validate(make_cohort(people), folds=folds, repeats=1, grid=GRID)


def test_final_model_knows_its_people(make_cohort):
    data = make_cohort(30, 1.5)
    model, choice = train_model(data, grid=GRID)
    ages = []
    for row in range(30):
        ages.append(model.age({key: values[row][model.mask] for key, values in data.cells.items()}, data.volumes[row])[0])
    assert np.corrcoef(ages, data.ages)[0, 1] > 0.9
    assert choice.inner_mae < 6
