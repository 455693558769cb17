import numpy as np
import pytest

from brainage_bids.imaging.atlas import OUTSIDE, Atlas, from_samples, load_atlas, save_atlas
from brainage_bids.imaging.volumes import read_regions
from brainage_bids.imaging.warps import WARP_GRID, SpatialMap, field_at, grid_points

REGIONS = read_regions()
CHANNEL = {region.index: i for i, region in enumerate(REGIONS)}


def still() -> SpatialMap:
    nothing = np.zeros((*WARP_GRID.shape, 3), dtype=np.float32)
    return SpatialMap(np.eye(4), nothing, nothing)


@pytest.fixture(scope="module")
def two_blocks() -> Atlas:
    codes = np.zeros((1, *WARP_GRID.shape), dtype=np.uint16)
    codes[:, 20:50, 40:100, 40:80] = 10  # left thalamus, far left
    codes[:, 50:60, 40:100, 40:80] = 507
    return from_samples([codes], REGIONS, wide_share=0.0)


def test_a_person_and_the_mirror_image_share_the_atlas(two_blocks):
    left, right = two_blocks.probabilities[35, 70, 60, CHANNEL[10]], two_blocks.probabilities[120 - 35, 70, 60, CHANNEL[49]]
    assert left == right
    assert abs(int(left) - 128) <= 1  # the mirrored person has background there


def test_every_place_is_shared_out(two_blocks):
    sums = two_blocks.probabilities.sum(axis=-1, dtype=int)
    assert np.abs(sums - 255).max() <= two_blocks.probabilities.shape[-1] // 2


def test_a_code_of_no_class_is_refused():
    codes = np.full((1, *WARP_GRID.shape), 99, dtype=np.uint16)
    with pytest.raises(ValueError, match="99"):
        from_samples([codes], REGIONS)


def test_writing_and_reading_keeps_it(two_blocks, tmp_path):
    save_atlas(two_blocks, tmp_path / "atlas.nii.gz")
    np.testing.assert_array_equal(load_atlas(tmp_path / "atlas.nii.gz").probabilities, two_blocks.probabilities)


def test_a_wrong_number_of_channels_is_refused(two_blocks):
    with pytest.raises(ValueError, match="32 regions"):
        Atlas(REGIONS, two_blocks.probabilities[..., :-1])


def test_the_packaged_atlas_knows_where_things_are():
    atlas = load_atlas()
    points = grid_points()
    for code, sign in ((10, -1), (49, 1), (17, -1), (53, 1)):
        weight = atlas.probabilities[..., CHANNEL[code]].astype(float)
        assert np.sign((weight * points[..., 0]).sum()) == sign
    assert 1000 < atlas.inside().sum() * WARP_GRID.voxel_volume_mm3 / 1000 < 2500
    far = atlas.at(still(), np.array([[-89.0, -125.0, 107.0]], dtype=np.float32))
    assert far[0, -1] > 0.9 and OUTSIDE[-1][0] == "background"
    assert far.sum() == pytest.approx(1, abs=1e-5)


def test_reading_deep_structures_in_their_box_only_changes_nothing():
    atlas = load_atlas()
    points = np.random.default_rng(0).uniform(-110, 120, (20_000, 3)).astype(np.float32)  # beyond the grid too
    np.testing.assert_allclose(atlas.read(points), field_at(atlas.probabilities, points), atol=0.01)


def test_the_averaged_atlas_is_the_mean_over_a_cube():
    atlas = load_atlas()
    centre = np.array([10.5, -4.5, 12.0], dtype=np.float32)  # a voxel's centre: there both are exact but for rounding
    corners = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)], dtype=np.float32)
    wanted = atlas.read(centre + 1.25 * corners).mean(axis=0)
    np.testing.assert_allclose(atlas.averaged(2.5).read(centre[None])[0], wanted, atol=0.51)
