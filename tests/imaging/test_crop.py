"""Cropping keeps every voxel's place in the world; pasting undoes it."""

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from brainage_bids.imaging.crop import bounding_box, crop, paste

MASKS = arrays(bool, st.tuples(*[st.integers(1, 8)] * 3)).filter(lambda mask: mask.any())


@settings(max_examples=60, deadline=None)
@given(MASKS, st.floats(0, 5), st.tuples(*[st.floats(0.5, 3)] * 3))
def test_the_box_holds_the_mask_and_its_margin_and_no_more(mask, margin, voxel_mm):
    box = bounding_box(mask, margin, voxel_mm)
    assert mask[box].sum() == mask.sum()
    for axis, part in enumerate(box):
        line = np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))
        assert part.start == 0 or margin <= (line[0] - part.start) * voxel_mm[axis] + 1e-5 < margin + voxel_mm[axis] + 1e-5
        assert part.stop == mask.shape[axis] or (part.stop - 1 - line[-1]) * voxel_mm[axis] >= margin - 1e-5


@settings(max_examples=60, deadline=None)
@given(MASKS, st.integers(0, 3))
def test_paste_undoes_crop_outside_and_inside(mask, margin):
    volume = np.where(mask, np.arange(mask.size, dtype=np.float32).reshape(mask.shape) + 1, 0).astype(np.float32)
    box = bounding_box(mask, margin)
    part, _ = crop(volume, np.eye(4), box)
    np.testing.assert_array_equal(paste(part, box, mask.shape), volume)


def test_the_cut_out_lies_where_nibabels_slicer_puts_it():
    affine = np.array([[0.0, -2.0, 0.1, 5], [1.5, 0, 0, -3], [0.0, 0.2, 1.0, 7], [0, 0, 0, 1]])
    volume = np.random.default_rng(0).random((9, 10, 11), dtype=np.float32)
    box = (slice(2, 7), slice(0, 4), slice(5, 11))
    part, moved = crop(volume, affine, box)
    sliced = nib.Nifti1Image(volume, affine).slicer[box]
    np.testing.assert_allclose(moved, sliced.affine, atol=1e-12)
    np.testing.assert_array_equal(part, sliced.get_fdata(dtype=np.float32))
    assert part.flags["C_CONTIGUOUS"] and part.base is None


def test_channels_come_along():
    field = np.random.default_rng(1).random((5, 5, 5, 3))
    box = (slice(1, 3), slice(2, 5), slice(0, 1))
    part, _ = crop(field, np.eye(4), box)
    whole = paste(part, box, (5, 5, 5), fill=-1)
    assert whole.shape == (5, 5, 5, 3) and whole[0, 0, 0].tolist() == [-1, -1, -1]
    np.testing.assert_array_equal(whole[box], field[box])


def test_an_empty_mask_and_a_negative_margin_are_refused():
    with pytest.raises(ValueError, match="empty"):
        bounding_box(np.zeros((3, 3, 3), bool))
    with pytest.raises(ValueError, match="margin"):
        bounding_box(np.ones((3, 3, 3), bool), -1.0)


@pytest.mark.parametrize("shape", [(3, 5, 5), (5, 5, 2)])
def test_a_part_that_does_not_fit_is_refused(shape):
    with pytest.raises(ValueError, match="does not fit"):
        paste(np.ones((2, 2, 2)), (slice(0, 2), slice(0, 2), slice(1, 3)) if shape[2] == 2 else (slice(0, 3),) * 3, shape)
