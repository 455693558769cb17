"""A second opinion on the brain mask: the generative model of `tissues`, on a 2 mm grid, with a coarse registration."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from brainage_bids.imaging.atlas import Atlas, load_atlas
from brainage_bids.imaging.bias_field import bias_field
from brainage_bids.imaging.crop import bounding_box, crop, paste
from brainage_bids.imaging.grids import resample, voxel_sizes
from brainage_bids.imaging.pieces import largest_piece
from brainage_bids.imaging.registration import register
from brainage_bids.imaging.tissues import Settings, segment_brain

GRID_MM = 2.0
MARGIN_MM = 24.0
NEAR_MM = 3.0
ROUGH_ITERATIONS = (20, 20)


def without_skull(image: np.ndarray, affine: np.ndarray, mask: np.ndarray, *, threads: int = 1, atlas: Atlas | None = None) -> np.ndarray:
    """A mask without what lies more than 3 mm from the brain that a rough fit of the generative model finds.

    A mask that holds skull makes the registration of its image too large, and the atlas then calls skull cortex. White matter
    inside is found well even so; a second registration, of white matter to the atlas's, has the right size.

    Parameters
    ----------
    image : ndarray, (X, Y, Z) float32
        T1w of a whole head.
    affine : ndarray, (4, 4)
        Voxel index to mm.
    mask : ndarray, (X, Y, Z) bool
        First mask.
    threads : int
        Threads of each step.
    atlas : Atlas, optional
        The packaged one by default.

    Returns
    -------
    ndarray, (X, Y, Z) bool

    Notes
    -----
    Bias field, warp and mixture are fitted as for the final maps, but at 2 mm and with few steps. Only the mask is kept; the
    fluid that it lost is found again by `segment_brain`, which looks beyond it.
    """
    box = bounding_box(mask, MARGIN_MM, voxel_sizes(affine))
    part, part_affine = crop(np.asarray(image, dtype=np.float32), affine, box)
    zoom = voxel_sizes(part_affine) / GRID_MM
    shape = tuple(int(n) for n in np.ceil(np.array(part.shape) * zoom))
    coarse_affine = part_affine @ np.diag([*(1 / zoom), 1.0])
    coarse = resample(part, part_affine, shape, coarse_affine, antialias=True)
    inside = resample(mask[box].astype(np.float32), part_affine, shape, coarse_affine) > 0.5
    coarse /= bias_field(coarse, coarse_affine, inside, threads=threads, iterations=ROUGH_ITERATIONS)
    atlas = load_atlas() if atlas is None else atlas
    settings = Settings(stride=1, iterations=15)
    spatial_map = register(coarse * inside, coarse_affine, threads=threads, sloppy=True)
    found = segment_brain(coarse, coarse_affine, inside, spatial_map, atlas=atlas, threads=threads, settings=settings)
    spatial_map = register(found.tissues["WM"], coarse_affine, threads=threads, sloppy=True, target=atlas.tissue("WM"))
    found = segment_brain(coarse, coarse_affine, inside, spatial_map, atlas=atlas, threads=threads, settings=settings)
    near = ndimage.distance_transform_edt(~found.brain, sampling=GRID_MM) - NEAR_MM
    back = resample(near.astype(np.float32), coarse_affine, part.shape, part_affine, fill=NEAR_MM) <= 0
    return largest_piece(mask & paste(back, box, image.shape))
