"""The machinery on real people: published regional volumes and ages."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from brainage_bids.stats.folds import participant_folds
from brainage_bids.stats.metrics import error_metrics
from brainage_bids.training.collect import TrainingData
from brainage_bids.training.gpr import Grid, Prepared, choose, fit_predict

REAL = Path(os.environ.get("BRAINAGE_TEST_DATA", Path(__file__).resolve().parents[2] / ".." / "shared" / "data"))


@pytest.mark.real
def test_regional_volumes_of_healthy_adults():
    """A plain ridge on these features is known to reach a mean absolute error of 6.7 years (r .86, guess 14.3)."""
    path = REAL / "tables" / "ixi_freesurfer.tsv"
    if not path.is_file():
        pytest.skip(f"{path.name} is not under BRAINAGE_TEST_DATA ({REAL})")
    with path.open() as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    names = [name for name in rows[0] if name.endswith(("_mm3", "_mm"))]
    values = np.array([[float(row[name]) for name in names] for row in rows])
    assert np.isfinite(values).all()
    ages = np.array([float(row["age"]) for row in rows])
    people = tuple(row["participant_id"] for row in rows)
    data = TrainingData(people, (None,) * len(people), ages, {}, (), ())
    prepared = Prepared(np.zeros((len(people),) * 2), values, np.zeros(0, bool))
    grid = Grid(("volumes",), kernels=(("linear", 1.0),), alphas=(10, 3, 1, 0.3, 0.1, 0.03, 0.01), inner_folds=5, inner_repeats=1)
    folds = participant_folds(people, 5, seed=1, ages=ages)
    predictions, sds = np.empty_like(ages), np.empty_like(ages)
    for fold in range(5):
        train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        choice = choose(prepared, data, train, grid, (1, fold))
        predictions[test], sds[test] = fit_predict(prepared, ages, train, test, choice)
    found = error_metrics(ages, predictions)
    assert found.n == 518
    assert 6.0 < found.mae < 7.3
    assert 0.83 < found.r < 0.9
    assert found.mae_guess == pytest.approx(14.3, abs=0.1)
    assert 0.92 < np.mean(np.abs(predictions - ages) < 1.96 * sds) < 0.98
