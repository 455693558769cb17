"""FLAIR- and SWI-like scans of a synthetic brain in a known pose: its T1w in other colours, moved, on other voxels, with noise."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from brainage_bids.imaging.grids import resample

CONTRASTS = {
    "FLAIR": ([0.0, 0.25, 0.6, 0.9, 1.5], [0.0, 0.1, 1.0, 0.75, 0.7]),
    "swi": ([0.0, 0.25, 0.6, 0.9, 1.5], [0.0, 0.9, 0.75, 0.6, 0.5]),
}
"""Brightness of the T1w as a share of white matter's, and what becomes of it."""


def recoloured(t1w: np.ndarray, kind: str) -> np.ndarray:
    """The same brain in another contrast.

    Parameters
    ----------
    t1w : ndarray, (X, Y, Z)
        0 outside the brain.
    kind : str
        A key of `CONTRASTS`.

    Returns
    -------
    ndarray, (X, Y, Z) float32
        White matter near 700.

    Examples
    --------
    >>> recoloured(np.array([0.0, 60.0, 90.0, 100.0]), "FLAIR")[0]
    np.float32(0.0)
    """
    share = t1w / np.percentile(t1w[t1w > 0], 90)
    return (1000 * np.interp(share, *CONTRASTS[kind]) * (t1w > 0)).astype(np.float32)


def seen(
    image: np.ndarray, affine: np.ndarray, matrix: np.ndarray, voxel, fov=(190.0, 220.0, 190.0), seed=0
) -> tuple[np.ndarray, np.ndarray]:
    """The brain moved by a pose and scanned anew.

    Parameters
    ----------
    image : ndarray, (X, Y, Z) float32
    affine : ndarray, (4, 4)
        Voxel index to mm.
    matrix : ndarray, (4, 4)
        The pose, mm to mm.
    voxel, fov : three floats
        Edges of a voxel and of the field of view in mm, around the middle of `image`.
    seed : int
        Of the noise, 2 % of white matter.

    Returns
    -------
    ndarray, ndarray
        The scan, float32, 0 outside the brain, and its affine.
    """
    grid = np.diag([*voxel, 1.0])
    middle = (affine @ [*(np.array(image.shape) / 2), 1])[:3]
    grid[:3, 3] = middle - np.array(fov) / 2 + np.array(voxel) / 2
    shape = tuple(int(n) for n in np.round(np.array(fov) / voxel))
    moved = resample(image, affine, shape, grid, matrix=np.linalg.inv(matrix), antialias=True)
    noise = np.random.default_rng(seed).normal(0, 14, (2, *shape))
    return np.where(moved > 20, np.hypot(moved + noise[0], noise[1]), 0).astype(np.float32), grid


def add_scan(t1w_path: Path, name: str, kind: str, matrix: np.ndarray, voxel=(2.0, 2.0, 3.0)) -> Path:
    """Write such a scan of the person of a T1w.

    Parameters
    ----------
    t1w_path : Path
        ``…/anat/…_T1w.nii.gz``.
    name : str
        Of the scan, from the folder above ``anat``: ``anat/sub-1_FLAIR.nii.gz``.
    kind, matrix, voxel
        As for `recoloured` and `seen`.

    Returns
    -------
    Path
        The scan.
    """
    t1w = nib.load(t1w_path)
    image, affine = seen(recoloured(t1w.get_fdata(dtype=np.float32), kind), t1w.affine, matrix, voxel)
    path = t1w_path.parents[1] / name
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(image.astype(np.int16), affine), path)
    return path
