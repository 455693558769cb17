"""Gaussian smoothing of images, with widths in millimetres."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import ndimage

FWHM_PER_SIGMA = 2.0 * math.sqrt(2.0 * math.log(2.0))
"""Full width at half maximum of a Gaussian of standard deviation 1, about 2.3548."""


def sigma_voxels(fwhm_mm: float | Sequence[float], voxel_mm: Sequence[float]) -> np.ndarray:
    """Standard deviation in voxels along each axis, (3,): FWHM / (2 √(2 ln 2)) / voxel.

    Raises
    ------
    ValueError
        For a negative or non-finite width, or a voxel size that is not above zero.

    Examples
    --------
    >>> sigma_voxels(4.0, (1.5, 1.5, 3.0)).round(4).tolist()
    [1.1324, 1.1324, 0.5662]
    """
    fwhm = np.broadcast_to(np.asarray(fwhm_mm, dtype=float), (3,))
    voxel = np.broadcast_to(np.asarray(voxel_mm, dtype=float), (3,))
    if not np.all(np.isfinite(fwhm)) or np.any(fwhm < 0):
        raise ValueError(f"a smoothing width must be zero or more, not {fwhm_mm} mm")
    if not np.all(np.isfinite(voxel)) or np.any(voxel <= 0):
        raise ValueError(f"voxel sizes must be above zero, not {voxel_mm} mm")
    return fwhm / FWHM_PER_SIGMA / voxel


def smooth(volume: np.ndarray, fwhm_mm: float | Sequence[float], voxel_mm: Sequence[float]) -> np.ndarray:
    """The image blurred by a Gaussian, axis after axis.

    The grid's borders act as mirrors, so nothing leaks out and the sum over all voxels stays what it was: a modulated map
    still sums to the volume of its tissue. The kernel is cut at four standard deviations.

    Parameters
    ----------
    volume : ndarray, (X, Y, Z)
        Finite values; one that is not finite would spread.
    fwhm_mm : float or three floats
        Full width at half maximum of the Gaussian, for all axes or each; 0 leaves an axis as it is.
    voxel_mm : three floats
        Edges of a voxel.

    Returns
    -------
    ndarray, (X, Y, Z), float32
        A new array.

    Examples
    --------
    >>> point = np.zeros((9, 9, 9), np.float32)
    >>> point[4, 4, 4] = 1
    >>> round(float(smooth(point, 4.0, (1.5, 1.5, 1.5))[4, 4, 4]), 4)  # (1 / (√(2π) 1.1324))³ for a continuous Gaussian
    0.0437
    """
    out = np.array(volume, dtype=np.float32, order="C")
    for axis, sigma in enumerate(sigma_voxels(fwhm_mm, voxel_mm)):
        if sigma > 0.1:  # below that the cut kernel is a single voxel
            ndimage.gaussian_filter1d(out, sigma, axis=axis, output=out, mode="reflect", truncate=4.0)
    return out
