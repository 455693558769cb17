import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

from brainage_bids.records import BadConfiguration
from brainage_bids.stats.formulas import default_formula, fit_formula, fit_mixed, formula_columns


def table(n=60, seed=0):
    generator = np.random.default_rng(seed)
    age, sex = generator.uniform(20, 80, n), generator.choice(["F", "M"], n)
    return {
        "age": age,
        "sex": list(sex),
        "pad": 1 + 0.1 * age + 2 * (sex == "M") + generator.normal(0, 3, n),
        "n l": generator.normal(size=n),
    }


def test_linear_model_against_statsmodels():
    data = table()
    data["pad"][3] = np.nan
    rows = fit_formula(data, "pad ~ age + I(age**2) + C(sex)")
    expected = smf.ols("pad ~ age + I(age**2) + C(sex)", pd.DataFrame(data)).fit()
    assert [row["term"] for row in rows[:-1]] == list(expected.params.index)
    for row, value, p in zip(rows, expected.params, expected.pvalues):
        assert (row["estimate"], row["p"]) == pytest.approx((value, p), rel=1e-9)
    assert rows[0]["n"] == 59
    assert rows[0]["note"] == "1 row(s) with missing values are left out."
    assert rows[-1]["r2"] == pytest.approx(expected.rsquared)


def test_coefficients_by_hand():
    # slope 2.15, residuals .05 -.1 .05... : Sxx 5, Sxy 10.75, intercept .9; SSE .075, s2 .0375 / 5
    row = fit_formula({"y": [1.0, 3.0, 5.0, 7.5], "x": [0.0, 1.0, 2.0, 3.0]}, "y ~ x")[1]
    assert (row["estimate"], row["df"]) == (pytest.approx(2.15), 2)
    assert row["se"] == pytest.approx(np.sqrt(0.075 / 2 / 5))


def test_mixed_model_of_a_balanced_design_is_the_anova():
    generator = np.random.default_rng(1)
    people = np.repeat([f"p{i:02d}" for i in range(40)], 3)
    values = np.repeat(generator.normal(0, 5, 40), 3) + generator.normal(0, 2, 120)
    rows = {row["term"]: row for row in fit_mixed({"pad": values}, "pad ~ 1", people)}
    by_person = values.reshape(40, 3)
    within = by_person.var(axis=1, ddof=1).mean()
    between = by_person.mean(axis=1).var(ddof=1) - within / 3
    assert rows["within people"]["estimate"] == pytest.approx(np.sqrt(within), rel=1e-3)
    assert rows["between people"]["estimate"] == pytest.approx(np.sqrt(between), rel=1e-3)
    assert rows["Intercept"]["estimate"] == pytest.approx(values.mean(), rel=1e-6)
    assert rows["Intercept"]["se"] == pytest.approx(np.sqrt(by_person.mean(axis=1).var(ddof=1) / 40), rel=1e-3)
    assert (rows["Intercept"]["n"], rows["Intercept"]["people"]) == (120, 40)


def test_default_formula():
    data = {**table(), "site": ["a", "b"] * 30, "my group": ["x"] * 30 + ["y"] * 30}
    formula = default_formula(data, group="my group")
    assert formula == 'pad ~ age + I(age**2) + C(sex) + C(site) + C(Q("my group"))'
    assert len(fit_formula(data, formula)) == 7


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("pad ~ weight", "names 'weight', which is no column; there are age, sex, pad, n l"),
        ("pad", "not of the form"),
        ("pad ~ age +", "cannot be read"),
        ("pad ~ np.log(age).__class__", "no other attribute"),
        ("pad ~ __import__('os')", "names '__import__'"),
        ("sex ~ age", "cannot be fitted"),
    ],
)
def test_refuses_formulas(formula, words):
    with pytest.raises(BadConfiguration, match=words):
        fit_formula(table(), formula)


def test_columns_of_a_formula():
    assert formula_columns('pad ~ np.log(age) + Q("n l")', table()) == ["pad", "age", "n l"]


def test_empty_rows_say_why():
    data = {**table(), "none": [None] * 60, "flat": [3.0] * 60, "twice": table()["age"] * 2}
    assert "'none' has no value" in fit_formula(data, "pad ~ none")[0]["note"]
    assert "constant" in fit_formula(data, "flat ~ age")[0]["note"]
    assert "told apart" in fit_formula(data, "pad ~ age + twice")[0]["note"]
    assert "told apart" in fit_formula(data, "pad ~ flat")[0]["note"]
    assert "too few" in fit_formula({"a": [1.0, 2.0], "b": [2.0, 1.0]}, "a ~ b")[0]["note"]
    assert "repeated visits" in fit_mixed(table(), "pad ~ age", [f"p{i}" for i in range(60)])[0]["note"]
