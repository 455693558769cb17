from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from brainage_bids.models.contract import input_paths
from brainage_bids.records import FLAGS, BadConfiguration, UnusableInput


@pytest.fixture
def person(folder, data, fine, tmp_path):
    """Files and volumes of the person nearest to 40 years."""
    row = int(np.argmin(np.abs(data.ages - 40)))
    files = input_paths(folder.card, tmp_path / "out", "sub-01", None)
    for contract in folder.card.contracts:
        files[contract.key].parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(fine[row][contract.key], np.array(contract.affine)), files[contract.key])
    return files, data.volumes[row]


def test_an_estimate(folder, person, trained, estimate):
    files, volumes = person
    found = estimate(folder, files, volumes, age=40.0)
    model = trained[0]
    images = {key: nib.load(path).get_fdata(dtype=np.float32) for key, path in files.items()}
    expected = model.age(model.cells(images, dict.fromkeys(files, (1.5,) * 3)), volumes)
    assert (found.brain_age, found.sd) == pytest.approx(expected, abs=1e-9)
    assert found.brain_age == pytest.approx(40, abs=8)
    assert found.high - found.brain_age == pytest.approx(1.959964 * found.sd, rel=1e-6)
    assert found.brain_age - found.low == pytest.approx(1.959964 * found.sd, rel=1e-6)
    assert (found.interval_level, found.interval_method, found.model, found.modality) == (0.95, "gaussian", "toy", "T1w")
    assert found.model_sha256 == folder.card.files["weights.safetensors"]
    assert (found.sd_within, found.sd_between, found.flags) == (None, None, ())


def test_a_path_does_as_well(folder, person, estimate):
    assert estimate(folder.path, *person, age=40.0) == estimate(folder, *person, age=40.0)


def test_the_age_of_the_person_changes_nothing_but_flags(folder, person, estimate):
    found = [estimate(folder, *person, age=age) for age in (40.0, None, 91.0)]
    assert len({estimate.brain_age for estimate in found}) == 1
    assert [estimate.flags for estimate in found] == [(), ("age_missing",), ("age_out_of_range",)]


def test_flags_come_in_their_order_and_once(folder, person, estimate):
    given = ["poor_registration", "age_censored", "poor_snr", "age_censored", "age_missing"]
    found = estimate(folder, *person, age=None, quality_flags=given).flags
    assert found == ("age_missing", "age_censored", "poor_snr", "poor_registration")
    assert list(found) == sorted(found, key=list(FLAGS).index)


def test_an_age_beyond_the_training_ages_is_flagged(folder, person, estimate):
    ages = replace(folder.card.training.ages, low=10.0, high=12.0)
    narrow = replace(folder, card=replace(folder.card, training=replace(folder.card.training, ages=ages)))
    assert estimate(narrow, *person, age=11.0).flags == ("prediction_out_of_range",)


def test_maps_that_went_astray_are_flagged(folder, person, estimate):
    files, volumes = person
    path = files["modulated_smooth_GM"]
    image = nib.load(path)
    nib.save(nib.Nifti1Image(np.roll(image.get_fdata(dtype=np.float32), 8, axis=1), image.affine), path)
    assert "input_mismatch" in estimate(folder, files, volumes, age=40.0).flags


def test_unknown_flags_are_a_mistake(folder, person, estimate):
    with pytest.raises(ValueError, match="no flags nice_brain"):
        estimate(folder, *person, age=40.0, quality_flags=["nice_brain"])


@pytest.mark.parametrize("value", [None, np.nan, np.inf])
def test_missing_volumes_give_a_sentence_and_no_age(folder, person, value, estimate):
    files, volumes = person
    broken = {**volumes, "GM": value}
    if value is None:
        del broken["GM"]
    with pytest.raises(UnusableInput, match=r"needs GM of sub-01, which the tables of volumes do not hold|ratio means nothing"):
        estimate(folder, files, broken, age=40.0)


def test_no_number_is_an_error(folder, person, monkeypatch, estimate):
    monkeypatch.setattr("brainage_bids.models.gpr.GprModel.age", lambda *_: (float("nan"), 1.0))
    with pytest.raises(UnusableInput, match="gave no number"):
        estimate(folder, *person, age=40.0)


@pytest.mark.parametrize("file", ["weights.safetensors", "heads.json"])
def test_altered_files_are_fatal(folder, person, file, estimate):
    path = folder.path / file
    path.write_bytes(path.read_bytes().replace(b"1", b"2", 1))
    with pytest.raises(BadConfiguration, match="SHA-256"):
        estimate(folder, *person, age=40.0)


def test_unknown_kind(folder, person, estimate):
    with pytest.raises(BadConfiguration, match="kind 'cnn'"):
        estimate(replace(folder, card=replace(folder.card, kind="cnn")), *person, age=40.0)
