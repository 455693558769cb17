import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from brainage_bids.models.cardfile import card_text, read_card
from brainage_bids.models.predict import load_model
from brainage_bids.models.registry import open_model
from brainage_bids.models.regressor import fit_regressor
from brainage_bids.models.selftest import run_self_test
from brainage_bids.models.volumes import STRUCTURES, log_shares, map_volumes
from brainage_bids.models.weights import sha256_of_bytes
from brainage_bids.records import BadConfiguration, UnusableInput


def test_an_estimate_from_volumes_alone(volume_model, volume_person, estimate):
    found = estimate(volume_model, {}, volume_person(50.0), age=50.0)
    assert found.brain_age == pytest.approx(50, abs=25)
    assert (found.model, found.modality, found.flags) == ("toyvolumes", "T1w", ())
    assert found.model_sha256 == volume_model.card.files["weights.safetensors"]
    young, old = (
        np.mean([estimate(volume_model, {}, volume_person(age, seed), age=age).brain_age for seed in range(8)]) for age in (25, 75)
    )
    assert old > young + 20


def test_the_age_changes_nothing_but_flags(volume_model, volume_person, estimate):
    found = [estimate(volume_model, {}, volume_person(50.0), age=age) for age in (50.0, None)]
    assert found[0].brain_age == found[1].brain_age
    assert found[1].flags == ("age_missing",)


def test_contributions_sum_to_the_age(volume_model, volume_person, trained_volumes, estimate):
    model = load_model(volume_model)
    years = model.contributions(volume_person(70.0))
    mean_person = float(model.regressor.predict(np.zeros((1, len(model.centre))))[0][0])
    brain_age = estimate(volume_model, {}, volume_person(70.0), age=None).brain_age
    assert sum(years.values()) == pytest.approx(brain_age - mean_person - model.offset, abs=1e-9)
    assert list(years)[-1] == "brain"


def test_contributions_of_a_curved_model_sum_too(volume_model, volume_person, trained_volumes):
    trained = trained_volumes[0]
    standard = (trained.features - trained.model.centre) / trained.model.spread
    curved = replace(
        load_model(volume_model),
        regressor=fit_regressor(standard, trained.table.ages, kernel="rbf", alpha=0.3, length_scale=3.0),
        offset=1.5,
    )
    years = curved.contributions(volume_person(70.0))
    mean_person = float(curved.regressor.predict(np.zeros((1, len(curved.centre))))[0][0])
    brain_age = curved.age(volume_person(70.0))[0].mean
    assert sum(years.values()) == pytest.approx(brain_age - mean_person - 1.5, abs=1e-6)


def test_structures(volume_model, volume_person):
    volumes = volume_person(50.0)
    model = load_model(volume_model)
    rows = {row["structure"]: SimpleNamespace(**row) for row in model.structures(volumes, 50.0)}
    assert "amygdala" not in rows
    lateral = rows["lateral_ventricles"]
    assert lateral.volume_mm3 == pytest.approx(
        sum(value for name, value in volumes.items() if "Vent" in name and name[0] in "LR" and "DC" not in name)
    )
    assert lateral.mapped_mm3 == pytest.approx(0.8 * lateral.volume_mm3, rel=0.02)
    assert lateral.norm_p5 < lateral.norm_p50 < lateral.norm_p95
    inside = [row.share_percent for row in rows.values() if row.structure in {item.name for item in STRUCTURES if item.in_brain}]
    assert sum(inside) == pytest.approx(100, abs=1)
    assert rows["brain"].share_percent is None
    assert {row["norm_p50"] for row in model.structures(volumes, None)} == {None}
    assert {row["norm_p50"] for row in model.structures(volumes, 99.0)} == {None}


def test_size_of_the_unit_does_not_change_shares(volume_model, volume_person):
    structures = load_model(volume_model).model_structures
    volumes = volume_person(50.0)
    one, two = (log_shares(map_volumes({k: f * v for k, v in volumes.items()}, structures), structures) for f in (1.0, 1.1))
    np.testing.assert_allclose(two - one, [*np.zeros(len(one) - 1), np.log(1.1)], atol=1e-12)


def test_a_structure_beyond_all_training_people_is_flagged(volume_model, volume_person, estimate):
    volumes = volume_person(50.0)
    large = {name: 20 * value if "Lateral-Ventricle" in name else value for name, value in volumes.items()}
    assert "input_mismatch" in estimate(volume_model, {}, large, age=50.0).flags


@pytest.mark.parametrize("value", [None, 0.0, -1.0, float("nan"), float("inf")])
def test_volumes_that_cannot_be_used(volume_model, volume_person, value, estimate):
    volumes = volume_person(50.0)
    for side in ("Left", "Right"):
        volumes[f"{side}-Thalamus"] = value
        if value is None:
            del volumes[f"{side}-Thalamus"]
    with pytest.raises(UnusableInput, match=r"needs Left-Thalamus, Right-Thalamus of sub-01|volume of the thalamus is"):
        estimate(volume_model, {}, volumes, age=50.0)


def test_files_and_self_test(volume_model):
    assert sorted(path.name for path in volume_model.path.iterdir()) == [
        "example.json", "heads.json", "mapping.tsv", "model.toml", "norms.json", "weights.safetensors",
    ]  # fmt: skip
    assert set(volume_model.card.files) == {path.name for path in volume_model.path.iterdir()} - {"model.toml"}
    assert run_self_test(open_model(volume_model.path)).passed
    assert read_card(volume_model.path / "model.toml") == volume_model.card


@pytest.fixture
def copy(volume_model, tmp_path):
    shutil.copytree(volume_model.path, tmp_path / "copy")
    return tmp_path / "copy"


def alter(folder, file, change):
    """Change a JSON file and its sum on the card."""
    content = json.loads((folder / file).read_bytes())
    change(content)
    text = json.dumps(content).encode()
    (folder / file).write_bytes(text)
    card = read_card(folder / "model.toml")
    (folder / "model.toml").write_text(card_text(replace(card, files={**card.files, file: sha256_of_bytes(text)})))
    return open_model(folder)


@pytest.mark.parametrize("file", ["weights.safetensors", "heads.json", "norms.json"])
def test_altered_files_are_fatal(copy, file, volume_person, estimate):
    content = bytearray((copy / file).read_bytes())
    content[-4] ^= 1
    (copy / file).write_bytes(content)
    with pytest.raises(BadConfiguration, match="SHA-256"):
        estimate(copy, {}, volume_person(50.0), age=50.0)


@pytest.mark.parametrize(
    "change",
    [
        lambda heads: heads.update(format=2),
        lambda heads: heads.pop("structures"),
        lambda heads: heads["structures"].pop(),
        lambda heads: heads["structures"][0].update(used=False),
        lambda heads: heads["structures"][0].update(parts=["Left-Nose"]),
        lambda heads: heads["regressor"].update(kernel="magic"),
    ],
)
def test_heads_that_do_not_fit(copy, change):
    with pytest.raises(BadConfiguration):
        load_model(alter(copy, "heads.json", change))
