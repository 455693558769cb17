import math

import numpy as np
import pandas as pd
import pingouin
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from brainage_bids.records import BadConfiguration, UnusableInput
from brainage_bids.stats.associations import associate, correlation, correlation_matrix, is_normal, outliers
from brainage_bids.stats.windows import as_measure, lesion_load, sliding_windows


def data(n=80, seed=0):
    generator = np.random.default_rng(seed)
    age = generator.normal(50, 12, n)
    pad = generator.normal(0, 5, n) - 0.2 * (age - 50)
    sex = generator.choice(["F", "M"], n)
    return pd.DataFrame({"age": age, "pad": pad, "sex": sex, "nfl": 0.3 * pad + 0.1 * age + generator.normal(0, 2, n)})


@pytest.mark.parametrize(("kind", "oracle"), [("pearson", stats.pearsonr), ("spearman", stats.spearmanr)])
def test_against_scipy(kind, oracle):
    table = data()
    found = correlation(table["pad"].to_numpy(), table["nfl"].to_numpy(), kind=kind)
    expected = oracle(table["pad"], table["nfl"])
    assert (found["r"], found["p"]) == pytest.approx(tuple(expected), rel=1e-9)
    if kind == "pearson":
        assert (found["low"], found["high"]) == pytest.approx(tuple(expected.confidence_interval()), rel=1e-9)


@pytest.mark.parametrize("kind", ["pearson", "spearman"])
def test_partial_against_pingouin(kind):
    table = data()
    table["male"] = (table["sex"] == "M").astype(float)
    found = correlation(table["pad"].to_numpy(), table["nfl"].to_numpy(), kind=kind, covariates=table[["age", "male"]].to_numpy())
    expected = pingouin.partial_corr(table, x="pad", y="nfl", covar=["age", "male"], method=kind)
    assert (found["r"], found["p"]) == pytest.approx((expected["r"].iloc[0], expected.filter(like="p").iloc[0, -1]), rel=1e-6)
    if kind == "pearson":
        assert (found["low"], found["high"]) == pytest.approx(tuple(expected.filter(like="CI").iloc[0, 0]), abs=0.006)


def test_partial_by_the_formula_of_three_correlations():
    table = data()
    r = table[["pad", "nfl", "age"]].corr().to_numpy()
    expected = (r[0, 1] - r[0, 2] * r[1, 2]) / math.sqrt((1 - r[0, 2] ** 2) * (1 - r[1, 2] ** 2))
    found = correlation(table["pad"].to_numpy(), table["nfl"].to_numpy(), covariates=table[["age"]].to_numpy())
    assert found["r"] == pytest.approx(expected, rel=1e-10)


@given(st.lists(st.tuples(st.integers(-20, 20), st.integers(-20, 20)), min_size=6, max_size=30))
def test_spearman_ignores_growing_functions(pairs):
    x, y = np.array(pairs, dtype=float).T
    plain, bent = correlation(x, y, kind="spearman"), correlation(np.exp(x / 10), y**3, kind="spearman")
    for name in plain:
        assert bent[name] == pytest.approx(plain[name], abs=1e-9, nan_ok=True)


def test_table_of_associations():
    table = data()
    table["skewed"] = np.exp(table["nfl"])
    table["flat"], table["empty"] = 3.0, np.nan
    rows = {row["second"]: row for row in associate(table, "pad", ["nfl", "skewed", "flat", "empty", "age"], covariates=["age", "sex"])}
    assert rows["nfl"]["method"].startswith("Pearson correlation (Shapiro-Wilk decided")
    assert rows["skewed"]["method"].startswith("Spearman")
    assert rows["skewed"]["p"] == pytest.approx(stats.spearmanr(table["pad"], table["skewed"]).pvalue)
    assert rows["flat"]["note"] == "The column 'flat' is constant."
    assert rows["empty"]["note"] == "The column 'empty' has no value."
    assert (rows["age"]["covariates"], rows["nfl"]["covariates"]) == ("sex", "age, sex")
    said = "Benjamini-Hochberg over 3 tests (columns against pad"
    assert rows["nfl"]["correction"] == f"{said}); {said}, partial)"
    assert rows["flat"]["r"] is rows["flat"]["p_corrected"] is rows["flat"]["p_partial_corrected"] is None
    with pytest.raises(UnusableInput, match="no column 'weight'"):
        associate(table, "pad", ["weight"])
    with pytest.raises(UnusableInput, match="'sex' holds something"):
        associate(table, "pad", ["sex"])
    with pytest.raises(BadConfiguration, match="not 'kendall'"):
        associate(table, "pad", ["nfl"], kind="kendall")


def test_outliers_are_named_and_left_out():
    table = data()
    table.loc[3, "nfl"] = 1000.0
    row = associate(table, "pad", ["nfl"], kind="pearson")[0]
    kept = table.drop(index=3)
    assert row["outliers"] == 1
    assert row["r_without_outliers"] == pytest.approx(stats.pearsonr(kept["pad"], kept["nfl"])[0])
    assert row["r"] == pytest.approx(stats.pearsonr(table["pad"], table["nfl"])[0])
    # median 2, MAD 1: .6745 * 5 < 3.5 < .6745 * 6
    assert outliers(np.array([1, 2, 3, 1, 3, 7, 8.0 - 16])).tolist() == [False] * 6 + [True]


def test_a_covariate_that_explains_all_leaves_no_partial():
    table = data()
    table["copy"] = 2 * table["age"] + 1
    row = associate(table, "pad", ["copy"])[0]
    assert row["r_partial"] is None
    assert "fully" in row["note"]


def test_matrix_against_pandas():
    table = data()[["age", "pad", "nfl"]]
    rows = correlation_matrix(table, kind="spearman", correction="bonferroni")
    expected = table.corr(method="spearman")
    assert [(row["first"], row["second"]) for row in rows] == [("age", "pad"), ("age", "nfl"), ("pad", "nfl")]
    for row in rows:
        assert row["r"] == pytest.approx(expected.loc[row["first"], row["second"]])
        assert row["p_corrected"] == pytest.approx(min(1, 3 * row["p"]))
    between = correlation_matrix(table[["age"]], table[["pad", "nfl"]])
    assert [(row["first"], row["second"]) for row in between] == [("age", "pad"), ("age", "nfl")]


def test_normality_of_many():
    generator = np.random.default_rng(1)
    assert is_normal(generator.normal(size=20_001))
    assert not is_normal(generator.exponential(size=20_001))
    assert not is_normal(np.array([1.0, 1.0, 1.0, 1.0]))


def test_windows_are_correlations_of_their_people():
    generator = np.random.default_rng(2)
    age = generator.uniform(20.5, 60, 300)
    gap, sex = generator.normal(0, 5, 300), generator.choice(["F", "M"], 300)
    nfl = 0.2 * gap * (age > 45) + generator.normal(size=300)
    rows = sliding_windows(age, gap, nfl, variable="nfl", covariates={"sex": sex})
    assert (rows[0]["age_low"], rows[1]["age_low"], rows[-1]["age_high"]) == (20.0, 21.0, 60.0)
    for row in rows:
        inside = (age >= row["age_low"]) & (age < row["age_high"])
        assert row["n"] == inside.sum()
        expected = stats.pearsonr(gap[inside], nfl[inside])
        assert (row["r"], row["p"]) == pytest.approx(tuple(expected))
        assert (row["low"], row["high"]) == pytest.approx(tuple(expected.confidence_interval()))
    assert rows[3]["correction"] == f"Bonferroni over {len(rows)} tests (windows of nfl)"
    inside = age < 30
    frame = pd.DataFrame({"gap": gap, "nfl": nfl, "age": age, "male": (sex == "M").astype(float)})[inside]
    expected = pingouin.partial_corr(frame, x="gap", y="nfl", covar=["age", "male"])
    assert rows[0]["r_partial"] == pytest.approx(expected["r"].iloc[0])


def test_every_age_lies_in_a_window():
    for last in (59.0, 60.0, 60.5, 21.0):
        ages = [20.0, 30.0, 25.0, last]
        rows = sliding_windows(ages, [1, 2, 3, 4], [1, 2, 3, 5])
        assert rows[-1]["age_low"] <= last < rows[-1]["age_high"]
        assert len({row["age_low"] for row in rows}) == len(rows)


def test_windows_that_cannot_be_computed_say_why():
    rows = sliding_windows([20, 21, 22, 40], [1, 2, 3, 4], ["no", "no", "no", "yes"], fewest=4)
    assert {row["note"] for row in rows} == {"Fewer than 4 people."}
    flat = sliding_windows(np.arange(20, 30, 0.25), np.arange(40), np.ones(40), fewest=10)
    assert flat[0]["note"] == "The column 'value' is constant."
    with pytest.raises(UnusableInput, match="Nobody"):
        sliding_windows([None], [1], [1])
    with pytest.raises(BadConfiguration, match="4 people at least"):
        sliding_windows([20], [1], [1], fewest=1)


def test_measures():
    assert as_measure(["b", "a", None])[:2].tolist() == [1, 0]
    with pytest.raises(UnusableInput, match="3 kinds"):
        as_measure(["a", "b", "c"])
    assert lesion_load([2.0, None, -1.0], [400.0, 400.0, 0.0])[0] == pytest.approx(math.log(1 / 200))
