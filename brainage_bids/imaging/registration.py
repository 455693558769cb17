"""Registration of a brain to the template: an affine and a warp by greedy."""

from __future__ import annotations

from importlib import resources

import numpy as np

from brainage_bids.imaging.crop import bounding_box, crop
from brainage_bids.imaging.greedy import find_affine, find_warp
from brainage_bids.imaging.grids import GRIDS, resample, voxel_sizes
from brainage_bids.imaging.normalise import to_template
from brainage_bids.imaging.quality import registration_overlap
from brainage_bids.imaging.warps import WARP_GRID, SpatialMap
from brainage_bids.records import UnusableInput

AFFINE_LEVELS, SLOPPY_AFFINE_LEVELS = "100x40x0", "100x10x0"
WARP_LEVELS = "100x50x10"
FIRST_WARP_LEVELS = "100x50x0"
"""For a warp that `expected.refine` goes on with, which has the finest level itself."""
SLOPPY_WARP_LEVELS = "40x0x0"
"""For demonstrations and tests."""


def template(resolution: str = "1") -> np.ndarray:
    """The skull-stripped MNI152NLin2009aSym T1w of the nilearn wheel on one of our grids, float32 in 0–1."""
    image = template_image()
    data = np.asarray(image.dataobj, dtype=np.float32)
    if resolution == "1":
        return data
    grid = GRIDS[resolution]
    return resample(data, image.affine, grid.shape, grid.affine)


def template_image():
    """The template at 1 mm as a nibabel image."""
    return _packaged("t1")


def template_tissues() -> dict[str, np.ndarray]:
    """Grey and white matter of the template on `WARP_GRID`, probabilities by tissue."""
    maps = {"GM": _packaged("gm"), "WM": _packaged("wm")}
    return {
        tissue: resample(np.asarray(image.dataobj, dtype=np.float32), image.affine, WARP_GRID.shape, WARP_GRID.affine)
        for tissue, image in maps.items()
    }


def _packaged(what: str):
    """One of nilearn's template files, scaled to 0-1 as nilearn does it; importing its loader takes two seconds."""
    import nibabel as nib

    file = resources.files("nilearn") / "datasets" / "data" / f"mni_icbm152_{what}_tal_nlin_sym_09a_converted.nii.gz"
    with resources.as_file(file) as path:
        image = nib.load(path)
        data = np.asarray(image.dataobj).astype(np.float32)
    return nib.Nifti1Image(data / data.max(), image.affine)


def template_overlap(tissues: dict[str, np.ndarray], affine: np.ndarray, spatial_map: SpatialMap) -> float:
    """Mean Dice of a person's warped grey and white matter (probabilities on one grid) with the template's."""
    moved = {tissue: to_template(tissues[tissue], affine, spatial_map, WARP_GRID) for tissue in ("GM", "WM")}
    target = template_tissues()
    return registration_overlap(moved["GM"], moved["WM"], target["GM"], target["WM"])


def register(
    brain: np.ndarray,
    affine: np.ndarray,
    *,
    threads: int = 1,
    levels: str = WARP_LEVELS,
    affine_levels: str = AFFINE_LEVELS,
    target: np.ndarray | None = None,
    seed: int = 1,
) -> SpatialMap:
    """Register a skull-stripped T1w to the template: 12 parameters, then a diffeomorphic warp.

    Parameters
    ----------
    brain : ndarray, (X, Y, Z) float32
        Bias-corrected intensities, 0 outside the brain; any scale.
    affine : ndarray, (4, 4)
        Voxel index to RAS mm of `brain`.
    threads : int
        Threads of greedy. With one, the same input gives the same bits; with more, sums are taken in an order that
        varies from run to run.
    levels : str
        Steps of the warp at 6, 3 and 1.5 mm: `WARP_LEVELS`, `FIRST_WARP_LEVELS` or `SLOPPY_WARP_LEVELS`.
    affine_levels : str
        Steps of the affine at the same: `AFFINE_LEVELS` or `SLOPPY_AFFINE_LEVELS`.
    target : ndarray, (121, 145, 121), optional
        What to register to on `WARP_GRID` in place of the template's T1w, for example a map of white matter.
    seed : int
        Seed of the affine's jittered sample points, > 0 (0 would be another one every time).

    Returns
    -------
    SpatialMap

    Raises
    ------
    UnusableInput
        If greedy fails or returns a field that is not finite.

    Notes
    -----
    Greedy maximises a patch-wise normalised cross-correlation (radius 2) with the affine at 6 and 3 mm and the warp at
    6, 3 and 1.5 mm, smoothing each update by σ = 2 and the whole field by σ = 0.5 voxels. Fields are in the template's
    space and come before the affine. The choice against SyN is measured in docs/benchmarks.md.
    """
    fixed, moving = template("1p5") if target is None else target, _scaled(brain)
    matrix = affine_to(fixed, brain, affine, levels=affine_levels, threads=threads, seed=seed)
    displacement = find_warp(fixed, moving, affine, matrix, levels=levels, threads=threads, seed=seed)
    return SpatialMap(matrix, displacement)


def affine_to(
    fixed: np.ndarray, brain: np.ndarray, affine: np.ndarray, *, levels: str = AFFINE_LEVELS, threads: int = 1, seed: int = 1
) -> np.ndarray:
    """The affine of `register` alone, (4, 4), template mm to the person's mm; `fixed` is the image on `WARP_GRID`."""
    return find_affine(fixed, _scaled(brain), affine, levels=levels, threads=threads, seed=seed)


def around_brain(image: np.ndarray, affine: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is registered of a scan: the brain, 0 around it, cut 8 mm beyond the mask; with its affine.

    The first guess lays the middles of two images on each other, so how much is cut matters.
    """
    return crop(np.where(mask, image, 0), affine, bounding_box(mask, 8.0, voxel_sizes(affine)))


def _scaled(brain: np.ndarray) -> np.ndarray:
    """Intensities clipped at the 99.5th percentile of the brain and scaled to 0–1."""
    inside = brain[brain > 0]
    if inside.size == 0:
        raise UnusableInput("The brain mask is empty, so there is nothing to register; look at the T1w or use --skull-strip.")
    return np.clip(brain / np.percentile(inside, 99.5), 0, 1).astype(np.float32)
