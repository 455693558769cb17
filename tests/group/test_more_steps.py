"""Description, bins of age, regressors, contributions of structures, reliability of regions, mediation's outcome."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from brainage_bids.bids.sidecars import table_columns
from brainage_bids.bids.sink import sink_table
from brainage_bids.group import accuracy, described, groups, paths, regions, regressors, sessions
from brainage_bids.group.cohort import read_cohort
from brainage_bids.records import BadConfiguration, UnusableInput


@pytest.fixture(scope="module")
def cohort(finished):
    return read_cohort(finished.settings(reference="group == 'control'"))


def only(results, name):
    return next(result for result in results if result.name == name).rows


def test_people_are_described_by_group(cohort):
    rows = only(described.described(cohort), "description")
    people = cohort.people(cohort.models[0])
    row = next(row for row in rows if row["variable"] == "age" and row["group"] == "patient")
    assert row["median"] == pytest.approx(people.loc[people["group"] == "patient", "age"].median())
    assert {row["variable"] for row in rows} >= {"age", "pad", "nfl", "sex", "site"}


def test_blood_between_groups_is_an_ancova(cohort):
    rows = only(described.described(cohort), "groups_phenotype")
    tests = {row["column"]: row for row in rows if row["part"] == "test"}
    assert tests["nfl"]["p_corrected"] < 1e-3 < tests["noise"]["p"] and tests["nfl"]["covariates"] == "sex, age"
    assert next(row for row in rows if row["part"] == "pair" and row["column"] == "nfl")["first"] in ("control", "patient")


def test_carriers_are_a_covariate(study):
    random = np.random.default_rng(1)
    for number in range(40):
        columns = {"group": "xy"[number % 2], "ApoE": number % 3, "nfl": random.uniform(1, 2)}
        study.add(f"sub-{number:02d}", (30.0 + number, {"m": 40.0 + number}), **columns)
    study.finish()
    cohort = read_cohort(study.settings())
    rows = only(described.described(cohort), "groups_phenotype")
    assert {row["covariates"] for row in rows if row["column"] == "nfl"} == {"carrier", "carrier, age"}
    assert {row["column"] for row in rows} == {"nfl"}  # alleles are counted
    counts = {row["variable"]: row for row in only(groups.compared_groups(cohort), "groups_counts")}
    assert counts["ApoE"]["df"] == 2 and counts["ApoE carrier"]["df"] == 1


def test_every_column_of_kinds_or_of_two_values_is_counted(study):
    """Codes 0 and 1, words, and alleles that a sidecar calls levels: all by χ² (scipy's), none by its mean."""
    random = np.random.default_rng(2)
    for number in range(60):
        alleles = int(random.integers(0, 3))
        columns = {"group": "xy"[number % 2], "sex": "FM"[number % 3 > 0], "diabetes": number % 4 // 3, "APOE_e4": alleles}
        study.add(
            f"sub-{number:02d}", (30.0 + number, {"m": 40.0 + number}), **columns, hand=("left", "right", "both")[number % 3], nfl=number
        )
    study.finish()
    levels = {"APOE_e4": {"Description": "Alleles", "Levels": {"0": "none", "1": "one", "2": "two"}}}
    (study.raw / "participants.json").write_text(json.dumps(levels))
    cohort = read_cohort(study.settings())
    rows = {row["variable"]: row for row in only(groups.compared_groups(cohort), "groups_counts")}
    assert set(rows) == {"sex", "diabetes", "APOE_e4", "APOE_e4 carrier", "hand"}
    people = cohort.people("m")
    expected = stats.chi2_contingency(pd.crosstab(people["group"], people["diabetes"]), correction=False)
    assert rows["diabetes"]["chi2"] == pytest.approx(expected.statistic) and rows["diabetes"]["p_corrected"] is not None
    results = described.described(cohort)
    assert {row["variable"] for row in only(results, "description") if row.get("category")} == set(rows)
    phenotype = only(results, "groups_phenotype")
    assert {row["column"] for row in phenotype} == {"nfl"}
    assert {row["covariates"] for row in phenotype} == {"sex, carrier", "sex, carrier, age"}


def test_bins_are_the_users_or_decades(finished):
    rows = only(accuracy.by_bins(read_cohort(finished.settings(age_bins=("20", "50", "80")))), "error_bins")
    first, second = read_cohort(finished.settings()).models
    visits = read_cohort(finished.settings()).visits(first)
    young = visits[visits["age"] < 50]
    row = rows[0]
    assert (row["low"], row["high"], row["n"]) == (20, 50, len(young)) and row["mean_error"] == pytest.approx(young["pad"].mean(), abs=1e-3)
    other = next(row for row in rows if row["model"] == second)
    assert other["baseline"] == first and other["reduction_percent"] == pytest.approx(100 * (1 - other["mae"] / other["mae_baseline"]))
    assert len({row["low"] for row in only(accuracy.by_bins(read_cohort(finished.settings())), "error_bins")}) == 6


@pytest.mark.parametrize("bins", (("20",), ("a", "b"), ("40", "30")))
def test_bins_that_do_not_grow_are_refused(finished, bins):
    with pytest.raises(BadConfiguration, match="age_bins"):
        finished.settings(age_bins=bins)


def test_regressors_read_the_age_from_blood_and_volumes(study, make_study):
    make_study(study, n=60, patients=False, models=("m",))
    found = regressors.regressors(read_cohort(study.settings()))
    rows = {(row["features"], row["regressor"]): row for row in only(found, "regressors")}
    assert len(rows) == 12 and {row["n"] for row in rows.values()} == {60}
    assert rows["volumes", "linear"]["spearman_r"] > 0.9 and abs(rows["phenotype", "lasso"]["spearman_r"] or 0) < 0.5
    compared = only(found, "regressors_compared")
    row = next(row for row in compared if row["second"] == "phenotype" and row["regressor"] == "linear")
    assert len(compared) == 8 and row["difference"] < -5 and row["p_corrected"] < 0.05


def test_a_column_that_is_the_age_is_left_out_of_regressors(study):
    random = np.random.default_rng(2)
    for number in range(40):
        age = round(float(random.uniform(20, 80)), 1)
        study.add(f"sub-{number:02d}", (age, {"m": age}), birth_year=round(2020 - age), nfl=round(float(random.normal()), 2))
    study.finish()
    cohort = read_cohort(study.settings())
    sets, left_out = regressors.feature_sets(cohort, cohort.people("m"))
    assert left_out == ["birth_year"] and list(sets) == ["phenotype"] and list(sets["phenotype"]) == ["nfl"]


def test_regressors_are_slow_and_say_so(cohort, finished):
    with pytest.raises(UnusableInput, match="switched off"):
        regressors.regressors(read_cohort(finished.settings(slow_steps="skip")))
    with pytest.raises(UnusableInput, match="need 30 reference people; there are"):
        regressors.regressors(read_cohort(finished.settings(reference="age > 70")))


def test_volumes_of_retests_agree_as_their_noise_says(cohort):
    rows = {row["variable"]: row for row in only(sessions.regions(cohort), "reliability_regions")}
    assert rows["vol_Left-Hippocampus"]["sd_within"] == pytest.approx(50, rel=0.3) and rows["vol_Left-Hippocampus"]["icc"] > 0.95
    assert rows["vol_Brain-Stem"]["icc"] < 0.4


def test_contributions_of_structures_are_read_and_correlated(study):
    random = np.random.default_rng(3)
    names = table_columns("structures")
    for number in range(30):
        age, push = round(float(random.uniform(20, 80)), 1), random.normal(0, 4)
        study.add(f"sub-{number:02d}", (age, {"m": round(age + push, 3)}))
        parts = {"cortex": push + random.normal(0, 1), "putamen": random.normal(0, 1)}
        rows = [{**dict.fromkeys(names), "structure": name, "contribution_years": value} for name, value in parts.items()]
        suffix = "brainage" if number % 2 else "stats"  # that of an earlier version and of this one
        path = study.path("brainage", f"sub-{number:02d}").with_name(f"sub-{number:02d}_model-m_desc-structures_{suffix}.tsv")
        sink_table(rows, path, names)
    study.finish()
    cohort = read_cohort(study.settings())
    assert cohort.contributions == ("contrib_m_cortex", "contrib_m_putamen")
    rows = {row["second"]: row for row in only(regions.contributions(cohort), "contributions") if row["first"] == "pad"}
    expected = stats.pearsonr(*(cohort.people("m")[name].astype(float) for name in ("pad", "contrib_m_cortex")))
    assert rows["contrib_m_cortex"]["r"] == pytest.approx(expected.statistic, abs=0.1) and abs(rows["contrib_m_putamen"]["r"]) < 0.5


def test_regions_meet_only_blood_that_goes_with_age(study):
    random = np.random.default_rng(4)
    blood = []
    for number in range(60):
        age = round(float(random.uniform(20, 80)), 1)
        volumes = {"Left-Putamen": 6000 - 20 * age + random.normal(0, 100), "Pons": 15000 + random.normal(0, 400)}
        study.add(f"sub-{number:02d}", (age, {"m": age + random.normal(0, 3)}), volumes=volumes)
        blood.append({"participant_id": f"sub-{number:02d}", "hcy": 5 + 0.1 * age + random.normal(0, 1), "noise": random.normal()})
    study.finish(blood=blood)
    rows = only(regions.regions(read_cohort(study.settings())), "regions_phenotype")
    assert {(row["first"], row["second"]) for row in rows} == {("hcy", "vol_Left-Putamen")}
    assert rows[0]["r"] < -0.5 and abs(rows[0]["r_partial"]) < 0.35


def test_mediators_are_not_chosen_by_the_outcome_and_exposures_are(study):
    """Every region is a mediator, its sides summed; an exposure that does not go with age is not mediated and says so."""
    random = np.random.default_rng(9)
    blood = []
    for number in range(60):
        age = round(float(random.uniform(20, 80)), 1)
        volumes = {f"{side}-Area{place}": 5000 + random.normal(0, 100) for place in range(12) for side in ("Left", "Right")}
        study.add(f"sub-{number:02d}", (age, {"m": age}), volumes=volumes, sex="FM"[number % 2], group="xy"[number % 3 > 0])
        blood.append({"participant_id": f"sub-{number:02d}", "hcy": 5 + 0.1 * age + random.normal(0, 1), "noise": random.normal()})
    study.finish(blood=blood)
    (result,) = paths.mediation(read_cohort(study.settings()))
    rows = [row for row in result.rows if row["direction"].startswith("phenotype")]
    mediated = [row for row in rows if row["acme"] is not None]
    assert {row["mediator"] for row in mediated} == {f"vol_Area{place}" for place in range(12)}
    assert {row["exposure"] for row in mediated} == {"hcy"} and "Beyond sex and group" in result.about
    assert all(row["note"].startswith("Not mediated: noise is not associated") for row in rows if row["exposure"] == "noise")


@pytest.mark.parametrize("outcome", ("age", "pad", "brain_age"))
def test_mediation_is_of_the_outcome_that_was_asked_for(finished, outcome):
    (result,) = paths.mediation(read_cohort(finished.settings(mediation_outcome=outcome)))
    assert {row["outcome"] for row in result.rows} == {outcome}
    assert {row["direction"] for row in result.rows} == {f"region -> phenotype -> {outcome}", f"phenotype -> region -> {outcome}"}
