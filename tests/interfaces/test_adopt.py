"""Files of other apps on disk: any orientation, codes and type come out as ours."""

from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest

from brainage_bids.interfaces.adopt import Adopt, Within
from brainage_bids.records import UnusableInput

LAS = np.array([[-5.0, 0, 0, 80], [0, 5, 0, -90], [0, 0, 5, -70], [0, 0, 0, 1]])
SHAPE = (32, 36, 28)


@pytest.fixture
def prep(tmp_path):
    """A ball of three shells in a whole head, axes left, anterior, superior, codes of the first fMRIPrep."""
    places = np.indices(SHAPE) - (np.array(SHAPE)[:, None, None, None] - 1) / 2
    radius = np.sqrt((places**2).sum(axis=0)) + 0.3 * (places[0] > 0)
    tissue = np.select([radius < 6, radius < 9, radius < 11], [2, 1, 3], 0)  # ours: WM inside GM inside CSF
    head = np.where(radius < 13, 40.0 + 20 * tissue, 0) + np.random.default_rng(1).uniform(1, 5, SHAPE)
    images = {"t1w": head.astype("f4"), "mask": (tissue > 0).astype("u1"), "dseg": np.array([0, 2, 3, 1])[tissue].astype("i2")}
    images |= {f"probseg_{name}": (tissue == code).astype("f4") for code, name in enumerate(("GM", "WM", "CSF"), start=1)}
    for name, data in images.items():
        nib.save(nib.Nifti1Image(data, LAS), tmp_path / f"{name}.nii.gz")
    return {name: str(tmp_path / f"{name}.nii.gz") for name in images}, tissue


def adopt(tmp_path, inputs):
    node = Adopt(**inputs)
    return node._run_interface(SimpleNamespace(cwd=str(tmp_path))) and node._results


def test_everything_comes_out_in_ras_and_in_our_codes(prep, tmp_path):
    inputs, tissue = prep
    made = adopt(tmp_path, inputs)
    dseg = nib.load(made["out_dseg"])
    assert nib.aff2axcodes(dseg.affine) == ("R", "A", "S")
    assert np.array_equal(np.asarray(dseg.dataobj), tissue[::-1])
    assert np.array_equal(np.asarray(nib.load(made["brain"]).dataobj), tissue[::-1] > 0)
    assert np.allclose(nib.load(made["out_probseg_WM"]).get_fdata(), tissue[::-1] == 2)
    raw = nib.load(inputs["t1w"]).get_fdata()[::-1]
    assert np.allclose(nib.load(made["preproc"]).get_fdata(), raw, atol=raw.max() / 2**15)
    assert not made["stripped"]


def test_image_and_mask_are_enough(prep, tmp_path):
    made = adopt(tmp_path, {key: prep[0][key] for key in ("t1w", "mask")})
    assert not [key for key in made if key.startswith("out_")]


def test_a_mask_on_another_grid_is_refused_by_name(prep, tmp_path):
    inputs, _ = prep
    moved = LAS.copy()
    moved[0, 3] += 5
    nib.save(nib.Nifti1Image(np.asarray(nib.load(inputs["mask"]).dataobj), moved), inputs["mask"])
    with pytest.raises(UnusableInput, match="mask.nii.gz is not on the grid"):
        adopt(tmp_path, inputs)


def test_a_mask_that_lies_nowhere_is_refused_by_name(prep, tmp_path):
    inputs, _ = prep
    image = nib.Nifti1Image(np.asarray(nib.load(inputs["mask"]).dataobj), LAS)
    image.header["srow_x"] = np.nan
    with open(inputs["mask"], "wb") as file:
        file.write(image.header.binaryblock + bytes(4) + np.asarray(image.dataobj).tobytes(order="F"))
    with pytest.raises(UnusableInput, match="mask.nii.gz is not on the grid"):
        adopt(tmp_path, inputs)


def test_what_we_find_stays_inside_the_mask(prep, tmp_path):
    inputs, tissue = prep
    mask = nib.Nifti1Image((tissue == 2).astype("u1"), LAS)
    nib.save(mask, tmp_path / "small.nii")
    given = {"aseg": inputs["dseg"], "probseg_GM": inputs["probseg_GM"], "probseg_WM": inputs["probseg_WM"]}
    node = Within(mask_file=str(tmp_path / "small.nii"), **given)
    made = node._run_interface(SimpleNamespace(cwd=str(tmp_path))) and node._results
    assert sorted(made) == sorted(given)
    assert np.array_equal(np.asarray(nib.load(made["aseg"]).dataobj), np.where(tissue == 2, 3, 0))
    assert not nib.load(made["probseg_GM"]).get_fdata().any() and np.allclose(nib.load(made["probseg_WM"]).get_fdata(), tissue == 2)
