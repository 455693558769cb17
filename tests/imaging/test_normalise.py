"""Images in the template's space: known maps, kept volumes."""

import numpy as np
import pytest

from brainage_bids.imaging.grids import GRIDS
from brainage_bids.imaging.normalise import local_volume_change, modulated_maps, to_template
from brainage_bids.imaging.warps import WARP_GRID, SpatialMap, grid_points, invert_displacement

AFFINE = np.array([[2.0, 0, 0, -90], [0, 2, 0, -110], [0, 0, 2, -90], [0, 0, 0, 1.0]])
SHAPE = (90, 110, 90)


def ball(radius_mm, centre=(0, 0, 0)):
    index = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1)
    distance = np.linalg.norm(index @ AFFINE[:3, :3].T + AFFINE[:3, 3] - centre, axis=-1)
    return np.clip((radius_mm - distance) / 2 + 0.5, 0, 1).astype(np.float32)


def still(affine):
    zero = np.zeros((*WARP_GRID.shape, 3), dtype=np.float32)
    return SpatialMap(np.asarray(affine, dtype=float), zero, zero)


@pytest.mark.parametrize("scale", [0.8, 1.0, 1.25])
def test_modulation_keeps_the_volume_under_scaling(scale):
    spatial_map = still(np.diag([scale, scale, scale, 1]))
    volume = ball(40)
    made = modulated_maps({"GM": volume}, AFFINE, spatial_map, local_volume_change(spatial_map))["GM"]
    assert made.sum() * 1.5**3 == pytest.approx(volume.sum() * 8, rel=1e-3)


def test_modulation_keeps_the_volume_under_a_warp():
    x = grid_points()
    waves = [4 * np.sin(x[..., 1] / 20), 3 * np.sin(x[..., 2] / 25), 3 * np.sin(x[..., 0] / 20)]
    displacement = np.stack(waves, axis=-1).astype(np.float32)
    spatial_map = SpatialMap(np.diag([1.1, 0.9, 1.0, 1.0]), displacement, invert_displacement(displacement))
    volume = ball(45, (5, -10, 5))
    made = modulated_maps({"WM": volume}, AFFINE, spatial_map, local_volume_change(spatial_map))["WM"]
    assert made.sum() * 1.5**3 == pytest.approx(volume.sum() * 8, rel=1e-3)


def test_affine_only_ignores_the_warp():
    shift = np.zeros((*WARP_GRID.shape, 3), dtype=np.float32)
    shift[..., 0] = 10
    spatial_map = SpatialMap(np.eye(4), shift, -shift)
    volume = ball(30)
    straight = to_template(volume, AFFINE, spatial_map, GRIDS["2"], warped=False)
    warped = to_template(volume, AFFINE, spatial_map, GRIDS["2"])
    centre = [float((np.arange(91) * 2 - 90) @ data.sum(axis=(1, 2)) / data.sum()) for data in (straight, warped)]
    assert centre == pytest.approx([0, -10], abs=0.05)


def test_a_constant_image_stays_constant_inside():
    made = to_template(np.full(SHAPE, 7, dtype=np.float32), AFFINE, still(np.eye(4)), GRIDS["1p5"])
    assert made[40:80, 50:90, 40:80] == pytest.approx(7)
