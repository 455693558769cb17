"""The arrays of METHODS H1: one scale, one byte, one box."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from brainage_bids.imaging import packing
from brainage_bids.records import UnusableInput


def intensities(packed):
    """What a byte stands for on the scale."""
    return packed.astype(np.float32) * np.float32(packing.TOP / 255)


@given(arrays(np.uint8, (4, 5, 6)))
def test_packing_what_a_byte_stands_for_changes_nothing(values):
    assert np.array_equal(packing.pack(intensities(values), 1.0), values)


@given(arrays(np.float32, (50,), elements=st.floats(0, 383, width=32)))
def test_a_byte_is_off_by_half_a_step_at_most(values):
    assert np.abs(intensities(packing.pack(values, 1.0)) - values).max() <= 383 / 255 / 2 + 1e-3


@settings(deadline=None)
@given(st.floats(0.01, 100))
def test_the_scale_of_the_scanner_does_not_matter(gain):
    white = np.random.default_rng(0).normal(300, 20, 5000)
    for modality in ("T1w", "FLAIR", "swi"):
        ours, theirs = packing.scale_factor(white, modality), packing.scale_factor(gain * white, modality)
        assert ours == pytest.approx(gain * theirs, rel=1e-6)
        assert ours * 300 == pytest.approx(110, rel=0.03)


def test_lesions_and_veins_hardly_move_the_scale():
    random = np.random.default_rng(0)
    white = random.normal(300, 15, 10_000)
    lesions = np.concatenate([white, random.normal(700, 40, 800)])
    veins = np.concatenate([white, random.normal(80, 20, 800)])
    for values, modality in ((lesions, "FLAIR"), (veins, "swi"), (veins, "T1w")):
        assert packing.scale_factor(values, modality) * 300 == pytest.approx(110, rel=0.02)


def test_the_mode_and_not_the_mean_of_a_t1w():
    random = np.random.default_rng(0)
    values = np.concatenate([random.normal(100, 4, 6000), random.uniform(40, 100, 4000)])
    assert packing.mode(values) == pytest.approx(100, abs=2) and np.mean(values) < 90
    skewed = np.random.default_rng(1).gamma(9.0, 10.0, 200_000)
    assert packing.mode(skewed) == pytest.approx(80, abs=3)  # (k − 1)·θ
    assert packing.mode(np.full(7, 3.0)) == 3.0


def test_dark_or_missing_white_matter_is_refused():
    for values in (np.array([]), np.zeros(10)):
        with pytest.raises(UnusableInput, match="dark where the T1w shows white matter"):
            packing.scale_factor(values, "FLAIR")


def test_clipping_is_counted_in_the_brain():
    image = np.full((10, 10, 10), 100.0)
    image[0, 0, :4] = 500.0
    brain = np.ones(image.shape, bool)
    brain[0, 0, 0] = False
    assert packing.clipped_share(image, brain, 1.0) == pytest.approx(3 / 999) and packing.clipped_share(image, brain, 0.5) == 0
    assert np.isnan(packing.clipped_share(image, np.zeros(image.shape, bool), 1.0))


@given(arrays(bool, (6, 7, 8)), st.tuples(*[st.integers(1, 9)] * 3))
def test_a_brain_is_whole_in_its_box_or_not_there(brain, box):
    data = np.arange(brain.size).reshape(brain.shape) + 1
    boxed = packing.in_box(data, brain, box)
    assert boxed.fits == all(have <= room for have, room in zip(packing.extent(brain), box, strict=True))
    if boxed.fits:
        assert boxed.data.shape == box and sorted(boxed.data[boxed.data > 0]) == sorted(data[brain])
    else:
        assert boxed.data is None


def test_the_box_holds_every_training_brain():
    random = np.random.default_rng(0)
    extents = [tuple(random.integers(100, 180, 3)) for _ in range(5)]
    box = packing.box_of(extents)
    assert all(room - 2 >= size for extent in extents for room, size in zip(box, extent, strict=True))
    assert tuple(np.max(extents, axis=0) + 2) == box
    with pytest.raises(ValueError, match="one brain at least"):
        packing.box_of([])


def test_the_grid_of_a_brain_keeps_its_place_and_volume():
    ball = sum(((axis - 15) * size) ** 2 for axis, size in zip(np.ogrid[:31, :31, :31], (1.0, 1.0, 3.0))) < 12.0**2
    affine = np.diag([1.0, 1.0, 3.0, 1.0])
    brain, grid = packing.brain_grid(ball, affine)
    assert np.allclose(np.linalg.norm(grid[:3, :3], axis=0), 1.0)
    assert brain.sum() == pytest.approx(3 * ball.sum(), rel=0.05)
    assert (np.argwhere(brain).mean(axis=0) @ grid[:3, :3].T + grid[:3, 3]) == pytest.approx([15, 15, 45], abs=0.5)
    assert not brain[0].any() and not brain[..., -1].any()
