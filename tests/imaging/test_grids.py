"""The template's grids and resampling, against nilearn, nibabel, closed forms and laws."""

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.processing import resample_from_to

from brainage_bids.imaging.grids import GRIDS, antialias_fwhm, halved, resample, sample, voxel_sizes, voxel_volume


def rotation(angle, shift=(0.0, 0.0, 0.0)):
    """A rotation about z and a shift, (4, 4)."""
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:3, 3] = shift
    return matrix


def test_res_1_is_the_grid_of_nilearns_template():
    from nilearn.datasets import load_mni152_template

    template = load_mni152_template(resolution=1)
    assert template.shape == GRIDS["1"].shape
    np.testing.assert_array_equal(template.affine, GRIDS["1"].affine)


@pytest.mark.parametrize("name", GRIDS)
def test_grids_are_ras_and_hold_the_brain_in_both_directions(name):
    grid = GRIDS[name]
    assert nib.aff2axcodes(grid.affine) == ("R", "A", "S")
    last = np.array(grid.origin_mm) + (np.array(grid.shape) - 1) * grid.voxel_mm
    assert np.all(np.array(grid.origin_mm) <= (-90, -126, -72)) and np.all(last >= (90, 90, 108))
    assert grid.voxel_volume_mm3 == pytest.approx(voxel_volume(grid.affine))


def test_the_grids_of_15_and_2_mm_begin_at_the_same_voxel_centre():
    assert GRIDS["1p5"].origin_mm == GRIDS["2"].origin_mm == (-90.0, -126.0, -72.0)


@settings(max_examples=30, deadline=None)
@given(st.floats(-3, 3), st.lists(st.floats(0.3, 4), min_size=3, max_size=3))
def test_voxel_sizes_and_volume_do_not_see_rotation(angle, sizes):
    affine = rotation(angle) @ np.diag([*sizes, 1.0])
    np.testing.assert_allclose(voxel_sizes(affine), sizes, rtol=1e-12)
    assert voxel_volume(affine) == pytest.approx(np.prod(sizes))


def test_trilinear_sampling_is_exact_on_a_linear_image():
    affine = rotation(0.3, (5.0, -2.0, 1.0)) @ np.diag([1.5, 1.0, 2.0, 1.0])
    index = np.stack(np.meshgrid(*[np.arange(n) for n in (9, 10, 11)], indexing="ij"), axis=-1)
    world = index @ affine[:3, :3].T + affine[:3, 3]
    volume = (world @ [2.0, -3.0, 0.5] + 7.0).astype(np.float32)
    points = (np.random.default_rng(0).uniform(0, 8, (5, 4, 3))) @ affine[:3, :3].T + affine[:3, 3]
    np.testing.assert_allclose(sample(volume, affine, points), points @ [2.0, -3.0, 0.5] + 7.0, atol=1e-4)


def test_sampling_voxel_centres_returns_the_voxels_the_last_ones_too():
    affine = rotation(0.7, (-31.3, 12.7, 3.1)) @ np.diag([0.87, 0.87, 1.1, 1.0])
    volume = np.random.default_rng(1).random((7, 8, 9), dtype=np.float32)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in volume.shape], indexing="ij"), axis=-1)
    world = index @ affine[:3, :3].T + affine[:3, 3]
    np.testing.assert_allclose(sample(volume, affine, world), volume, atol=1e-5)


def test_outside_is_the_fill_value():
    assert sample(np.ones((3, 3, 3), np.float32), np.eye(4), np.array([[9.0, 9.0, 9.0]]), fill=-5.0).tolist() == [-5.0]


def test_many_points_in_pieces_are_the_same_as_at_once(monkeypatch):
    from brainage_bids.imaging import grids

    volume = np.random.default_rng(2).random((6, 6, 6), dtype=np.float32)
    points = np.random.default_rng(3).uniform(-1, 7, (501, 3))
    whole = sample(volume, np.eye(4), points)
    monkeypatch.setattr(grids, "_POINTS_AT_ONCE", 100)
    np.testing.assert_array_equal(sample(volume, np.eye(4), points), whole)


def test_points_need_three_coordinates():
    with pytest.raises(ValueError, match="3 coordinates"):
        sample(np.ones((3, 3, 3), np.float32), np.eye(4), np.zeros((4, 2)))


def test_higher_orders_are_refused():
    with pytest.raises(ValueError, match="order"):
        resample(np.ones((3, 3, 3), np.float32), np.eye(4), (3, 3, 3), np.eye(4), order=3)


@pytest.mark.parametrize("order", [0, 1])
def test_resampling_agrees_with_nibabel(order):
    affine = rotation(0.2, (-12.0, -9.0, -14.0)) @ np.diag([2.0, 1.7, 2.5, 1.0])
    volume = np.random.default_rng(4).random((12, 14, 10), dtype=np.float32)
    target = np.diag([1.6, 1.3, 2.2, 1.0])
    target[:3, 3] = (affine @ [5.5, 6.5, 4.5, 1])[:3] - np.array([1.6, 1.3, 2.2]) * 2
    ours = resample(volume, affine, (5, 6, 5), target, order=order)  # inside the image: what lies beyond is a choice
    theirs = resample_from_to(nib.Nifti1Image(volume, affine), ((5, 6, 5), target), order=order)
    np.testing.assert_allclose(ours, theirs.get_fdata(), atol=1e-5)


def test_nearest_neighbour_keeps_labels_and_their_type():
    labels = np.random.default_rng(5).choice(np.array([0, 2, 41, 1024], dtype=np.int16), (8, 8, 8))
    out = resample(labels, np.eye(4), (8, 8, 8), rotation(0.4), order=0)
    assert out.dtype == np.int16 and set(np.unique(out)) <= {0, 2, 41, 1024}
    assert resample(labels > 0, np.eye(4), (8, 8, 8), np.eye(4), order=0).dtype == bool


def test_a_warp_is_applied_before_the_matrix():
    volume = np.random.default_rng(6).random((10, 10, 10), dtype=np.float32)
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    matrix = rotation(0.3, (2.0, 1.0, 0.0))
    target = np.diag([1.5, 1.5, 1.5, 1.0])
    displacement = np.random.default_rng(7).normal(0, 0.5, (5, 6, 4, 3)).astype(np.float32)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in (5, 6, 4)], indexing="ij"), axis=-1)
    moved = index * 1.5 + displacement
    points = moved @ matrix[:3, :3].T + matrix[:3, 3]
    out = resample(volume, affine, (5, 6, 4), target, matrix=matrix, displacement_mm=displacement)
    np.testing.assert_allclose(out, sample(volume, affine, points), atol=1e-5)


def test_no_displacement_is_the_affine_alone_whatever_the_slabs(monkeypatch):
    from brainage_bids.imaging import grids

    volume = np.random.default_rng(8).random((10, 11, 12), dtype=np.float32)
    matrix, shape = rotation(0.3, (2.0, 1.0, 0.0)), (9, 8, 7)
    straight = resample(volume, np.eye(4), shape, np.eye(4), matrix=matrix)
    monkeypatch.setattr(grids, "_POINTS_AT_ONCE", 2 * 8 * 7)
    warped = resample(volume, np.eye(4), shape, np.eye(4), matrix=matrix, displacement_mm=np.zeros((*shape, 3), np.float32))
    np.testing.assert_allclose(warped, straight, atol=1e-6)


def test_a_displacement_of_another_grid_is_refused():
    with pytest.raises(ValueError, match="does not fit"):
        resample(np.ones((4, 4, 4), np.float32), np.eye(4), (4, 4, 4), np.eye(4), displacement_mm=np.zeros((3, 4, 4, 3), np.float32))


def test_antialiasing_width_is_the_missing_variance():
    np.testing.assert_allclose(antialias_fwhm(np.diag([2.0, 3.0, 1.0, 1.0])), [np.sqrt(3), np.sqrt(8), 0])
    np.testing.assert_allclose(antialias_fwhm(np.diag([0.5, 0.9, 1.0, 1.0])), 0)
    np.testing.assert_allclose(antialias_fwhm(rotation(0.5)), 0, atol=1e-7)


def test_antialiasing_halves_the_noise_and_keeps_the_mean():
    noise = np.random.default_rng(9).normal(10, 1, (64, 64, 64)).astype(np.float32)
    coarse = np.diag([2.0, 2.0, 2.0, 1.0])
    plain = resample(noise, np.eye(4), (32, 32, 32), coarse)
    smoothed = resample(noise, np.eye(4), (32, 32, 32), coarse, antialias=True)
    assert plain.std() == pytest.approx(1.0, abs=0.03)  # every second voxel as it is
    sigma = np.sqrt(3) / 2.3548
    assert smoothed.std() == pytest.approx((2 * np.sqrt(np.pi) * sigma) ** -1.5, rel=0.06)  # Gaussian filter of white noise
    assert smoothed.mean() == pytest.approx(noise.mean(), abs=0.01)


@settings(max_examples=25, deadline=None)
@given(st.tuples(*[st.integers(1, 9)] * 3), st.integers(0, 2**32 - 1))
def test_halving_is_the_mean_over_larger_voxels(shape, seed):
    """Voxels cut into eight equal parts, the outermost repeated: means over the 4×4×4 parts around every second centre."""
    volume = np.random.default_rng(seed).random(shape, dtype=np.float32)
    parts = np.pad(volume, 1, mode="edge").repeat(2, 0).repeat(2, 1).repeat(2, 2)
    expected = np.empty([(n + 1) // 2 for n in shape])
    for index in np.ndindex(expected.shape):
        expected[index] = parts[tuple(slice(4 * i + 1, 4 * i + 5) for i in index)].mean()
    np.testing.assert_allclose(halved(volume), expected, rtol=1e-5)
