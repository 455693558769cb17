"""ComBat in the group run: sites agree afterwards, a site without reference people is left empty and told, the fit is reusable."""

import json

import numpy as np
import pytest

from brainage_bids.cohort.harmonise import Harmonisation
from brainage_bids.cohort.saving import load
from brainage_bids.group import correction, fitted, harmonise
from brainage_bids.group.cohort import read_cohort
from brainage_bids.records import BadConfiguration


def only(results, name):
    return next(result for result in results if result.name == name).rows


def sites(study, counts=(40, 40), *, seed=1, shift=(0.0, 5.0, 9.0), sha="a"):
    random = np.random.default_rng(seed)
    for site, count in enumerate(counts):
        for number in range(count):
            age = round(float(random.uniform(30, 70)), 2)
            hippocampus = 4000 * (1 + 0.1 * site) - 10 * age + random.normal(0, 80)
            study.add(
                f"sub-{site}{number:02d}", (age, {"m": round(age + shift[site] + random.normal(0, 3), 3)}), site="abc"[site], sha=sha * 64,
                sex="FM"[number % 2], group="control",
                volumes={"Left-Hippocampus": hippocampus, "Brain-Stem": 20000 + random.normal(0, 400)},
            )  # fmt: skip
    return study.finish()


def test_sites_agree_afterwards_and_ages_keep_their_effect(study, tmp_path):
    sites(study)
    cohort, results, problems = harmonise.harmonised(read_cohort(study.settings(harmonise="both")), tmp_path)
    assert not problems
    rows = only(results, "harmonisation")
    for name in ("pad", "vol_Left-Hippocampus"):
        tests = {row["when"]: row for row in rows if row["column"] == name and row["part"] == "test" and row["who"] == "all"}
        assert tests["before"]["p"] < 1e-4 and tests["after"]["p"] > 0.05
    people = cohort.people("m")
    means = people.groupby("site")["pad_harmonised"].mean()
    assert abs(means["a"] - means["b"]) < 0.5
    slope = np.polyfit(people["age"].astype(float), people["vol_Left-Hippocampus"].astype(float), 1)[0]
    assert slope == pytest.approx(-10, abs=3)
    assert any("harmonised between sites" in said for said in cohort.warnings)


def test_a_site_without_reference_people_is_left_empty_and_told(study):
    sites(study, (20, 20, 3))
    cohort, results, _ = harmonise.harmonised(read_cohort(study.settings(harmonise="both")))
    people = cohort.people("m").set_index("site")
    assert people.loc["c", "pad_harmonised"].isna().all() and people.loc["c", "vol_Brain-Stem"].isna().all()
    assert people.loc["a", "pad_harmonised"].notna().all()
    assert {row["flags"] for row in only(results, "regions_harmonised") if row["participant_id"].startswith("sub-2")} == {
        "site_not_harmonised"
    }
    assert any("has seen too few reference people of c" in said for said in cohort.warnings)


def test_one_site_is_a_sentence(study):
    sites(study, (20,))
    _, results, problems = harmonise.harmonised(read_cohort(study.settings(harmonise="both")))
    assert not results and len(problems) == 2 and all("two sites" in said for said in problems)


def test_what_was_fitted_is_applied_to_others(study_at, tmp_path):
    first, second = (study_at(tmp_path / name) for name in ("first", "second"))
    sites(first)
    sites(second, (6, 6, 6), seed=2)
    cohort = read_cohort(first.settings(harmonise="both"))
    harmonise.harmonised(cohort, tmp_path)
    fitted.write_index(tmp_path, cohort, {})
    new = read_cohort(second.settings(harmonise="both", fitted=str(tmp_path)))
    store = fitted.open_store(new)
    applied, _, problems = harmonise.harmonised(new, None, store)
    people = applied.people("m").set_index("site")
    expected = store.get("combat_gap", "m").transform(
        {"pad": new.people("m")["pad"], "age": new.people("m")["age"], "sex": new.people("m")["sex"]},
        new.people("m")["site"],
        unseen="flag",
    )[0]["pad"]
    assert not problems and people["pad_harmonised"].to_numpy(float) == pytest.approx(expected, abs=1e-3, nan_ok=True)
    assert people.loc["c", "pad_harmonised"].isna().all()


def test_the_output_folder_itself_is_no_store(study):
    from brainage_bids.group.run import run_group

    sites(study, (6, 6))
    cohort = read_cohort(study.settings(fitted=str(study.out / "group")))
    with pytest.raises(BadConfiguration, match="names the output folder of this run"):
        run_group(cohort, study.out)


def without_sex(study, *names):
    for person in study.people:
        if person["participant_id"] in names:
            person["sex"] = "n/a"
    return study.finish()


def test_one_missing_sex_leaves_sex_to_all_others(study_at, tmp_path):
    """The person is left out of the fit and named, and gets a value with the mean sex; all others stay as they were."""
    whole, lacking = (study_at(tmp_path / name) for name in ("whole", "lacking"))
    sites(whole)
    without_sex(sites(lacking), "sub-003")
    found = {}
    for study in (whole, lacking):
        corrected = correction.corrected(read_cohort(study.settings(harmonise="both")))[0]
        cohort, results, problems = harmonise.harmonised(corrected, tmp_path / study.root.name)
        assert not problems
        found[study.root.name] = cohort.people("m").set_index("participant_id"), results
    (before, _), (after, results) = found["whole"], found["lacking"]
    gap = json.loads((tmp_path / "lacking" / "group" / "combat_gap_m.json").read_text())
    assert gap["covariates"] == ["age", "sex"] and sum(gap["counts"]) == 79
    assert (after["pad_harmonised"].astype(float) - before["pad_harmonised"].astype(float)).abs().max() < 0.3
    said = {row["assumptions"] for row in only(results, "harmonisation") if row["part"] == "site"}
    assert said == {
        "reference people of the sites are alike but for age and sex, whose effects are kept; sub-003 without sex: left out of the fit, "
        "the mean sex of the fit stands in for theirs"
    }
    assert after.loc["sub-003", "correction_flags"] == "covariate_imputed"
    flags = {row["participant_id"]: row["flags"] for row in only(results, "regions_harmonised")}
    assert flags["sub-003"] == "covariate_imputed" and flags["sub-004"] is None


def test_a_sex_that_most_of_a_site_lack_is_not_kept_and_said(study):
    without_sex(sites(study), *(f"sub-0{number:02d}" for number in range(25)))
    _, results, problems = harmonise.harmonised(read_cohort(study.settings(harmonise="gap")))
    said = {row["assumptions"] for row in only(results, "harmonisation") if row["part"] == "site"}
    assert not problems and len(said) == 1 and "sex is not among them, as it is one, or more than half of a site lack it" in said.pop()


def test_one_missing_volume_leaves_the_volume_to_all_others(study):
    sites(study)
    path = study.path("volumes_atlas", "sub-005")
    path.write_text("\n".join(line for line in path.read_text().splitlines() if "Brain-Stem" not in line) + "\n")
    _, results, problems = harmonise.harmonised(read_cohort(study.settings(harmonise="regions")))
    rows = {row["participant_id"]: row for row in only(results, "regions_harmonised")}
    assert not problems and rows["sub-005"]["vol_Brain-Stem"] is None and rows["sub-005"]["vol_Left-Hippocampus"] is not None
    assert rows["sub-006"]["vol_Brain-Stem"] is not None
    assert "sub-005 without a value of every column: left out of the fit" in only(results, "harmonisation")[0]["assumptions"]


def test_a_file_of_an_earlier_version_is_read(study, tmp_path):
    sites(study)
    harmonise.harmonised(read_cohort(study.settings(harmonise="gap")), tmp_path)
    path = tmp_path / "group" / "combat_gap_m.json"
    content = json.loads(path.read_text())
    del content["covariate_mean"]
    path.write_text(json.dumps(content))
    old = load(Harmonisation, path)
    values, flags = old.transform({"pad": [1.0, 1.0], "age": [50.0, 50.0], "sex": ["F", None]}, ["a", "a"])
    assert np.isfinite(values["pad"][0]) and np.isnan(values["pad"][1]) and flags == [(), ()]
