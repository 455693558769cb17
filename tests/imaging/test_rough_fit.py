"""Heads painted from the packaged atlas itself, turned and sized by a known affine, in two contrasts."""

import numpy as np
import pytest

from brainage_bids.imaging.atlas import OUTSIDE, load_atlas
from brainage_bids.imaging.brain_mask import find_brain, mask_of_fit
from brainage_bids.imaging.grids import resample
from brainage_bids.imaging.rough_fit import fit_roughly, mutual_information
from brainage_bids.imaging.warps import WARP_GRID
from brainage_bids.records import UnusableInput

OUTER = {"soft tissue": 600, "scalp": 900, "skull": 560, "marrow": 750, "other tissue": 400, "background": 5}
T1W, FLAIR = {"WM": 850, "GM": 550, "CSF": 170}, {"WM": 600, "GM": 800, "CSF": 120}
SHAPE, GRID = (72, 84, 80), np.array([[3.0, 0, 0, -108], [0, 3.0, 0, -130], [0, 0, 3.0, -120], [0, 0, 0, 1]])


def pitched(degrees: float, size: float) -> np.ndarray:
    angle = np.radians(degrees)
    matrix = np.diag([size, size, size, 1.0])
    matrix[1:3, 1:3] = size * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix[:3, 3] = (4.0, 9.0, -12.0)
    return matrix


def head(contrast, pose):
    """The image and the true brain on a 3 mm grid."""
    atlas = load_atlas()
    channel = atlas.probabilities.argmax(axis=-1)
    levels = np.array([contrast[region.tissue] for region in atlas.regions] + [OUTER[name] for name, _ in OUTSIDE], dtype=np.float32)
    at = pose @ WARP_GRID.affine
    image = resample(levels[channel], at, SHAPE, GRID, antialias=True)
    brain = resample((channel < len(atlas.regions)).astype(np.float32), at, SHAPE, GRID, antialias=True) > 0.5
    noisy = image + np.random.default_rng(0).normal(0, 25, SHAPE)
    return np.abs(noisy).astype(np.float32), brain


@pytest.mark.parametrize(("contrast", "degrees"), [(T1W, -22), (FLAIR, 8)])
def test_a_turned_head_of_any_contrast_is_found(contrast, degrees):
    pose = pitched(degrees, 0.94)
    image, brain = head(contrast, pose)
    fit = fit_roughly(image, GRID)
    found = mask_of_fit(fit, SHAPE, GRID)
    assert 2 * (found & brain).sum() / (found.sum() + brain.sum()) > 0.95
    centre = np.array([[0.0, -18.0, 8.0]])
    assert np.linalg.norm(fit.spatial_map.to_person(centre) - (centre @ pose[:3, :3].T + pose[:3, 3])) < 4
    assert fit.segmentation.means["cerebral white"] == pytest.approx(contrast["WM"], rel=0.1)


@pytest.mark.parametrize("level", [0, 700])
def test_an_image_without_a_brain_is_refused(level):
    with pytest.raises(UnusableInput, match="No brain"):
        find_brain(np.full((32, 32, 32), level, np.float32), np.diag([6.0, 6.0, 6.0, 1.0]))


def test_noise_is_no_brain():
    noise = np.abs(np.random.default_rng(1).normal(0, 1, (24, 24, 24))).astype(np.float32)
    with pytest.raises(UnusableInput, match="No brain"):
        find_brain(noise, np.diag([2.0, 2.0, 2.0, 1.0]))


def test_shared_information_is_that_of_a_permuted_contrast_and_none_of_noise():
    rng = np.random.default_rng(2)
    image = rng.integers(0, 8, 20000).astype(float)
    permuted = np.array([3, 7, 1, 0, 5, 2, 6, 4])[image.astype(int)]
    assert mutual_information(image, permuted) == pytest.approx(np.log(8), abs=0.01)
    assert mutual_information(image, rng.permutation(image)) < 0.01
