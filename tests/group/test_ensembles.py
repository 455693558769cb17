"""Ensembles named on the command line: models of their own, errors by level and activation, agreement, curves along age."""

import hashlib
import json

import numpy as np
import pytest

from brainage_bids.group import ensembles, fitted, fusion
from brainage_bids.group.cohort import read_cohort
from brainage_bids.group.run import run_group
from brainage_bids.models.registry import embedded_dir
from brainage_bids.records import BadConfiguration

ASKED = ("whole=whole*", "parts=cortex*,cerebellum*")


def only(results, name):
    return next(result for result in results if result.name == name).rows


def two_types(study, n=80, *, shared=3.0):
    """Whole brains and parts of brains: `shared` is the s.d. of an error that both make."""
    random = np.random.default_rng(2)
    for number in range(n):
        age = round(float(random.uniform(20, 80)), 2)
        common = random.normal(0, shared)
        own = {family: common + random.normal(0, 2) for family in ("whole", "cortex", "cerebellum")}
        values = {f"{family}{place}": round(age + own[family] + random.normal(0, 2), 3) for family in own for place in (1, 2, 3)}
        study.add(f"sub-{number:03d}", (age, values), sex="FM"[number % 2])
    return study.finish()


def made(study, **options):
    cohort = read_cohort(study.settings(ensembles=ASKED, **options))
    found = fusion.fusion(cohort)
    return ensembles.ensembles(found.cohort, None, None, found)


def test_both_types_agree_as_their_errors_do(study):
    two_types(study)
    cohort, results, problems = made(study)
    assert not problems and cohort.models[-3:] == ("fused", "whole", "parts")
    row = next(row for row in only(results, "ensembles") if (row["first"], row["second"]) == ("whole", "parts"))
    ages = {name: cohort.people(name) for name in ("whole", "parts")}
    r = np.corrcoef([ages[name]["brain_age"].astype(float) for name in ages])[0, 1]
    errors = np.corrcoef([ages[name]["pad"].astype(float) for name in ages])[0, 1]
    assert (row["r_predictions"], row["r_errors"]) == pytest.approx((r, errors), abs=1e-3)
    assert row["low_errors"] < errors < row["high_errors"] and 0.5 < errors < r
    levels = [(row["ensemble"], row["level"], row["family"]) for row in only(results, "fusion_levels")]
    assert (
        ("parts", "sub-ensemble", "cortex*") in levels and ("whole", "ensemble", "all") in levels and ("fused", "ensemble", "all") in levels
    )
    curves = {(row["ensemble"], row["variable"]) for row in only(results, "ensembles_by_age")}
    assert {("parts", "absolute_error"), ("parts", "base_width"), ("parts", "sub_width"), ("whole", "base_width")} <= curves
    assert ("whole", "sub_width") not in curves  # it has one sub-ensemble


def test_a_head_is_kept_and_taken_again(study, tmp_path):
    two_types(study)
    cohort = read_cohort(study.settings(ensembles=ASKED))
    one = ensembles.ensembles(cohort, tmp_path)[0]
    fitted.write_index(tmp_path, cohort, {})
    again = read_cohort(study.settings(ensembles=ASKED, fitted=str(tmp_path)))
    store = fitted.open_store(again)
    taken = ensembles.ensembles(again, None, store)[0]
    in_sample, out_of_fold = (found.people("parts")["brain_age"].to_numpy(float) for found in (taken, one))
    assert np.abs(in_sample - out_of_fold).max() > 0 and np.corrcoef(in_sample, out_of_fold)[0, 1] > 0.99


@pytest.mark.parametrize(
    ("text", "said"),
    [("whole", "cannot be read"), ("a b=whole*", "cannot be read"), ("x=", "cannot be read"), ("fused=whole*", "name of a model"),
     ("whole1=whole*", "name of a model"), ("x=nobody*", "needs two models; nobody\\* fits 0 of")],
)  # fmt: skip
def test_wrong_ensembles_are_a_sentence_and_the_rest_is_done(study, tmp_path, text, said):
    two_types(study, 40)
    cohort = read_cohort(study.settings(ensembles=(text,)))
    with pytest.raises(BadConfiguration, match=said):
        ensembles.check_names(cohort)
    outcome = run_group(cohort, study.out)
    assert outcome.asked_failed and not outcome.broken and outcome.report.rows("fusion_levels")


def test_activations_are_those_of_folders_that_are_at_hand(study, tmp_path):
    from brainage_bids.models.cardfile import card_text, read_card

    folders = {}
    for name, leak in (("whole1", 0.0), ("whole2", 0.2)):
        folder = tmp_path / "models" / name
        folder.mkdir(parents=True)
        heads = json.dumps({"architecture": {"leak": leak}}).encode()
        (folder / "heads.json").write_bytes(heads)
        weights = hashlib.sha256(name.encode()).hexdigest()
        text = card_text(read_card(embedded_dir() / "volumes" / "model.toml"))
        card = read_card(embedded_dir() / "volumes" / "model.toml")
        text = text.replace(card.files["heads.json"], hashlib.sha256(heads).hexdigest()).replace(card.files["weights.safetensors"], weights)
        text = text.replace('kind = "volumes"', 'kind = "mrinet"').replace('name = "volumes"', f'name = "{name}"')
        (folder / "model.toml").write_text(text)
        folders[name] = weights
    random = np.random.default_rng(1)
    for number in range(40):
        age = float(random.uniform(20, 80))
        for model, sha in folders.items():
            study.add(f"sub-{number}", (age, {model: age + random.normal()}), session=f"ses-{model}", sha=sha)
    study.finish()
    from brainage_bids.group.activations import activations_of

    cohort = read_cohort(study.settings(model_dirs=(str(tmp_path / "models"),)))
    assert activations_of(cohort) == {"whole1": "ReLU", "whole2": "leaky ReLU 0.2"}
    (tmp_path / "models" / "whole1" / "heads.json").write_text("{}")
    assert activations_of(cohort) == {"whole2": "leaky ReLU 0.2"} and "whole1 is not told" in cohort.warnings[-1]
