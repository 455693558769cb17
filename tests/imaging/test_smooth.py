"""Smoothing against the Gaussian it claims to be, and its laws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from brainage_bids.imaging.smooth import smooth

FWHM = st.floats(0, 12)


@settings(max_examples=40, deadline=None)
@given(
    arrays(np.float32, st.tuples(*[st.integers(2, 9)] * 3), elements=st.floats(0, 1, width=32)),
    FWHM,
    st.tuples(*[st.floats(0.5, 4)] * 3),
)
def test_the_sum_is_kept_for_any_image(volume, fwhm, voxel_mm):
    assert smooth(volume, fwhm, voxel_mm).sum(dtype=float) == pytest.approx(volume.sum(dtype=float), rel=1e-5, abs=1e-4)


@pytest.mark.parametrize("voxel_mm", [(1.5, 1.5, 1.5), (1.0, 2.0, 3.0)])
def test_a_point_becomes_half_as_high_half_a_width_away(voxel_mm):
    point = np.zeros((41, 41, 41), np.float32)
    point[20, 20, 20] = 1
    fwhm = 12.0
    blurred = smooth(point, fwhm, voxel_mm)
    for axis in range(3):
        steps = fwhm / 2 / voxel_mm[axis]
        index = [20, 20, 20]
        index[axis] = 20 + int(steps)
        distance = int(steps) * voxel_mm[axis]
        assert blurred[tuple(index)] / blurred[20, 20, 20] == pytest.approx(2 ** (-((2 * distance / fwhm) ** 2)), rel=1e-3)


def test_it_is_scipys_gaussian_in_voxels():
    volume = np.random.default_rng(0).random((12, 13, 14), dtype=np.float32)
    expected = ndimage.gaussian_filter(volume.astype(float), np.array([4.0, 4.0, 4.0]) / 2.354820045 / [1.0, 1.5, 2.0], mode="reflect")
    np.testing.assert_allclose(smooth(volume, 4.0, (1.0, 1.5, 2.0)), expected, atol=1e-6)


def test_no_width_changes_nothing_and_the_input_is_left_alone():
    volume = np.random.default_rng(1).random((5, 5, 5), dtype=np.float32)
    kept = volume.copy()
    np.testing.assert_array_equal(smooth(volume, 0.0, (1, 1, 1)), volume)
    smooth(volume, 5.0, (1, 1, 1))
    np.testing.assert_array_equal(volume, kept)


def test_the_result_is_float32_for_any_input():
    assert smooth(np.eye(4, dtype=np.uint8)[None], 3.0, (1, 1, 1)).dtype == np.float32


@pytest.mark.parametrize(("fwhm", "voxel"), [(-1.0, (1, 1, 1)), (np.nan, (1, 1, 1)), (4.0, (1, 0, 1))])
def test_impossible_widths_and_voxels_are_refused(fwhm, voxel):
    with pytest.raises(ValueError):
        smooth(np.zeros((3, 3, 3)), fwhm, voxel)
