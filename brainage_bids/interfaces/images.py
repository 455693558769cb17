"""Reading and writing the images that pass between nodes: plain NIfTI in the node's own folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def load(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Scaled data (float32, or the stored integers where there is no scaling) and affine of an image."""
    import nibabel as nib

    image = nib.load(path)
    data = np.asanyarray(image.dataobj)
    return (data.astype(np.float32) if data.dtype.kind == "f" else data), image.affine


def load_probability(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """A probability map as float32 in 0–1."""
    import nibabel as nib

    image = nib.load(path)
    return image.get_fdata(dtype=np.float32), image.affine


def save(data: np.ndarray, affine: np.ndarray, path: str | Path) -> str:
    """Write an array as it is (uint8, int16, float32) and return the absolute path."""
    import nibabel as nib

    image = nib.Nifti1Image(data, affine)
    image.header.set_xyzt_units("mm")
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    nib.save(image, path)
    return str(Path(path).absolute())


def save_scaled(data: np.ndarray, affine: np.ndarray, path: str | Path, *, dtype: type, top: float) -> str:
    """Write non-negative values as integers with a slope so that `top` is the largest integer (quarter of the disk space).

    The slope is stored in the header; every reader gives back the values to within half a step.
    """
    import nibabel as nib

    from brainage_bids.imaging.stored import to_steps

    integers, slope = to_steps(data, top, dtype)
    image = nib.Nifti1Image(integers, affine)
    image.header.set_xyzt_units("mm")
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    image.header.set_slope_inter(slope, 0)
    with open(path, "wb") as file:
        file.write(_bytes_with_slope(image, slope))
    return str(Path(path).absolute())


def save_packed(packed: np.ndarray, affine: np.ndarray, path: str | Path) -> str:
    """Write what ``packing.pack`` made, with the slope 383/255 in the header: readers give back scaled intensities."""
    import nibabel as nib

    from brainage_bids.imaging.packing import TOP

    image = nib.Nifti1Image(packed, affine)
    image.header.set_xyzt_units("mm")
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    with open(path, "wb") as file:
        file.write(_bytes_with_slope(image, TOP / 255))
    return str(Path(path).absolute())


def _bytes_with_slope(image, slope: float) -> bytes:
    """The file of an integer image with a slope of our own (nibabel would choose one itself)."""
    header = image.header.copy()
    header["scl_slope"], header["scl_inter"] = slope, 0
    header["vox_offset"] = 352
    header["magic"] = b"n+1"
    return header.binaryblock + b"\0" * 4 + np.asarray(image.dataobj).tobytes(order="F")
