"""Intensity bias field by N4 (Tustison 2010, doi:10.1109/TMI.2010.2046908) on a coarse grid, in SimpleITK."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Effort(NamedTuple):
    """How closely the field is fitted.

    Attributes
    ----------
    iterations : tuple of int
        Upper bounds of the steps at each level; the control points double from level to level.
    shrink_mm : float
        About the edge of the voxels on which it is fitted.
    """

    iterations: tuple[int, ...]
    shrink_mm: float


FULL = Effort((50, 50, 50), 5.0)
FEW = Effort((30, 30), 5.0)
"""For FLAIR and SWI, whose tissues are not told apart by their brightness."""

FIRST = Effort((20, 20), 5.0)
"""For a first look."""

SLOPPY = Effort((20, 20), 8.0)
"""For demonstrations and tests."""


def bias_field(
    image: np.ndarray,
    affine: np.ndarray,
    mask: np.ndarray,
    *,
    threads: int = 1,
    effort: Effort = FULL,
) -> np.ndarray:
    """Smooth multiplicative intensity field of an image inside a mask, extended over the whole grid.

    Parameters
    ----------
    image : ndarray, (X, Y, Z) float32
        Intensities ≥ 0.
    affine : ndarray, (4, 4)
        Voxel index to mm.
    mask : ndarray, (X, Y, Z) bool
        Where the field is fitted.
    threads : int
        Threads of ITK.
    effort : Effort

    Returns
    -------
    ndarray, (X, Y, Z) float32
        The field, > 0, with geometric mean 1 inside `mask`; ``image / field`` is the corrected image.

    Raises
    ------
    ValueError
        If the mask holds no positive intensity.
    """
    import SimpleITK as sitk

    from brainage_bids.imaging.greedy import as_itk

    inside = mask & (image > 0)
    if not inside.any():
        raise ValueError("the mask holds no positive intensity, so there is no bias field to fit")
    image_itk, mask_itk = as_itk(image, affine), sitk.Cast(as_itk(inside, affine), sitk.sitkUInt8)
    factors = [max(1, round(effort.shrink_mm / size)) for size in image_itk.GetSpacing()]
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations(list(effort.iterations))
    n4.SetConvergenceThreshold(1e-4)
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)  # the filters inside N4 do not ask N4 for its own number
    try:
        n4.Execute(sitk.Shrink(image_itk, factors), sitk.Shrink(mask_itk, factors))
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
    field = np.exp(sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(image_itk)).T)
    return np.ascontiguousarray(field / np.exp(np.log(field[inside]).mean()), dtype=np.float32)
