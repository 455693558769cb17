"""The template's voxel grids, and reading an image at points given in millimetres."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from scipy import ndimage

from brainage_bids.imaging.smooth import smooth

_POINTS_AT_ONCE = 2_000_000
"""How many points are held in memory at a time when a grid is resampled (about 50 MB of float64 coordinates)."""


@dataclass(frozen=True)
class Grid:
    """A voxel grid in the template's space: RAS axes, equal voxels, no rotation.

    Attributes
    ----------
    name : str
        The value of the ``res-`` entity: ``"1"``, ``"1p5"`` or ``"2"``.
    shape : tuple of int
        Number of voxels along x, y, z.
    voxel_mm : float
        Edge of a voxel.
    origin_mm : tuple of float
        World position of the centre of voxel (0, 0, 0).

    Examples
    --------
    >>> GRIDS["2"].affine[:3, 3].tolist()
    [-90.0, -126.0, -72.0]
    """

    name: str
    shape: tuple[int, int, int]
    voxel_mm: float
    origin_mm: tuple[float, float, float]

    @property
    def affine(self) -> np.ndarray:
        """(4, 4) float64, voxel index to mm."""
        affine = np.diag([self.voxel_mm] * 3 + [1.0])
        affine[:3, 3] = self.origin_mm
        return affine

    @property
    def voxel_volume_mm3(self) -> float:
        """Volume of a voxel in mm³."""
        return self.voxel_mm**3


GRIDS: Mapping[str, Grid] = MappingProxyType(
    {
        "1": Grid("1", (197, 233, 189), 1.0, (-98.0, -134.0, -72.0)),
        "1p5": Grid("1p5", (121, 145, 121), 1.5, (-90.0, -126.0, -72.0)),
        "2": Grid("2", (91, 109, 91), 2.0, (-90.0, -126.0, -72.0)),
    }
)
"""The grids of every output in the template's space, by the value of their ``res-`` entity."""


def voxel_sizes(affine: np.ndarray) -> np.ndarray:
    """Edges of a voxel in mm, (3,) float64: the lengths of the affine's columns.

    >>> voxel_sizes(np.diag([1.0, -2.0, 3.0, 1.0])).tolist()
    [1.0, 2.0, 3.0]
    """
    return np.sqrt((np.asarray(affine, dtype=float)[:3, :3] ** 2).sum(axis=0))


def voxel_volume(affine: np.ndarray) -> float:
    """Volume of a voxel in mm³: the absolute determinant of the affine's linear part.

    >>> voxel_volume(np.diag([1.0, -2.0, 3.0, 1.0]))
    6.0
    """
    return float(abs(np.linalg.det(np.asarray(affine, dtype=float)[:3, :3])))


def sample(volume: np.ndarray, affine: np.ndarray, points_mm: np.ndarray, order: int = 1, fill: float = 0.0) -> np.ndarray:
    """Values of an image at world positions.

    Outside the grid the image is `fill`; between the outermost voxel centres and half a voxel beyond, values fade
    linearly into it, so that a point on the last voxel centre is never lost to rounding.

    Parameters
    ----------
    volume : ndarray, (X, Y, Z)
        Intensities, or integer labels with ``order=0``.
    affine : ndarray, (4, 4)
        Voxel index to mm of `volume`.
    points_mm : ndarray, (..., 3)
        World positions.
    order : int
        0 takes the nearest voxel and keeps the dtype, 1 is trilinear and returns float32.
    fill : float
        Value outside the image.

    Returns
    -------
    ndarray, (...)

    Examples
    --------
    >>> ramp = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    >>> float(sample(ramp, np.eye(4), np.array([0.5, 0.5, 0.5])))
    3.5
    """
    _check_order(order)
    points_mm = np.asarray(points_mm)
    if points_mm.shape[-1:] != (3,):
        raise ValueError(f"points need a last axis of 3 coordinates, not the shape {points_mm.shape}")
    inverse = np.linalg.inv(np.asarray(affine, dtype=float))
    flat = points_mm.reshape(-1, 3)
    out = np.empty(len(flat), dtype=_output_dtype(volume, order))
    for start in range(0, len(flat), _POINTS_AT_ONCE):
        part = slice(start, start + _POINTS_AT_ONCE)
        index = (flat[part] @ inverse[:3, :3].T + inverse[:3, 3]).T
        ndimage.map_coordinates(volume, index, output=out[part], order=order, mode="grid-constant", cval=fill, prefilter=False)
    return out.reshape(points_mm.shape[:-1])


def resample(
    volume: np.ndarray,
    affine: np.ndarray,
    target_shape: tuple[int, int, int],
    target_affine: np.ndarray,
    *,
    matrix: np.ndarray | None = None,
    displacement_mm: np.ndarray | None = None,
    order: int = 1,
    antialias: bool = False,
    fill: float = 0.0,
) -> np.ndarray:
    """An image on another grid, through an optional warp and an optional linear map, in one interpolation.

    The value at a target voxel centre p is that of `volume` at ``matrix @ (p + displacement_mm(p))``: the warp is
    applied first, as in a chain of transforms that maps the fixed space to the moving one.

    Parameters
    ----------
    volume : ndarray, (X, Y, Z)
    affine : ndarray, (4, 4)
        Voxel index to mm of `volume`.
    target_shape, target_affine
        The grid to fill.
    matrix : ndarray, (4, 4), optional
        Target mm to `volume` mm (RAS); identity by default.
    displacement_mm : ndarray, (*target_shape, 3), optional
        Displacement in mm (RAS) at every target voxel.
    order : int
        0 (nearest, keeps the dtype) or 1 (trilinear, float32).
    antialias : bool
        Going to larger voxels, trilinear interpolation reads only the eight nearest voxels and lets noise and detail
        finer than the target through. True first smooths `volume` as `antialias_fwhm` says; it is ignored for
        ``order=0``.
    fill : float
        Value outside the image.

    Returns
    -------
    ndarray, target_shape

    Examples
    --------
    >>> shifted = np.eye(4); shifted[0, 3] = 1.0
    >>> line = np.arange(3, dtype=np.float32).reshape(3, 1, 1)
    >>> resample(line, np.eye(4), (3, 1, 1), np.eye(4), matrix=shifted).ravel().tolist()
    [1.0, 2.0, 0.0]
    """
    _check_order(order)
    matrix = np.eye(4) if matrix is None else np.asarray(matrix, dtype=float)
    to_index = np.linalg.inv(np.asarray(affine, dtype=float)) @ matrix
    if antialias and order == 1:
        volume = _smoothed_for(volume, to_index @ target_affine)
    if displacement_mm is not None:
        return _resample_warped(volume, to_index, target_shape, target_affine, displacement_mm, order, fill)
    full = to_index @ target_affine
    return ndimage.affine_transform(
        volume, full[:3, :3], full[:3, 3], target_shape, output=_output_dtype(volume, order), order=order,
        mode="grid-constant", cval=fill, prefilter=False,
    )  # fmt: skip


def halved(volume: np.ndarray) -> np.ndarray:
    """An image on every second voxel centre along each axis, beginning with the first: the mean over the voxel of twice the edge there.

    Such a voxel holds one voxel of the image and half of each neighbour, so the weights along an axis are ¼, ½, ¼. At the border
    the outermost voxel stands in for the one that is missing.

    Parameters
    ----------
    volume : ndarray, (X, Y, Z)

    Returns
    -------
    ndarray, (⌈X/2⌉, ⌈Y/2⌉, ⌈Z/2⌉) float32

    Examples
    --------
    >>> halved(np.array([0, 0, 4, 8, 8], dtype=np.float32).reshape(5, 1, 1)).ravel().tolist()
    [0.0, 4.0, 8.0]
    """
    out = np.asarray(volume, dtype=np.float32)
    for axis, n in enumerate(out.shape):
        middle = np.arange(0, n, 2)
        before, after = np.maximum(middle - 1, 0), np.minimum(middle + 1, n - 1)
        out = np.float32(0.5) * out.take(middle, axis) + np.float32(0.25) * (out.take(before, axis) + out.take(after, axis))
    return out


def spread(values: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Values on every second voxel centre, spread over the voxels whose mean `halved` would take there: its transpose.

    The sum over an array stays what it was.

    Parameters
    ----------
    values : ndarray, (⌈X/2⌉, ⌈Y/2⌉, ⌈Z/2⌉)
    shape : three int
        X, Y, Z.

    Returns
    -------
    ndarray, (X, Y, Z) float32

    Examples
    --------
    >>> spread(np.array([0, 8, 0], dtype=np.float32).reshape(3, 1, 1), (5, 1, 1)).ravel().tolist()
    [0.0, 2.0, 4.0, 2.0, 0.0]
    """
    out = np.asarray(values, dtype=np.float32)
    for axis, n in enumerate(shape):
        moved = np.moveaxis(out, axis, 0)
        wide = np.zeros((n, *moved.shape[1:]), np.float32)
        middle = np.arange(0, n, 2)
        for weight, places in ((0.5, middle), (0.25, np.maximum(middle - 1, 0)), (0.25, np.minimum(middle + 1, n - 1))):
            np.add.at(wide, places, np.float32(weight) * moved)
        out = np.moveaxis(wide, 0, axis)
    return out


def antialias_fwhm(index_map: np.ndarray) -> np.ndarray:
    """Full width at half maximum, in source voxels, of the smoothing that makes source voxels as blunt as target ones.

    A voxel is taken as a Gaussian whose full width at half maximum is its edge; variances add, so what is missing along
    source axis i is ``(L Lᵀ − I)_ii``, with L the linear part of the map from target to source indices. Nothing is
    missing where the target is finer.

    Parameters
    ----------
    index_map : ndarray, (4, 4)
        Target voxel index to source voxel index.

    Returns
    -------
    ndarray, (3,)

    Notes
    -----
    The matching of point-spread functions follows Cardoso et al., MICCAI 2015.

    Examples
    --------
    >>> antialias_fwhm(np.diag([2.0, 1.0, 0.5, 1.0])).round(4).tolist()
    [1.7321, 0.0, 0.0]
    """
    linear = np.asarray(index_map, dtype=float)[:3, :3]
    return np.sqrt(np.clip((linear**2).sum(axis=1) - 1.0, 0.0, None))


def _smoothed_for(volume: np.ndarray, index_map: np.ndarray) -> np.ndarray:
    return smooth(volume, antialias_fwhm(index_map), (1.0, 1.0, 1.0))


def _resample_warped(volume, to_index, target_shape, target_affine, displacement_mm, order, fill) -> np.ndarray:
    """Resampling through a dense warp, a few planes at a time."""
    target_shape = tuple(target_shape)
    if displacement_mm.shape != (*target_shape, 3):
        raise ValueError(f"a displacement of shape {displacement_mm.shape} does not fit the grid {target_shape}")
    full = to_index @ np.asarray(target_affine, dtype=float)
    out = np.empty(target_shape, dtype=_output_dtype(volume, order))
    planes = max(1, _POINTS_AT_ONCE // (target_shape[1] * target_shape[2]))
    for start in range(0, target_shape[0], planes):
        stop = min(start + planes, target_shape[0])
        grid = np.ogrid[start:stop, 0 : target_shape[1], 0 : target_shape[2]]
        index = np.empty((3, stop - start, *target_shape[1:]))
        for axis in range(3):
            index[axis] = full[axis, 3]
            for k in range(3):
                index[axis] += full[axis, k] * grid[k]
                index[axis] += to_index[axis, k] * displacement_mm[start:stop, ..., k]
        ndimage.map_coordinates(volume, index, output=out[start:stop], order=order, mode="grid-constant", cval=fill, prefilter=False)
    return out


def _output_dtype(volume: np.ndarray, order: int) -> np.dtype:
    return np.dtype(volume.dtype) if order == 0 else np.dtype(np.float32)


def _check_order(order: int) -> None:
    if order not in (0, 1):
        raise ValueError(f"the interpolation order is 0 (nearest) or 1 (trilinear), not {order}")
