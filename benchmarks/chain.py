"""A whole head from raw intensities to structures, as the app does it, for any contrast and with any atlas."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from brainage_bids.imaging.atlas import Atlas, load_atlas
from brainage_bids.imaging.bias_field import bias_field
from brainage_bids.imaging.brain_mask import mask_of_fit
from brainage_bids.imaging.crop import bounding_box, crop
from brainage_bids.imaging.expected import refine
from brainage_bids.imaging.grids import voxel_sizes
from brainage_bids.imaging.registration import FIRST_WARP_LEVELS, register
from brainage_bids.imaging.rough_fit import fit_roughly
from brainage_bids.imaging.tissues import Segmentation, segment_brain
from brainage_bids.imaging.warps import SpatialMap

PLAIN_LEVELS = "100x50x10"
STEPS = ("mask s", "N4 s", "reg s", "refine s", "seg s")


@dataclass(frozen=True)
class Chain:
    """What `segment_head` returns: structures, the way to the template, the corrected scan, seconds of each of `STEPS`."""

    found: Segmentation
    spatial_map: SpatialMap
    corrected: np.ndarray
    seconds: dict[str, float]


def segment_head(image: np.ndarray, affine: np.ndarray, *, t1w: bool, atlas: Atlas | None = None, threads: int = 1) -> Chain:
    """Structures of a whole head (axes R, A, S); the template's T1w is looked at only if the scan is a T1w."""
    atlas = load_atlas() if atlas is None else atlas
    clock = [time.perf_counter()]
    fit = fit_roughly(image, affine, threads=threads, atlas=atlas)
    mask = mask_of_fit(fit, image.shape, affine)
    clock.append(time.perf_counter())
    corrected = image / bias_field(image, affine, mask, threads=threads)
    clock.append(time.perf_counter())
    if t1w:
        part, part_affine = crop(corrected * mask, affine, bounding_box(mask, 8.0, voxel_sizes(affine)))
        spatial_map = register(part, part_affine, threads=threads, levels=FIRST_WARP_LEVELS)
    else:
        spatial_map = refine(corrected, affine, fit.spatial_map, atlas=atlas, levels=PLAIN_LEVELS, plain=True)
    clock.append(time.perf_counter())
    spatial_map = refine(corrected, affine, spatial_map, atlas=atlas)
    clock.append(time.perf_counter())
    found = segment_brain(corrected, affine, mask, spatial_map, atlas=atlas, threads=threads)
    clock.append(time.perf_counter())
    return Chain(found, spatial_map, corrected, dict(zip(STEPS, np.diff(clock).tolist(), strict=True)))
