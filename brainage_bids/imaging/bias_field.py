"""Intensity bias field by N4 (Tustison 2010, doi:10.1109/TMI.2010.2046908) on a coarse grid, in SimpleITK."""

from __future__ import annotations

import numpy as np

SHRINK_MM = 5.0
"""Edge of the voxels on which the field is fitted."""

ITERATIONS = (50, 50, 50)
"""Steps of N4 at each level."""

FEW_ITERATIONS = (30, 30)
"""For FLAIR and SWI, whose tissues are not told apart by their brightness."""

SLOPPY_ITERATIONS = (15,)
"""For demonstrations and tests."""


def bias_field(
    image: np.ndarray, affine: np.ndarray, mask: np.ndarray, *, threads: int = 1, iterations: tuple[int, ...] = ITERATIONS
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
    iterations : tuple of int
        Upper bounds of the steps at each level; the control points double from level to level.

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
    factors = [max(1, round(SHRINK_MM / size)) for size in image_itk.GetSpacing()]
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations(list(iterations))
    n4.SetConvergenceThreshold(1e-4)
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)  # the filters inside N4 do not ask N4 for its own number
    try:
        n4.Execute(sitk.Shrink(image_itk, factors), sitk.Shrink(mask_itk, factors))
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
    field = np.exp(sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(image_itk)).T)
    return np.ascontiguousarray(field / np.exp(np.log(field[inside]).mean()), dtype=np.float32)
