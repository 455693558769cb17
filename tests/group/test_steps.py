"""Every step on people whose effects are known."""

import numpy as np
import pytest
from scipy import stats

from brainage_bids.group import accuracy, associations, correction, groups, paths, regions, sessions
from brainage_bids.group.cohort import read_cohort
from brainage_bids.group.fitted import open_store, write_index
from brainage_bids.records import BadConfiguration, UnusableInput


@pytest.fixture(scope="module")
def cohort(finished):
    return correction.corrected(read_cohort(finished.settings(reference="group == 'control'")))[0]


def only(results, name):
    return next(result for result in results if result.name == name).rows


def test_accuracy_is_that_of_uncorrected_ages(cohort):
    rows = only(accuracy.accuracy(cohort), "accuracy")
    whole = next(row for row in rows if row["model"] == "t1" and row["by"] == "all")
    visits = cohort.visits("t1")
    assert whole["mae"] == pytest.approx(np.abs(visits["brain_age"] - visits["age"]).mean())
    assert whole["n"] == 120 and whole["participants"] == 60 and whole["mae_low"] < whole["mae"] < whole["mae_high"]
    assert {"age", "sex", "site", "group"} <= {row["by"] for row in rows}


def test_models_are_compared_on_the_same_visits(cohort):
    (row,) = only(accuracy.compared(cohort), "model_comparison")
    sizes = {name: np.abs(cohort.visits(name)["pad"]).mean() for name in ("t1", "flair")}
    assert row["difference"] == pytest.approx(sizes[row["first"]] - sizes[row["second"]], abs=1e-3)


@pytest.mark.parametrize("way", ("paired", "unpaired"))
def test_the_differences_by_chance_are_kept_with_the_observed_one(finished, way):
    results = accuracy.compared(read_cohort(finished.settings(permutation=way)))
    (row,), drawn = only(results, "model_comparison"), only(results, "model_comparison_null")
    assert sum(bin_["draws"] for bin_ in drawn) == 1000 and ("unpaired" in row["method"]) == (way == "unpaired")
    far = sum(bin_["draws"] for bin_ in drawn if min(abs(bin_["bin_low"]), abs(bin_["bin_high"])) >= abs(row["difference"]) - 1e-9)
    assert far / 1000 <= row["p"] and drawn[0]["bin_low"] == -drawn[-1]["bin_high"]
    people = [cohort_of.set_index(["participant_id", "session_id"])["pad"] for cohort_of in _visits(finished, row)]
    assert row["r_errors"] == pytest.approx(np.corrcoef(*people)[0, 1], abs=1e-6)


def _visits(finished, row):
    cohort = read_cohort(finished.settings())
    return [cohort.visits(row[name]) for name in ("first", "second")]


@pytest.mark.parametrize("alternative", ("greater", "less"))
def test_ranks_are_one_sided_on_demand(finished, alternative):
    cohort = read_cohort(finished.settings(alternative=alternative))
    row = next(row for row in only(groups.compared_groups(cohort), "groups_ranks") if row["model"] == "t1" and row["variable"] == "pad")
    people = cohort.people("t1")
    split = [people.loc[people["group"] == name, "pad"].astype(float) for name in ("patient", "control")]
    assert row["p"] == pytest.approx(stats.mannwhitneyu(*split, alternative=alternative).pvalue) and alternative in row["method"]
    assert row["rank_biserial"] == pytest.approx(2 * row["auc"] - 1)
    ages = next(row for row in only(groups.compared_groups(cohort), "groups_ranks") if row["variable"] == "age")
    assert "two-sided" in ages["method"]


def test_windows_of_several_models_are_laid_over_each_other(cohort):
    rows = only(associations.phenotype(cohort), "age_windows")
    assert {row["model"] for row in rows} == {"t1", "flair"}


def test_the_corrections_identities_hold_on_the_reference(cohort):
    controls = cohort.people("t1")
    controls = controls[controls["reference"].astype(bool)]
    fit = stats.linregress(controls["age"].astype(float), controls["pad_corrected"].astype(float))
    assert fit.slope == pytest.approx(0, abs=1e-4) and fit.intercept == pytest.approx(0, abs=2e-3)
    assert (cohort.table["brain_age_corrected"] - cohort.table["age"] - cohort.table["pad_corrected"]).abs().max() < 2e-3


def test_offsets_of_sites_are_found(cohort):
    gaps = cohort.people("t1")
    gaps = gaps[gaps["reference"].astype(bool)]
    means = gaps.groupby("site")["pad_site_adjusted"].mean()
    raw = gaps.groupby("site")["pad"].mean()
    assert raw["b"] - raw["a"] > 1.5 and abs(means["b"] - means["a"]) < abs(raw["b"] - raw["a"])


def test_intervals_hold_what_they_promise(make_study, study):
    make_study(study, n=400, patients=False, models=("t1",))
    _, results, problems = correction.corrected(read_cohort(study.settings()))
    rows = only(results, "coverage")
    held_out = next(row for row in rows if row["interval"] == "conformal, held out" and row["stratum"] == "all")
    assert held_out["within_band"] and held_out["n"] == 200 and not problems


def test_intervals_that_hold_too_little_are_a_warning(study):
    random = np.random.default_rng(2)
    for number in range(80):
        age = float(random.uniform(20, 80))
        study.add(f"sub-{number:02d}", (age, {"m": age + random.normal(0, 12)}))
    study.finish()
    _, results, _ = correction.corrected(read_cohort(study.settings()))
    (said, *_) = correction.coverage_warnings(results)
    assert "the model's own" in said and "fewer people than the promised 95 %: m " in said


def test_a_reference_of_nobody_is_refused(cohort, finished):
    with pytest.raises(BadConfiguration, match="--reference .* holds for nobody"):
        correction.corrected(read_cohort(finished.settings(reference="age > 200")))


def test_patients_come_first_and_their_shift_is_found(cohort):
    results = groups.compared_groups(cohort)
    row = next(row for row in only(results, "groups_means") if row["model"] == "t1" and row["variable"] == "pad_corrected")
    people = cohort.people("t1")
    split = [people.loc[people["group"] == name, "pad_corrected"].astype(float) for name in ("patient", "control")]
    expected = stats.ttest_ind(*split, equal_var=False)
    assert (row["first"], row["second"]) == ("patient", "control") and row["t"] == pytest.approx(expected.statistic)
    assert row["low"] < 4.8 < row["high"]  # six years of gap, of which .8 are read
    adjusted = next(row for row in only(results, "groups_adjusted") if row["model"] == "t1" and row["variable"] == "pad")
    assert adjusted["low"] < 4.8 < adjusted["high"]


def test_formulas_and_mixed_models_find_it_too(cohort):
    results = groups.formula_models(cohort)
    for name in ("pad_models", "pad_mixed"):
        row = next(row for row in only(results, name) if row["model"] == "t1" and row["term"] == "C(group)[T.patient]")
        assert row["low"] < 4.8 < row["high"]


def test_formulas_with_unknown_columns_are_told_and_the_others_fitted(finished):
    cohort = read_cohort(finished.settings(formula=("pad ~ age", "pad ~ nope")))
    with pytest.raises(BadConfiguration, match="nope"):
        groups.check_formulas(cohort)
    assert {row["formula"] for row in only(groups.formula_models(cohort), "pad_models")} == {"pad ~ age"}


def test_the_planted_blood_marker_is_found_and_the_noise_is_not(cohort):
    rows = {row["second"]: row for row in only(associations.phenotype(cohort), "associations") if row["model"] == "t1"}
    assert rows["nfl"]["p_partial_corrected"] < 1e-4 and rows["noise"]["p_partial"] > 0.05 and set(rows) == {"nfl", "noise"}


def test_a_gap_that_follows_quality_is_a_warning(study):
    random = np.random.default_rng(3)
    for number in range(80):
        age, snr = float(random.uniform(20, 80)), random.normal(10, 1)
        study.add(
            f"sub-{number:02d}", (age, {"m": age - 3 * (snr - 10) + random.normal(0, 2)}), quality={"snr": snr, "other": random.normal()}
        )
    study.finish()
    _, warnings = associations.quality(read_cohort(study.settings()))
    assert len(warnings) == 1 and "qc_snr" in warnings[0] and "follows the image quality" in warnings[0]


def test_regions_are_named_by_their_association_with_the_gap(cohort):
    rows = [row for row in only(regions.regions(cohort), "regions") if row["model"] == "t1" and row["first"] == "pad"]
    strongest = min(rows, key=lambda row: row["p_partial"])
    assert strongest["second"] == "vol_Left-Hippocampus" and strongest["r_partial"] < -0.5


def test_retests_agree_as_their_noise_says(cohort):
    rows = only(sessions.reliability(cohort), "reliability")
    row = next(row for row in rows if row["model"] == "t1" and row["variable"] == "pad" and row["pairs"] == "retests")
    assert (
        row["n"] == 60
        and row["sd_within"] == pytest.approx(1.0, rel=0.3)
        and row["smallest_change"] == pytest.approx(2.7718 * row["sd_within"], rel=1e-3)
    )
    with pytest.raises(UnusableInput, match="more than 0.5 years apart"):
        sessions.change(cohort)


def test_change_per_year_needs_ages_of_their_own(study):
    for number in range(4):
        for session, age in (("ses-1", 50.0), ("ses-2", 54.0)):
            study.add(f"sub-{number}", (age, {"m": age + 0.5 * (age - 50)}), session=session, listed_age=50.0)
    study.finish()
    cohort = read_cohort(study.settings())
    assert {row["pairs"] for row in only(sessions.reliability(cohort), "reliability")} >= {"visits without an age of their own"}
    with pytest.raises(UnusableInput, match="with an age at each"):
        sessions.change(cohort)
    assert any("no age of their own" in said for said in cohort.warnings)
    for number in range(4):
        path = study.raw / f"sub-{number}" / f"sub-{number}_sessions.tsv"
        study.table(path, [{"session_id": "ses-1", "age": 50}, {"session_id": "ses-2", "age": 54}])
    (result,) = sessions.change(read_cohort(study.settings()))
    whole = next(row for row in result.rows if row["variable"] == "brain_age" and row["participant_id"] == "all")
    assert whole["change"] == pytest.approx(1.5) and whole["people"] == 4


def test_mediation_runs_for_small_cohorts_only(cohort, finished):
    names = {(row["exposure"], row["mediator"]) for row in only(paths.mediation(cohort), "mediation")}
    assert ("vol_Left-Hippocampus", "nfl") in names and ("nfl", "vol_Left-Hippocampus") in names
    with pytest.raises(UnusableInput, match="switched off"):
        paths.mediation(read_cohort(finished.settings(slow_steps="skip")))


def test_components_are_drawn_from_regions_and_phenotype(cohort):
    results = paths.components(cohort)
    assert sum(row["explained"] for row in only(results, "pca_components")) <= 1 and len(only(results, "pca_points")) == 60


def test_errors_by_age_are_polynomials(cohort):
    rows = only(accuracy.by_age(cohort), "error_by_age")
    assert {row["variable"] for row in rows} == {"absolute_error", "brain_age_sd"} and {row["part"] for row in rows} == {"fit", "curve"}


def test_coverage_is_told_by_true_age_and_intervals_across_ages_hold_at_both_ends(study, tmp_path):
    random = np.random.default_rng(11)
    for number in range(400):
        age = round(float(random.uniform(20, 90)), 1)
        study.add(f"sub-{number:03d}", (age, {"m": round(50 + 0.5 * (age - 50) + random.normal(0, 6), 2)}))
    study.finish()
    cohort, results, problems = correction.corrected(read_cohort(study.settings()), tmp_path)
    rows = [row for row in only(results, "coverage") if row["by"] == "age"]
    decades = [f"[{low}, {low + 10})" for low in range(20, 90, 10)]
    for interval in ("across ages, held out", "conformal, held out", "the model's own, reference"):
        assert [row["stratum"] for row in rows if row["interval"] == interval] == decades
    across = {row["stratum"]: row for row in rows if row["interval"] == "across ages, held out"}
    assert not problems and all(across[name]["within_band"] for name in (decades[0], decades[-1]))
    assert any("hold too few people of some ages: m " in said and "conformal" in said for said in correction.coverage_warnings(results))
    people = cohort.people("m")
    covered = (people["across_ages_low"] <= people["age"]) & (people["age"] <= people["across_ages_high"])
    assert covered.mean() == pytest.approx(0.95, abs=0.02) and (people["age"].between(20, 30) & covered).sum() > 0
    write_index(tmp_path, cohort, {})
    (tmp_path / "group" / "across_ages_m.json").unlink()  # as a run before there were such intervals left it
    new = read_cohort(study.settings(fitted=str(tmp_path)))
    again, results, problems = correction.corrected(new, None, open_store(new))
    assert (again.people("m")["conformal_low"] == people["conformal_low"]).all()
    assert any(said.startswith("across ages of m: The folder") and "across_ages_m.json" in said for said in problems)
