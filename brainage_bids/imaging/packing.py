"""Whole-brain arrays for networks: intensities on one scale, clipped, one byte a voxel, in a box of one size (METHODS, H1).

Scale: the mode of the T1w in white matter, or the median of another modality (which lesions and veins move little, as they fill a small
part), becomes the level that the modality declares: 110, or less where fluid would be clipped. Values are clipped at 383 and multiplied by
255/383.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from brainage_bids.imaging.crop import bounding_box, crop, crop_affine
from brainage_bids.imaging.grids import resample, voxel_sizes
from brainage_bids.modalities import MODALITIES
from brainage_bids.records import UnusableInput

WHITE = MODALITIES["T1w"].white
"""What white matter of the T1w becomes."""
TOP = 383.0
"""Where the scaled intensities are clipped."""
CLIPPED_LIMIT = 1e-5
"""Share of a brain's voxels that may be clipped without a warning: 0.001 %."""
MARGIN_VOXELS = 2
"""By how much the box is larger than the largest brain, along each axis."""
_BINS = 256
_MODE_SIGMA = 4.0


@dataclass(frozen=True)
class Boxed:
    """A brain in a model's box.

    Attributes
    ----------
    data : ndarray or None
        The array of the box's shape; None if the brain does not fit, because it is never cut.
    fits : bool
    source, target : tuple of slice
        Where the brain lay in the image, and where it lies in the box; empty without a brain.
    """

    data: np.ndarray | None
    fits: bool
    source: tuple[slice, ...] = ()
    target: tuple[slice, ...] = ()


def scale_factor(values: np.ndarray, modality: str) -> float:
    """The factor that brings white matter to the level of its modality.

    Parameters
    ----------
    values : ndarray, (N,)
        Intensities of the voxels that are surely white matter.
    modality : str
        A suffix of `modalities.MODALITIES`.

    Raises
    ------
    UnusableInput
        If there are no values, or white matter is dark.

    Examples
    --------
    >>> scale_factor(np.array([40.0, 55.0, 300.0]), "FLAIR")
    2.0
    """
    row = MODALITIES[modality]
    white = (mode(values) if row.scale == "mode" else float(np.median(values))) if values.size else 0.0
    if not white > 0:
        raise UnusableInput(f"The {modality} is dark where the T1w shows white matter, so it cannot be brought to a scale; look at both.")
    return row.white / white


def mode(values: np.ndarray) -> float:
    """The most frequent value: the top of a smoothed histogram of the middle 98 % of the values.

    >>> round(mode(np.random.default_rng(0).normal(80, 5, 100_000)))
    80
    """
    low, high = np.percentile(values, [1, 99])
    if not high > low:
        return float(low)
    counts, edges = np.histogram(values, bins=_BINS, range=(low, high))
    top = int(np.argmax(ndimage.gaussian_filter1d(counts.astype(float), _MODE_SIGMA)))
    return float(edges[top] + edges[top + 1]) / 2


def pack(image: np.ndarray, factor: float) -> np.ndarray:
    """Scale, clip at 383, multiply by 255/383 and round to one byte.

    Parameters
    ----------
    image : ndarray, (X, Y, Z)
        Intensities ≥ 0, 0 outside the brain.
    factor : float
        Of `scale_factor`.

    Returns
    -------
    ndarray, (X, Y, Z) uint8

    Examples
    --------
    >>> pack(np.array([0.0, 110.0, 383.0, 1e6]), 1.0).tolist()
    [0, 73, 255, 255]
    """
    return np.rint(np.clip(np.asarray(image, dtype=np.float32) * np.float32(factor), 0, TOP) * np.float32(255 / TOP)).astype(np.uint8)


def clipped_share(image: np.ndarray, brain: np.ndarray, factor: float) -> float:
    """Share of a brain's voxels that are brighter than 383 on the scale.

    >>> clipped_share(np.array([100.0, 400.0, 900.0]), np.array([True, True, False]), 1.0)
    0.5
    """
    values = image[brain]
    return float(np.count_nonzero(values * factor > TOP) / values.size) if values.size else float("nan")


def extent(brain: np.ndarray) -> tuple[int, int, int]:
    """Voxels from one end of a brain to the other along each axis; 0 for an empty mask.

    >>> mask = np.zeros((5, 5, 5), bool)
    >>> mask[1:4, 2, 0] = True
    >>> extent(mask)
    (3, 1, 1)
    """
    lines = [np.flatnonzero(brain.any(axis=tuple(other for other in range(3) if other != axis))) for axis in range(3)]
    return tuple(int(line[-1] - line[0] + 1) if line.size else 0 for line in lines)


def brain_grid(brain: np.ndarray, affine: np.ndarray, voxel_mm: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """The brain on cubic voxels along its own axes, cut to it and one voxel around.

    Parameters
    ----------
    brain : ndarray, (X, Y, Z) bool
    affine : ndarray, (4, 4)
        Voxel index to mm.
    voxel_mm : float

    Returns
    -------
    ndarray, ndarray
        The mask on the new grid, bool, and the grid's affine.

    Raises
    ------
    UnusableInput
        If the mask is empty.
    """
    if not brain.any():
        raise UnusableInput("The brain mask is empty, so there is no brain to pack; look at the T1w.")
    part, part_affine = crop(brain, affine, bounding_box(brain, 2.0 * voxel_mm, voxel_sizes(affine)))
    padded = np.pad(part, 1)
    start = part_affine.copy()
    start[:3, 3] -= part_affine[:3, :3].sum(axis=1)
    zoom = voxel_sizes(affine) / voxel_mm
    shape = tuple(int(n) for n in np.ceil(np.array(padded.shape) * zoom))
    cubic = start @ np.diag([*(1 / zoom), 1.0])
    inside = resample(padded.astype(np.float32), start, shape, cubic, antialias=True) > 0.5
    box = bounding_box(inside, 1.0)
    return inside[box], crop_affine(cubic, box)


def box_of(extents: Iterable[Sequence[int]]) -> tuple[int, int, int]:
    """The box of a model: the largest of its training brains along each axis, and 2 voxels.

    Parameters
    ----------
    extents : iterable of three int
        Of `extent`, one a brain; the result is stored in the model's card.

    Raises
    ------
    ValueError
        Without any brain.

    Examples
    --------
    >>> box_of([(140, 170, 130), (135, 180, 128)])
    (142, 182, 132)
    """
    sizes = np.array(list(extents), dtype=int).reshape(-1, 3)
    if not sizes.size:
        raise ValueError("a box needs the extents of one brain at least")
    return tuple(int(size) + MARGIN_VOXELS for size in sizes.max(axis=0))


def in_box(data: np.ndarray, brain: np.ndarray, box: Sequence[int]) -> Boxed:
    """Put a brain in the middle of a model's box.

    Parameters
    ----------
    data : ndarray, (X, Y, Z)
    brain : ndarray, (X, Y, Z) bool
        What must be in the box.
    box : three int
        Of `box_of`.

    Returns
    -------
    Boxed
        Without data if the brain is larger than the box along any axis.

    Examples
    --------
    >>> line = np.array([0, 7, 8, 0, 0]).reshape(5, 1, 1)
    >>> in_box(line, line > 0, (4, 1, 1)).data.ravel().tolist(), in_box(line, line > 0, (1, 1, 1)).fits
    ([0, 7, 8, 0], False)
    """
    size = extent(brain)
    if any(have > room for have, room in zip(size, box, strict=True)):
        return Boxed(None, False)
    out = np.zeros(tuple(box), dtype=data.dtype)
    if not any(size):
        return Boxed(out, True)
    source, target = [], []
    for axis in range(3):
        first = int(np.flatnonzero(brain.any(axis=tuple(other for other in range(3) if other != axis)))[0])
        start = (box[axis] - size[axis]) // 2
        source.append(slice(first, first + size[axis]))
        target.append(slice(start, start + size[axis]))
    out[tuple(target)] = np.where(brain[tuple(source)], data[tuple(source)], 0)
    return Boxed(out, True, tuple(source), tuple(target))
