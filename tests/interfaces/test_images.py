"""Plain NIfTI between nodes."""

import nibabel as nib
import numpy as np
import pytest

from brainage_bids.interfaces.images import load, load_probability, save, save_scaled

AFFINE = np.array([[1.0, 0, 0, 4], [0, 2, 0, 5], [0, 0, 3, 6], [0, 0, 0, 1]])


@pytest.mark.parametrize(("dtype", "top"), [(np.uint8, 1.0), (np.int16, 1234.5)])
def test_scaled_values_come_back_within_half_a_step(tmp_path, dtype, top):
    data = np.random.default_rng(0).uniform(0, top, (5, 6, 7)).astype(np.float32)
    path = save_scaled(data, AFFINE, tmp_path / "x.nii", dtype=dtype, top=top)
    image = nib.load(path)
    assert image.get_data_dtype() == dtype and np.allclose(image.affine, AFFINE)
    assert np.abs(image.get_fdata() - data).max() <= 0.5001 * top / np.iinfo(dtype).max


def test_scaling_clips_at_the_top(tmp_path):
    path = save_scaled(np.array([[[0.5, 3.0]]], dtype=np.float32), AFFINE, tmp_path / "x.nii", dtype=np.uint8, top=1.0)
    assert load_probability(path)[0].max() == pytest.approx(1.0)


def test_labels_stay_integers(tmp_path):
    path = save(np.array([[[0, 53]]], dtype=np.uint8), AFFINE, tmp_path / "x.nii")
    data, affine = load(path)
    assert data.dtype == np.uint8 and data.max() == 53 and np.allclose(affine, AFFINE)


def test_units_and_both_orientations_are_set(tmp_path):
    header = nib.load(save_scaled(np.ones((2, 2, 2), np.float32), AFFINE, tmp_path / "x.nii", dtype=np.uint8, top=1.0)).header
    assert header.get_xyzt_units()[0] == "mm" and int(header["sform_code"]) == 1 and int(header["qform_code"]) == 1
