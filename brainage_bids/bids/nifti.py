"""Reading a NIfTI file of a user: its header first, then as much of it as the header promises and no more.

A small file can unpack to more than any memory holds, and a header can promise more than any file holds. Neither takes memory here.
"""

from __future__ import annotations

import gzip
import io
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import nibabel as nib
import numpy as np
from nibabel.arrayproxy import ArrayProxy
from nibabel.spatialimages import HeaderDataError

from brainage_bids.files import IMAGE, open_file, what_is
from brainage_bids.records import UnusableInput

MAX_VOXELS = 400_000_000
"""More voxels than this (0.35 mm over a head) do not fit the memory that one participant may use."""
MAX_START = 100_000_000
"""Voxels begin before this byte: what stands between the header and them is text."""
SLACK = 1 << 20
"""Bytes after the voxels that are let pass: padding of blocks."""
_CHUNK = 1 << 20
_POINTERS = (b"/annex/objects/", b"../.git/annex/objects/", b"version https://git-lfs")


def read_image(path: str | Path) -> nib.Nifti1Image:
    """An image of derivatives or of training, or a label map, of any shape that fits in memory, read to its end.

    Parameters
    ----------
    path : path
        A ``.nii`` or ``.nii.gz`` file.

    Returns
    -------
    Nifti1Image
        As from `with_voxels`; its affine is finite.

    Raises
    ------
    UnusableInput
        If the file cannot be read, holds no numbers, says nowhere where its voxels lie, or is too large for memory.
    """
    path = Path(path)
    header = read_header(path)
    check_type(header.get_data_dtype(), path)
    image = with_voxels(header, path)
    if image.affine is None:
        raise UnusableInput(f"{path} has no usable orientation in its header; convert it again.")
    return image


def read_header(path: str | Path) -> nib.Nifti1Header:
    """The header of a NIfTI file; nothing behind it is read.

    Returns
    -------
    Nifti1Header
        Of a NIfTI-2 file a Nifti2Header. Fields that nibabel would repair silently are set so that one sees it: voxel sizes
        that are zero or not finite are NaN, negative ones positive, unknown codes 0. ``vox_offset`` is where the voxels begin.

    Raises
    ------
    UnusableInput
        If the file is missing, not fetched, empty, damaged or no single NIfTI file.
    """
    path = Path(path)
    check_presence(path)
    with _opened(path) as stream:
        start = stream.read(nib.Nifti2Header.sizeof_hdr + 4)
    kind = next((kind for kind in (nib.Nifti1Header, nib.Nifti2Header) if kind.may_contain_header(start)), None)
    if kind is None:
        raise UnusableInput(f"{path} is not a NIfTI file and cannot be read; convert it again.")
    header = kind(start[: kind.sizeof_hdr], check=False)
    if header["magic"].item() != kind.single_magic:
        raise UnusableInput(f"{path} is one half of a pair of .hdr and .img files; convert it to a single .nii file.")
    if not 0 <= header["dim"][0] <= 7:
        raise UnusableInput(f"{path} has a damaged header ({header['dim'][0]} dimensions); convert it again.")
    header["vox_offset"] = _start_of_voxels(header, start, path)
    sizes = header["pixdim"][1:4]
    header["pixdim"][1:4] = np.where(np.isfinite(sizes) & (sizes != 0), np.abs(sizes), np.nan)
    if header["pixdim"][0] not in (-1, 1):
        header["pixdim"][0] = 1  # the standard reads 0 as 1
    for form in ("qform_code", "sform_code"):
        if not 0 <= header[form] <= 5:
            header[form] = 0
    try:
        header.check_fix(error_level=35)
        header.get_data_dtype(), header.get_data_shape(), header.get_slope_inter()
    except HeaderDataError as error:
        raise UnusableInput(f"{path} has a damaged header ({error}); convert it again.") from error
    return header


def with_voxels(header: nib.Nifti1Header, path: Path) -> nib.Nifti1Image:
    """The image that belongs to a header from `read_header`, in memory.

    The file is unpacked to its end, check sum included, so that one cut short or damaged is found here. The voxels stay in
    the file's own type until they are asked for. The affine is None where the header holds no readable one.

    Raises
    ------
    UnusableInput
        If the file holds fewer bytes than its header promises, or many more, is damaged, or does not fit in memory.
    """
    shape, dtype = header.get_data_shape(), header.get_data_dtype()
    if min(shape) < 1 or math.prod(shape) > MAX_VOXELS:
        size = " × ".join(map(str, shape))
        raise UnusableInput(f"{path} has {size} voxels by its header, none or more than fit in memory; convert or resample it again.")
    data = _read_voxels(path, int(header["vox_offset"]), math.prod(shape) * dtype.itemsize)
    slope, inter = header.get_slope_inter()
    scaling = (1.0, 0.0) if slope is None else (slope, inter)
    kind = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    image = kind(ArrayProxy(data, (shape, dtype, 0, *scaling), mmap=False), _readable_affine(header), header)
    image.set_filename(str(path))
    return image


def check_type(dtype: np.dtype, path: object) -> None:
    """Refuse voxels that are colours or complex numbers.

    >>> check_type(np.dtype("int16"), "scan.nii")
    """
    if dtype.fields is not None:
        raise UnusableInput(f"{path} holds colours (RGB), not intensities; convert it again from the original images.")
    if dtype.kind == "c":
        raise UnusableInput(f"{path} holds complex numbers; give the magnitude image instead.")


def check_presence(path: Path) -> None:
    """Refuse, in words, a file that is missing, not fetched, empty, larger than any image or no NIfTI by its name.

    Raises
    ------
    UnusableInput
    """
    if path.is_symlink() and not path.exists():
        raise UnusableInput(f"{path} is a link whose content is not here; fetch it first (datalad get or git annex get).")
    if not path.exists():
        raise UnusableInput(f"{path} does not exist; check the dataset.")
    if not path.is_file():
        raise UnusableInput(f"{path} is not a file but {what_is(path.stat().st_mode)}; check the dataset.")
    if not path.name.endswith((".nii", ".nii.gz")):
        raise UnusableInput(f"{path} is not named .nii or .nii.gz; convert the scan to NIfTI.")
    if path.stat().st_size == 0:
        raise UnusableInput(f"{path} is empty (0 bytes); copy or download it again.")
    if path.stat().st_size > IMAGE.mib * 2**20:
        raise UnusableInput(f"{path} has {path.stat().st_size / 1e9:.0f} GB, more than any image that fits in memory; convert it again.")


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The content, unpacked where it is gzip (whatever the name says); what fails while it is read is said in a sentence."""
    try:
        with open_file(path, IMAGE) as file:
            start = file.read(200)
            if start.startswith(_POINTERS):
                raise UnusableInput(f"{path} is a pointer whose content is not here; fetch it first (datalad get or git lfs pull).")
            file.seek(0)
            if start[:2] != b"\x1f\x8b":
                yield file
                return
            with gzip.GzipFile(fileobj=file) as unpacked:
                yield unpacked
    except EOFError as error:
        raise UnusableInput(f"{path} is cut short: its compressed data end too early; copy or download it again.") from error
    except (zlib.error, gzip.BadGzipFile) as error:
        raise UnusableInput(f"{path} is damaged: its compressed data cannot be read ({error}); copy or download it again.") from error
    except OSError as error:
        raise UnusableInput(f"{path} cannot be read ({error.strerror or error}); check its permissions and the disk.") from error


def _start_of_voxels(header: nib.Nifti1Header, start: bytes, path: Path) -> int:
    """The byte at which the voxels begin: straight after the header where the file does not say."""
    offset, least = header["vox_offset"].item(), header.single_vox_offset
    if offset == 0 or math.isnan(offset):
        if any(start[header.sizeof_hdr : header.sizeof_hdr + 1]):
            raise UnusableInput(f"{path} has text between its header and its voxels and does not say how long it is; convert it again.")
        return least
    if not (least <= offset <= MAX_START and offset == int(offset)):
        raise UnusableInput(f"{path} says that its voxels begin at byte {offset:g}, where they cannot; convert it again.")
    return int(offset)


def _read_voxels(path: Path, start: int, count: int) -> io.BytesIO:
    """The `count` bytes from `start` on; memory grows with what the file holds, not with what is promised."""
    data = io.BytesIO()
    with _opened(path) as stream:
        skipped = sum(len(chunk) for chunk in _chunks(stream, start))
        for chunk in _chunks(stream, count):
            data.write(chunk)
        beyond = len(stream.read(SLACK + 1))
    if data.tell() < count:
        held = f"{skipped + data.tell()} of the {start + count} bytes"
        raise UnusableInput(f"{path} is cut short: it holds {held} its header promises; copy or download it again.")
    if beyond > SLACK:
        raise UnusableInput(
            f"{path} holds far more than the {start + count} bytes its header promises, so one of them is wrong; convert it again."
        )
    return data


def _chunks(stream: BinaryIO, count: int) -> Iterator[bytes]:
    """The next `count` bytes, or all that are left, in pieces."""
    while count and (chunk := stream.read(min(count, _CHUNK))):
        yield chunk
        count -= len(chunk)


def _readable_affine(header: nib.Nifti1Header) -> np.ndarray | None:
    try:
        affine = header.get_best_affine()
    except (HeaderDataError, ValueError):  # a quaternion longer than 1: conform looks for another orientation
        return None
    return affine if np.all(np.isfinite(affine)) else None
