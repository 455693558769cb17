import numpy as np
import pandas as pd
import pingouin
import pytest
import statsmodels.formula.api as smf
from scipy import stats

from brainage_bids.records import UnusableInput
from brainage_bids.stats.biplot import biplot_rows, principal_components
from brainage_bids.stats.bootstrap import acceleration, bca_interval
from brainage_bids.stats.mediation import correct_over_all, mediate, mediation_rows
from brainage_bids.stats.polynomial import interval_width, polynomial_by_age


def data(n=120, seed=0, a=0.6, b=0.5, direct=0.3):
    generator = np.random.default_rng(seed)
    c = generator.normal(size=n)
    x = 5 + 2 * generator.normal(size=n) + 0.3 * c
    m = a * x + 0.4 * c + generator.normal(size=n)
    return pd.DataFrame({"x": x, "m": m, "y": direct * x + b * m - 0.2 * c + generator.normal(size=n), "c": c})


def mediated(table, **settings):
    return mediate(*(table[name].to_numpy() for name in "xmy"), table[["c"]].to_numpy(), **settings)


def test_effects_against_statsmodels_and_pingouin():
    table = data()
    found = mediated(table)
    of_m, of_y = smf.ols("m ~ x + c", table).fit(), smf.ols("y ~ x + m + c", table).fit()
    assert found.a == pytest.approx(of_m.params["x"], rel=1e-9)
    assert found.b == pytest.approx(of_y.params["m"], rel=1e-9)
    assert found.estimate["acme"] == pytest.approx(of_m.params["x"] * of_y.params["m"], rel=1e-9)
    assert found.estimate["ade"] == pytest.approx(of_y.params["x"], rel=1e-9)
    assert found.estimate["total"] == pytest.approx(smf.ols("y ~ x + c", table).fit().params["x"], rel=1e-9)
    expected = pingouin.mediation_analysis(data=table, x="x", m="m", y="y", covar="c", n_boot=2000, seed=1).set_index("path")
    assert found.estimate["acme"] == pytest.approx(expected.loc["Indirect", "coef"], rel=1e-6)
    low, high = expected.loc["Indirect"].filter(like="CI")
    assert (found.low["acme"], found.high["acme"]) == pytest.approx((low, high), abs=0.15 * (high - low))


def test_interval_against_scipy():
    sample = np.random.default_rng(3).exponential(size=40)
    generator = np.random.default_rng(4)
    draws = sample[generator.integers(0, 40, (20_000, 40))].mean(axis=1)
    left_out = (sample.sum() - sample) / 39
    low, high, _ = bca_interval(draws, sample.mean(), float(acceleration(left_out[:, None])[0]))
    expected = stats.bootstrap((sample,), np.mean, n_resamples=20_000, method="BCa", rng=5).confidence_interval
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=0.02 * (expected.high - expected.low))


@pytest.mark.parametrize(("shift", "accelerated"), [(0.5, 0.0), (2.4, 0.05), (-2.0, -0.1)])
def test_p_is_the_level_at_which_the_interval_touches_zero(shift, accelerated):
    draws = np.random.default_rng(0).normal(shift, 1, 40_000)
    _, _, p = bca_interval(draws, shift, accelerated)
    low, high, _ = bca_interval(draws, shift, accelerated, level=1 - p)
    assert min(abs(low), abs(high)) < 0.03


def test_grouped_jackknife_is_near_the_single_one(monkeypatch):
    table = data(n=490)
    single = mediated(table)
    monkeypatch.setattr("brainage_bids.stats.mediation._LARGEST_LEAVE_ONE_OUT", 100)
    grouped = mediated(table)
    width = single.high["acme"] - single.low["acme"]
    assert grouped.low["acme"] == pytest.approx(single.low["acme"], abs=0.05 * width)
    assert grouped.high["acme"] == pytest.approx(single.high["acme"], abs=0.05 * width)


def test_units_and_seeds():
    table = data()
    found, again = mediated(table, seed=2), mediated(table, seed=2)
    assert found == again
    scaled = table.assign(x=table["x"] * 1000 + 7, m=table["m"] / 50)
    other = mediated(scaled, seed=2)
    assert other.estimate["acme"] * 1000 == pytest.approx(found.estimate["acme"], rel=1e-8)
    assert other.p["acme"] == pytest.approx(found.p["acme"], rel=1e-9)
    assert other.rho == pytest.approx(found.rho)


def test_product_of_exposure_and_mediator():
    table = data(n=400)
    table["y"] += 0.3 * table["x"] * table["m"]
    found = mediated(table, interaction=True)
    fit = smf.ols("y ~ x * m + c", table).fit().params
    a = smf.ols("m ~ x + c", table).fit().params["x"]
    assert found.estimate["acme"] == pytest.approx(a * (fit["m"] + fit["x:m"] * table["x"].mean()), rel=1e-8)
    assert found.estimate["ade"] == pytest.approx(fit["x"] + fit["x:m"] * table["m"].mean(), rel=1e-8)


def test_rho_finds_a_hidden_cause():
    generator = np.random.default_rng(1)
    n = 20_000
    x, hidden = generator.normal(size=n), generator.normal(size=n)
    m = 0.7 * x + hidden + generator.normal(size=n)  # errors share the hidden cause: r = .5
    y = 0.4 * x + hidden + generator.normal(size=n)  # and M does nothing
    found = mediate(x, m, y)
    assert found.low["acme"] > 0.2  # which looks like a mediation
    assert found.rho == pytest.approx(0.5, abs=0.02)
    expected = pingouin.partial_corr(pd.DataFrame({"x": x, "m": m, "y": y}), x="m", y="y", covar="x")["r"].iloc[0]
    assert found.rho == pytest.approx(expected, rel=1e-6)


def test_kinds_and_screening():
    table = data(n=300, seed=1)
    full, noise = data(n=300, seed=2, direct=0.0), np.random.default_rng(11).normal(size=300)
    rows = mediation_rows({"x": table["x"], "noise": noise}, {"m": table["m"], "noise too": noise**2}, table["y"], outcome_name="age")
    kinds = {(row["exposure"], row["mediator"]): row["mediation"] for row in rows}
    assert (kinds["x", "m"], kinds["x", "noise too"], kinds["noise", "m"]) == ("partial", "none", None)
    assert rows[2]["note"].startswith("Not mediated: noise is not associated with age")
    assert rows[0]["correction"] == "Benjamini-Hochberg over 2 tests (exposure -> mediator -> age)"
    assert mediation_rows({"x": full["x"]}, {"m": full["m"]}, full["y"])[0]["mediation"] == "full"
    both = correct_over_all(rows + mediation_rows({"m": table["m"]}, {"x": table["x"]}, table["y"], direction="back"))
    assert "over 3 tests (all directions)" in both[0]["correction"]
    assert both[0]["acme_p_corrected_all"] <= 3 * both[0]["acme_p"] + 1e-12
    unscreened = mediation_rows({"noise": noise}, {"m": table["m"]}, table["y"], screen=None)
    assert unscreened[0]["mediation"] == "none"


def test_the_name_follows_the_corrected_p():
    """Twelve mediators that do nothing beside one that does: what is below .05 by itself alone is named none, and its note says so."""
    table, generator = data(n=200, seed=4), np.random.default_rng(6)
    mediators = {"m": table["m"], **{f"null {place}": 0.5 * table["x"] + generator.normal(size=200) for place in range(12)}}
    rows = mediation_rows({"x": table["x"]}, mediators, table["y"], screen=None)
    for row in rows:
        direct = row["ade_low"] > 0 or row["ade_high"] < 0
        assert row["mediation"] == ("none" if row["acme_p_corrected"] >= 0.05 else "partial" if direct else "full")
        assert (row["acme_low"] > 0 or row["acme_high"] < 0) == (row["acme_p"] < 0.05)
    assert rows[0]["mediation"] != "none"
    alone = [row for row in rows if row["acme_p"] < 0.05 <= row["acme_p_corrected"]]
    assert alone and all("not below 0.05 once corrected" in row["note"] for row in alone)


def test_both_ways_must_be_there():
    """With a way that a t-test does not find the mediated effect is not found either, whatever the bootstrap says."""
    table = data(n=40, a=0.0, b=0.8, seed=8)
    p = smf.ols("m ~ x + c", table).fit().pvalues["x"]
    found = mediated(table)
    assert p > 0.05 and found.p["acme"] >= p * (1 - 1e-9) and found.low["acme"] <= 0 <= found.high["acme"]


def test_suppression_is_named():
    table = data(n=400, direct=-0.5)
    assert (
        "opposite signs"
        in mediation_rows({"x": table["x"]}, {"m": table["m"]}, table["y"], covariates={"c": table["c"]}, screen=None)[0]["note"]
    )


def test_rows_that_cannot_be_mediated_say_why():
    table = data(n=30)
    rows = mediation_rows({"x": table["x"]}, {"flat": [1.0] * 30, "copy": 2 * table["x"], "m": table["m"]}, table["y"], screen=None)
    assert [row["note"] for row in rows[:2]] == [
        "The mediator is constant.", "The mediator or a covariate follows from the other columns, so effects cannot be told apart."
    ]  # fmt: skip
    few = mediation_rows({"x": table["x"][:5]}, {"m": table["m"][:5]}, table["y"][:5], screen=None)
    assert "complete rows; there are 5" in few[0]["note"]
    with pytest.raises(UnusableInput, match="1000 draws"):
        mediated(table, n_resamples=100)
    with pytest.raises(UnusableInput, match="one length"):
        mediation_rows({"x": [1.0]}, {"m": [1.0, 2.0]}, [1.0, 2.0])


def test_polynomial_against_numpy_and_statsmodels():
    generator = np.random.default_rng(0)
    age = generator.uniform(20, 80, 70)
    value = 2 + 0.001 * (age - 50) ** 2 + generator.normal(0, 1, 70)
    rows = polynomial_by_age(age, value, points=5)
    np.testing.assert_allclose([rows[0][f"c{power}"] for power in range(4)], np.polyfit(age, value, 3)[::-1], rtol=1e-6)
    fit = smf.ols("v ~ a + I(a**2) + I(a**3)", pd.DataFrame({"a": age - 50, "v": value})).fit()
    assert (rows[0]["f"], rows[0]["p"], rows[0]["r2"]) == pytest.approx((fit.fvalue, fit.f_pvalue, fit.rsquared), rel=1e-7)
    for row in rows[1:]:
        expected = fit.get_prediction(pd.DataFrame({"a": [row["age"] - 50]})).summary_frame().iloc[0]
        found = (row["value"], row["low"], row["high"])
        assert found == pytest.approx((expected["mean"], expected["mean_ci_lower"], expected["mean_ci_upper"]), rel=1e-7)
    assert "too few" in polynomial_by_age([20, 30, 30, 40], [1, 2, 3, 4])[0]["note"]
    assert "no test" in polynomial_by_age([20, 30, 40, 50, 60], [1.0] * 5)[0]["note"]


def test_width_of_the_interval_over_members():
    low, high = stats.t.interval(0.95, 9, 0, 3.0 / np.sqrt(10))
    assert interval_width(3.0, 10) == pytest.approx(high - low)
    assert np.isnan(interval_width([3.0], [1])).all()


def test_components_against_sklearn():
    from sklearn.decomposition import PCA

    generator = np.random.default_rng(0)
    columns = generator.normal(size=(40, 3)) @ generator.normal(size=(3, 6)) + 0.3 * generator.normal(size=(40, 6))
    scored = (columns - columns.mean(axis=0)) / columns.std(axis=0, ddof=1)
    found, expected = principal_components(columns), PCA(2).fit(scored)
    np.testing.assert_allclose(found.explained, expected.explained_variance_ratio_, rtol=1e-9)
    np.testing.assert_allclose(np.abs(found.scores), np.abs(expected.transform(scored)), atol=1e-9)
    for column in range(6):
        for number in range(2):
            assert found.loadings[column, number] == pytest.approx(np.corrcoef(columns[:, column], found.scores[:, number])[0, 1])


def test_biplot():
    generator = np.random.default_rng(1)
    hidden = generator.normal(size=50)
    features = {f"f{i}": hidden + generator.normal(0, 0.3, 50) for i in range(5)} | {"dead": np.zeros(50)}
    blood = {"NFL": hidden + generator.normal(0, 0.5, 50), "GLU": generator.normal(size=50)}
    blood["NFL"][4] = np.nan
    rows = biplot_rows(features, blood, [f"s{i}" for i in range(50)])
    arrows = {row["variable"]: row for row in rows if row["part"] == "arrow"}
    assert set(arrows) == {"NFL", "GLU"}
    assert arrows["NFL"]["length"] == pytest.approx(np.hypot(arrows["NFL"]["pc1"], arrows["NFL"]["pc2"]))
    assert abs(arrows["NFL"]["r_image_pc1"]) > 0.8 > abs(arrows["GLU"]["r_image_pc1"])
    assert [row["note"] for row in rows if row["part"] == "component"] == ["1 people lack a value and are left out. Constant: dead."] * 2
    assert [row["participant_id"] for row in rows if row["part"] == "point"][4] == "s5"
    assert "components need" in biplot_rows({"f": [1.0, 2.0, 4.0]}, {}, list("abc"))[0]["note"]
    assert "no columns" in biplot_rows({}, {}, [])[0]["note"]
