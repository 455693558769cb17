"""Whether the brain mask lies where a brain lies in a head."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from brainage_bids.imaging.grids import voxel_sizes

_VOXEL_MM = 2.5
_SMOOTH_MM = 1.5
_HEAD_SHARE = 0.12
_ABOVE_AIR = 1.6
_ABOVE_MM = 25.0


def scalp_distance_mm(image: np.ndarray, brain: np.ndarray, affine: np.ndarray) -> float:
    """Distance from the upper surface of the brain mask to the air outside of the head: its upper quartile, in mm.

    Scalp, skull and the fluid under it measure 12 to 18 mm together over the vault. A mask that leaves brain out lies deeper,
    one that took in the skull nearer to the air. Only the surface more than 25 mm above the middle of the mask counts, as
    face and neck lie below. Measured on voxels of about 2.5 mm after a Gaussian of 1.5 mm. The head is what is brighter than
    0.12 times the median of the brain and than 1.6 times the 10th percentile of the image (the noise of the air), in its
    largest piece with its holes filled.

    Parameters
    ----------
    image : ndarray, (X, Y, Z)
        The scan with its head, as acquired.
    brain : ndarray, (X, Y, Z), bool
    affine : ndarray, (4, 4)
        Voxel index to mm, RAS.

    Returns
    -------
    float
        NaN for an empty mask or one without such a surface.

    Examples
    --------
    >>> places = np.stack(np.meshgrid(*[np.arange(-50, 50) * 2.0] * 3, indexing="ij"))
    >>> radius = np.sqrt((places**2).sum(axis=0))
    >>> round(scalp_distance_mm((radius < 85) * 1.0, radius < 70, np.diag([2.0, 2, 2, 1])))
    18
    """
    sizes = voxel_sizes(affine)
    steps = [max(1, int(round(_VOXEL_MM / size))) for size in sizes]
    coarse = tuple(slice(None, None, step) for step in steps)
    sizes = sizes * steps
    image, brain = np.asarray(image[coarse], dtype=np.float32), np.asarray(brain[coarse], dtype=bool)
    if not brain.any():
        return float("nan")
    image = ndimage.gaussian_filter(image, _SMOOTH_MM / sizes)
    head = image > max(_HEAD_SHARE * float(np.median(image[brain])), _ABOVE_AIR * float(np.percentile(image, 10)))
    pieces, number = ndimage.label(head)
    if number > 1:
        head = pieces == 1 + int(np.argmax(np.bincount(pieces.ravel())[1:]))
    head = ndimage.binary_fill_holes(ndimage.binary_closing(np.pad(head, 1)))  # the border of the image counts as air
    depth = ndimage.distance_transform_edt(head, sampling=sizes)[1:-1, 1:-1, 1:-1]
    surface = brain & ~ndimage.binary_erosion(brain)
    places = np.argwhere(brain) * steps @ affine[2, :3]
    height = np.argwhere(surface) * steps @ affine[2, :3] - places.mean()
    found = depth[surface][height > _ABOVE_MM]
    return float(np.percentile(found, 75)) if found.size else float("nan")
