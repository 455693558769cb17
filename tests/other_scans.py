"""FLAIR- and SWI-like scans of the synthetic people, of a known pose, for tests of several rooms."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from brainage_bids.imaging.grids import resample
from brainage_bids.imaging.rigid import pose

CONTRASTS = {
    "FLAIR": ([0.0, 0.25, 0.6, 0.9, 1.5], [0.0, 0.1, 1.0, 0.75, 0.7]),
    "swi": ([0.0, 0.25, 0.6, 0.9, 1.5], [0.0, 0.9, 0.75, 0.6, 0.5]),
}
"""Brightness of the T1w as a share of white matter's, and what becomes of it."""


def recoloured(t1w: np.ndarray, kind: str) -> np.ndarray:
    """The same brain in another contrast; float32, white matter near 700."""
    share = t1w / np.percentile(t1w[t1w > 0], 90)
    return (1000 * np.interp(share, *CONTRASTS[kind]) * (t1w > 0)).astype(np.float32)


def seen(
    image: np.ndarray, affine: np.ndarray, matrix: np.ndarray, voxel, fov=(190.0, 220.0, 190.0), seed=0
) -> tuple[np.ndarray, np.ndarray]:
    """The brain moved by a pose, on voxels of another size around it, with noise of 2 %."""
    grid = np.diag([*voxel, 1.0])
    middle = (affine @ [*(np.array(image.shape) / 2), 1])[:3]
    grid[:3, 3] = middle - np.array(fov) / 2 + np.array(voxel) / 2
    shape = tuple(int(n) for n in np.round(np.array(fov) / voxel))
    moved = resample(image, affine, shape, grid, matrix=np.linalg.inv(matrix), antialias=True)
    noise = np.random.default_rng(seed).normal(0, 14, (2, *shape))
    return np.where(moved > 20, np.hypot(moved + noise[0], noise[1]), 0).astype(np.float32), grid


def add_scan(t1w_path: Path, name: str, kind: str, matrix=None, voxel=(2.0, 2.0, 3.0)) -> Path:
    """Write a FLAIR or SWI of a person beside the T1w (under the name's folder) and return its path."""
    t1w = nib.load(t1w_path)
    data = t1w.get_fdata(dtype=np.float32)
    matrix = pose([6.0, -4.0, 5.0], [5.0, -3.0, 8.0], [0, -20, 10]) if matrix is None else matrix
    image, affine = seen(recoloured(data, kind), t1w.affine, matrix, voxel)
    path = t1w_path.parents[1] / name
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(image.astype(np.int16), affine), path)
    return path
