import numpy as np
import pandas as pd
import pingouin
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from scipy import stats

from brainage_bids.records import UnusableInput
from brainage_bids.stats.anova import adjusted_pairs, analysis_of_variance, compare_adjusted
from brainage_bids.stats.least_squares import covariate_columns, least_squares, residuals_on


def cohort(seed=0, n=90, effect=1.0):
    generator = np.random.default_rng(seed)
    group, sex, age = generator.choice(["CN", "MCI", "AD"], n), generator.choice(["F", "M"], n), generator.uniform(50, 90, n)
    value = effect * (group == "AD") + 0.05 * age + 0.8 * (sex == "M") + generator.normal(0, 1, n)
    return pd.DataFrame({"value": value, "group": group, "sex": sex, "age": age})


def test_anova_against_scipy():
    data = cohort()
    (row,) = analysis_of_variance(data["value"], data["group"])
    parts = [data["value"][data["group"] == group] for group in ("AD", "CN", "MCI")]
    assert (row["f"], row["p"]) == pytest.approx(tuple(stats.f_oneway(*parts)), rel=1e-9)
    assert row["levene_p"] == pytest.approx(stats.levene(*parts).pvalue)
    expected = pingouin.anova(data=data, dv="value", between="group", detailed=True)
    assert row["eta2"] == pytest.approx(expected["np2"][0], rel=1e-9)  # one factor: partial and whole are the same
    assert row["eta2_partial"] == pytest.approx(row["eta2"])


def test_ancova_against_statsmodels():
    data = cohort()
    rows = analysis_of_variance(data["value"], data["group"], {"sex": data["sex"], "age": data["age"]}, variable="value")
    fit = smf.ols("value ~ C(group) + C(sex) + age", data).fit()
    expected = sm.stats.anova_lm(fit, typ=2)
    for row, term in zip(rows, ("C(group)", "C(sex)", "age")):
        assert (row["ss"], row["f"], row["p"]) == pytest.approx(tuple(expected.loc[term, ["sum_sq", "F", "PR(>F)"]]), rel=1e-8)
        assert row["eta2"] == pytest.approx(row["ss"] / np.sum((data["value"] - data["value"].mean()) ** 2))
        assert row["eta2_partial"] == pytest.approx(row["ss"] / (row["ss"] + fit.ssr))
    crossed = smf.ols("value ~ C(group) * (C(sex) + age)", data).fit()
    assert rows[0]["p_slopes"] == pytest.approx(sm.stats.anova_lm(fit, crossed)["Pr(>F)"][1], rel=1e-8)
    assert rows[0]["shapiro_p"] == pytest.approx(stats.shapiro(fit.resid).pvalue, rel=1e-6)


def test_adjusted_pairs_against_statsmodels():
    data = cohort()
    rows = adjusted_pairs(data["value"], data["group"], {"sex": data["sex"], "age": data["age"]})
    fit = smf.ols("value ~ C(group) + C(sex) + age", data).fit()
    pair = rows[2]  # CN - MCI
    tested = fit.t_test("C(group)[T.CN] - C(group)[T.MCI] = 0")
    assert (pair["first"], pair["second"], pair["df"]) == ("CN", "MCI", fit.df_resid)
    assert (pair["difference"], pair["t"], pair["p"]) == pytest.approx(
        (tested.effect[0], tested.tvalue.item(), float(tested.pvalue)), rel=1e-8
    )
    assert (pair["low"], pair["high"]) == pytest.approx(tuple(tested.conf_int()[0]), rel=1e-8)
    assert pair["p_corrected"] == pytest.approx(min(1.0, 3 * pair["p"]))
    assert pair["mean_first"] - pair["mean_second"] == pytest.approx(pair["difference"])


def test_pairs_without_covariates_are_means():
    data = cohort()
    rows = adjusted_pairs(data["value"], data["group"])
    assert rows[0]["mean_first"] == pytest.approx(data["value"][data["group"] == "AD"].mean())


def test_covariates_that_do_nothing_lead_to_anova():
    data = cohort(seed=3)
    idle = np.random.default_rng(9).normal(size=len(data))
    rows = compare_adjusted(np.exp(data["value"]), data["group"], {"idle": idle}, variable="NFL", log=True)
    assert [row["method"] for row in rows if row["part"] == "test"] == ["ANCOVA, type II sums of squares"] * 2 + ["one-way ANOVA"]
    assert rows[-1]["method"] == "pairwise t-tests with the pooled variance of all groups"
    assert rows[0]["variable"] == "log NFL"
    rows = compare_adjusted(data["value"], data["group"], {"age": data["age"]})
    assert [row["part"] for row in rows] == ["test", "test", "pair", "pair", "pair"]
    assert rows[-1]["method"] == "pairwise t-tests of adjusted means"


def test_logarithms_leave_out_what_has_none():
    rows = compare_adjusted([0.0, 1.0, 2.0, 3.0, 5.0, 4.0], list("aaabbb"), {}, log=True)
    assert "1 value(s) not above zero" in rows[0]["note"]
    assert rows[0]["n"] == 5


def test_empty_rows_say_why():
    assert "one group only (a)" in analysis_of_variance([1.0, 2.0], ["a", "a"])[0]["note"]
    assert "constant" in analysis_of_variance([1.0, 1.0, 1.0], ["a", "a", "b"])[0]["note"]
    assert "No row has" in analysis_of_variance([None, None], ["a", "b"])[0]["note"]
    assert "more than 2" in analysis_of_variance([1.0, 2.0], ["a", "b"])[0]["note"]
    rows = analysis_of_variance([1.0, 2.0, 4.0, 3.0], ["a", "a", "b", "b"], {"sex": ["F"] * 4})
    assert (len(rows), rows[0]["note"]) == (1, "Constant covariates are left out: sex.")
    follows = analysis_of_variance([1.0, 2.0, 4.0, 3.0], ["a", "a", "b", "b"], {"site": ["x", "x", "y", "y"]})
    assert "follows from the others" in follows[0]["note"]


def test_least_squares_against_statsmodels():
    generator = np.random.default_rng(0)
    design = np.column_stack([np.ones(40), generator.normal(size=(40, 3)) * [1, 1e4, 1e-3]])
    outcome = generator.normal(size=40)
    fit, expected = least_squares(design, outcome), sm.OLS(outcome, design).fit()
    np.testing.assert_allclose(fit.coefficients, expected.params, rtol=1e-8)
    np.testing.assert_allclose(fit.covariance, expected.cov_params(), rtol=1e-8)
    assert fit.residual_ss == pytest.approx(expected.ssr)
    with pytest.raises(UnusableInput, match="follows from"):
        least_squares(np.column_stack([design, design[:, 1] + design[:, 3]]), outcome)


def test_residuals_do_not_correlate_with_covariates():
    generator = np.random.default_rng(1)
    covariates, values = generator.normal(size=(30, 2)), generator.normal(size=(30, 3))
    left = residuals_on(np.column_stack([covariates, np.full(30, 7.0)]), values)
    np.testing.assert_allclose(covariates.T @ left, 0, atol=1e-12)
    np.testing.assert_allclose(left.sum(axis=0), 0, atol=1e-12)
    assert covariate_columns(["x", "y", "z"], "site").tolist() == [[0, 0], [1, 0], [0, 1]]


def test_a_site_that_only_incomplete_rows_have_does_no_harm():
    data = cohort()
    data["site"] = np.where(np.arange(90) < 5, "a", np.where(np.arange(90) % 2, "b", "c"))
    data["group"] = data["group"].astype(object).where(data["site"] != "a", None)  # site a has no group
    covariates = {"site": data["site"], "age": data["age"]}
    rows = analysis_of_variance(data["value"], data["group"], covariates)
    kept = data[data["site"] != "a"]
    expected = sm.stats.anova_lm(smf.ols("value ~ C(group) + C(site) + age", kept).fit(), typ=2)
    assert (rows[0]["n"], rows[0]["df"]) == (85, 2)
    assert rows[0]["p"] == pytest.approx(expected.loc["C(group)", "PR(>F)"], rel=1e-8)
    assert adjusted_pairs(data["value"], data["group"], covariates)[0]["n"] == 85
