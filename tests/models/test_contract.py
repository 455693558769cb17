import gzip
import json

import nibabel as nib
import numpy as np
import pytest

from brainage_bids.models.contract import check_image, contract_of_image, input_paths
from brainage_bids.records import UnusableInput


def write(path, data, affine, sidecar=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, affine), path)
    if sidecar is not None:
        path.with_name(path.name.removesuffix(".nii.gz") + ".json").write_text(json.dumps(sidecar))
    return path


@pytest.fixture
def files(card, tmp_path):
    """Maps that fulfil the contract, under their own names."""
    paths = input_paths(card, tmp_path, "sub-01", "ses-1")
    generator = np.random.default_rng(0)
    for contract in card.contracts:
        write(paths[contract.key], generator.random(contract.shape, dtype=np.float32), np.array(contract.affine), {"SkullStripped": True})
    return paths


def test_names_follow_the_table(card, tmp_path):
    found = input_paths(card, tmp_path, "sub-01", None)
    name = "sub-01_space-MNI152NLin2009aSym_res-1p5_label-GM_desc-modulatedSmooth4_probseg.nii.gz"
    assert found["modulated_smooth_GM"] == tmp_path / "sub-01" / "anat" / name


def check(card, files):
    return {contract.key: check_image(contract, files[contract.key], "the model toy") for contract in card.contracts}


def test_good_files_are_read(card, files):
    found = check(card, files)
    np.testing.assert_array_equal(found["modulated_smooth_WM"], nib.load(files["modulated_smooth_WM"]).get_fdata())


def moved(affine, row, column, by):
    affine = np.array(affine)
    affine[row, column] += by
    return affine


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data, affine: (data[:-1], affine), "shape 16×18×16 is needed and it has 15×18×16"),
        (lambda data, affine: (data, moved(affine, 0, 3, 0.01)), "affine"),
        (lambda data, affine: (data[::-1], affine @ np.diag([-1, 1, 1, 1])), "affine"),
        (lambda data, affine: (data, moved(affine, 2, 2, 0.5)), "voxels of 1.5×1.5×1.5 mm are needed and its are 1.5×1.5×2 mm"),
        (lambda data, affine: (data[..., None, None].repeat(2, -1), affine), "shape"),
        (lambda data, affine: (np.where(data > 0.5, np.nan, data), affine), "not finite"),
        (lambda data, affine: (data * 0, affine), "nothing but zeros"),
    ],
)
def test_other_images_are_refused(card, files, change, words):
    path = files["modulated_smooth_GM"]
    contract = card.contracts[0]
    data, affine = change(np.random.default_rng(0).random(contract.shape, dtype=np.float32), np.array(contract.affine))
    write(path, data, affine)
    with pytest.raises(UnusableInput, match=words) as caught:
        check(card, files)
    assert str(path) in str(caught.value)


def test_a_thousandth_of_a_millimetre_is_nothing(card, files):
    contract = card.contracts[0]
    write(files[contract.key], np.ones(contract.shape, np.float32), moved(contract.affine, 1, 3, 5e-4))
    assert check(card, files)[contract.key].all()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sub-01_space-Other_res-1p5_label-GM_desc-modulatedSmooth4_probseg.nii.gz", "Sym is needed and its name has space-Other"),
        ("sub-01_space-MNI152NLin2009aSym_res-1p5_label-GM_desc-modulated_probseg.nii.gz", "its name has desc-modulated"),
        ("sub-01_space-MNI152NLin2009aSym_res-1p5_label-WM_desc-modulatedSmooth4_probseg.nii.gz", "label-GM is needed"),
        ("sub-01_label-GM_desc-modulatedSmooth4_probseg.nii.gz", "has no space-"),
        ("sub-01_space-MNI152NLin2009aSym_res-1p5_label-GM_desc-modulatedSmooth4_FLAIR.nii.gz", "it is a FLAIR"),
        ("map.nii.gz", "no"),
    ],
)
def test_the_name_counts(card, files, tmp_path, name, words):
    contract = card.contracts[0]
    files[contract.key] = write(tmp_path / name, np.ones(contract.shape, np.float32), np.array(contract.affine))
    with pytest.raises(UnusableInput, match=words):
        check(card, files)


def test_a_skull_is_refused(card, files):
    contract = card.contracts[0]
    write(files[contract.key], np.ones(contract.shape, np.float32), np.array(contract.affine), {"SkullStripped": False})
    with pytest.raises(UnusableInput, match="skull must be off"):
        check(card, files)


@pytest.mark.parametrize("damage", [lambda p: p.unlink(), lambda p: p.write_bytes(b""), lambda p: p.write_bytes(p.read_bytes()[:3000])])
def test_damaged_files_are_refused(card, files, damage):
    path = files["modulated_smooth_WM"]
    damage(path)
    with pytest.raises(UnusableInput, match=r"label-WM.*(exist|read)"):
        check(card, files)


def test_damage_within_the_stream_is_refused(card, files):
    path = files["modulated_smooth_WM"]
    packed = bytearray(gzip.compress(gzip.decompress(path.read_bytes()), 1))
    packed[len(packed) // 2] ^= 0xFF
    path.write_bytes(packed)
    with pytest.raises(UnusableInput, match="read"):
        check(card, files)


def test_contract_of_an_image(card, files):
    contract = card.contracts[0]
    assert contract_of_image(files[contract.key], "modulated_smooth", {"label": "GM"}, "T1w", "nonlinear") == contract


def test_no_contract_for_an_oblique_image(card, files):
    contract = card.contracts[0]
    write(files[contract.key], np.ones(contract.shape, np.float32), moved(contract.affine, 0, 1, 0.2))
    with pytest.raises(UnusableInput, match="cannot be trained on"):
        contract_of_image(files[contract.key], "modulated_smooth", {"label": "GM"}, "T1w", "nonlinear")
