"""The map between a person's space and the template's: an affine, a displacement field, and the field's inverse."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from brainage_bids.imaging.grids import GRIDS, Grid

WARP_GRID = GRIDS["1p5"]
"""The grid of the template on which displacement fields live."""


_PLANES_AT_ONCE = 40
MOST_KEPT = 3_000_000
"""Places of a grid that are kept in memory once they are known (36 MB)."""

SLOPPY_TOLERANCE_MM = 0.2
"""Error of the inverse warp in demonstrations and tests."""


@dataclass(frozen=True)
class SpatialMap:
    """The map between the template's space (y) and a person's (x), both in RAS mm.

    ``x = A · (y + u(y))`` and ``y = z + v(z)`` with ``z = A⁻¹ · x``: the affine `A` carries the template onto the
    person, the fields `u` and `v` (inverse of each other) live on `WARP_GRID`, before the affine.

    Attributes
    ----------
    affine : ndarray, (4, 4)
        Template mm to person mm.
    displacement : ndarray, (121, 145, 121, 3) float32
        u in mm.
    known_inverse : ndarray, (121, 145, 121, 3) float32, optional
        v in mm; found from u when it is first needed if it is not given.
    """

    affine: np.ndarray
    displacement: np.ndarray
    known_inverse: np.ndarray | None = None

    @cached_property
    def inverse(self) -> np.ndarray:
        """The inverse field v, (121, 145, 121, 3) float32 mm."""
        return invert_displacement(self.displacement) if self.known_inverse is None else self.known_inverse

    @cached_property
    def _kept(self) -> dict[tuple[str, int], np.ndarray]:
        return {}

    @cached_property
    def _read_displacement(self) -> Reader:
        return Reader(self.displacement)

    @cached_property
    def _read_inverse(self) -> Reader:
        return Reader(self.inverse)

    def to_person(self, points: np.ndarray, *, warped: bool = True) -> np.ndarray:
        """Carry template points (..., 3) mm to the person; ``warped=False`` uses the affine alone."""
        points = np.asarray(points, dtype=np.float32)
        moved = points + self._read_displacement(points) if warped else points
        return _through(self.affine, moved)

    def positions(self, grid: Grid) -> Iterator[tuple[slice, np.ndarray]]:
        """Where the voxel centres of a grid of the template lie in the person, some planes (of the last axis) at a time.

        Of all but the largest grid the places are kept, as several images are brought to it.

        Yields
        ------
        planes : slice
        places : ndarray, (X, Y, planes, 3) float32 mm
        """
        for start in range(0, grid.shape[2], _PLANES_AT_ONCE):
            planes = slice(start, min(start + _PLANES_AT_ONCE, grid.shape[2]))
            key = grid.name, start
            places = self._kept[key] if key in self._kept else self.to_person(_centres(grid, planes))
            if np.prod(grid.shape) <= MOST_KEPT:
                self._kept[key] = places
            yield planes, places

    def to_template(self, points: np.ndarray) -> np.ndarray:
        """Carry points of the person (..., 3) mm to the template."""
        straight = _through(np.linalg.inv(self.affine), np.asarray(points, dtype=np.float32))
        return straight + self._read_inverse(straight)


def field_at(field: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Read the vector or channel values of a field on `WARP_GRID` at template points, trilinear, edge values outside.

    Parameters
    ----------
    field : ndarray, (121, 145, 121, C)
        Values on `WARP_GRID`.
    points : ndarray, (..., 3)
        Template positions in mm.

    Returns
    -------
    ndarray, (..., C) float32

    Examples
    --------
    >>> x = np.broadcast_to(np.arange(121, dtype=np.float32)[:, None, None, None], (121, 145, 121, 1))
    >>> round(float(field_at(x, np.array([[-88.5, 0.0, 0.0]]))[0, 0]), 3)
    1.0
    """
    if field.shape[:3] != WARP_GRID.shape:
        raise ValueError(f"a field on the warp grid has the shape {WARP_GRID.shape}, not {field.shape[:3]}")
    return Reader(field)(points)


class Reader:
    """What `field_at` does, for a field that is read many times: it is laid out for that once.

    Parameters
    ----------
    field : ndarray, (X, Y, Z, C)
        Values on a block of `WARP_GRID`.
    first : tuple of int
        Voxel of `WARP_GRID` where the block begins.
    """

    def __init__(self, field: np.ndarray, first: tuple[int, int, int] = (0, 0, 0)):
        import torch

        step = np.float32(WARP_GRID.voxel_mm)
        self._volume = torch.from_numpy(np.ascontiguousarray(field.T, dtype=np.float32))[None]
        self._origin = np.asarray(WARP_GRID.origin_mm, dtype=np.float32) + step * np.asarray(first, dtype=np.float32)
        self._scale = 2 / (step * (np.asarray(field.shape[:3], dtype=np.float32) - 1))

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Values (..., C) float32 at positions (..., 3) in mm."""
        import torch
        from torch.nn.functional import grid_sample

        points = np.asarray(points, dtype=np.float32)
        unit = torch.from_numpy((points.reshape(-1, 3) - self._origin) * self._scale - 1)
        values = grid_sample(self._volume, unit[None, :, None, None], padding_mode="border", align_corners=True)
        return values[0, :, :, 0, 0].T.numpy().reshape(*points.shape[:-1], values.shape[1])


def grid_points() -> np.ndarray:
    """Positions of the voxel centres of `WARP_GRID`, (121, 145, 121, 3) float32 mm."""
    return _centres(WARP_GRID)


def _centres(grid: Grid, planes: slice = slice(None)) -> np.ndarray:
    axes = [np.float32(o) + np.float32(grid.voxel_mm) * np.arange(n, dtype=np.float32) for o, n in zip(grid.origin_mm, grid.shape)]
    axes[2] = axes[2][planes]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


def invert_displacement(displacement: np.ndarray, iterations: int = 60, tolerance_mm: float = 0.02) -> np.ndarray:
    """Invert a displacement field by damped fixed-point iteration.

    Solves v(y) = −u(y + v(y)) (Chen et al. 2008, Med. Phys. 35, 81); a step is halved where the residual grew, which
    keeps strongly stretched places from oscillating.

    Parameters
    ----------
    displacement : ndarray, (121, 145, 121, 3)
        u in mm on `WARP_GRID`.
    iterations : int
        Upper bound on the number of steps.
    tolerance_mm : float
        Stop when 99.9 % of the residuals |v + u(y + v)| are below it.

    Returns
    -------
    ndarray, (121, 145, 121, 3) float32
        v in mm.

    Examples
    --------
    >>> shift = np.full((*WARP_GRID.shape, 3), 2.0, dtype=np.float32)
    >>> float(invert_displacement(shift)[60, 70, 60, 0])
    -2.0
    """
    points = grid_points().reshape(-1, 3)
    inverse = -np.asarray(displacement, dtype=np.float32).reshape(-1, 3)
    step = np.ones((len(points), 1), dtype=np.float32)
    active = np.arange(len(points))
    read = Reader(displacement)
    before = np.full(len(points), np.inf, dtype=np.float32)
    for _ in range(iterations):
        residual = inverse[active] + read(points[active] + inverse[active])
        size = np.linalg.norm(residual, axis=1)
        step[active[size > before[active]]] *= 0.5
        before[active] = size
        inverse[active] -= step[active] * residual
        active = active[size > tolerance_mm]
        if len(active) <= 0.001 * len(points):
            break
    return inverse.reshape(displacement.shape)


def inverse_error(displacement: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    """|u(y) + v(y + u(y))| in mm at every voxel of `WARP_GRID`: 0 where the two undo each other."""
    points = grid_points()
    return np.linalg.norm(displacement + field_at(inverse, points + displacement), axis=-1)


def _through(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ matrix[:3, :3].T.astype(np.float32) + matrix[:3, 3].astype(np.float32)
