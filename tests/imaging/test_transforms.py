"""ITK files of a spatial map: SimpleITK reads the same points out of them."""

import numpy as np
import pytest

from brainage_bids.imaging.transforms import read_forward, read_transforms, write_transforms
from brainage_bids.imaging.warps import WARP_GRID, SpatialMap, grid_points, invert_displacement

FLIP = np.array([-1.0, -1.0, 1.0])


@pytest.fixture(scope="module")
def spatial_map():
    x = grid_points()
    displacement = np.stack([3 * np.sin(x[..., 1] / 25), 2 * np.cos(x[..., 2] / 30), -2 * np.sin(x[..., 0] / 20)], axis=-1).astype(
        np.float32
    )
    affine = np.array([[0.95, 0.1, 0, 3], [-0.1, 1.05, 0.05, -7], [0, -0.05, 1.1, 12], [0, 0, 0, 1.0]])
    return SpatialMap(affine, displacement, invert_displacement(displacement))


def test_simpleitk_agrees_with_our_points(spatial_map, tmp_path):
    sitk = pytest.importorskip("SimpleITK")
    write_transforms(spatial_map, tmp_path / "f.h5", tmp_path / "i.h5")
    points = np.random.default_rng(0).uniform(-45, 45, (20, 3))
    forward, inverse = (sitk.ReadTransform(str(tmp_path / name)) for name in ("f.h5", "i.h5"))
    moved = np.array([forward.TransformPoint((p * FLIP).tolist()) for p in points]) * FLIP
    np.testing.assert_allclose(moved, spatial_map.to_person(points), atol=2e-3)
    back = np.array([inverse.TransformPoint((p * FLIP).tolist()) for p in moved]) * FLIP
    np.testing.assert_allclose(back, spatial_map.to_template(moved), atol=2e-3)
    np.testing.assert_allclose(back, points, atol=0.05)


def test_the_forward_transform_alone_can_be_read(spatial_map, tmp_path):
    write_transforms(spatial_map, tmp_path / "f.h5", tmp_path / "i.h5")
    alone = read_forward(tmp_path / "f.h5")
    np.testing.assert_allclose(alone.affine, spatial_map.affine, atol=1e-12)
    np.testing.assert_allclose(alone.displacement, spatial_map.displacement, atol=1e-3)
    with pytest.raises(ValueError):
        read_forward(tmp_path / "i.h5")


def test_round_trip_keeps_a_micrometre_and_repeats_exactly(spatial_map, tmp_path):
    write_transforms(spatial_map, tmp_path / "f.h5", tmp_path / "i.h5")
    once = read_transforms(tmp_path / "f.h5", tmp_path / "i.h5")
    np.testing.assert_allclose(once.affine, spatial_map.affine, atol=1e-12)
    assert np.abs(once.displacement - spatial_map.displacement).max() <= 0.5 / 1024 + 1e-6
    write_transforms(once, tmp_path / "f2.h5", tmp_path / "i2.h5")
    twice = read_transforms(tmp_path / "f2.h5", tmp_path / "i2.h5")
    assert np.array_equal(once.displacement, twice.displacement) and np.array_equal(once.inverse, twice.inverse)


def test_files_in_the_wrong_order_are_refused(spatial_map, tmp_path):
    write_transforms(spatial_map, tmp_path / "f.h5", tmp_path / "i.h5")
    with pytest.raises(ValueError, match="was not written by this app"):
        read_transforms(tmp_path / "i.h5", tmp_path / "f.h5")


def test_field_lives_on_the_template_grid(spatial_map, tmp_path):
    import h5py

    write_transforms(spatial_map, tmp_path / "f.h5", tmp_path / "i.h5")
    with h5py.File(tmp_path / "f.h5") as file:
        fixed = file["TransformGroup/2/TransformFixedParameters"][()]
    assert fixed[:3].tolist() == list(WARP_GRID.shape) and fixed[3:6].tolist() == [90.0, 126.0, -72.0]
