"""Jacobian determinants of warps, and modulation: warped tissue maps that keep the native volume."""

from __future__ import annotations

import numpy as np

_PLANES_AT_ONCE = 16


def jacobian_determinant(displacement_mm: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Local change of volume by the warp x ↦ x + u(x), det(I + ∂u/∂x), at every voxel.

    Derivatives are central differences of neighbouring voxels, one-sided on the grid's faces. A value of 2 says that the
    space around the voxel is mapped to twice its volume; one of 0 or less that the warp folds.

    Parameters
    ----------
    displacement_mm : ndarray, (X, Y, Z, 3)
        u in mm along the world axes (RAS).
    affine : ndarray, (4, 4) or (3,)
        Voxel index to mm, or the three voxel sizes of a grid whose axes are R, A, S.

    Returns
    -------
    ndarray, (X, Y, Z), float32

    Raises
    ------
    ValueError
        If the shapes do not fit or an axis has a single voxel.

    Notes
    -----
    With an affine part A after the warp (x ↦ A(x + u(x))) the whole determinant is this one times det A.

    Examples
    --------
    >>> grow = np.stack(np.meshgrid(*[0.1 * np.arange(4.0)] * 3, indexing="ij"), axis=-1)
    >>> round(float(jacobian_determinant(grow, (1.0, 1.0, 1.0))[1, 2, 1]), 4)  # 1.1 cubed
    1.331
    """
    if displacement_mm.ndim != 4 or displacement_mm.shape[-1] != 3:
        raise ValueError(f"a displacement field has the shape (X, Y, Z, 3), not {displacement_mm.shape}")
    shape = displacement_mm.shape[:3]
    if min(shape) < 2:
        raise ValueError(f"a Jacobian needs two voxels along every axis; the grid is {shape}")
    index_per_mm = np.linalg.inv(_linear_part(affine)).astype(np.float32)
    out = np.empty(shape, dtype=np.float32)
    for start in range(0, shape[0], _PLANES_AT_ONCE):
        stop = min(start + _PLANES_AT_ONCE, shape[0])
        first, last = max(start - 1, 0), min(stop + 1, shape[0])
        slab = _determinant(np.asarray(displacement_mm[first:last], dtype=np.float32), index_per_mm)
        out[start:stop] = slab[start - first : stop - first]
    return out


def modulate(warped: np.ndarray, jacobian: np.ndarray, linear_determinant: float = 1.0) -> np.ndarray:
    """A warped tissue probability times the local change of volume, so that its sum keeps the native volume.

    With p_template(x) = p_native(A(x + u(x))) and J = det(I + ∂u/∂x) · |det A|, ∫ p_template J dx = ∫ p_native dy: the
    sum over the template grid times its voxel volume is the native volume.

    Parameters
    ----------
    warped : ndarray, (X, Y, Z)
        Tissue probability resampled to the template grid.
    jacobian : ndarray, (X, Y, Z)
        Determinant of the non-linear part, `jacobian_determinant`. Folds (negative values) count as no volume.
    linear_determinant : float
        det A of the linear part, from template mm to native mm; its sign (a mirrored axis) has no meaning for volume.

    Returns
    -------
    ndarray, (X, Y, Z), float32

    Notes
    -----
    Ashburner and Friston, NeuroImage 11:805, 2000; Good et al., NeuroImage 14:21, 2001.

    Examples
    --------
    >>> modulate(np.full((1, 1, 1), 0.5), np.full((1, 1, 1), 1.2), linear_determinant=-2.0).round(4).item()
    1.2000000476837158
    """
    if warped.shape != jacobian.shape:
        raise ValueError(f"a map of shape {warped.shape} cannot be modulated by Jacobians of shape {jacobian.shape}")
    if not np.isfinite(linear_determinant) or linear_determinant == 0:
        raise ValueError(f"the determinant of the linear part must be finite and not zero, not {linear_determinant}")
    out = np.maximum(jacobian, 0, dtype=np.float32)
    out *= np.float32(abs(linear_determinant))
    out *= np.asarray(warped, dtype=np.float32)
    return out


def _linear_part(affine: np.ndarray) -> np.ndarray:
    affine = np.asarray(affine, dtype=float)
    if affine.shape == (3,):
        return np.diag(affine)
    if affine.shape == (4, 4):
        return affine[:3, :3]
    raise ValueError(f"expected a 4 by 4 affine or three voxel sizes, not the shape {affine.shape}")


def _determinant(displacement: np.ndarray, index_per_mm: np.ndarray) -> np.ndarray:
    """det(I + ∂u/∂x) of a slab, (x, Y, Z, 3) to (x, Y, Z), in float32."""
    by_index = np.gradient(displacement, axis=(0, 1, 2))  # three arrays (x, Y, Z, 3): ∂u/∂i, ∂u/∂j, ∂u/∂k
    rows = []
    for axis in range(3):  # ∂u/∂x along each world axis
        row = sum(index_per_mm[k, axis] * by_index[k] for k in range(3) if index_per_mm[k, axis] != 0)
        row[..., axis] += 1
        rows.append(row)
    return np.einsum("...i,...i->...", rows[0], np.cross(rows[1], rows[2]))
