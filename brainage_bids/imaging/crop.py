"""Cutting an image down to a region and putting the result back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Box = tuple[slice, slice, slice]


def bounding_box(mask: np.ndarray, margin_mm: float = 0.0, voxel_mm: Sequence[float] = (1.0, 1.0, 1.0)) -> Box:
    """The smallest box around a mask, widened by a margin and held inside the grid.

    Parameters
    ----------
    mask : ndarray, (X, Y, Z)
        Non-zero inside.
    margin_mm : float
        Added on all six sides, rounded up to whole voxels.
    voxel_mm : three floats
        Edges of a voxel.

    Returns
    -------
    Box
        Three slices with explicit start and stop.

    Raises
    ------
    ValueError
        If the mask is empty or the margin negative.

    Examples
    --------
    >>> mask = np.zeros((10, 10, 10), bool)
    >>> mask[4:6, 4, 9] = True
    >>> bounding_box(mask, margin_mm=3.0, voxel_mm=(1.0, 2.0, 1.0))[1]
    slice(2, 7, None)
    """
    if margin_mm < 0:
        raise ValueError(f"the margin of a box must be zero or more, not {margin_mm} mm")
    box = []
    for axis in range(3):
        line = np.flatnonzero(mask.any(axis=tuple(k for k in range(3) if k != axis)))
        if line.size == 0:
            raise ValueError("an empty mask has no bounding box")
        margin = int(np.ceil(margin_mm / voxel_mm[axis] - 1e-6))
        box.append(slice(max(int(line[0]) - margin, 0), min(int(line[-1]) + 1 + margin, mask.shape[axis])))
    return tuple(box)


def crop_affine(affine: np.ndarray, box: Box) -> np.ndarray:
    """The affine of the cut-out, (4, 4): same axes, origin at the box's first voxel.

    >>> crop_affine(np.diag([2.0, 2.0, 2.0, 1.0]), (slice(3, 5), slice(0, 5), slice(1, 2)))[:3, 3].tolist()
    [6.0, 0.0, 2.0]
    """
    affine = np.array(affine, dtype=float)
    affine[:3, 3] += affine[:3, :3] @ [part.start for part in box]
    return affine


def crop(volume: np.ndarray, affine: np.ndarray, box: Box) -> tuple[np.ndarray, np.ndarray]:
    """The part of an image inside a box, as a copy, with its affine.

    Parameters
    ----------
    volume : ndarray, (X, Y, Z, ...)
    affine : ndarray, (4, 4)
    box : Box
        From `bounding_box`.

    Returns
    -------
    ndarray, ndarray
        The cut-out in C order and its affine; every voxel keeps its world position.
    """
    return np.array(volume[box], order="C"), crop_affine(affine, box)


def paste(part: np.ndarray, box: Box, shape: tuple[int, ...], fill: float = 0) -> np.ndarray:
    """A cut-out put back on the whole grid, `fill` around it.

    Parameters
    ----------
    part : ndarray
        With the box's extent along the first three axes.
    box : Box
        The box it was cut by.
    shape : tuple of int
        Spatial shape of the whole grid.
    fill : float
        Value outside the box.

    Returns
    -------
    ndarray, (*shape, ...), of the dtype of `part`

    Examples
    --------
    >>> paste(np.ones((1, 2, 1)), (slice(0, 1), slice(1, 3), slice(0, 1)), (2, 3, 1)).ravel().tolist()
    [0.0, 1.0, 1.0, 0.0, 0.0, 0.0]
    """
    extent = tuple(piece.stop - piece.start for piece in box)
    if part.shape[:3] != extent or any(piece.start < 0 or piece.stop > size for piece, size in zip(box, shape)):
        raise ValueError(f"a part of shape {part.shape[:3]} does not fit the box {box} in a grid of {tuple(shape)}")
    whole = np.full((*shape[:3], *part.shape[3:]), fill, dtype=part.dtype)
    whole[box] = part
    return whole
