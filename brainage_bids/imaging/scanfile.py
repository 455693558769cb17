"""Reading a scan from disk so that a damaged file is found here, by name, and not somewhere downstream."""

from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.arrayproxy import ArrayProxy
from nibabel.spatialimages import HeaderDataError

from brainage_bids.records import UnusableInput

MAX_VOXELS = 400_000_000
"""More voxels than this (0.35 mm over a head) do not fit the memory that one participant may use."""
MIN_VOXELS_PER_AXIS = 16
_POINTERS = (b"/annex/objects/", b"../.git/annex/objects/", b"version https://git-lfs")


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
    check_presence(path)
    header = _header(_read(path, 544), path)
    check_type(header.get_data_dtype(), path)
    shape = spatial_shape(header.get_data_shape(), path)
    content = _read(path)
    expected = int(header["vox_offset"] or header.single_vox_offset) + int(np.prod(shape)) * header.get_data_dtype().itemsize
    if len(content) < expected:
        raise UnusableInput(
            f"{path} is cut short: it holds {len(content)} of the {expected} bytes its header promises; copy or download it again."
        )
    return _image(header, content, path)


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
    volumes = int(np.prod(shape[3:], dtype=np.int64))
    if volumes != 1 and len(shape) > 3:
        raise UnusableInput(f"{path} holds {volumes} volumes where one is expected; give a single volume as its own file.")
    if len(shape) < 3 or min(shape[:3]) < MIN_VOXELS_PER_AXIS:
        size = " × ".join(map(str, shape[:3])) or "no"
        raise UnusableInput(
            f"{path} has {size} voxels, but a scan of a head needs three dimensions of at least {MIN_VOXELS_PER_AXIS}; "
            "check that it is the right file."
        )
    if np.prod(shape[:3], dtype=np.int64) > MAX_VOXELS:
        size = " × ".join(map(str, shape[:3]))
        raise UnusableInput(f"{path} has {size} voxels, more than fit in memory; resample it to larger voxels first.")
    return shape[:3]


def check_type(dtype: np.dtype, path: object) -> None:
    """Refuse voxels that are colours or complex numbers.

    >>> check_type(np.dtype("int16"), "scan.nii")
    """
    if dtype.fields is not None:
        raise UnusableInput(f"{path} holds colours (RGB), not intensities; convert it again from the original images.")
    if dtype.kind == "c":
        raise UnusableInput(f"{path} holds complex numbers; give the magnitude image instead.")


def check_presence(path: Path) -> None:
    """Refuse, in words, a file that is missing, not fetched, empty or no NIfTI by its name.

    Raises
    ------
    UnusableInput
    """
    if path.is_symlink() and not path.exists():
        raise UnusableInput(f"{path} is a link whose content is not here; fetch it first (datalad get or git annex get).")
    if not path.exists():
        raise UnusableInput(f"{path} does not exist; check the dataset.")
    if not path.is_file():
        raise UnusableInput(f"{path} is not a file; check the dataset.")
    if not path.name.endswith((".nii", ".nii.gz")):
        raise UnusableInput(f"{path} is not named .nii or .nii.gz; convert the scan to NIfTI.")
    if path.stat().st_size == 0:
        raise UnusableInput(f"{path} is empty (0 bytes); copy or download it again.")


def _read(path: Path, count: int = -1) -> bytes:
    """The first `count` bytes, or all, decompressed where the content is gzip (whatever the name says)."""
    try:
        with open(path, "rb") as file:
            start = file.read(200)
            if start.startswith(_POINTERS):
                raise UnusableInput(f"{path} is a pointer whose content is not here; fetch it first (datalad get or git lfs pull).")
            file.seek(0)
            if start[:2] != b"\x1f\x8b":
                return file.read(count)
            with gzip.GzipFile(fileobj=file) as unpacked:
                return unpacked.read(count)
    except EOFError as error:
        raise UnusableInput(f"{path} is cut short: its compressed data end too early; copy or download it again.") from error
    except (zlib.error, gzip.BadGzipFile) as error:
        raise UnusableInput(f"{path} is damaged: its compressed data cannot be read ({error}); copy or download it again.") from error
    except OSError as error:
        raise UnusableInput(f"{path} cannot be read ({error.strerror or error}); check its permissions and the disk.") from error


def _header(start: bytes, path: Path) -> nib.Nifti1Header:
    """The file's header, with the fields nibabel would repair silently set so that `conform` can see them."""
    kind = next((kind for kind in (nib.Nifti1Header, nib.Nifti2Header) if kind.may_contain_header(start)), None)
    if kind is None:
        raise UnusableInput(f"{path} is not a NIfTI file; convert the scan again.")
    header = kind(start[: kind.sizeof_hdr], check=False)
    if header["magic"].item() != kind.single_magic:
        raise UnusableInput(f"{path} is one half of a pair of .hdr and .img files; convert the scan to a single .nii file.")
    sizes = header["pixdim"][1:4]
    header["pixdim"][1:4] = np.where(np.isfinite(sizes) & (sizes != 0), np.abs(sizes), np.nan)
    if header["pixdim"][0] not in (-1, 1):
        header["pixdim"][0] = 1  # the standard reads 0 as 1
    for form in ("qform_code", "sform_code"):
        if not 0 <= header[form] <= 5:
            header[form] = 0
    try:
        header.check_fix(error_level=35)
        header.get_data_dtype()
    except HeaderDataError as error:
        raise UnusableInput(f"{path} has a damaged header ({error}); convert the scan again.") from error
    return header


def _image(header: nib.Nifti1Header, content: bytes, path: Path) -> nib.Nifti1Image:
    try:
        data = ArrayProxy(io.BytesIO(content), header, mmap=False)
    except HeaderDataError as error:
        raise UnusableInput(f"{path} has a damaged header ({error}); convert the scan again.") from error
    kind = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    image = kind(data, _readable_affine(header), header)
    image.set_filename(str(path))
    return image


def _readable_affine(header: nib.Nifti1Header) -> np.ndarray | None:
    try:
        affine = header.get_best_affine()
    except (HeaderDataError, ValueError):  # a quaternion longer than 1: conform looks for another orientation
        return None
    return affine if np.all(np.isfinite(affine)) else None
