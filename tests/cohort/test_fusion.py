import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression, Ridge
from statsmodels.stats.outliers_influence import variance_inflation_factor

from brainage_bids.cohort.fusion import PARTIAL, LinearHead, MeanHead, RidgeHead, cross_fit, fit_linear, fit_ridge, fusion_matrix
from brainage_bids.cohort.fusion_tables import coefficient_rows, fusion_errors, nested_rows, variance_inflation
from brainage_bids.cohort.saving import load, save
from brainage_bids.records import BadConfiguration, UnusableInput
from brainage_bids.stats.folds import participant_folds

GROUPS = {"t1w": ["t1", "t2", "t3"], "flair": ["f1", "f2"]}


def cohort(n=80, seed=0):
    generator = np.random.default_rng(seed)
    age = generator.uniform(20, 80, n)
    sex = generator.choice(["F", "M"], n)
    names = [name for group in GROUPS.values() for name in group]
    table = {name: 50 + 0.8 * (age - 50) + 2 * (sex == "M") + generator.normal(0, 4 + place, n) for place, name in enumerate(names)}
    return {**table, "sex": sex}, age, [f"p{i:03d}" for i in range(n)]


def test_linear_against_sklearn():
    table, age, _ = cohort()
    head = fit_linear(table, age, ["t1", "f1"], ["sex"])
    design = fusion_matrix(table, ["t1", "f1", "sex"])
    np.testing.assert_allclose(head.estimate(table).ages, LinearRegression().fit(design, age).predict(design), rtol=1e-9)


def test_without_a_modality_the_head_that_was_trained_without_it():
    table, age, _ = cohort()
    head = fit_linear(table, age, ["t1", "f1"], ["sex"])
    new = {"t1": [40.0, None, 40.0, None], "f1": [None, 50.0, 45.0, None], "sex": ["F", "M", None, "F"]}
    found = head.estimate(new)
    for row, names in enumerate((["t1", "sex"], ["f1", "sex"], ["t1", "f1"])):
        design = fusion_matrix(table, names)
        at = fusion_matrix({name: [new[name][row]] for name in names}, names)
        assert found.ages[row] == pytest.approx(LinearRegression().fit(design, age).predict(at)[0])
        assert found.used[row] == tuple(names)
    assert np.isnan(found.ages[3])
    assert found.used[3] == ()
    assert found.flags == [(PARTIAL,), (PARTIAL,), (PARTIAL,), ()]


def test_ridge_against_sklearn_on_both_levels():
    table, age, people = cohort()
    head = fit_ridge(table, age, people, GROUPS, seed=3)
    folds = participant_folds(people, 5, seed=3, ages=age)
    level, out = {}, []
    for group, names in GROUPS.items():
        design = fusion_matrix(table, names)
        level[group] = Ridge(alpha=1.0).fit(design, age)
        oof = np.empty(len(age))
        for fold in range(5):
            oof[folds == fold] = Ridge(alpha=1.0).fit(design[folds != fold], age[folds != fold]).predict(design[folds == fold])
        out.append(oof)
    top = Ridge(alpha=1.0).fit(np.column_stack(out), age)
    new, _, _ = cohort(20, 5)
    first = np.column_stack([level[group].predict(fusion_matrix(new, names)) for group, names in GROUPS.items()])
    np.testing.assert_allclose(head.estimate(new).ages, top.predict(first), rtol=1e-9)
    lacking = {**new, "f1": [None] * 20, "f2": [None] * 20}
    alone = Ridge(alpha=1.0).fit(np.column_stack(out)[:, :1], age).predict(first[:, :1])
    found = head.estimate(lacking)
    np.testing.assert_allclose(found.ages, alone, rtol=1e-9)
    assert set(found.flags) == {(PARTIAL,)}
    one_base = head.estimate({**new, "t3": [None] * 20})
    assert one_base.used[0] == ("t1", "t2", "f1", "f2")


def test_mean_of_what_there_is():
    found = MeanHead(("a", "b")).estimate({"a": [30.0, 40.0, None], "b": [34.0, None, None]})
    assert found.ages[:2].tolist() == [32.0, 40.0]
    assert np.isnan(found.ages[2])
    assert found.flags == [(), (PARTIAL,), ()]


@settings(max_examples=20)
@given(st.integers(0, 100), st.floats(-10, 10))
def test_a_shift_of_an_input_in_fit_and_use_changes_nothing(seed, shift):
    table, age, people = cohort(40, seed)
    moved = {**table, "t1": table["t1"] + shift}
    plain, other = fit_linear(table, age, ["t1", "f1"]), fit_linear(moved, age, ["t1", "f1"])
    np.testing.assert_allclose(plain.estimate(table).ages, other.estimate(moved).ages, atol=1e-6)


def test_cross_fit_never_sees_the_person():
    table, age, people = cohort(60)
    people = [name for name in people[:30] for _ in range(2)]
    seen = []

    def fit(rows, ages, names):
        seen.append(set(names))
        return fit_linear(rows, ages, ["t1", "f1"], ["sex"])

    fused = cross_fit(fit, table, age, people, folds=6, seed=1)
    folds = participant_folds(people, 6, seed=1, ages=age)
    for fold, inside in enumerate(seen):
        assert not inside & {name for name, of in zip(people, folds) if of == fold}
    assert np.isfinite(fused).all()
    # noise inputs: in the sample they look useful, out of it they are not
    noise = {f"n{i}": np.random.default_rng(100 + i).normal(size=60) for i in range(20)}
    inside = fit_linear(noise, age, list(noise)).estimate(noise).ages
    outside = cross_fit(lambda rows, ages, names: fit_linear(rows, ages, list(noise)), noise, age, people, seed=1)
    assert np.corrcoef(inside, age)[0, 1] > 0.4 > 0.2 > np.corrcoef(outside, age)[0, 1]


def test_nested_ridge_runs_inside_the_folds():
    table, age, people = cohort(60)
    fused = cross_fit(lambda rows, ages, names: fit_ridge(rows, ages, names, GROUPS), table, age, people, folds=5)
    best = min(np.abs(table[name] - age).mean() for group in GROUPS.values() for name in group)
    assert np.abs(fused - age).mean() < best


def test_coefficients_inflation_and_nested_models_against_statsmodels():
    table, age, _ = cohort()
    models = {"T": ["t1"], "A": ["f1"], "T+A": ["t1", "f1"], "T+A+sex": ["t1", "f1", "sex"]}
    frame = pd.DataFrame({**table, "sex": (table["sex"] == "M").astype(float), "age": age})
    expected = {name: smf.ols("age ~ " + " + ".join(terms), frame).fit() for name, terms in models.items()}
    rows = coefficient_rows(table, age, models)
    for row in rows:
        term = row["term"] if row["term"] != "intercept" else "Intercept"
        fit = expected[row["model"]]
        assert (row["estimate"], row["se"], row["p"]) == pytest.approx((fit.params[term], fit.bse[term], fit.pvalues[term]), rel=1e-7)
    design = sm.add_constant(frame[["t1", "f1", "sex"]])
    found = [row["vif"] for row in rows if row["model"] == "T+A+sex"]
    assert found[0] is None
    assert found[1:] == pytest.approx([variance_inflation_factor(design.to_numpy(), place) for place in (1, 2, 3)])
    assert variance_inflation(frame[["t1"]].to_numpy()) == [1.0]
    for row in nested_rows(table, age, models, [("T", "T+A"), ("A", "T+A"), ("T+A", "T+A+sex")]):
        tested = sm.stats.anova_lm(expected[row["smaller"]], expected[row["larger"]])
        assert (row["f"], row["p"]) == pytest.approx((tested["F"][1], tested["Pr(>F)"][1]), rel=1e-7)
    with pytest.raises(BadConfiguration, match="not nested"):
        nested_rows(table, age, models, [("T", "A")])


def test_errors_on_other_people():
    (table, age, _), (new, new_age, people) = cohort(seed=1), cohort(seed=2)
    models = {"T": ["t1"], "T+A": ["t1", "f1"], "bad": ["t1", "missing"]}
    new["f1"][3] = np.nan
    with pytest.raises(UnusableInput, match="no column 'missing'"):
        fusion_errors(table, age, new, new_age, people, models)
    del models["bad"]
    found = fusion_errors(table, age, new, new_age, people, models, [("T", "T+A")])
    rows = [row for row in found if row["part"] != "prediction"]
    assert [row["n"] for row in rows] == [79, 79, 79]
    design, kept = fusion_matrix(new, ["t1", "f1"]), np.isfinite(new["f1"])
    predicted = LinearRegression().fit(fusion_matrix(table, ["t1", "f1"]), age).predict(design[kept])
    assert rows[1]["mse"] == pytest.approx(np.mean((predicted - new_age[kept]) ** 2))
    assert rows[2]["difference"] == pytest.approx(rows[1]["mae"] - rows[0]["mae"])
    assert (rows[2]["first"], rows[2]["second"]) == ("T+A", "T")
    drawn = [row for row in found if row["part"] == "prediction" and row["model"] == "T+A"]
    assert [row["predicted"] for row in drawn] == pytest.approx(predicted)
    assert [row["residual"] for row in drawn] == pytest.approx(new_age[kept] - predicted)


def test_saved_heads_give_the_same_ages(tmp_path):
    table, age, people = cohort()
    new = {**table, "t1": [None, *table["t1"][1:]]}
    for head in (MeanHead(("t1", "f1")), fit_linear(table, age, ["t1", "f1"], ["sex"]), fit_ridge(table, age, people, GROUPS)):
        again = load(type(head), save(head, tmp_path / "head.json"))
        assert again == head
        np.testing.assert_array_equal(again.estimate(new).ages, head.estimate(new).ages)
        assert isinstance(again, MeanHead | LinearHead | RidgeHead)


def test_refuses():
    table, age, people = cohort(12)
    with pytest.raises(UnusableInput, match="no column 'swi'"):
        fit_linear(table, age, ["swi"])
    with pytest.raises(UnusableInput, match="'sex' is constant"):
        fit_linear({**table, "sex": ["F"] * 12}, age, ["t1"], ["sex"])
    with pytest.raises(UnusableInput, match="follows from the others"):
        fit_linear({**table, "twice": 2 * table["t1"]}, age, ["t1", "twice"])
    with pytest.raises(UnusableInput, match="needs 4 reference rows with all of them; there are 3"):
        fit_linear({name: table[name][:3] for name in table}, age[:3], ["t1", "f1"])
    with pytest.raises(UnusableInput, match="5 people"):
        fit_ridge(table, age, ["a", "b"] * 6, GROUPS)
    with pytest.raises(UnusableInput, match="needs a sub-ensemble"):
        fit_ridge(table, age, people, {})
    assert "more than 3" in coefficient_rows({n: table[n][:3] for n in table}, age[:3], {"TA": ["t1", "f1"]})[0]["note"]
