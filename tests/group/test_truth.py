"""What `brainage-phantom --tables-only` planted is found by the steps of the group run (benchmarks/group_truth.py does it many times)."""

import numpy as np
import pytest

from brainage_bids.cli.phantom import main as phantom
from brainage_bids.group import associations, correction, fusion, groups, harmonise, sessions
from brainage_bids.group.cohort import columns_of, read_cohort
from brainage_bids.settings import GroupSettings
from brainage_bids.stats.associations import associate

READS, PERSON_SD, VISIT_SD, GAP_SD, PATIENT_GAP, SITE, NFL = 0.85, 3.5, 1.0, 4.0, 6.0, 2.0, 0.17
"""Of the reader simt1w and of the design (docs/phantom_cohorts.md)."""


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted") / "cohort"
    words = "--tables-only --participants 240 --patients 80 --ages 55 85 --sites 2 --sessions 2 --seed 11 --jobs 1"
    assert phantom([str(folder), *words.split()]) == 0
    settings = GroupSettings(str(folder), str(folder / "derivatives" / "brainage"), reference="group == 'control'", harmonise="gap")
    return read_cohort(settings)


@pytest.fixture(scope="module")
def fitted(cohort):
    return correction.corrected(cohort)


def rows_of(results, name, **equal):
    rows = next(result for result in results if result.name == name).rows
    return [row for row in rows if all(row[key] == value for key, value in equal.items())]


def test_the_patients_shift_is_found_at_its_size(cohort):
    (row,) = rows_of(groups.compared_groups(cohort), "groups_adjusted", model="simt1w", variable="pad")
    sd = np.sqrt((READS * GAP_SD) ** 2 + PERSON_SD**2 + VISIT_SD**2)
    error = sd * np.sqrt(1 / 80 + 1 / 160)
    assert row["p"] < 1e-6 and abs(row["difference"] - READS * PATIENT_GAP) < 3 * error


def test_the_sites_offset_is_found_and_removed(fitted):
    cohort, results, _ = fitted
    offsets = {row["site"]: row for row in rows_of(results, "site_offsets", model="simt1w")}
    error = np.hypot(offsets["site1"]["se"], offsets["site2"]["se"])
    assert abs(offsets["site2"]["offset"] - offsets["site1"]["offset"] - SITE) < 3 * error
    people = harmonise.harmonised(cohort)[0].people("simt1w")
    patients = people[people["group"] == "patient"]  # nothing is fitted on them
    left = patients.groupby("site")[["pad", "pad_site_adjusted", "pad_harmonised"]].mean().diff().iloc[-1]
    assert abs(left["pad_site_adjusted"]) < abs(left["pad"]) and abs(left["pad_harmonised"]) < abs(left["pad"])


def test_nfl_is_correlated_as_planted_within_groups_and_not_by_the_patients(cohort):
    """Patients have more NfL and a larger gap: together that looks like .3, while within controls .17 were planted."""
    rows = {row["second"]: row for row in rows_of(associations.phenotype(cohort), "associations", model="simt1w", first="pad")}
    row, people = rows["NFL"], cohort.people("simt1w")
    assert row["low_partial"] < NFL < row["high_partial"] and row["covariates"] == "age, sex, group"
    (together,) = associate(columns_of(people, ["pad", "NFL", "age", "sex"]), "pad", ["NFL"], covariates=["age", "sex"])
    assert together["r_partial"] > 0.2 > NFL > row["r_partial"] and together["p_partial"] < 1e-3
    assert rows["ApoA1"]["p_partial"] > 0.01 and abs(rows["ApoA1"]["r_partial"]) < 0.2


def test_the_retests_icc_is_that_of_the_planted_errors(cohort):
    (row,) = rows_of(sessions.reliability(cohort), "reliability", model="simt1w", variable="pad", pairs="retests")
    share = 1 / 3
    gap = GAP_SD**2 + share * (1 - share) * PATIENT_GAP**2
    between = READS**2 * gap + (1 - READS) ** 2 * 30**2 / 12 + PERSON_SD**2 + SITE**2 / 4
    assert row["low"] <= between / (between + VISIT_SD**2) <= row["high"]
    assert row["sd_within"] == pytest.approx(VISIT_SD, rel=0.15)


def test_fused_ages_beat_every_single_modality_on_people_not_fitted_on(cohort):
    found = fusion.fusion(cohort).cohort
    errors = {}
    for model in ("simt1w", "simflair", "simswi", "fused"):
        people = found.people(model)
        controls = people[people["reference"].astype(bool)]
        errors[model] = np.abs(controls["pad"].to_numpy(float)).mean()
    assert errors["fused"] < min(value for model, value in errors.items() if model != "fused")
