import contextlib
import io

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from neuroHarmonize import harmonizationApply, harmonizationLearn

from brainage_bids.cohort.harmonise import NOT_HARMONISED, OUTSIDE, Harmonisation, fit_harmonisation
from brainage_bids.cohort.saving import load, save
from brainage_bids.cohort.sites import NO_OFFSET, SiteOffsets, fit_site_offsets
from brainage_bids.records import BadConfiguration, UnusableInput

SHIFT = {"a": 0.0, "b": 4.0, "c": -3.0}


def controls(n=150, seed=0):
    generator = np.random.default_rng(seed)
    site, age = generator.choice(list(SHIFT), n), generator.uniform(20, 80, n)
    return np.array([SHIFT[name] for name in site]) - 0.2 * (age - 50) + generator.normal(0, 3, n), age, site


def features(n=120, seed=0):
    generator = np.random.default_rng(seed)
    site, age = generator.choice(list(SHIFT), n), generator.uniform(20, 80, n)
    sex = generator.integers(0, 2, n).astype(float)
    scale, shift = np.array([{"a": 1.0, "b": 1.6, "c": 0.7}[name] for name in site]), np.array([SHIFT[name] for name in site])
    table = {f"v{i}": 100 - 0.3 * i * age + 2 * sex + shift * (1 + i / 5) + scale * generator.normal(0, 3, n) for i in range(8)}
    return {**table, "age": age, "sex": sex}, site


def test_offsets_are_those_of_a_regression_with_age():
    gap, age, site = controls()
    fitted = fit_site_offsets(gap, age, site)
    model = smf.ols("gap ~ C(site) + age", pd.DataFrame({"gap": gap, "age": age, "site": site})).fit()
    offsets = dict(zip(fitted.sites, fitted.offsets))
    assert offsets["b"] - offsets["a"] == pytest.approx(model.params["C(site)[T.b]"])
    assert fitted.slope == pytest.approx(model.params["age"])
    assert np.average(fitted.offsets, weights=fitted.counts) == pytest.approx(0, abs=1e-9)  # the mean of all stays
    for name, shift in SHIFT.items():
        assert offsets[name] - offsets["a"] == pytest.approx(shift, abs=2.5)
    moved, flags = fitted.transform(gap, site)
    again = fit_site_offsets(moved, age, site)
    np.testing.assert_allclose(again.offsets, 0, atol=1e-9)
    assert set(flags) == {()}
    assert [row["n"] for row in fitted.rows()] == list(fitted.counts)


def test_other_sites_stay_and_are_flagged(tmp_path):
    gap, age, site = controls()
    site = np.where(np.arange(150) < 3, "d", site)  # three controls only
    fitted = load(SiteOffsets, save(fit_site_offsets(gap, age, site), tmp_path / "sites.json"))
    moved, flags = fitted.transform([5.0, 5.0, 5.0], ["d", None, "a"])
    assert moved[:2].tolist() == [5.0, 5.0]
    assert flags == [(NO_OFFSET,), (NO_OFFSET,), ()]
    with pytest.raises(UnusableInput, match="controls by site: a 3, b 7"):
        fit_site_offsets(gap[:10], age[:10], ["a"] * 3 + ["b"] * 7)


@pytest.mark.parametrize("pool", [True, False])
def test_harmonised_as_by_neuroharmonize(pool):
    table, site = features()
    columns = [f"v{i}" for i in range(8)]
    fitted = fit_harmonisation(table, site, columns, ["age", "sex"], pool=pool)
    covars = pd.DataFrame({"SITE": site, "age": table["age"], "sex": table["sex"]})
    data = np.column_stack([table[name] for name in columns])
    with contextlib.redirect_stdout(io.StringIO()), pytest.warns(PendingDeprecationWarning):
        model, expected = harmonizationLearn(data, covars, eb=pool, seed=0)
    found, _ = fitted.transform(table, site)
    np.testing.assert_allclose(np.column_stack(list(found.values())), expected, atol=2e-5)  # it keeps covariates in single precision
    new, new_site = features(60, 5)
    applied = harmonizationApply(
        np.column_stack([new[name] for name in columns]), pd.DataFrame({"SITE": new_site, "age": new["age"], "sex": new["sex"]}), model
    )
    found, _ = fitted.transform(new, new_site)
    np.testing.assert_allclose(np.column_stack(list(found.values())), applied, atol=2e-5)
    one = new_site == "b"  # rows of one site only, on which neuroHarmonize's own transformation stumbles
    alone, _ = fitted.transform({name: values[one] for name, values in new.items()}, new_site[one])
    np.testing.assert_allclose(alone["v3"], found["v3"][one])


def test_site_effects_go_and_age_effects_stay():
    table, site = features(600)
    found, _ = fit_harmonisation(table, site, [f"v{i}" for i in range(8)], ["age", "sex"]).transform(table, site)
    frame = pd.DataFrame({"before": table["v5"], "after": found["v5"], "age": table["age"], "sex": table["sex"], "site": site})
    before, after = (smf.ols(f"{name} ~ C(site) + age + sex", frame).fit() for name in ("before", "after"))
    assert before.params["C(site)[T.b]"] > 6 > 0.6 > abs(after.params["C(site)[T.b]"])
    assert after.params["age"] == pytest.approx(-1.5, abs=0.05)


def test_one_column_is_not_pooled_over():
    table, site = features()
    found, _ = fit_harmonisation(table, site, ["v2"], ["age", "sex"]).transform(table, site)
    frame = pd.DataFrame({"v": found["v2"], "age": table["age"], "sex": table["sex"], "site": site})
    assert abs(smf.ols("v ~ C(site) + age + sex", frame).fit().params["C(site)[T.b]"]) < 0.5


def test_unseen_sites_are_never_silent(tmp_path):
    table, site = features()
    fitted = load(Harmonisation, save(fit_harmonisation(table, site, ["v1", "v2"]), tmp_path / "combat.json"))
    new = {"v1": [100.0, 90.0, None], "v2": [80.0, 70.0, 60.0], "age": [40.0, 50.0, 60.0]}
    with pytest.raises(UnusableInput, match="not seen the site d, none; it was fitted on a, b, c"):
        fitted.transform(new, ["d", None, "a"])
    found, flags = fitted.transform(new, ["d", "b", "a"], unseen="flag")
    assert flags == [(NOT_HARMONISED,), (), ()]
    assert np.isnan(found["v1"][[0, 2]]).all()
    assert np.isfinite(found["v1"][1])
    with pytest.raises(BadConfiguration, match="not 'keep'"):
        fitted.transform(new, ["a"] * 3, unseen="keep")


def test_ages_outside_the_reference_are_flagged():
    table, site = features()
    fitted = fit_harmonisation({**table, "sex": np.where(table["sex"] == 1, "M", "F")}, site, ["v1", "v2"], ["age", "sex"])
    new = {"v1": [100.0, 90.0], "v2": [80.0, 70.0], "age": [50.0, 95.0], "sex": ["F", "M"]}
    assert fitted.transform(new, ["a", "b"])[1] == [(), (OUTSIDE,)]
    assert fitted.transform(new, ["a", "d"], unseen="flag")[1] == [(), (NOT_HARMONISED,)]


def test_refuses():
    table, site = features(40)
    with pytest.raises(UnusableInput, match="two sites; there are 1"):
        fit_harmonisation(table, ["a"] * 40, ["v1"])
    with pytest.raises(UnusableInput, match="The site z has 1 complete"):
        fit_harmonisation(table, ["z", *site[1:]], ["v1"])
    with pytest.raises(UnusableInput, match="constant at a site"):
        fit_harmonisation({**table, "v1": np.where(site == "a", 3.0, table["v1"])}, site, ["v1"])
    with pytest.raises(UnusableInput, match="told apart"):
        fit_harmonisation({**table, "age": (site == "a").astype(float)}, site, ["v1"])
    with pytest.raises(UnusableInput, match="no column 'v99'"):
        fit_harmonisation(table, site, ["v99"])
