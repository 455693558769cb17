import nibabel as nib
import numpy as np
import pytest

from brainage_bids.reports.maps import COOL, WARM, Scale, draw_map, scale_of, to_steps


def test_a_signed_scale_is_symmetric_and_says_its_end():
    values = np.zeros((10, 10, 10))
    values[:5] = -4.0
    values[5:7] = 2.0
    scale = scale_of(values, True)
    assert scale == Scale(0.0, 4.0, True)
    assert scale.words("years") == [(WARM[-1], "+4 years"), (COOL[-1], "−4 years")]
    steps = to_steps(values, scale)
    assert set(np.unique(steps[:5])) == {10} and set(np.unique(steps[5:7])) == {3} and not steps[7:].any()


def test_an_unsigned_scale_leaves_zeros_out():
    values = np.concatenate([np.zeros(900), np.linspace(30, 80, 100)]).reshape(10, 10, 10)
    scale = scale_of(values, False)
    assert scale.low == pytest.approx(31, abs=0.1) and scale.high == pytest.approx(79, abs=0.1)
    steps = to_steps(values, scale)
    assert not steps.ravel()[:900].any() and (np.diff(steps.ravel()[900:].astype(int)) >= 0).all() and steps.max() == 5


@pytest.mark.parametrize("values", [np.zeros((4, 4, 4)), np.full((4, 4, 4), np.nan), np.full((4, 4, 4), 7.0)])
def test_empty_and_constant_maps_have_a_scale(values):
    for signed in (True, False):
        scale = scale_of(values, signed)
        assert scale.high > scale.low or signed
        assert to_steps(values, scale).max() <= 10


def test_the_picture_lies_on_the_grid_of_the_map(tmp_path):
    scan = np.zeros((40, 40, 40), np.float32)
    scan[10:30, 10:30, 10:30] = 100
    nib.save(nib.Nifti1Image(scan, np.diag([1, 1, 1, 1.0])), tmp_path / "t1w.nii.gz")
    values = np.zeros((20, 20, 20), np.float32)
    values[5:15, 5:15, 5:15] = 1
    values[6, 6, 6] = -3
    nib.save(nib.Nifti1Image(values, np.diag([2, 2, 2, 1.0])), tmp_path / "map.nii.gz")
    scale = draw_map(tmp_path / "map.nii.gz", tmp_path / "t1w.nii.gz", tmp_path / "x.svg", title="toy: lrp", signed=True)
    assert scale.signed and scale.high == pytest.approx(1.0)  # the one voxel is beyond the percentile
    text = (tmp_path / "x.svg").read_text()
    assert text.count("<image") == 2 and "toy: lrp" in text
