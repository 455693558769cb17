import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LinearRegression

from brainage_bids.cohort.regressors import judge_regressors
from brainage_bids.records import BadConfiguration, UnusableInput
from brainage_bids.stats.folds import participant_folds


def blood(n=80, seed=0):
    generator = np.random.default_rng(seed)
    age = generator.uniform(20, 80, n)
    columns = {"NFL": np.exp(0.02 * age + generator.normal(0, 0.2, n)), "HCY": 0.05 * age + generator.normal(0, 1, n)}
    return columns, age, [f"p{i:02d}" for i in range(n)]


def test_linear_is_least_squares_on_the_other_folds():
    columns, age, people = blood()
    (found,) = judge_regressors({"blood": columns}, age, people, regressors=["linear"], folds=5, seed=2)
    folds = participant_folds(people, 5, seed=2, ages=age)
    x, expected = np.column_stack(list(columns.values())), np.empty(80)
    for fold in range(5):
        expected[folds == fold] = LinearRegression().fit(x[folds != fold], age[folds != fold]).predict(x[folds == fold])
    np.testing.assert_allclose(found.predictions, expected)
    assert found.row["mae"] == pytest.approx(np.abs(expected - age).mean())
    assert (found.row["spearman_r"], found.row["p"]) == pytest.approx(tuple(stats.spearmanr(age, expected)), rel=1e-6)
    assert found.row["mae_low"] < found.row["mae"] < found.row["mae_high"]


@pytest.mark.parametrize("regressor", ["svr", "lasso", "forest"])
def test_all_find_what_is_there_and_nothing_in_noise(regressor):
    columns, age, people = blood(60)
    columns["HCY"][::7] = np.nan
    noise = {f"n{i}": np.random.default_rng(50 + i).normal(size=60) for i in range(6)}
    signal, nothing = judge_regressors({"blood": columns, "noise": noise}, age, people, regressors=[regressor], folds=3)
    assert signal.row["spearman_r"] > 0.6
    assert signal.row["mae"] < 10 < 12 < nothing.row["mae"]  # that of the mean age is 15
    assert abs(nothing.row["spearman_r"]) < 0.4


def test_the_networks_own_layer_stands_for_linear():
    columns, age, people = blood(30)
    (found,) = judge_regressors({"image": columns}, age, people, regressors=["linear"], given={"image": age + 3})
    assert found.row["mae"] == pytest.approx(3.0)
    assert "last layer" in found.row["method"]


def test_rows_that_cannot_be_computed_say_why():
    columns, age, people = blood(20)
    empty, flat = judge_regressors({"empty": {"a": [None] * 20}, "flat": {"a": [1.0] * 20}}, age, people, regressors=["linear"])
    for found in (empty, flat):
        assert found.row["mae"] is None
        assert "ten are needed" in found.row["note"]
    with pytest.raises(UnusableInput, match="ten people"):
        judge_regressors({"blood": columns}, [None] * 20, people)
    with pytest.raises(BadConfiguration, match="no regressor 'xgb'"):
        judge_regressors({"blood": columns}, age, people, regressors=["xgb"])
