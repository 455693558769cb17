import numpy as np
import pytest

from brainage_bids.imaging.atlas import OUTSIDE, Atlas, load_atlas
from brainage_bids.imaging.expected import expected_image, head_guess, refine
from brainage_bids.imaging.grids import sample
from brainage_bids.imaging.groups import GROUPS
from brainage_bids.imaging.volumes import read_regions
from brainage_bids.imaging.warps import WARP_GRID, SpatialMap, grid_points, invert_displacement

MEANS = {name: {"WM": 850.0, "GM": 550.0, "CSF": 170.0}[tissue] for name, tissue, _ in GROUPS}
OUTER = {name: level for (name, _), level in zip(OUTSIDE, (600.0, 900.0, 560.0, 750.0, 400.0, 5.0))}


@pytest.fixture(scope="module")
def atlas():
    return load_atlas()


def test_an_atlas_without_doubt_is_painted_with_its_levels():
    regions = read_regions()
    probabilities = np.zeros((*WARP_GRID.shape, len(regions) + len(OUTSIDE)), dtype=np.uint8)
    probabilities[..., -1] = 255
    probabilities[60, 70, 60] = 0
    probabilities[60, 70, 60, 0] = 255
    painted = expected_image(Atlas(regions, probabilities), MEANS, {"background": 7.0})
    assert painted[60, 70, 60] == pytest.approx(850) and painted[0, 0, 0] == pytest.approx(7)
    named = expected_image(Atlas(regions, probabilities), MEANS, {regions[0].index: 3.0})
    assert named[60, 70, 60] == pytest.approx(3) and named[0, 0, 0] == 0


def test_the_first_guess_is_a_head(atlas):
    guess = head_guess(atlas)
    assert guess.max() <= 1.01 and guess.min() >= 0
    assert guess[atlas.tissue("WM") > 0.9].mean() > 1.3 * guess[atlas.tissue("GM") > 0.9].mean()


@pytest.mark.parametrize("stripped", [False, True])
def test_a_known_wave_is_taken_back(atlas, stripped):
    points = grid_points()
    wave = np.stack([3 * np.sin(points[..., 1] / 25), 3 * np.cos(points[..., 2] / 25), 0 * points[..., 0]], axis=-1).astype(np.float32)
    truth = SpatialMap(np.eye(4), wave, invert_displacement(wave))
    painted = expected_image(atlas, MEANS, OUTER)
    image = sample(painted, WARP_GRID.affine, truth.to_template(points))
    image += np.random.default_rng(0).normal(0, 15, image.shape).astype(np.float32)
    mask = sample(atlas.inside(), WARP_GRID.affine, truth.to_template(points)) > 0.5 if stripped else None
    nothing = np.zeros_like(wave)
    found = refine(image, WARP_GRID.affine, SpatialMap(np.eye(4), nothing, nothing), mask=mask, atlas=atlas)
    inside = atlas.inside() > 0.8
    before = np.linalg.norm(wave, axis=-1)[inside].mean()
    after = np.linalg.norm(found.displacement - wave, axis=-1)[inside].mean()
    assert after < 0.5 * before


@pytest.mark.parametrize(("slices_mm", "shift"), [(3.0, 2.0), (5.0, 1.0)])
def test_of_thick_slices_half_of_the_new_warp_is_taken(atlas, monkeypatch, slices_mm, shift):
    affine = np.diag([3.0, 3.0, slices_mm, 1.0])
    affine[:3, 3] = WARP_GRID.affine[:3, 3]
    axes = [np.arange(n, dtype=np.float32) * step for n, step in zip((60, 72, int(180 / slices_mm)), (3.0, 3.0, slices_mm))]
    places = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1) + affine[:3, 3].astype(np.float32)
    image = sample(expected_image(atlas, MEANS, OUTER), WARP_GRID.affine, places)
    nothing = np.zeros((*WARP_GRID.shape, 3), dtype=np.float32)
    monkeypatch.setattr("brainage_bids.imaging.expected.find_warp", lambda *_, **__: nothing + np.float32(2))
    found = refine(image, affine, SpatialMap(np.eye(4), nothing, nothing), atlas=atlas)
    np.testing.assert_allclose(found.displacement, shift)
