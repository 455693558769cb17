"""A person's images in the template's space: warped T1w, and tissue maps modulated so that they keep the native volume."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from brainage_bids.imaging.grids import Grid, antialias_fwhm, resample, sample
from brainage_bids.imaging.modulate import jacobian_determinant, modulate
from brainage_bids.imaging.smooth import smooth
from brainage_bids.imaging.warps import WARP_GRID, SpatialMap


def to_template(volume: np.ndarray, affine: np.ndarray, spatial_map: SpatialMap, grid: Grid, *, warped: bool = True) -> np.ndarray:
    """Resample an image of a person onto a grid of the template, trilinear, smoothed first where the grid is coarser.

    Parameters
    ----------
    volume : ndarray, (X, Y, Z) float32
        The image.
    affine : ndarray, (4, 4)
        Its voxel index to mm.
    spatial_map : SpatialMap
        From `registration.register`.
    grid : Grid
        Where to.
    warped : bool
        False applies the affine alone.

    Returns
    -------
    ndarray, grid.shape, float32
    """
    if not warped:
        return resample(volume, affine, grid.shape, grid.affine, matrix=spatial_map.affine, antialias=True)
    index_map = np.linalg.inv(affine) @ spatial_map.affine @ grid.affine
    fwhm = antialias_fwhm(index_map)
    if np.any(fwhm > 0):
        volume = smooth(volume, tuple(fwhm), (1.0, 1.0, 1.0))
    out = np.empty(grid.shape, dtype=np.float32)
    for planes, places in spatial_map.positions(grid):
        out[..., planes] = sample(volume, affine, places)
    return out


def local_volume_change(spatial_map: SpatialMap) -> np.ndarray:
    """Jacobian determinant of the warp (without the affine) on `WARP_GRID`, (121, 145, 121) float32."""
    return jacobian_determinant(spatial_map.displacement, WARP_GRID.affine)


def modulated_maps(
    probabilities: dict[str, np.ndarray], affine: np.ndarray, spatial_map: SpatialMap, jacobian: np.ndarray, *, threads: int = 1
) -> dict[str, np.ndarray]:
    """Tissue probabilities warped to 1.5 mm and multiplied by the local change of volume.

    The sum over voxels × 3.375 mm³ is the tissue's volume in the person (Ashburner & Friston 2000,
    doi:10.1006/nimg.2000.0582).

    Parameters
    ----------
    probabilities : dict of str to ndarray, (X, Y, Z)
        By tissue, 0–1, on the person's grid.
    affine : ndarray, (4, 4)
        Voxel index to mm of that grid.
    spatial_map : SpatialMap
        From `registration.register`.
    jacobian : ndarray, (121, 145, 121)
        From `local_volume_change`.
    threads : int
        Tissues that are done at once; the result does not depend on it.

    Returns
    -------
    dict of str to ndarray, (121, 145, 121) float32
    """
    scale = abs(float(np.linalg.det(spatial_map.affine[:3, :3])))

    def modulated(volume: np.ndarray) -> np.ndarray:
        return modulate(to_template(np.asarray(volume, dtype=np.float32), affine, spatial_map, WARP_GRID), jacobian, scale)

    for _ in spatial_map.positions(WARP_GRID):  # found once, not by every thread
        pass
    with ThreadPoolExecutor(threads) as pool:
        return dict(zip(probabilities, pool.map(modulated, probabilities.values()), strict=True))
