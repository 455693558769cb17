"""Fusion of models: better than its parts, never fitted on whom it predicts, reusable, and a model to the steps after it."""

import json

import numpy as np
import pytest
from scipy import stats

from brainage_bids.group import correction, ensembles, fitted, fusion
from brainage_bids.group.cohort import read_cohort
from brainage_bids.records import BadConfiguration, UnusableInput


def only(results, name):
    return next(result for result in results if result.name == name).rows


def ensemble(study, n=60, *, sha="a", seed=4, families=("t1w", "flair"), each=3, sessions=(None,)):
    """Base models `t1w1, t1w2 … flair3`: truth + error of the family + error of the model."""
    random = np.random.default_rng(seed)
    for number in range(n):
        age = round(float(random.uniform(20, 80)), 2)
        shared = {family: random.normal(0, 3) for family in families}
        for session in sessions:
            values = {
                f"{family}{place + 1}": round(age + shared[family] + random.normal(0, 2), 3) for family in families for place in range(each)
            }
            study.add(f"sub-{number:03d}", (age, values), session=session, sha=sha * 64, sex="FM"[number % 2])
    return study.finish()


@pytest.fixture(scope="module")
def fused(finished):
    return fusion.fusion(read_cohort(finished.settings(reference="group == 'control'")))


def test_it_is_better_than_its_parts_and_is_saved(finished, tmp_path):
    results = fusion.fusion(read_cohort(finished.settings(reference="group == 'control'")), tmp_path).results
    errors = {row["head"]: row["mae"] for row in only(results, "fusion_accuracy")}
    assert errors["linear"] < min(errors["t1 alone"], errors["flair alone"])
    assert json.loads((tmp_path / "group" / "fusion_linear.json").read_text())["kind"] == "LinearHead"
    visits = only(results, "fusion")
    assert len(visits) == 120 and all(row["fused_mean"] is not None and row["used"] == "flair+t1" for row in visits)


def test_each_model_alone_is_tested_against_all_and_all_against_all_with_sex(fused):
    """J4: the same pairs by F tests on the fit rows and by paired bootstrap on the others; the ages are there to be drawn."""
    pairs = [("flair", "flair+t1"), ("t1", "flair+t1"), ("flair+t1", "flair+t1+sex")]
    assert [(row["smaller"], row["larger"]) for row in only(fused.results, "fusion_nested")] == pairs
    compared = only(fused.results, "fusion_comparison")
    assert [(row["second"], row["first"]) for row in compared] == pairs
    drawn = only(fused.results, "fusion_predictions")
    size = {name: np.abs([row["residual"] for row in drawn if row["model"] == name]) for name in ("t1", "flair+t1")}
    assert compared[1]["difference"] == pytest.approx(size["flair+t1"].mean() - size["t1"].mean())
    random = np.random.default_rng(7)
    draws = [(size["flair+t1"] - size["t1"])[random.integers(0, 20, 20)].mean() for _ in range(4000)]
    assert (compared[1]["low"], compared[1]["high"]) == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=0.08)
    assert {row["model"] for row in drawn} == {name for pair in pairs for name in pair} and len(drawn) == 4 * 20


def test_retests_of_reference_people_are_predicted_without_them(fused, finished):
    """The second visit of a person is predicted by the head of the first visits of other folds, not by one that saw the person."""
    whole = fused.cohort.visits("fused")
    controls = whole[whole["reference"].astype(bool)]
    cohort = read_cohort(finished.settings(reference="group == 'control'"))
    one = cohort.visits("t1").merge(cohort.visits("flair"), on=["participant_id", "session_id"], suffixes=("", "_flair"))
    first = one[one["reference"].astype(bool)].drop_duplicates("participant_id")
    design = np.column_stack([np.ones(len(one)), one["brain_age_flair"], one["brain_age"], one["sex"] == "M"]).astype(float)
    weights = np.linalg.lstsq(design[first.index], first["age"].to_numpy(float), rcond=None)[0]
    in_sample = (design @ weights)[one["reference"].astype(bool)]
    assert np.abs(controls["brain_age"].to_numpy(float) - in_sample).min() > 0 and len(controls) == 80
    patients = whole[~whole["reference"].astype(bool)]
    assert patients["brain_age"].to_numpy(float) == pytest.approx((design @ weights)[~one["reference"].astype(bool)], abs=1e-3)


def test_the_fused_age_is_a_model_to_the_steps_after_it(fused):
    assert fused.cohort.models == ("flair", "t1", "fused")
    rows = fused.cohort.visits("fused")
    assert len(rows) == 120 and set(rows["modality"]) == {"FLAIR+T1w"} and np.isfinite(rows["brain_age_sd"].astype(float)).all()
    assert (rows["pad"] - (rows["brain_age"] - rows["age"])).abs().max() < 2e-3
    corrected, _, problems = correction.corrected(fused.cohort)
    assert not problems and corrected.people("fused")["pad_corrected"].notna().all()


def test_who_lacks_a_model_gets_the_age_of_the_others(make_study, study):
    make_study(study, n=40, patients=False)
    study.add("sub-999", (50.0, {"t1": 53.0}))
    study.finish()
    found = fusion.fusion(read_cohort(study.settings()))
    row = next(row for row in only(found.results, "fusion") if row["participant_id"] == "sub-999")
    assert row["fused_mean"] == 53.0 and row["flags"] == "fusion_of_part" and row["fused_linear"] is not None and row["used"] == "t1"
    person = found.cohort.people("fused").set_index("participant_id").loc["sub-999"]
    assert person["flags"] == "fusion_of_part"


def test_base_models_form_sub_ensembles_and_ridge_is_on_two_levels(study, tmp_path):
    ensemble(study, 80)
    found = fusion.fusion(read_cohort(study.settings()), tmp_path)
    assert found.families == {"flair*": ("flair1", "flair2", "flair3"), "t1w*": ("t1w1", "t1w2", "t1w3")}
    saved = json.loads((tmp_path / "group" / "fusion_ridge.json").read_text())
    assert set(saved["groups"]) == set(found.families) and saved["penalty"] == 1.0
    levels = only(ensembles.ensembles(found.cohort, tmp_path, None, found)[1], "fusion_levels")
    mae = {(row["level"], row["family"]): row["mae"] for row in levels}
    assert mae["ensemble", "all"] < min(mae["sub-ensemble", name] for name in found.families)
    for name in found.families:
        assert mae["sub-ensemble", name] < mae["base models", name]
    base = next(row for row in levels if row["level"] == "base models")
    assert base["base_models"] == 3 and base["mae_sd"] > 0


def test_the_spread_of_base_models_is_students(study):
    ensemble(study, 40)
    found = fusion.fusion(read_cohort(study.settings()))
    row = only(found.results, "fusion")[0]
    table = found.cohort.table
    values = table[(table["participant_id"] == row["participant_id"]) & (table["model"] != "fused")]["brain_age"].astype(float)
    s = values.std(ddof=1)
    assert row["base_models"] == 6 and row["base_sd"] == pytest.approx(s, abs=1e-3)
    assert row["base_width"] == pytest.approx(2 * stats.t.ppf(0.975, 5) * s / np.sqrt(6), abs=2e-3)
    assert row["sub_sd"] > 0


def test_names_with_numbers_of_other_modalities_stay_apart(study):
    study.add("sub-1", (50.0, {"x1": 50.0, "x2flair": 51.0, "x2": 52.0}))
    study.finish()
    assert fusion.families_of(read_cohort(study.settings())) == {"x*": ("x1", "x2"), "x2flair": ("x2flair",)}


def test_few_reference_people_and_one_model_are_sentences(study, study_at, tmp_path):
    ensemble(study, 12)
    with pytest.raises(UnusableInput, match="needs 30 reference people.*there are 12"):
        fusion.fusion(read_cohort(study.settings()))
    other = study_at(tmp_path / "other")
    other.add("sub-1", (30.0, {"m": 31.0}))
    other.finish()
    with pytest.raises(UnusableInput, match="one model"):
        fusion.fusion(read_cohort(other.settings()))


def test_a_model_called_fused_is_refused(study):
    for number in range(40):
        study.add(f"sub-{number}", (30.0 + number, {"fused": 31.0 + number, "m": 30.0}))
    study.finish()
    with pytest.raises(BadConfiguration, match="called 'fused'"):
        fusion.fusion(read_cohort(study.settings()))


def test_heads_of_another_run_give_the_same_ages_to_new_people(study_at, tmp_path):
    first, second = (study_at(tmp_path / name) for name in ("first", "second"))
    ensemble(first, 80)
    ensemble(second, 10, seed=5)
    found = fusion.fusion(read_cohort(first.settings()), tmp_path)
    cohort = found.cohort
    fitted.write_index(tmp_path, cohort, found.families)
    new = read_cohort(second.settings(fitted=str(tmp_path)))
    store = fitted.open_store(new)
    applied = fusion.fusion(new, None, store)
    rows = only(applied.results, "fusion")
    head = store.get("fusion_ridge")
    columns = {model: new.people(model)["brain_age"].tolist() for model in new.models}
    assert [row["fused_ridge"] for row in rows] == pytest.approx(head.estimate(columns).ages, abs=1e-3)
    assert len(applied.cohort.visits("fused")) == 10 and store.models["fused"] is None


def test_heads_for_other_weights_are_refused(study_at, tmp_path):
    first, second = (study_at(tmp_path / name) for name in ("first", "second"))
    ensemble(first, 40)
    ensemble(second, 40, sha="b")
    found = fusion.fusion(read_cohort(first.settings()), tmp_path)
    fitted.write_index(tmp_path, found.cohort, found.families)
    with pytest.raises(BadConfiguration, match="fitted for other weights of the model flair1"):
        fitted.open_store(read_cohort(second.settings(fitted=str(tmp_path))))


@pytest.mark.parametrize("content", ("", "{}", '{"format": 9, "models": {}, "families": {}}', '{"format": 1, "models": 3, "families": {}}'))
def test_a_folder_without_a_usable_index_is_refused(content, study, tmp_path):
    study.add("sub-1", (30.0, {"m": 31.0}))
    study.finish()
    (tmp_path / "fitted.json").write_text(content)
    with pytest.raises(BadConfiguration, match="fitted.json|layout 9"):
        fitted.open_store(read_cohort(study.settings(fitted=str(tmp_path))))


def test_one_missing_sex_leaves_sex_in_the_fusion(make_study, study, tmp_path):
    make_study(study, n=45, patients=False)
    next(person for person in study.people if person["participant_id"] == "sub-007")["sex"] = "n/a"
    study.finish()
    found = fusion.fusion(read_cohort(study.settings()), tmp_path)
    saved = json.loads((tmp_path / "group" / "fusion_linear.json").read_text())
    assert saved["covariates"] == ["sex"] and saved["moments"]["n"] == 44
    rows = only(found.results, "fusion_coefficients")
    assert {"flair+t1+sex"} < {row["model"] for row in rows} and {row["n"] for row in rows} == {44}
    for name in ("fusion_coefficients", "fusion_nested", "fusion_errors", "fusion_comparison"):
        assert all("sub-007 without sex: left out of fits with sex" in row["assumptions"] for row in only(found.results, name))
    person = next(row for row in only(found.results, "fusion") if row["participant_id"] == "sub-007")
    assert person["fused_linear"] is not None and person["flags"] == "fusion_of_part"
