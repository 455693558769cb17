import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from brainage_bids.records import BadConfiguration
from brainage_bids.stats.formulas import default_formula, fit_formula, fit_mixed, formula_columns
from brainage_bids.stats.random_intercept import fit_random_intercept


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
        ("pad ~ np.log(age).__class__", "may not hold 'np.log\\(age\\).__class__'"),
        ("pad ~ __import__('os')", "may not hold '__import__' \\(no function"),
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


def visits(sd_between=3.0, seed=0, people=50):
    generator = np.random.default_rng(seed)
    who = np.repeat(np.arange(people), generator.integers(1, 4, people))
    age, sex = generator.uniform(20, 80, who.size), generator.choice(["F", "M"], people)[who]
    pad = 0.1 * age + generator.normal(0, sd_between, people)[who] + generator.normal(0, 2, who.size)
    return {"pad": pad, "age": age, "sex": sex}, who.astype(str)


@pytest.mark.parametrize("sd_between", [3.0, 20.0])
def test_mixed_model_against_statsmodels(sd_between):
    data, who = visits(sd_between)
    rows = fit_mixed(data, "pad ~ age + C(sex)", who)
    expected = smf.mixedlm("pad ~ age + C(sex)", pd.DataFrame(data), groups=who).fit(reml=True)
    for row, term in zip(rows, expected.fe_params.index):
        assert row["term"] == term
        assert row["estimate"] == pytest.approx(expected.fe_params[term], rel=2e-3)
        assert row["p"] == pytest.approx(2 * stats.t.sf(abs(row["estimate"] / row["se"]), len(set(who)) - 3))
    assert rows[-2]["estimate"] == pytest.approx(np.sqrt(expected.cov_re.iloc[0, 0]), rel=5e-3)
    assert rows[-1]["estimate"] == pytest.approx(np.sqrt(expected.scale), rel=5e-3)


@pytest.mark.parametrize("sd_between", [0.8, 3.0, 20.0])
def test_mixed_model_by_dense_matrices(sd_between):
    data, who = visits(sd_between)
    design = np.column_stack([np.ones(who.size), data["age"], data["sex"] == "M"])
    same = (who[:, None] == who[None]).astype(float)

    def deviance(between, within):
        variance = between**2 * same + within**2 * np.eye(who.size)
        inverse = np.linalg.inv(variance)
        inner = design.T @ inverse @ design
        left = data["pad"] - design @ np.linalg.solve(inner, design.T @ inverse @ data["pad"])
        return np.linalg.slogdet(variance)[1] + np.linalg.slogdet(inner)[1] + left @ inverse @ left

    fit = fit_random_intercept(design, data["pad"], who)
    best = deviance(fit.sd_between, fit.sd_within)
    for between in np.linspace(0.0, 2 * fit.sd_between + 0.1, 15):
        for within in fit.sd_within * np.linspace(0.7, 1.4, 15):
            assert deviance(between, within) >= best - 1e-9
    gls = sm.GLS(data["pad"], design, sigma=fit.sd_between**2 * same + fit.sd_within**2 * np.eye(who.size)).fit()
    np.testing.assert_allclose(fit.coefficients, gls.params, rtol=1e-7)
    assert gls.scale == pytest.approx(1.0, abs=1e-6)
    np.testing.assert_allclose(np.sqrt(np.diag(fit.covariance)), gls.bse, rtol=1e-6)


def test_no_variance_between_people_is_least_squares():
    generator = np.random.default_rng(3)
    who, age = np.repeat(np.arange(30), 2).astype(str), generator.uniform(20, 80, 60)
    noise = generator.normal(size=60)
    noise[1::2] = -noise[::2]  # every person's mean is the same: less than chance would give
    rows = fit_mixed({"pad": noise, "age": age}, "pad ~ 1", who)
    assert "estimated as 0" in rows[0]["note"]
    assert rows[1]["estimate"] == 0
    assert rows[0]["se"] == pytest.approx(noise.std(ddof=1) / np.sqrt(60))


@given(st.floats(0.01, 100), st.floats(-50, 50), st.integers(0, 20))
def test_units_of_the_mixed_model(scale, shift, seed):
    data, who = visits(seed=seed, people=15)
    plain = fit_mixed(data, "pad ~ age", who)
    moved = fit_mixed({**data, "age": scale * data["age"] + shift}, "pad ~ age", who)
    assert moved[1]["estimate"] * scale == pytest.approx(plain[1]["estimate"], rel=1e-4, abs=1e-7)
    assert moved[1]["p"] == pytest.approx(plain[1]["p"], rel=1e-3, abs=1e-9)
