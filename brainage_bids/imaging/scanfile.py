"""Reading a scan from disk so that a damaged file is found here, by name, and not somewhere downstream."""

from __future__ import annotations

import math
from pathlib import Path

import nibabel as nib

from brainage_bids.bids.nifti import MAX_VOXELS, check_presence, check_type, read_header, with_voxels
from brainage_bids.records import UnusableInput

__all__ = ["MAX_VOXELS", "check_presence", "check_type", "load_scan", "spatial_shape"]

MIN_VOXELS_PER_AXIS = 16


def load_scan(path: str | Path) -> nib.Nifti1Image:
    """One NIfTI scan, read to its last byte.

    Everything is decompressed at once, checksum included, so that a file cut short or damaged fails here. The voxels stay
    in the file's own type until `conform` converts them.

    Parameters
    ----------
    path : path
        A ``.nii`` or ``.nii.gz`` file.

    Returns
    -------
    Nifti1Image
        In memory, with the file's header; voxel sizes that are zero or not finite are NaN in it, which `conform` repairs
        or refuses. The affine is None where the header holds no readable one. A NIfTI-2 file gives a Nifti2Image.

    Raises
    ------
    UnusableInput
        If the file is missing, not fetched (git-annex, git-lfs), empty, cut short, damaged, not a NIfTI file, of a voxel
        type that is no intensity, or of a shape that is no head.
    """
    path = Path(path)
    header = read_header(path)
    check_type(header.get_data_dtype(), path)
    spatial_shape(header.get_data_shape(), path)
    return with_voxels(header, path)


def spatial_shape(shape: tuple[int, ...], path: object) -> tuple[int, int, int]:
    """The three spatial lengths of an image of one volume.

    Raises
    ------
    UnusableInput
        For several volumes, fewer than three dimensions, fewer than 16 or too many voxels.

    Examples
    --------
    >>> spatial_shape((32, 40, 24, 1), "scan.nii")
    (32, 40, 24)
    """
    shape = tuple(int(size) for size in shape)
    volumes = math.prod(shape[3:])
    if volumes != 1 and len(shape) > 3:
        raise UnusableInput(f"{path} holds {volumes} volumes where one is expected; give a single volume as its own file.")
    if len(shape) < 3 or min(shape[:3]) < MIN_VOXELS_PER_AXIS:
        size = " × ".join(map(str, shape[:3])) or "no"
        raise UnusableInput(
            f"{path} has {size} voxels, but a scan of a head needs three dimensions of at least {MIN_VOXELS_PER_AXIS}; "
            "check that it is the right file."
        )
    if math.prod(shape[:3]) > MAX_VOXELS:
        size = " × ".join(map(str, shape[:3]))
        raise UnusableInput(f"{path} has {size} voxels, more than fit in memory; resample it to larger voxels first.")
    return shape[:3]
