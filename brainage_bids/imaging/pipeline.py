"""The way of a T1w to its structures, step by step, as functions of arrays: nodes, the Python interface and benchmarks call these."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from brainage_bids.imaging import brain_mask
from brainage_bids.imaging.atlas import Atlas, load_atlas
from brainage_bids.imaging.bias_field import FEW, FULL, SLOPPY, bias_field
from brainage_bids.imaging.expected import refine
from brainage_bids.imaging.grids import voxel_volume
from brainage_bids.imaging.normalise import local_volume_change
from brainage_bids.imaging.registration import (
    AFFINE_LEVELS,
    FIRST_WARP_LEVELS,
    SLOPPY_AFFINE_LEVELS,
    SLOPPY_WARP_LEVELS,
    around_brain,
    register,
)
from brainage_bids.imaging.stored import map_as_stored, probability_as_stored, scan_as_stored
from brainage_bids.imaging.tissues import Segmentation, segment_brain
from brainage_bids.imaging.volumes import intracranial_estimate, read_regions, region_volumes, tissue_volumes
from brainage_bids.imaging.warps import SLOPPY_TOLERANCE_MM, SpatialMap, invert_displacement

Effort = Literal["full", "few", "sloppy"]
SkullStrip = Literal["auto", "skip", "force"]
STEPS = ("brain", "bias field", "registration", "structures")


@dataclass(frozen=True)
class Structures:
    """What `find_structures` returns.

    All is rounded as the app rounds what it hands from step to step (`stored`), so the same scan gives the same labels here and there.

    Attributes
    ----------
    corrected : ndarray, (X, Y, Z) float32
        The scan without its bias field.
    mask : ndarray, (X, Y, Z) bool
        The first mask of the brain, which bounds bias field and registration; that of the result is ``found.brain``.
    stripped : bool
        The skull was not in the scan.
    spatial_map : SpatialMap
        The way to the template and back.
    found : Segmentation
        Tissues and structures.
    """

    corrected: np.ndarray
    mask: np.ndarray
    stripped: bool
    spatial_map: SpatialMap
    found: Segmentation


def first_mask(
    image: np.ndarray,
    affine: np.ndarray,
    *,
    skull_strip: SkullStrip = "auto",
    threads: int = 1,
    sloppy: bool = False,
    atlas: Atlas | None = None,
) -> tuple[np.ndarray, bool]:
    """The first mask of the brain, (X, Y, Z) bool, and whether the skull was removed before.

    Parameters
    ----------
    image : ndarray, (X, Y, Z) float32
        Intensities ≥ 0, axes R, A, S.
    affine : ndarray, (4, 4)
        Voxel index to mm.
    skull_strip : {"auto", "skip", "force"}
        Whether the brain is looked for; auto looks at the scan.
    threads : int
    sloppy : bool
        Half as long, for demonstrations.
    atlas : Atlas, optional
        The packaged one by default.
    """
    stripped = skull_strip == "skip" or (skull_strip == "auto" and brain_mask.looks_stripped(image, affine))
    if stripped:
        return brain_mask.mask_of_stripped(image), True
    return brain_mask.find_brain(image, affine, threads=threads, sloppy=sloppy, atlas=atlas), False


def without_bias(image: np.ndarray, affine: np.ndarray, mask: np.ndarray, effort: Effort = "full") -> np.ndarray:
    """The scan divided by its bias field, (X, Y, Z) float32; on one thread, as registration amplifies how sums are rounded."""
    return image / bias_field(image, affine, mask, threads=1, effort={"full": FULL, "few": FEW, "sloppy": SLOPPY}[effort])


def to_template(
    corrected: np.ndarray,
    affine: np.ndarray,
    mask: np.ndarray,
    *,
    stripped: bool,
    sloppy: bool = False,
    seed: int = 1,
    atlas: Atlas | None = None,
) -> SpatialMap:
    """Register a T1w to the template, then to the image that the atlas expects; on one thread, for the same bits each time.

    Parameters
    ----------
    corrected : ndarray, (X, Y, Z) float32
        Of `without_bias`.
    affine, mask
        Of the scan, as in `first_mask`.
    stripped : bool
        The skull is not in the scan.
    sloppy : bool
        A coarse warp that is not refined.
    seed : int
        Of the registration's sample points.
    atlas : Atlas, optional
        The packaged one by default.
    """
    part, part_affine = around_brain(corrected, affine, mask)
    levels, affine_levels = (SLOPPY_WARP_LEVELS, SLOPPY_AFFINE_LEVELS) if sloppy else (FIRST_WARP_LEVELS, AFFINE_LEVELS)
    spatial_map = register(part, part_affine, threads=1, levels=levels, affine_levels=affine_levels, seed=seed)
    if sloppy:
        known = invert_displacement(spatial_map.displacement, tolerance_mm=SLOPPY_TOLERANCE_MM)
        return SpatialMap(spatial_map.affine, spatial_map.displacement, known)
    return refine(corrected, affine, spatial_map, mask=mask if stripped else None, seed=seed, atlas=atlas)


def find_structures(
    image: np.ndarray,
    affine: np.ndarray,
    *,
    skull_strip: SkullStrip = "auto",
    threads: int = 1,
    sloppy: bool = False,
    seed: int = 1,
    atlas: Atlas | None = None,
    after: Callable[[str], object] = lambda step: None,
) -> Structures:
    """Take a T1w from its intensities to tissues, structures and the way to the template.

    Parameters
    ----------
    image : ndarray, (X, Y, Z) float32
        Intensities ≥ 0, axes R, A, S (``conform.conform``).
    affine : ndarray, (4, 4)
        Voxel index to mm.
    skull_strip, threads, sloppy, seed, atlas
        As in `first_mask` and `to_template`.
    after : callable
        Called with the name of each of `STEPS` when it is done.
    """
    mask, stripped = first_mask(image, affine, skull_strip=skull_strip, threads=threads, sloppy=sloppy, atlas=atlas)
    after("brain")
    corrected = scan_as_stored(without_bias(image, affine, mask, "sloppy" if sloppy else "full"), mask)
    after("bias field")
    spatial_map = map_as_stored(to_template(corrected, affine, mask, stripped=stripped, sloppy=sloppy, seed=seed, atlas=atlas))
    after("registration")
    found = segment_brain(corrected, affine, mask, spatial_map, stripped=stripped, atlas=atlas, threads=threads)
    found = replace(found, tissues={name: probability_as_stored(values) for name, values in found.tissues.items()})
    after("structures")
    return Structures(corrected, mask, stripped, spatial_map, found)



def measure_volumes(
    tissues: Mapping[str, np.ndarray], labels: np.ndarray, affine: np.ndarray, spatial_map: SpatialMap, *, stripped: bool
) -> tuple[dict[str, float], list[dict[str, object]]]:
    """Volumes of tissues, mm³ by name, and a row for each region.

    Parameters
    ----------
    tissues, labels : mapping of str to ndarray, ndarray
        Of a `Segmentation`.
    affine : ndarray, (4, 4)
        Voxel index to mm.
    spatial_map : SpatialMap
        Its affine and displacement alone are used.
    stripped : bool
        The scan came as an extracted brain, which has no intracranial volume: ``eTIV`` is NaN.

    Returns
    -------
    dict, list of dict
        GM, WM, CSF, brain and eTIV; see `volumes.tissue_volumes`, `volumes.intracranial_estimate` and `volumes.region_volumes`.
    """
    size = voxel_volume(affine)
    found = {name: float(value) for name, value in tissue_volumes(tissues, size).items()}
    found["eTIV"] = np.nan
    if not stripped:
        found["eTIV"] = intracranial_estimate(load_atlas().inside(), local_volume_change(spatial_map), spatial_map.affine)
    return found, region_volumes(labels, size, read_regions())
