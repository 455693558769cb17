import numpy as np
import pytest

from brainage_bids.imaging import brain_mask
from brainage_bids.imaging.grids import GRIDS, resample
from brainage_bids.imaging.registration import template
from brainage_bids.records import UnusableInput


def turned(degrees: float) -> np.ndarray:
    angle = np.radians(degrees)
    matrix = np.eye(4)
    matrix[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return matrix


def test_a_stripped_brain_is_seen_and_a_head_is_not():
    x = np.linspace(-110, 110, 56)
    distance = np.sqrt(sum(axis**2 for axis in np.meshgrid(x, x, x)))
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    assert brain_mask.looks_stripped((distance < 68).astype("f4"), affine)
    assert not brain_mask.looks_stripped((distance < 105).astype("f4"), affine)  # larger than any brain
    assert not brain_mask.looks_stripped(np.ones_like(distance, dtype="f4"), affine)
    crumbs = (distance < 60) | ((distance > 90) & (distance < 95))
    assert not brain_mask.looks_stripped(crumbs.astype("f4"), affine)


def test_the_mask_of_a_stripped_image_is_its_non_zero_piece_without_holes():
    image = np.zeros((10, 10, 10), np.float32)
    image[2:7, 2:7, 2:7] = 5
    image[4, 4, 4] = 0
    image[9, 9, 9] = 5
    assert brain_mask.mask_of_stripped(image).sum() == 125


def test_the_pose_of_a_pitched_brain_is_found():
    grid = GRIDS["2"]
    pitched = resample(template("1"), GRIDS["1"].affine, grid.shape, grid.affine, matrix=turned(-25))
    pose = brain_mask._pose(pitched, grid.affine, threads=1)
    first = brain_mask._angle(np.eye(4), pose)
    assert first == pytest.approx(25, abs=2)
    assert min(brain_mask._angle(turned(25), pose), brain_mask._angle(turned(-25), pose)) < 2.5
    np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-9)


def test_an_image_without_a_brain_is_refused():
    with pytest.raises(UnusableInput, match="No brain"):
        brain_mask.find_brain(np.zeros((32, 32, 32), np.float32), np.diag([6.0, 6.0, 6.0, 1.0]))
