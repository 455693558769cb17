"""Making any readable T1w one thing: a 3-D float32 image in RAS order, finite and not negative, with a sound header."""

from __future__ import annotations

from dataclasses import dataclass

import nibabel as nib
import numpy as np
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation
from scipy import ndimage

from brainage_bids.imaging.geometry import read_geometry
from brainage_bids.imaging.grids import voxel_volume
from brainage_bids.imaging.scanfile import check_type, load_scan, spatial_shape
from brainage_bids.records import UnusableInput

__all__ = ["Conformed", "cleaned", "conform", "load_scan"]

MISSING_SHARE = 0.01
LEAST_SIGNAL_ML = 200.0
PADDING_SHARE = 0.01
RINGING_SHARE = 0.05
SPIKE_FACTOR = 10.0
USUAL_TOP = (1e-3, 1e6)
_VALUES_LOOKED_AT = 1_000_000
_FLOAT32_WHOLE = 2**24


@dataclass(frozen=True)
class Conformed:
    """A scan ready for processing.

    Attributes
    ----------
    image : Nifti1Image
        float32, C order, RAS, on the scan's own voxel grid; sform and qform both set, lengths in mm.
    flags : tuple of str
        Codes of ``records.FLAGS``: ``header_repaired`` or nothing.
    notes : tuple of str
        What was found or changed, each a sentence for the report.
    """

    image: nib.Nifti1Image
    flags: tuple[str, ...]
    notes: tuple[str, ...]


def conform(image: nib.Nifti1Image, name: str | None = None) -> Conformed:
    """Reorient and clean a scan without resampling it.

    Axes are permuted and flipped to the nearest RAS order, so every voxel keeps its value's place in the world. The
    header's orientation is repaired where that is safe (`geometry.read_geometry`); values are made finite and not
    negative (`cleaned`).

    Parameters
    ----------
    image : Nifti1Image
        From `load_scan`, ``nibabel.load`` or memory.
    name : str, optional
        The file, for messages; by default the image's own file name.

    Returns
    -------
    Conformed

    Raises
    ------
    UnusableInput
        If the image is no single scan of a head with intensities; one sentence says why and what to do.

    Examples
    --------
    >>> data = np.random.default_rng(0).uniform(1, 9, (20, 30, 40)).astype(np.float32)
    >>> result = conform(nib.Nifti1Image(data, np.diag([-8.0, -8.0, 8.0, 1.0])))
    >>> result.image.affine.diagonal().tolist(), bool(result.image.get_fdata()[0, 0, 0] == data[-1, -1, 0])
    ([8.0, 8.0, 8.0, 1.0], True)
    """
    name = name or image.get_filename() or "the image"
    shape = spatial_shape(image.shape, name)
    check_type(image.get_data_dtype(), name)
    geometry = read_geometry(image.header, shape, name)
    orientation = io_orientation(geometry.affine)
    data = _float32(image, shape, orientation)
    affine = geometry.affine @ inv_ornt_aff(orientation, shape)
    notes = list(geometry.notes) + cleaned(data, voxel_volume(affine), name)
    flags = ("header_repaired",) if geometry.repaired else ()
    return Conformed(_image(data, affine), flags, tuple(notes))


def cleaned(data: np.ndarray, voxel_mm3: float, name: str) -> list[str]:
    """Make intensities finite, not negative and of an ordinary range, in place.

    - Values that are not finite become 0. Around the head they are background; inside it they are loss, and loss of
      more than 1 % of what carries signal is refused.
    - A negative value that fills 1 % or more of the image and is its lowest is padding and becomes 0.
    - Other negative values: slight ones (0.1st percentile above −5 % of the 99th) are ringing of an interpolation and
      become 0; otherwise the scan is shifted up so that its 0.1st percentile becomes 0, but voxels that are exactly 0
      stay so (the masked surroundings of a brain whose intensities were centred).
    - Spikes above ten times the 99.9th percentile of the non-zero values are cut there.
    - An image whose 99.9th percentile lies outside 0.001 to 1,000,000 is scaled to put it at 1000.

    Parameters
    ----------
    data : ndarray, (X, Y, Z), float32
        Changed in place.
    voxel_mm3 : float
        Volume of a voxel.
    name : str
        The file, for messages.

    Returns
    -------
    list of str
        A sentence for every change.

    Raises
    ------
    UnusableInput
        If too much is lost, all voxels are the same, there are two values only, or less than 200 mL carry signal.
    """
    notes = _without_holes(data, name)
    low, high = float(data.min()), float(data.max())
    if low == high:
        what = "only zeros" if low == 0 else f"the same value ({low:g}) everywhere"
        raise UnusableInput(f"{name} holds {what}; copy or convert the scan again.")
    if not np.any((data != low) & (data != high)):
        raise UnusableInput(f"{name} holds two values only and looks like a mask; give the scan itself.")
    if low < 0:
        notes += _without_negatives(data, low)
    signal_ml = np.count_nonzero(data) * voxel_mm3 / 1000
    if signal_ml < LEAST_SIGNAL_ML:
        raise UnusableInput(f"{name} has signal in {signal_ml:.0f} mL only, too little for a head; check that it is the right file.")
    return notes + _in_ordinary_range(data)


def _float32(image: nib.Nifti1Image, shape: tuple[int, int, int], orientation: np.ndarray) -> np.ndarray:
    """The voxels, reoriented and scaled, in one new float32 array; no float64 copy of all is made."""
    raw, slope, inter = image.dataobj, 1.0, 0.0
    if nib.is_proxy(raw):
        slope, inter = float(raw.slope), float(raw.inter)
        raw = raw.get_unscaled()
    turned = apply_orientation(np.asarray(raw).reshape(shape, order="A"), orientation)
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows becomes infinite and is dealt with as such
        if inter != 0.0 and turned.dtype.itemsize > 2 and not _exact_in_float32(turned):
            data = np.empty(turned.shape, dtype=np.float32)
            for plane, values in zip(data, turned, strict=True):
                plane[...] = values.astype(np.float64) * slope + inter
            return data
        data = np.array(turned, dtype=np.float32, order="C")
        if slope != 1.0:
            data *= np.float32(slope)
        if inter != 0.0:
            data += np.float32(inter)
    return data


def _exact_in_float32(values: np.ndarray) -> bool:
    """Whether whole numbers of this size keep their last digit in float32: stored far from 0, they come back by the intercept."""
    return bool(-_FLOAT32_WHOLE <= values.min() and values.max() <= _FLOAT32_WHOLE)


def _image(data: np.ndarray, affine: np.ndarray) -> nib.Nifti1Image:
    out = nib.Nifti1Image(data, affine)
    out.header.set_xyzt_units("mm", "sec")
    out.set_sform(affine, code="scanner")
    out.set_qform(affine, code="scanner")
    return out


def _without_holes(data: np.ndarray, name: str) -> list[str]:
    lost = ~np.isfinite(data)
    count = int(np.count_nonzero(lost))
    if count == 0:
        return []
    if count == data.size:
        raise UnusableInput(f"{name} holds no finite value (all NaN or infinite); copy or convert the scan again.")
    inside = int(np.count_nonzero(lost & ~_surroundings(lost)))
    signal = int(np.count_nonzero(data)) - count  # what is not a number counts as non-zero
    share = inside / max(signal + inside, 1)
    if share > MISSING_SHARE:
        raise UnusableInput(f"{name} has lost {share:.0%} of its voxels (NaN or infinite); copy or convert the scan again.")
    data[lost] = 0
    return [f"{count} voxels that were not finite ({inside} of them inside the head) were set to 0."]


def _surroundings(lost: np.ndarray) -> np.ndarray:
    """Of the voxels without a value, those that form a solid region open to the image's border."""
    solid = ndimage.minimum_filter(lost, size=3, mode="constant", cval=True)
    solid = ndimage.maximum_filter(solid, size=3, mode="constant", cval=False)
    parts, count = ndimage.label(solid)
    if count == 0:
        return solid
    faces = [np.take(parts, side, axis=axis) for axis in range(3) for side in (0, -1)]
    touching = np.zeros(count + 1, dtype=bool)
    for face in faces:
        touching[face] = True
    touching[0] = False
    return ndimage.binary_dilation(touching[parts], mask=lost, iterations=3)


def _without_negatives(data: np.ndarray, low: float) -> list[str]:
    notes = []
    padding = int(np.count_nonzero(data == low))
    if padding >= PADDING_SHARE * data.size:
        data[data == low] = 0
        notes.append(f"The padding value {low:g} ({padding / data.size:.0%} of the voxels) was set to 0.")
    negative = int(np.count_nonzero(data < 0))
    if negative == 0:
        return notes
    bottom, top = np.percentile(_some_nonzero(data), [0.1, 99])
    if bottom >= -RINGING_SHARE * max(top, 0.0):
        notes.append(f"{negative} slightly negative voxels were set to 0.")
        np.maximum(data, 0, out=data)
        return notes
    notes.append(f"Intensities went down to {bottom:.3g}; they were shifted up to begin at 0.")
    outside = data == 0
    data -= np.float32(bottom)
    data[outside] = 0
    np.maximum(data, 0, out=data)
    return notes


def _in_ordinary_range(data: np.ndarray) -> list[str]:
    notes = []
    top = float(np.percentile(_some_nonzero(data), 99.9))
    spikes = int(np.count_nonzero(data > SPIKE_FACTOR * top))
    if spikes:
        np.minimum(data, np.float32(SPIKE_FACTOR * top), out=data)
        notes.append(f"{spikes} voxels brighter than ten times the 99.9th percentile were cut to that.")
    if not USUAL_TOP[0] <= top <= USUAL_TOP[1]:
        data *= np.float32(1000.0 / top)
        notes.append(f"Intensities (99.9th percentile {top:.3g}) were scaled to an ordinary range.")
    return notes


def _some_nonzero(data: np.ndarray) -> np.ndarray:
    """Non-zero values, evenly taken, few enough for a percentile in no time."""
    step = max(1, int(round((data.size / (4 * _VALUES_LOOKED_AT)) ** (1 / 3))))
    values = data[::step, ::step, ::step]
    values = values[values != 0]
    return values if values.size else data[data != 0]
