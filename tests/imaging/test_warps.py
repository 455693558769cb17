import pickle

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from brainage_bids.imaging.warps import WARP_GRID, SpatialMap, field_at, grid_points, inverse_error, invert_displacement

AFFINE = np.array([[1.05, 0.1, 0, 3], [-0.1, 0.95, 0.05, -8], [0, -0.04, 1.1, 12], [0, 0, 0, 1.0]])


def waves(size_mm: float) -> np.ndarray:
    p = grid_points() / 25
    x, y, z = (np.clip((1 - np.abs(np.linspace(-1, 1, n))) * 4, 0, 1) for n in WARP_GRID.shape)
    edge = x[:, None, None] * y[:, None] * z
    field = np.stack([np.sin(p[..., 1]), np.cos(p[..., 2]), np.sin(p[..., 0] + p[..., 1])], axis=-1)
    return (size_mm * field * edge[..., None]).astype(np.float32)


def test_the_inverse_undoes_a_smooth_field():
    u = waves(6.0)
    error = inverse_error(u, invert_displacement(u))
    assert np.percentile(error, 99) < 0.1
    assert inverse_error(u, -u).max() > 0.5  # the opposite is no inverse


def test_there_and_back_again():
    u = waves(4.0)
    there = SpatialMap(AFFINE, u)
    points = grid_points()[20:100:7, 20:120:7, 20:100:7]
    assert np.abs(there.to_template(there.to_person(points)) - points).max() < 0.15


def test_an_inverse_that_is_known_is_not_sought_again():
    u, v = waves(4.0), waves(-1.0)
    assert SpatialMap(AFFINE, u, v).inverse is v
    lazy = SpatialMap(AFFINE, u)
    np.testing.assert_array_equal(lazy.inverse, invert_displacement(u))
    assert lazy.inverse is lazy.inverse


def test_without_the_warp_the_affine_is_left():
    there = SpatialMap(AFFINE, waves(4.0), waves(4.0))
    np.testing.assert_allclose(there.to_person(np.zeros((1, 3)), warped=False)[0], AFFINE[:3, 3], atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.tuples(*[st.floats(-60, 60)] * 3))
def test_a_linear_field_is_read_exactly(point):
    values = field_at(grid_points(), np.array([point]))
    np.testing.assert_allclose(values[0], point, atol=1e-3)


def test_a_map_that_was_used_can_be_stored_and_used_again():
    shift = np.full((*WARP_GRID.shape, 3), 1.5, dtype=np.float32)
    spatial_map = SpatialMap(np.eye(4), shift, -shift)
    points = np.array([[3.0, -2.0, 10.0]], dtype=np.float32)
    there = spatial_map.to_template(points)
    np.testing.assert_allclose(pickle.loads(pickle.dumps(spatial_map)).to_template(points), there)
