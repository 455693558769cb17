"""Rules that bring intensities to a scale on which a network was trained; each is a stated part of its input contract."""

from __future__ import annotations

import numpy as np

from brainage_bids.imaging.packing import TOP, WHITE, pack


def by_top_mean(volume: np.ndarray, share: float = 0.01) -> np.ndarray:
    """Divide by the mean of the brightest voxels, those outside the brain counted too (Jomsky 2024).

    Parameters
    ----------
    volume : ndarray
        All voxels of the grid.
    share : float
        Of the voxels that are the brightest; one at least.

    Returns
    -------
    ndarray, float32

    Raises
    ------
    ValueError
        If that mean is not above zero.

    Examples
    --------
    >>> by_top_mean(np.arange(1.0, 201.0))[-1].round(5)
    np.float32(1.00251)
    """
    flat = np.asarray(volume, dtype=np.float32).ravel()
    count = max(1, round(share * flat.size))
    top = float(np.partition(flat, flat.size - count)[-count:].mean(dtype=np.float64))
    return _divided(volume, top, "the brightest voxels")


def by_mean(volume: np.ndarray) -> np.ndarray:
    """Divide by the mean of all voxels, zeros included (Peng 2021's code), float32; errors as in `by_top_mean`.

    >>> by_mean(np.array([0.0, 1.0, 3.0, 0.0])).tolist()
    [0.0, 1.0, 3.0, 0.0]
    """
    return _divided(volume, float(np.mean(volume, dtype=np.float64)), "all voxels")


def zscored(volume: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Mean 0 and standard deviation 1 in a mask, zero outside it; float32.

    Raises
    ------
    ValueError
        If the mask is empty or the image constant in it.

    Examples
    --------
    >>> zscored(np.array([5.0, 1.0, 3.0]), np.array([False, True, True])).tolist()
    [0.0, -1.0, 1.0]
    """
    inside = np.asarray(volume, dtype=np.float64)[mask]
    if inside.size == 0 or not inside.std() > 0:
        raise ValueError("nothing varies in the mask")
    out = np.zeros(volume.shape, dtype=np.float32)
    out[mask] = (inside - inside.mean()) / inside.std()
    return out


def to_uint8(volume: np.ndarray, white: float) -> tuple[np.ndarray, float]:
    """White matter to 110, clipped at 383, times 255/383, rounded (Hofmann 2022).

    Parameters
    ----------
    volume : ndarray
    white : float
        The mode of its white matter.

    Returns
    -------
    ndarray, float
        uint8, and the share of voxels that were clipped.

    Raises
    ------
    ValueError
        If the mode is not above zero.

    Examples
    --------
    >>> values, clipped = to_uint8(np.array([-1.0, 50.0, 100.0, 500.0]), 100.0)
    >>> values.tolist(), clipped
    ([0, 37, 73, 255], 0.25)
    """
    scaled = _divided(volume, white / WHITE, "white matter")
    return pack(scaled, 1.0), float(np.mean(scaled > TOP))


def _divided(volume: np.ndarray, by: float, what: str) -> np.ndarray:
    if not (np.isfinite(by) and by > 0):
        raise ValueError(f"the level of {what} is {by:g}")
    return np.asarray(volume, dtype=np.float32) / np.float32(by)
