"""A ball of white matter in a shell of cortex in a shell of fluid in a skull as bright as cortex, with an atlas 2 mm beside it."""

import numpy as np
import pytest

from brainage_bids.imaging.atlas import Atlas, from_samples
from brainage_bids.imaging.groups import Settings, settings_for
from brainage_bids.imaging.tissues import MOST_NOISE, _neighbours, _places, _prior, segment_brain
from brainage_bids.imaging.volumes import read_regions
from brainage_bids.imaging.warps import WARP_GRID, SpatialMap, grid_points

LEVEL = {2: 1000.0, 3: 650.0, 24: 200.0, 515: 690.0, 0: 20.0}
RADII = ((38, 2), (46, 3), (52, 24), (58, 515))
AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])
AFFINE[:3, 3] = (-75, -75, -75)


def balls(points, centre=(0.0, 0.0, 0.0)):
    distance = np.linalg.norm(points - np.array(centre, dtype=np.float32), axis=-1)
    codes = np.zeros(distance.shape, dtype=np.uint16)
    for radius, code in reversed(RADII):
        codes[distance < radius] = code
    return codes


@pytest.fixture(scope="module")
def atlas() -> Atlas:
    return from_samples([balls(grid_points(), (0.0, 2.0, 0.0))[None]], read_regions())


@pytest.fixture(scope="module")
def truth():
    axes = [np.arange(76, dtype=np.float32)] * 3
    return balls(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1) * 2 - 75)


@pytest.fixture(scope="module")
def image(truth):
    level = np.zeros(600, dtype=np.float32)
    level[list(LEVEL)] = list(LEVEL.values())
    return np.abs(level[truth] + np.random.default_rng(0).normal(0, 35, truth.shape)).astype(np.float32)


def still() -> SpatialMap:
    nothing = np.zeros((*WARP_GRID.shape, 3), dtype=np.float32)
    return SpatialMap(np.eye(4), nothing, nothing)


@pytest.fixture(scope="module")
def found(image, truth, atlas):
    return segment_brain(image, AFFINE, (truth > 0) & (truth < 500), still(), atlas=atlas)


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def test_tissues_are_where_they_were_put(found, truth):
    tissue = np.select([np.isin(truth, (3,)), truth == 2, truth == 24], [1, 2, 3], 0)
    for code, least in ((1, 0.96), (2, 0.98), (3, 0.93)):
        assert dice(found.dseg() == code, tissue == code) > least


def test_a_skull_as_bright_as_cortex_stays_outside(found, truth):
    assert (found.dseg()[truth == 515] == 1).mean() < 0.02
    assert dice(found.brain, (truth > 0) & (truth < 500)) > 0.97


def test_means_are_recovered(found):
    assert found.means["cerebral white"] == pytest.approx(1000, rel=0.02)
    assert found.means["cortex"] == pytest.approx(650, rel=0.02)
    assert found.means["fluid"] == pytest.approx(200, rel=0.03)


def test_the_unit_of_intensity_does_not_matter(found, image, truth, atlas):
    scaled = segment_brain(image * 8, AFFINE, (truth > 0) & (truth < 500), still(), atlas=atlas)
    assert (scaled.labels != found.labels).mean() < 1e-4


def test_a_stripped_brain_has_nothing_outside(image, truth, atlas):
    mask = np.isin(truth, (2, 3))  # outer fluid removed with the skull
    stripped = segment_brain(image * mask, AFFINE, mask, still(), stripped=True, atlas=atlas)
    np.testing.assert_array_equal(stripped.brain, mask)
    total = sum(stripped.tissues.values())
    np.testing.assert_allclose(total[mask], 1, atol=1e-3)
    assert not total[~mask].any()
    assert (stripped.dseg() == 3).sum() < 0.05 * mask.sum()


def test_labels_and_tissues_agree(found):
    assert set(np.unique(found.labels)) <= {0, 2, 3, 24, 41, 42}
    best = np.stack([found.tissues[name] for name in ("GM", "WM", "CSF")]).argmax(axis=0) + 1
    inside = found.brain
    assert (best[inside] == found.dseg()[inside]).mean() > 0.999


def test_neighbours_count_for_more_in_a_noisy_scan(image, truth, atlas, monkeypatch):
    noisy = np.abs(image + np.random.default_rng(1).normal(0, 110, image.shape)).astype(np.float32)
    tissue = np.select([truth == 3, truth == 2, truth == 24], [1, 2, 3], 0)
    scores = []
    for most in (1.0, MOST_NOISE):
        monkeypatch.setattr("brainage_bids.imaging.tissues.MOST_NOISE", most)
        found = segment_brain(noisy, AFFINE, (truth > 0) & (truth < 500), still(), atlas=atlas, settings=Settings())
        scores.append(dice(found.dseg() == 1, tissue == 1))
    assert scores[1] > scores[0]


def test_a_bright_lesion_in_white_matter_is_white_matter(truth, atlas):
    level = np.zeros(600, dtype=np.float32)
    level[[2, 3, 24, 515]] = (630, 780, 150, 300)  # like a FLAIR
    image = np.abs(level[truth] + np.random.default_rng(0).normal(0, 30, truth.shape)).astype(np.float32)
    lesion = np.linalg.norm(np.argwhere(np.ones(truth.shape)) - (51.5, 37.5, 37.5), axis=1).reshape(truth.shape) < 3
    image[lesion] = 880
    found = segment_brain(image, AFFINE, (truth > 0) & (truth < 500), still(), atlas=atlas)
    assert (found.dseg()[lesion] == 2).mean() > 0.95
    assert dice(found.dseg() == 1, truth == 3) > 0.9


def test_voxels_half_grey_half_white_are_neither_in_a_coarse_scan():
    assert settings_for(1.0).edge_shares == Settings().edge_shares
    assert 0.5 - settings_for(1.5).edge_shares[0] < 0.5 - Settings().edge_shares[0]


def test_a_thick_voxel_is_told_the_mean_of_the_atlas_over_it(atlas):
    thick = np.diag([1.5, 1.5, 6.0, 1.0])
    thick[:3, 3] = (0.0, 0.0, 38.0)  # 35 to 41 mm above the centre: a third of it white matter, which ends at about 38, and cortex
    region = np.ones((1, 1, 1), dtype=bool)
    heights = (35.75, 37.25, 38.75, 40.25)
    known = np.mean([_prior(atlas, [np.array([[0, 0, z]], dtype=np.float32)]) for z in heights], axis=0)
    points = np.array([[0, 0, 38.0]], dtype=np.float32)
    np.testing.assert_allclose(_prior(atlas, _places(points, region, thick, still(), 1.5)), known, atol=5e-3)
    cube = np.diag([1.5, 1.5, 1.5, 1.0])
    assert [place.tolist() for place in _places(points, region, cube, still(), 1.5)] == [points.tolist()]


def test_neighbours_of_a_thick_slice_count_for_less_than_those_in_it():
    region = np.ones((3, 3, 3), dtype=bool)
    posterior = np.zeros((27, 2), dtype=np.float32)
    posterior[:, 1] = 1
    near = np.ravel_multi_index((0, 1, 1), region.shape), np.ravel_multi_index((1, 1, 0), region.shape)
    centre = np.ravel_multi_index((1, 1, 1), region.shape)
    tissue_of, strength = np.array(["GM", "WM"]), np.array([0.4, 0.4, 0.1])
    for place, expected in zip(near, (0.4 / 2, 0.1 / 2), strict=True):
        one = posterior.copy()
        one[place] = (1, 0)
        seen = np.log(_neighbours(one, tissue_of, region, strength))[centre]
        np.testing.assert_allclose(seen, (expected, strength.sum() - expected), rtol=1e-5)


def test_an_image_far_from_the_brain_is_refused(image, truth, atlas):
    away = AFFINE.copy()
    away[:3, 3] += 1000
    with pytest.raises(ValueError, match="no voxel"):
        segment_brain(image, away, truth > 0, still(), atlas=atlas)
