"""Registration of a brain to the template by greedy (Yushkevich 2016), in the process, from the picsl-greedy wheel."""

from __future__ import annotations

import contextlib
import os
import sys

import numpy as np

from brainage_bids.imaging.grids import GRIDS, resample
from brainage_bids.imaging.normalise import to_template
from brainage_bids.imaging.quality import registration_overlap
from brainage_bids.imaging.warps import WARP_GRID, SpatialMap, invert_displacement
from brainage_bids.records import UnusableInput

AFFINE_LEVELS = "100x40x0"
ROUGH_LEVELS = "100x0x0"
WARP_LEVELS = "100x50x10"
SLOPPY_WARP_LEVELS = "40x0x0"
WARP_SMOOTHING = "2vox 0.5vox"
METRIC = "NCC 2x2x2"


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
    from nilearn.datasets import load_mni152_template

    return load_mni152_template(resolution=1)


def template_tissues() -> dict[str, np.ndarray]:
    """Grey and white matter of the template on `WARP_GRID`, probabilities by tissue."""
    from nilearn.datasets import load_mni152_gm_template, load_mni152_wm_template

    maps = {"GM": load_mni152_gm_template(resolution=1), "WM": load_mni152_wm_template(resolution=1)}
    return {
        tissue: resample(np.asarray(image.dataobj, dtype=np.float32), image.affine, WARP_GRID.shape, WARP_GRID.affine)
        for tissue, image in maps.items()
    }


def template_overlap(tissues: dict[str, np.ndarray], affine: np.ndarray, spatial_map: SpatialMap) -> float:
    """Mean Dice of a person's warped grey and white matter (probabilities on one grid) with the template's."""
    moved = {tissue: to_template(tissues[tissue], affine, spatial_map, WARP_GRID) for tissue in ("GM", "WM")}
    target = template_tissues()
    return registration_overlap(moved["GM"], moved["WM"], target["GM"], target["WM"])


def register(
    brain: np.ndarray, affine: np.ndarray, *, threads: int = 1, sloppy: bool = False, target: np.ndarray | None = None, seed: int = 1
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
    sloppy : bool
        Only the coarsest level of the warp (for demonstrations, tests and first guesses).
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
    Greedy minimises a patch-wise normalised cross-correlation (radius 2) with the affine at 6 and 3 mm and the warp at
    6, 3 and 1.5 mm, smoothing each update by σ = 2 and the whole field by σ = 0.5 voxels. Fields are in the template's
    space and come before the affine. The choice against SyN is measured in docs/benchmarks.md.
    """
    import SimpleITK as sitk
    from picsl_greedy import Greedy3D

    fixed = as_itk(template("1p5") if target is None else target, WARP_GRID.affine)
    moving = as_itk(_scaled(brain), affine)
    greedy = Greedy3D()
    levels = SLOPPY_WARP_LEVELS if sloppy else WARP_LEVELS
    common = f"-V 0 -seed {seed} -threads {threads} -m {METRIC} -i fixed moving"
    try:
        with _quiet():
            greedy.execute(f"{common} -a -dof 12 -ia-image-centers -n {AFFINE_LEVELS} -o matrix", fixed=fixed, moving=moving, matrix=None)
            matrix = np.array(greedy["matrix"], dtype=float)
            greedy.execute(
                f"{common} -it matrix -n {levels} -s {WARP_SMOOTHING} -o warp", fixed=fixed, moving=moving, warp=None
            )
            field = sitk.GetArrayFromImage(greedy["warp"])
    except RuntimeError as error:
        raise UnusableInput(f"The registration to the template stopped ({error}); look at the brain mask of this scan.") from error
    displacement = np.ascontiguousarray(np.transpose(field, (2, 1, 0, 3)), dtype=np.float32) * np.array([-1, -1, 1], dtype=np.float32)
    if not (np.isfinite(matrix).all() and np.isfinite(displacement).all()):
        raise UnusableInput("The registration to the template gave values that are not numbers; look at the brain mask of this scan.")
    return SpatialMap(matrix, displacement, invert_displacement(displacement))


def rough_affine(brain: np.ndarray, affine: np.ndarray, *, threads: int = 1) -> np.ndarray:
    """Twelve parameters at 6 mm only: enough for the pose and size of a head, also where the mask is poor.

    Returns
    -------
    ndarray, (4, 4)
        Template mm to the person's mm.
    """
    from picsl_greedy import Greedy3D

    greedy = Greedy3D()
    fixed, moving = as_itk(template("1p5"), WARP_GRID.affine), as_itk(_scaled(brain), affine)
    try:
        with _quiet():
            greedy.execute(
                f"-V 0 -seed 1 -threads {threads} -m {METRIC} -i fixed moving -a -dof 12 -ia-image-centers -n {ROUGH_LEVELS} -o matrix",
                fixed=fixed, moving=moving, matrix=None,
            )  # fmt: skip
            return np.array(greedy["matrix"], dtype=float)
    except RuntimeError as error:
        raise UnusableInput(f"The registration to the template stopped ({error}); look at the brain mask of this scan.") from error


def as_itk(data: np.ndarray, affine: np.ndarray):
    """A SimpleITK image (LPS) of a volume (X, Y, Z) with an RAS affine."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(np.asarray(data, dtype=np.float32).T))
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.asarray(affine, dtype=float)
    spacing = np.sqrt((lps[:3, :3] ** 2).sum(axis=0))
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    return image


def _scaled(brain: np.ndarray) -> np.ndarray:
    """Intensities clipped at the 99.5th percentile of the brain and scaled to 0–1."""
    inside = brain[brain > 0]
    if inside.size == 0:
        raise UnusableInput("The brain mask is empty, so there is nothing to register; look at the T1w or use --skull-strip.")
    return np.clip(brain / np.percentile(inside, 99.5), 0, 1).astype(np.float32)


@contextlib.contextmanager
def _quiet():
    """Send what the C++ code prints on standard output to nowhere (its optimiser ignores its own verbosity switch)."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
