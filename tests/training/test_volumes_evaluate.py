import numpy as np
import pytest

from brainage_bids.training.volumes import Candidate
from brainage_bids.training.volumes_evaluate import evaluate


def test_held_out_in_three_ways(trained_volumes):
    trained, held_out = trained_volumes
    assert [item.by.split(",")[0] for item in held_out] == [
        "nested 4-fold cross-validation by person",
        "leaving one site out",
        "leaving one site out",
    ]
    for item in held_out:
        assert item.metrics.mae < 0.75 * item.metrics.mae_guess
        assert item.test.p <= 0.01
        assert {group.by for group in item.groups} == {"decade", "site", "sex"}
        assert sum(group.n for group in item.groups if group.by == "decade") == len(trained.table.ages)
        weighted = sum(group.n * group.mae for group in item.groups if group.by == "site") / len(trained.table.ages)
        assert weighted == pytest.approx(item.metrics.mae)
    assert len(held_out[0].choices) == 8
    assert len(held_out[1].choices) == 3


def test_a_table_without_signal_is_no_better_than_a_guess(trained_volumes):
    trained = trained_volumes[0]
    noise = np.random.default_rng(3).normal(size=trained.features.shape)
    found = evaluate(trained.table, noise, np.zeros(noise.shape[1]), folds=4, repeats=1, candidates=[Candidate("linear", 3.0, 0.0)])[0]
    assert found.metrics.mae > found.metrics.mae_guess - 0.5
    assert abs(found.metrics.r) < 0.35
