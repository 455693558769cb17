"""Values as files hold them: whole steps of an integer type. Who works in memory rounds by the same functions as who writes."""

from __future__ import annotations

import numpy as np

from brainage_bids.imaging.transforms import rounded_field
from brainage_bids.imaging.warps import SpatialMap


def to_steps(data: np.ndarray, top: float, dtype: type = np.int16) -> tuple[np.ndarray, float]:
    """Integers and the slope by which a header gives the values back.

    Parameters
    ----------
    data : ndarray
        Values; below 0 they become 0, above `top` they become `top`.
    top : float
        The value of the largest integer.
    dtype : type
        An integer type.

    Returns
    -------
    ndarray of `dtype`, float

    Examples
    --------
    >>> to_steps(np.array([0.0, 0.5, 2.0]), 1.0, np.uint8)[0]
    array([  0, 128, 255], dtype=uint8)
    """
    steps = np.iinfo(dtype).max
    return np.rint(np.clip(data / top, 0, 1) * steps).astype(dtype), top / steps


def as_stored(data: np.ndarray, top: float, dtype: type = np.int16) -> np.ndarray:
    """The values that a reader of the file gets, float32; the slope of a header is a float32 too.

    Examples
    --------
    >>> as_stored(np.array([0.5]), 1.0, np.uint8)
    array([0.5019608], dtype=float32)
    """
    integers, slope = to_steps(data, top, dtype)
    return (integers * np.float64(np.float32(slope))).astype(np.float32)


def top_of_scan(corrected: np.ndarray, mask: np.ndarray) -> float:
    """The value of a bias-corrected scan that gets the largest integer: far above the brain, and above all but .1 % of the head."""
    return max(float(np.percentile(corrected[mask], 99.9)) * 3, float(np.percentile(corrected[::2, ::2, ::2], 99.9)))


def scan_as_stored(corrected: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A bias-corrected scan as the app keeps it."""
    return as_stored(corrected, top_of_scan(corrected, mask))


def map_as_stored(spatial_map: SpatialMap) -> SpatialMap:
    """A spatial map as the app keeps it, its inverse too."""
    return SpatialMap(spatial_map.affine, rounded_field(spatial_map.displacement), rounded_field(spatial_map.inverse))


def probability_as_stored(values: np.ndarray) -> np.ndarray:
    """Probabilities as the app keeps them."""
    return as_stored(values, 1.0, np.uint8)
