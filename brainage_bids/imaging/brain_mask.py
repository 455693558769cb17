"""Where the brain is: found by a coarse fit of the generative model, or read off an image that is already stripped."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from brainage_bids.imaging.atlas import Atlas
from brainage_bids.imaging.grids import resample, voxel_sizes, voxel_volume
from brainage_bids.imaging.pieces import filled, largest_piece
from brainage_bids.imaging.rough_fit import NO_BRAIN, RoughFit, fit_roughly
from brainage_bids.records import UnusableInput

STRIPPED_ZEROS = 0.35
"""An image of which at least this share is exactly the background value may already be stripped."""

BRAIN_ML = (400.0, 2200.0)
"""Volumes between which a mask can be a human brain with its inner fluid, wide on purpose."""


def looks_stripped(image: np.ndarray, affine: np.ndarray) -> bool:
    """Tell whether the skull was already removed from a T1w.

    Two signs must agree: at least 35 % of the voxels hold exactly the background value 0, and what is left is mainly one piece of
    the size of a brain that fills most of its convex surroundings (a defaced or cropped head is larger).

    Examples
    --------
    >>> x = np.linspace(-90, 90, 46)
    >>> ball = sum(a**2 for a in np.meshgrid(x, x, x)) < 65**2
    >>> looks_stripped(ball.astype("f4"), np.diag([4.0, 4.0, 4.0, 1.0]))
    True
    """
    foreground = image > 0
    if 1 - foreground.mean() < STRIPPED_ZEROS:
        return False
    volume = foreground.sum() * voxel_volume(affine) / 1000
    if not BRAIN_ML[0] <= volume <= BRAIN_ML[1]:
        return False
    return bool(largest_piece(foreground).sum() >= 0.95 * foreground.sum())


def mask_of_stripped(image: np.ndarray) -> np.ndarray:
    """Brain mask of an image whose skull was removed: its non-zero voxels, largest piece, holes filled."""
    return filled(largest_piece(image > 0))


def find_brain(image: np.ndarray, affine: np.ndarray, *, threads: int = 1, sloppy: bool = False, atlas: Atlas | None = None) -> np.ndarray:
    """First brain mask of a whole head of any contrast: the coarse fit of `rough_fit`, read on the scan's grid.

    It bounds the bias field and the first registration. `tissues.segment_brain` says later, on the full grid and beyond this
    mask, where the brain ends.

    Parameters
    ----------
    image : ndarray, (X, Y, Z) float32
        Intensities ≥ 0, axes R, A, S.
    affine : ndarray, (4, 4)
        Voxel index to mm.
    threads : int
        Threads of the mixture.
    sloppy : bool
        Half as long, for demonstrations.
    atlas : Atlas, optional
        The packaged one by default.

    Returns
    -------
    ndarray, (X, Y, Z) bool

    Raises
    ------
    UnusableInput
        If no brain is found, or one that no human has.
    """
    fit = fit_roughly(image, affine, threads=threads, sloppy=sloppy, atlas=atlas)
    mask = mask_of_fit(fit, image.shape, affine)
    volume = mask.sum() * voxel_volume(affine) / 1000
    if not BRAIN_ML[0] <= volume <= BRAIN_ML[1]:
        raise UnusableInput(f"{NO_BRAIN} (What looks like one has {volume:.0f} mL.)")
    return mask


def mask_of_fit(fit: RoughFit, shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    """The brain of a coarse fit on another grid, (X, Y, Z) bool, its edge interpolated between voxels."""
    brain, sampling = fit.segmentation.brain, voxel_sizes(fit.affine)
    outside = ndimage.distance_transform_edt(~brain, sampling=sampling)
    depth = ndimage.distance_transform_edt(brain, sampling=sampling)
    edge = (outside - depth).astype(np.float32)
    return largest_piece(resample(edge, fit.affine, shape, affine, fill=float(edge.max())) <= 0)
