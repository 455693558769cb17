"""Jacobians of warps known in closed form; modulation keeps volumes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brainage_bids.imaging.grids import GRIDS, resample
from brainage_bids.imaging.modulate import jacobian_determinant, modulate


def positions(shape, affine):
    """World positions of voxel centres, (*shape, 3)."""
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1)
    return index @ affine[:3, :3].T + affine[:3, 3]


def wave(points, amplitude, period):
    """A smooth displacement (mm) with its exact Jacobian determinant."""
    x, y, z = np.moveaxis(points, -1, 0)
    k = 2 * np.pi / period
    u = amplitude * np.stack([np.sin(k * y), np.sin(k * z), np.sin(k * x) * np.cos(k * y)], axis=-1)
    # rows of I + ∂u/∂x
    c = amplitude * k
    a, b = c * np.cos(k * y), c * np.cos(k * z)
    p, q = c * np.cos(k * x) * np.cos(k * y), -c * np.sin(k * x) * np.sin(k * y)
    return u, 1 - b * q + a * b * p  # det [[1, a, 0], [0, 1, b], [p, q, 1]]


def test_the_identity_has_a_jacobian_of_one():
    np.testing.assert_array_equal(jacobian_determinant(np.zeros((5, 6, 7, 3), np.float32), GRIDS["1p5"].affine), 1)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-0.4, 0.4), min_size=9, max_size=9), st.lists(st.floats(0.5, 3), min_size=3, max_size=3), st.booleans())
def test_a_linear_warp_has_its_determinant_everywhere_on_any_grid(entries, sizes, turned):
    matrix = np.eye(3) + np.reshape(entries, (3, 3))
    affine = np.eye(4)
    affine[:3, :3] = (np.eye(3)[[1, 2, 0]] if turned else np.eye(3)) * sizes
    points = positions((5, 4, 6), affine)
    jacobian = jacobian_determinant(points @ matrix.T - points, affine)
    np.testing.assert_allclose(jacobian, np.linalg.det(matrix), atol=2e-4)


def test_a_wave_has_the_closed_form_inside_the_grid():
    affine = np.diag([1.5, 1.5, 1.5, 1.0])
    u, exact = wave(positions((40, 42, 44), affine), 4.0, 60.0)
    inner = (slice(1, -1),) * 3
    assert np.abs(jacobian_determinant(u, affine)[inner] - exact[inner]).max() < 4e-3
    assert exact.min() < 0.9 and exact.max() > 1.1


def test_slabs_do_not_show():
    field = np.random.default_rng(0).normal(0, 0.2, (37, 5, 6, 3)).astype(np.float32)
    whole = np.linalg.det(np.eye(3) + np.stack(np.gradient(field.astype(float), axis=(0, 1, 2)), axis=-1))
    np.testing.assert_allclose(jacobian_determinant(field, (1.0, 1.0, 1.0)), whole, atol=1e-5)


def test_a_fold_is_negative():
    points = positions((8, 8, 8), np.eye(4))
    u = np.zeros_like(points)
    u[..., 0] = -2 * points[..., 0]
    assert jacobian_determinant(u, np.eye(4)).max() == pytest.approx(-1)


@pytest.mark.parametrize("shape", [(5, 5, 5), (5, 5, 5, 2), (1, 5, 5, 3)])
def test_fields_of_a_wrong_shape_are_refused(shape):
    with pytest.raises(ValueError):
        jacobian_determinant(np.zeros(shape, np.float32), np.eye(4))


def ball(points, radius=30.0, edge=4.0):
    """A soft ball around 0, as a tissue probability."""
    return (1 / (1 + np.exp((np.linalg.norm(points, axis=-1) - radius) / edge))).astype(np.float32)


@pytest.mark.parametrize("amplitude", [0.0, 3.0, 6.0])
@pytest.mark.parametrize("scale", [(1.0, 1.0, 1.0), (1.1, 0.9, 1.2), (-1.1, 0.8, 0.9)])
def test_modulation_keeps_the_native_volume_to_a_thousandth(amplitude, scale):
    native = np.diag([1.0, 1.0, 1.0, 1.0])
    native[:3, 3] = -65
    tissue = ball(positions((131, 131, 131), native))
    target = np.diag([1.5, 1.5, 1.5, 1.0])
    target[:3, 3] = -75
    shape = (101, 101, 101)
    u, _ = wave(positions(shape, target), amplitude, 80.0)
    matrix = np.diag([*scale, 1.0])
    warped = resample(tissue, native, shape, target, matrix=matrix, displacement_mm=u.astype(np.float32))
    modulated = modulate(warped, jacobian_determinant(u, target), np.linalg.det(matrix))
    before, after = tissue.sum(dtype=float), modulated.sum(dtype=float) * 1.5**3
    assert after == pytest.approx(before, rel=1e-3)
    if amplitude > 3 or scale != (1.0, 1.0, 1.0):
        assert abs(warped.sum(dtype=float) * 1.5**3 / before - 1) > 0.002  # without the Jacobian the volume is another


def test_folds_hold_no_volume_and_types_stay_small():
    out = modulate(np.ones((1, 1, 2), np.float64), np.array([[[-0.5, 2.0]]]))
    assert out.ravel().tolist() == [0.0, 2.0] and out.dtype == np.float32


def test_shapes_and_determinants_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="shape"):
        modulate(np.ones((2, 2, 2)), np.ones((2, 2, 3)))
    with pytest.raises(ValueError, match="determinant"):
        modulate(np.ones((2, 2, 2)), np.ones((2, 2, 2)), 0.0)
