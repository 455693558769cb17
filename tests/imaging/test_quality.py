"""Quality figures against closed forms, laws, and simulated faults that each must catch."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from brainage_bids.imaging import quality

REAL = Path(os.environ.get("BRAINAGE_TEST_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))
POSITIVE = arrays(np.float32, st.tuples(*[st.integers(2, 8)] * 3), elements=st.floats(0, 1000, width=32))


def tissues(noise, seed=0):
    """Two normal tissues of means 60 and 100 in halves of a cube of 40³."""
    rng = np.random.default_rng(seed)
    wm = np.zeros((40, 40, 40), bool)
    wm[20:] = True
    return (np.where(wm, 100.0, 60.0) + rng.normal(0, noise, wm.shape)).astype(np.float32), ~wm, wm


@pytest.mark.parametrize("noise", [2.0, 5.0, 10.0])
def test_noise_ratios_are_those_of_the_simulated_tissues(noise):
    image, gm, wm = tissues(noise)
    assert quality.snr(image, wm) == pytest.approx(100 / noise, rel=0.02)
    assert quality.cnr(image, gm, wm) == pytest.approx(40 / (noise * np.sqrt(2)), rel=0.02)
    assert quality.cjv(image, gm, wm) == pytest.approx(2 * noise / 40, rel=0.02)


def test_air_adds_its_variance_to_the_contrasts_noise():
    image, gm, wm = tissues(3.0)
    air = np.zeros_like(wm)
    air[:, :, 30:] = True
    image[air] = np.random.default_rng(1).normal(0, 4.0, int(air.sum()))
    assert quality.cnr(image, gm & ~air, wm & ~air, air) == pytest.approx(40 / np.sqrt(9 + 9 + 16), rel=0.03)


def test_a_few_stray_voxels_do_not_move_the_joint_variation():
    image, gm, wm = tissues(4.0)
    before = quality.cjv(image, gm, wm)
    image[0, :5, :5] = image[39, :5, :5] = 1e5
    assert quality.cjv(image, gm, wm) == pytest.approx(before, rel=0.02)


@settings(max_examples=40, deadline=None)
@given(st.floats(0.01, 100), st.integers(0, 5))
def test_the_unit_of_intensity_does_not_matter(factor, seed):
    image, gm, wm = tissues(5.0, seed)
    scaled = image * np.float32(factor)
    for figure in (lambda x: quality.snr(x, wm), lambda x: quality.cnr(x, gm, wm), lambda x: quality.cjv(x, gm, wm)):
        assert figure(scaled) == pytest.approx(figure(image), rel=1e-3)
    assert quality.efc(scaled) == pytest.approx(quality.efc(image), rel=1e-4)


@pytest.mark.parametrize("figure", ["snr", "cnr", "cjv"])
def test_without_tissue_there_is_no_figure(figure):
    image, none = np.ones((3, 3, 3), np.float32), np.zeros((3, 3, 3), bool)
    arguments = {"snr": (image, none), "cnr": (image, none, none), "cjv": (image, none, none)}[figure]
    assert np.isnan(getattr(quality, figure)(*arguments))


def test_a_constant_tissue_has_no_noise():
    assert quality.snr(np.full((3, 3, 3), 5.0), np.ones((3, 3, 3), bool)) == np.inf


@settings(max_examples=60, deadline=None)
@given(POSITIVE)
def test_entropy_lies_between_one_voxel_and_all_the_same(image):
    value = quality.efc(image)
    if image.any():
        assert -1e-6 <= value <= 1 + 1e-5
        x = image.astype(np.longdouble).ravel()
        share = x / np.sqrt((x**2).sum())
        entropy = -(share[share > 0] * np.log(share[share > 0])).sum()
        assert value == pytest.approx(float(entropy / (np.sqrt(x.size) * np.log(np.sqrt(x.size)))), abs=2e-5)
    else:
        assert np.isnan(value)


def test_entropy_of_one_bright_voxel_is_zero_and_slabs_do_not_show():
    point = np.zeros((40, 3, 3), np.float32)
    point[33, 1, 1] = 8
    assert quality.efc(point) == pytest.approx(0, abs=1e-9)


def scene(noise=0.02, seed=0):
    """A bright brain in a dimmer head in noisy air, (60, 70, 60) voxels of 4 mm, with its mask and affine."""
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    index = np.stack(np.meshgrid(*[np.arange(n) - n / 2 for n in (60, 70, 60)], indexing="ij")) * 4.0
    radius = np.sqrt((index**2).sum(axis=0))
    brain = radius < 65
    clean = np.where(brain, 1.0, np.where(radius < 80, 0.4, 0.0))
    rng = np.random.default_rng(seed)
    image = np.hypot(clean + rng.normal(0, noise, clean.shape), rng.normal(0, noise, clean.shape))
    return image.astype(np.float32), brain, affine


def ghosted(image, strength):
    return (1 - strength) * image + strength * np.roll(image, image.shape[1] // 2, axis=1)


def test_air_is_far_from_the_brain_and_above_its_middle():
    _, brain, affine = scene()
    air = quality.air_mask(brain, affine)
    index = np.stack(np.meshgrid(*[(np.arange(n) - n / 2) * 4.0 for n in brain.shape], indexing="ij"))
    radius = np.sqrt((index**2).sum(axis=0))
    assert radius[air].min() > 65 + 25 - 4 and index[2][air].min() > -4
    assert air[(radius > 95) & (index[2] > 4)].all()


def test_air_is_found_whatever_the_order_and_size_of_voxels():
    _, brain, affine = scene()
    fine = np.repeat(np.repeat(np.repeat(brain, 2, 0), 2, 1), 2, 2)
    air = quality.air_mask(brain, affine)
    finer = quality.air_mask(fine, np.diag([2.0, 2.0, 2.0, 1.0]))
    assert finer.sum() / 8 == pytest.approx(air.sum(), rel=0.05)
    upside_down = np.diag([4.0, 4.0, -4.0, 1.0])
    assert quality.air_mask(brain[:, :, ::-1], upside_down).sum() == pytest.approx(air.sum(), rel=0.05)


def test_no_air_is_left_in_a_tight_field_of_view():
    brain = np.ones((20, 20, 20), bool)
    assert not quality.air_mask(brain, np.diag([4.0, 4.0, 4.0, 1.0])).any()
    assert not quality.air_mask(~brain, np.diag([4.0, 4.0, 4.0, 1.0])).any()
    assert np.isnan(quality.fber(np.ones(brain.shape), brain, np.zeros_like(brain)))


def test_energy_ratio_is_that_of_rician_air():
    image, brain, affine = scene(noise=0.05)
    assert quality.fber(image, brain, quality.air_mask(brain, affine)) == pytest.approx(1 / (2 * 0.05**2), rel=0.05)


def test_air_set_to_zero_has_no_ratio():
    image, brain, affine = scene()
    air = quality.air_mask(brain, affine)
    image[air] = 0
    image[tuple(np.argwhere(air)[7])] = 0.3  # a speck is no air either
    assert np.isnan(quality.fber(image, brain, air))


def test_ghosts_lower_the_energy_ratio_and_raise_the_entropy_step_by_step():
    image, brain, affine = scene()
    air = quality.air_mask(brain, affine)
    images = [ghosted(image, strength) for strength in (0, 0.05, 0.1, 0.2, 0.3)]
    ratios, entropies = ([figure(x) for x in images] for figure in (lambda x: quality.fber(x, brain, air), quality.efc))
    assert all(a > b for a, b in zip(ratios, ratios[1:])) and all(a < b for a, b in zip(entropies, entropies[1:]))


def test_bias_range_of_a_log_linear_field():
    field = np.exp(np.linspace(0, 1, 1001)).reshape(1001, 1, 1)
    assert quality.bias_range(field, np.ones(field.shape, bool)) == pytest.approx(np.exp(0.9), rel=1e-3)
    assert quality.bias_range(3 * field, np.ones(field.shape, bool)) == pytest.approx(np.exp(0.9), rel=1e-3)
    assert np.isnan(quality.bias_range(field, np.zeros(field.shape, bool)))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_overlap_is_dice_for_masks_and_symmetric_for_probabilities(data):
    shape = data.draw(st.tuples(*[st.integers(1, 6)] * 3))
    first, second = (data.draw(arrays(np.float32, shape, elements=st.floats(0, 1, width=32))) for _ in range(2))
    a, b = first > 0.5, second > 0.5
    if a.any() or b.any():
        assert quality.overlap(a, b) == pytest.approx(2 * (a & b).sum() / (a.sum() + b.sum()))
    if first.sum(dtype=float) + second.sum(dtype=float) > 1e-3:
        value = quality.overlap(first, second)
        assert value == pytest.approx(quality.overlap(second, first)) and -1e-6 <= value <= 1 + 1e-6
    if first.sum(dtype=float) > 1e-3:
        assert quality.overlap(first, first) == pytest.approx(1)


def test_overlap_of_different_grids_is_refused_and_of_nothing_undefined():
    with pytest.raises(ValueError):
        quality.overlap(np.ones((2, 2, 2)), np.ones((2, 2, 3)))
    assert np.isnan(quality.overlap(np.zeros((2, 2, 2)), np.zeros((2, 2, 2))))


def test_folds_are_counted_and_values_that_are_no_number_with_them():
    jacobian = np.array([1.0, 0.0, -1.0, np.nan, 2.0])
    assert quality.jacobian_nonpositive_share(jacobian) == pytest.approx(0.6)
    assert quality.jacobian_nonpositive_share(jacobian, np.array([1, 0, 0, 0, 1], bool)) == 0
    assert np.isnan(quality.jacobian_nonpositive_share(jacobian, np.zeros(5, bool)))


def test_a_whole_brain_is_covered_and_a_cut_shows_its_area():
    image, brain, affine = scene()
    assert quality.coverage(brain, affine) == quality.coverage(brain, affine, image) == 1
    cut = brain[:, :, : brain.shape[2] // 2]
    disc, upper = cut[:, :, -1].sum(), quality.coverage(cut, affine)
    faces = sum(np.count_nonzero(np.diff(np.pad(cut, 1).astype(int), axis=axis)) for axis in range(3))
    assert upper == pytest.approx(1 - disc / faces)


def test_faces_count_by_their_area():
    mask = np.zeros((4, 6, 6), bool)
    mask[0, 2, 2] = True
    assert quality.coverage(mask, np.diag([1.0, 2.0, 3.0, 1.0])) == pytest.approx(1 - 6 / (2 * (6 + 3 + 2)))


def test_padding_does_not_hide_a_cut():
    image, brain, affine = scene()
    image[:, :, 40:] = 0
    brain[:, :, 40:] = False
    assert quality.coverage(brain, affine) == 1
    assert quality.coverage(brain, affine, image) < 0.97


def test_coverage_of_nothing_is_undefined():
    assert np.isnan(quality.coverage(np.zeros((3, 3, 3), bool), np.eye(4)))


def test_a_core_loses_its_skin_unless_too_little_remains():
    block = np.zeros((20, 20, 20), bool)
    block[2:18, 2:18, 2:18] = True
    assert quality.core(block).sum() == 14**3
    block[5:] = False
    np.testing.assert_array_equal(quality.core(block), block)


@pytest.mark.real
def test_ghosts_on_a_real_head_are_seen_and_the_head_itself_is_clean():
    from brainage_bids.imaging.brain_mask import find_brain
    from brainage_bids.imaging.conform import conform, load_scan

    path = REAL / "ixi2mm/sub-IXI014/anat/sub-IXI014_T1w.nii.gz"
    if not path.exists():
        pytest.skip(f"{path.name} is not under BRAINAGE_TEST_DATA ({REAL})")
    scan = conform(load_scan(path)).image
    image = np.asanyarray(scan.dataobj)
    brain = find_brain(image, scan.affine)
    air = quality.air_mask(brain, scan.affine)
    assert quality.fber(image, brain, air) > 300  # ten times the limit
    assert quality.fber(ghosted(image, 0.35), brain, air) < 60
    assert 0.45 < quality.efc(image) < 0.65
