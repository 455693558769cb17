"""Greedy (Yushkevich 2016, https://github.com/pyushkevich/greedy) in the process, from the picsl-greedy wheel: its two calls."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from brainage_bids.imaging.warps import WARP_GRID
from brainage_bids.records import UnusableInput

PATCHES = "NCC 2x2x2"
"""Normalised cross-correlation of patches of 5×5×5 voxels: for images of one contrast."""

LARGE_PATCHES = "NCC 4x4x4"
"""The same of 9×9×9 voxels, for a first look."""

ANY_CONTRAST = "NMI"
"""Normalised mutual information: for images of any contrast."""

WARP_SMOOTHING = "2vox 0.5vox"


def find_affine(
    fixed: np.ndarray,
    moving: np.ndarray,
    affine: np.ndarray,
    *,
    levels: str,
    metric: str = PATCHES,
    start: np.ndarray | None = None,
    threads: int = 1,
    seed: int = 1,
) -> np.ndarray:
    """Twelve parameters that carry an image on `WARP_GRID` onto another image.

    Parameters
    ----------
    fixed : ndarray, (121, 145, 121) float32
        Image in the template's space.
    moving : ndarray, (X, Y, Z) float32
        Image of a person.
    affine : ndarray, (4, 4)
        Voxel index to RAS mm of `moving`.
    levels : str
        Steps at 6, 3 and 1.5 mm, as ``"100x40x0"``.
    metric : str
        `PATCHES`, `LARGE_PATCHES` or `ANY_CONTRAST`.
    start : ndarray, (4, 4), optional
        First guess; by default the centres of the two images lie on each other.
    threads : int
        With one, the same input gives the same bits.
    seed : int
        Of the jittered sample points, > 0 (0 would be another one every time).

    Returns
    -------
    ndarray, (4, 4)
        Template mm to the person's mm, RAS.

    Raises
    ------
    UnusableInput
        If greedy stops or returns values that are not finite.
    """
    with _matrix_file(start) as path:
        first = "-ia-image-centers" if path is None else f"-ia {path}"
        command = f"-a -dof 12 {first} -n {levels} -o matrix"
        greedy = _run(command, fixed, moving, affine, metric, threads, seed, matrix=None)
    return _finite(np.array(greedy["matrix"], dtype=float))


def find_warp(
    fixed: np.ndarray,
    moving: np.ndarray,
    affine: np.ndarray,
    matrix: np.ndarray,
    *,
    levels: str,
    region: np.ndarray | None = None,
    threads: int = 1,
    seed: int = 1,
) -> np.ndarray:
    """A diffeomorphic displacement on `WARP_GRID` that, before an affine, carries a template image onto a person's.

    Parameters
    ----------
    fixed, moving, affine, levels, threads, seed
        As for `find_affine`.
    matrix : ndarray, (4, 4)
        The affine, template mm to the person's mm.
    region : ndarray, (121, 145, 121) bool, optional
        Where the images are compared; everywhere by default.

    Returns
    -------
    ndarray, (121, 145, 121, 3) float32
        Displacement in mm, RAS.

    Raises
    ------
    UnusableInput
        As for `find_affine`.
    """
    import SimpleITK as sitk

    images = {} if region is None else {"region": as_itk(region, WARP_GRID.affine)}
    with _matrix_file(matrix) as path:
        command = f"-it {path} -n {levels} -s {WARP_SMOOTHING} -o warp" + (" -gm region" if images else "")
        greedy = _run(command, fixed, moving, affine, PATCHES, threads, seed, warp=None, **images)
    field = sitk.GetArrayFromImage(greedy["warp"])
    to_ras = np.array([-1, -1, 1], dtype=np.float32)
    return _finite(np.ascontiguousarray(np.transpose(field, (2, 1, 0, 3)), dtype=np.float32) * to_ras)


def find_rigid(
    fixed: np.ndarray,
    fixed_affine: np.ndarray,
    moving: np.ndarray,
    affine: np.ndarray,
    *,
    levels: str,
    region: np.ndarray | None = None,
    start: np.ndarray | None = None,
    metric: str = ANY_CONTRAST,
    seed: int = 1,
) -> np.ndarray:
    """Rotation and translation that carry one image of a person onto another, on one thread.

    Parameters
    ----------
    fixed : ndarray, (X, Y, Z) float32
    fixed_affine : ndarray, (4, 4)
        Voxel index to RAS mm of `fixed`.
    moving, affine
        The other image with its own.
    levels : str
        Steps at four times, twice and once the voxel size.
    region : ndarray, shape of `fixed`, bool, optional
        Where the images are compared; everywhere by default.
    start : ndarray, (4, 4), optional
        First guess; by default the two share their millimetres.
    metric, seed
        As for `find_affine`.

    Returns
    -------
    ndarray, (4, 4)
        Millimetres of `fixed` to those of `moving`, RAS.

    Raises
    ------
    UnusableInput
        As for `find_affine`.
    """
    images = {} if region is None else {"region": as_itk(region, fixed_affine)}
    with _matrix_file(np.eye(4) if start is None else start) as path:
        command = f"-a -dof 6 -ia {path} -n {levels} -o matrix" + (" -gm region" if images else "")
        greedy = _run(command, fixed, moving, affine, metric, 1, seed, fixed_affine=fixed_affine, matrix=None, **images)
    return _finite(np.array(greedy["matrix"], dtype=float))


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


def _run(command: str, fixed, moving, affine, metric: str, threads: int, seed: int, *, fixed_affine=WARP_GRID.affine, **named):
    from picsl_greedy import Greedy3D

    greedy = Greedy3D()
    common = f"-V 0 -seed {seed} -threads {threads} -m {metric} -i fixed moving"
    try:
        with _quiet():
            greedy.execute(f"{common} {command}", fixed=as_itk(fixed, fixed_affine), moving=as_itk(moving, affine), **named)
    except RuntimeError as error:
        raise UnusableInput(f"The registration stopped ({error}); look at the brain mask of this scan.") from error
    return greedy


def _finite(values: np.ndarray) -> np.ndarray:
    if not np.isfinite(values).all():
        raise UnusableInput("The registration gave values that are not numbers; look at the brain mask of this scan.")
    return values


@contextlib.contextmanager
def _matrix_file(matrix: np.ndarray | None) -> Iterator[Path | None]:
    """A file with the matrix, which is how greedy takes one; None for none."""
    if matrix is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="brainage_") as folder:
        path = Path(folder) / "matrix.txt"
        np.savetxt(path, matrix, fmt="%.17g")
        yield path


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
