"""Where the voxels of a scan lie: choosing among the orientations a NIfTI header gives, and repairing them."""

from __future__ import annotations

from dataclasses import dataclass

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError

from brainage_bids.imaging.grids import voxel_sizes
from brainage_bids.records import UnusableInput

VOXEL_MM = (0.2, 10.0)
FIELD_OF_VIEW_MM = (80.0, 600.0)
SHEAR_EXACT_DEG = 6e-4
SHEAR_ROUNDING_DEG = 0.02
SHEAR_REPAIRABLE_DEG = 5.0
ZOOM_TOLERANCE = 0.01
FARTHEST_CENTRE_MM = 1e4
_UNITS = {1: ("metres", 1000.0), 3: ("micrometres", 0.001)}


@dataclass(frozen=True)
class Geometry:
    """The affine to use, (4, 4) in mm RAS; whether it had to be repaired; what was found, in sentences."""

    affine: np.ndarray
    repaired: bool
    notes: tuple[str, ...]


def shear_degrees(affine: np.ndarray) -> float:
    """The largest departure from 90° between two axes of a grid, in degrees.

    >>> skewed = np.eye(4)
    >>> skewed[0, 1] = 1.0
    >>> round(shear_degrees(skewed), 3)
    45.0
    """
    directions = np.asarray(affine, dtype=float)[:3, :3] / voxel_sizes(affine)
    cosines = np.abs((directions.T @ directions)[[0, 0, 1], [1, 2, 2]]).max()
    return float(np.degrees(np.arcsin(min(cosines, 1.0))))


def orthogonalised(affine: np.ndarray) -> np.ndarray:
    """The nearest affine with right angles between its axes and the same voxel sizes and origin (polar decomposition).

    >>> skewed = np.eye(4)
    >>> skewed[0, 1] = 0.01
    >>> shear_degrees(orthogonalised(skewed)) < 1e-6
    True
    """
    sizes = voxel_sizes(affine)
    left, _, right = np.linalg.svd(np.asarray(affine, dtype=float)[:3, :3] / sizes)
    out = np.array(affine, dtype=float)
    out[:3, :3] = (left @ right) * sizes
    return out


def read_geometry(header: nib.Nifti1Header, shape: tuple[int, int, int], name: str) -> Geometry:
    """The orientation and voxel sizes of a scan, repaired where that is safe.

    The sform is taken if it is sound (finite, invertible, right angles, voxel sizes as in ``pixdim``), else the qform,
    else a sheared sform made rectangular, else the voxel sizes alone with the axes assumed left, anterior, superior. All
    but the first two, and a sform and qform that name different anatomical directions, count as repaired. Lengths
    declared in metres or micrometres are converted where that gives a head.

    Parameters
    ----------
    header : Nifti1Header
        Its fields as they stand in the file, voxel sizes that make no sense as NaN (`load_scan` does so).
    shape : tuple of int
        Voxels along the three axes.
    name : str
        The file, for messages.

    Raises
    ------
    UnusableInput
        If no usable orientation is left, voxels are below 0.2 or above 10 mm, or the field of view is below 80 mm (no
        head fits) or above 600 mm.
    """
    notes: list[str] = []
    pixdim = np.array(header["pixdim"][1:4], dtype=float)
    affine, repaired = _choose(header, shape, pixdim, name, notes)
    affine, unit_repaired = _in_millimetres(affine, int(header["xyzt_units"]) & 7, notes)
    affine, origin_repaired = _with_sane_origin(affine, shape, notes)
    _check_extent(affine, shape, name)
    return Geometry(affine, repaired or unit_repaired or origin_repaired, tuple(notes))


def _choose(header, shape, pixdim, name, notes) -> tuple[np.ndarray, bool]:
    sform = _sform(header)
    qform = _qform(header)
    usable_pixdim = bool(np.all(np.isfinite(pixdim)) and np.all(pixdim > 0))
    broken = []
    if sform is not None and (problem := _problem(sform)):
        broken.append(f"the sform {problem}")
        sform = None
    if qform is not None and (problem := _problem(qform)):
        broken.append(f"the qform {problem}")
        qform = None
    notes.extend(f"In the header {text}; it is not used." for text in broken)
    if sform is not None:
        return _from_sform(sform, qform, pixdim if usable_pixdim else None, name, notes)
    if qform is not None:
        return qform, bool(broken)
    if not usable_pixdim:
        raise UnusableInput(f"{name} has no usable orientation or voxel sizes in its header; convert the scan again.")
    notes.append("The header gives no usable orientation; the axes are assumed to run to the left, front and top.")
    return nib.volumeutils.shape_zoom_affine(shape, pixdim, x_flip=True), True


def _from_sform(sform, qform, pixdim, name, notes) -> tuple[np.ndarray, bool]:
    shear = shear_degrees(sform)
    sizes = voxel_sizes(sform)
    mismatch = 0.0 if pixdim is None else float(np.abs(sizes / pixdim - 1).max())
    if shear > SHEAR_ROUNDING_DEG or mismatch > ZOOM_TOLERANCE:
        what = f"is sheared by {shear:.2f}°" if shear > SHEAR_ROUNDING_DEG else "disagrees with the voxel sizes"
        if qform is not None:
            notes.append(f"The sform of the header {what}; the qform is used.")
            return qform, True
        if shear > SHEAR_REPAIRABLE_DEG:
            raise UnusableInput(
                f"{name} has axes that are not at right angles (by {shear:.0f}°) and no qform; resample it to a rectangular grid."
            )
        taken, remedy = _with_sizes(orthogonalised(sform), sizes, pixdim, mismatch)
        notes.append(f"The sform of the header {what}; {remedy}.")
        return taken, True
    if pixdim is None:
        notes.append("The voxel sizes of the header are zero or not finite; those of the sform are used.")
    affine = orthogonalised(sform) if shear > SHEAR_EXACT_DEG else sform
    return affine, _contradicted(affine, qform, notes) or pixdim is None


def _with_sizes(affine: np.ndarray, sizes: np.ndarray, pixdim: np.ndarray | None, mismatch: float) -> tuple[np.ndarray, str]:
    """Voxel sizes of exactly 1 mm in the sform are what writers leave there that never set it: then pixdim counts."""
    if mismatch <= ZOOM_TOLERANCE:
        return affine, "its axes are made rectangular"
    if not np.allclose(sizes, 1.0, atol=1e-6):
        return affine, "its own voxel sizes are used"
    out = affine.copy()
    out[:3, :3] *= pixdim / sizes
    return out, "the voxel sizes are used with its axes"


def _contradicted(sform: np.ndarray, qform: np.ndarray | None, notes: list[str]) -> bool:
    """Whether sform and qform name different anatomical directions for the same axes."""
    if qform is None:
        return False
    codes = ["".join(nib.aff2axcodes(affine)) for affine in (sform, qform)]
    relative = (sform[:3, :3] / voxel_sizes(sform)).T @ (qform[:3, :3] / voxel_sizes(qform))
    angle = float(np.degrees(np.arccos(np.clip((np.trace(relative) - 1) / 2, -1, 1))))
    mirrored = np.linalg.det(relative) < 0
    if not mirrored and (codes[0] == codes[1] or angle < 20):
        if angle > 1:
            notes.append(f"The sform and qform of the header differ by a rotation of {angle:.0f}°; the sform is used.")
        return False
    notes.append(f"The sform ({codes[0]}) and qform ({codes[1]}) of the header name different directions; the sform is used.")
    return True


def _sform(header: nib.Nifti1Header) -> np.ndarray | None:
    return header.get_sform().astype(float) if header["sform_code"] > 0 else None


def _qform(header: nib.Nifti1Header) -> np.ndarray | None:
    if header["qform_code"] <= 0:
        return None
    try:
        return header.get_qform().astype(float)
    except (HeaderDataError, ValueError):  # no rotation has such a quaternion; reported as not finite
        return np.full((4, 4), np.nan)


def _problem(affine: np.ndarray) -> str | None:
    linear = affine[:3, :3]
    if not np.all(np.isfinite(linear)):
        return "is not finite"
    sizes = voxel_sizes(affine)
    if np.any(sizes == 0) or abs(np.linalg.det(linear / np.where(sizes == 0, 1, sizes))) < 1e-3:
        return "is singular"
    return None


def _in_millimetres(affine: np.ndarray, unit: int, notes: list[str]) -> tuple[np.ndarray, bool]:
    if unit not in _UNITS:
        return affine, False
    word, factor = _UNITS[unit]
    sizes = voxel_sizes(affine)
    if _plausible(sizes) or not _plausible(sizes * factor):
        notes.append(f"The header declares lengths in {word}, which its numbers do not bear out; they are read as millimetres.")
        return affine, True
    out = affine.copy()
    out[:3] *= factor
    notes.append(f"Lengths were converted from {word} to millimetres.")
    return out, True


def _plausible(sizes: np.ndarray) -> bool:
    return bool(np.all(sizes >= VOXEL_MM[0] * 0.99) and np.all(sizes <= VOXEL_MM[1] * 1.01))


def _with_sane_origin(affine: np.ndarray, shape, notes: list[str]) -> tuple[np.ndarray, bool]:
    half = (np.array(shape) - 1) / 2
    centre = affine[:3, :3] @ half + affine[:3, 3]
    if np.all(np.isfinite(centre)) and np.abs(centre).max() <= FARTHEST_CENTRE_MM:
        return affine, False
    out = affine.copy()
    out[:3, 3] = -affine[:3, :3] @ half
    notes.append("The origin of the header was not finite or metres away; it was moved to the middle of the image.")
    return out, True


def _check_extent(affine: np.ndarray, shape, name: str) -> None:
    sizes = voxel_sizes(affine)
    said = " × ".join(f"{size:.3g}" for size in sizes)
    if not _plausible(sizes):
        raise UnusableInput(
            f"{name} has voxels of {said} mm, outside {VOXEL_MM[0]:g} to {VOXEL_MM[1]:g} mm; correct the voxel sizes in its header."
        )
    extent = sizes * np.array(shape)
    low, high = FIELD_OF_VIEW_MM
    if extent.min() < low or extent.max() > high:
        fault = "too small for a head" if extent.min() < low else "too large for a scanner"
        field = " × ".join(f"{length:.0f}" for length in extent)
        raise UnusableInput(f"{name} covers {field} mm, {fault}; check its voxel sizes, or give a scan of the whole head.")
