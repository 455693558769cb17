"""Phantoms in the template's space: tissue maps put where the truth says they belong, and scans brought there by the app's affine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from brainage_bids.imaging.crop import bounding_box
from brainage_bids.imaging.grids import GRIDS, Grid, resample, voxel_sizes
from brainage_bids.imaging.smooth import smooth
from brainage_bids.phantoms import deform, lesions
from brainage_bids.phantoms.head import Head, aseg_table, fine_grid, make_head
from brainage_bids.phantoms.people import Visit
from brainage_bids.phantoms.render import painted_mm, poses_of, scan

TEMPLATE_FWHM_MM = 2.0
"""Smoothing of tissue maps on the template's grid: no structure moves there by fractions of a voxel."""
VOXEL_MM: Mapping[str, float] = {"tissues": 1.5, "T1w": 1.0}
"""Grid of each kind."""
OUTER_FLUID = 24
SULCUS_MM = 3.0
"""Fluid between parts of a brain that are less than twice so far apart stays where the brain is cut out."""


def model_space(visit: Visit, kind: str = "tissues", *, anatomies: Path | None = None, stripped: bool = False) -> Mapping[str, np.ndarray]:
    """Maps of a visit on the grid of the template on which models look for them.

    Parameters
    ----------
    visit : Visit
        Who, how old, and (for a T1w) on what scanner.
    kind : {"tissues", "T1w"}
        ``tissues``: modulated ``GM``, ``WM``, ``CSF`` at 1.5 mm (mL of the head per mL of the template: they sum to the true volumes),
        every place carried to where the truth says it belongs. ``T1w``: the visit's scan without its bias field, at 1 mm, through
        the affine that the app's registration finds for it; ventricles and sulci are those of the person. With it come the true
        ``labels`` (aseg codes) and ``lesions`` (0 or 1), and ``matrix`` (4, 4), the affine, template mm to the scanner's mm.
    anatomies : Path, optional
        As for `render.render`.
    stripped : bool
        The brain of the T1w was cut out (`cut_out`) before it was registered.

    Returns
    -------
    dict of str to ndarray (X, Y, Z) float32
        uint8 for labels and lesions.
    """
    if kind not in VOXEL_MM:
        raise ValueError(f"there is no {kind} in the template's space: choose tissues or T1w")
    grid = next(grid for grid in GRIDS.values() if grid.voxel_mm == VOXEL_MM[kind])
    head = make_head(visit, anatomies)
    return _tissue_maps(head, grid) if kind == "tissues" else _affine_t1w(visit, head, grid, stripped)


def cut_out(labels: np.ndarray, voxel_mm: np.ndarray) -> np.ndarray:
    """Where something is left if a brain is cut out closely: not the outer fluid, except in narrow sulci.

    Parameters
    ----------
    labels : ndarray, (X, Y, Z)
        aseg codes, 0 outside the skull.
    voxel_mm : ndarray, (3,)

    Returns
    -------
    ndarray, (X, Y, Z) bool
    """
    brain = (labels > 0) & (labels != OUTER_FLUID)
    box = bounding_box(brain, 3 * SULCUS_MM, voxel_mm)
    near = ndimage.distance_transform_edt(~brain[box], sampling=voxel_mm) <= SULCUS_MM
    out = np.zeros_like(brain)
    out[box] = ndimage.distance_transform_edt(near, sampling=voxel_mm) > SULCUS_MM
    return (out & (labels > 0)) | brain


def _affine_t1w(visit: Visit, head: Head, grid: Grid, stripped: bool) -> dict[str, np.ndarray]:
    from brainage_bids.imaging.registration import affine_to, around_brain, template

    shape, affine = fine_grid(painted_mm(min(visit.scanner.sequences["T1w"].voxel_mm)))
    fine, _ = head.on_grid(shape, affine)
    pose = poses_of(visit.visit_seed, ("T1w",))["T1w"]
    even = replace(visit, scanner=replace(visit.scanner, bias=0.0))
    (image, place), _ = scan(even, "T1w", fine, affine, pose)
    to_head = np.linalg.inv(pose)
    labels = aseg_table()[head.on_grid(image.shape, to_head @ place)[0]]
    mask = cut_out(labels, voxel_sizes(place)) if stripped else labels > 0
    if stripped:
        image = np.where(mask, image, np.float32(0))
    matrix = affine_to(template("1p5"), *around_brain(image, place, mask))
    seen = resample(image, place, grid.shape, grid.affine, matrix=matrix, antialias=True)
    truth, _ = head.on_grid(grid.shape, to_head @ matrix @ grid.affine)
    return {"T1w": seen, "labels": aseg_table()[truth], "lesions": np.isin(truth, lesions.LESION).astype(np.uint8), "matrix": matrix}


def _tissue_maps(head: Head, grid: Grid) -> dict[str, np.ndarray]:
    """Volumes of small cells of the head, each put where it lies in the template; then smoothed."""
    edge = 1.0
    shape, affine = fine_grid(edge)
    rows = [np.arange(n, dtype=np.float32) * np.float32(edge) + np.float32(affine[axis, 3]) for axis, n in enumerate(shape)]
    tissue = _tissue_table()[aseg_table()]
    total = np.zeros((4, int(np.prod(grid.shape))), dtype=np.float64)
    for start in range(0, shape[0], 12):
        points = np.stack(np.meshgrid(rows[0][start : start + 12], rows[1], rows[2], indexing="ij"))
        places = deform.read_lattice(head.places, points)
        what = tissue[deform.labels_at(head.labels, places)]
        inside = what > 0
        flat = np.zeros(np.count_nonzero(inside), dtype=np.int64)
        for axis in range(3):
            index = np.rint((places[axis][inside] - grid.origin_mm[axis]) / grid.voxel_mm).astype(np.int64)
            flat = flat * grid.shape[axis] + np.clip(index, 0, grid.shape[axis] - 1)
        for number in (1, 2, 3):
            total[number] += np.bincount(flat[what[inside] == number], minlength=total.shape[1])
    maps = total.reshape(4, *grid.shape) * (edge**3 / grid.voxel_volume_mm3)
    return {name: smooth(maps[number], TEMPLATE_FWHM_MM, (grid.voxel_mm,) * 3) for number, name in enumerate(("GM", "WM", "CSF"), start=1)}


def _tissue_table() -> np.ndarray:
    """1 GM, 2 WM, 3 CSF by aseg code, (256,)."""
    from brainage_bids.imaging.volumes import TISSUES, read_regions

    number = {name: code for code, name in TISSUES.items()}
    out = np.zeros(256, dtype=np.uint8)
    for region in read_regions():
        out[region.index] = number[region.tissue]
    return out
