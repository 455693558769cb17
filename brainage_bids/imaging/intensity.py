"""Rules that bring intensities to a scale on which a network was trained; each is a stated part of its input contract."""

from __future__ import annotations

import numpy as np

WHITE_LEVEL = 110.0
"""What the mode of white matter becomes before `to_uint8` (Hofmann 2022, after FreeSurfer)."""
TOP_LEVEL = 383.0
"""Where `to_uint8` clips."""
CLIPPED_SHARE = 1e-5
"""Share of clipped voxels above which an image is unlike those of training (0.001 %)."""


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


def mode(values: np.ndarray, bins: int = 256) -> float:
    """The most frequent value: the top of a smoothed histogram between the 1st and 99th percentile.

    Parameters
    ----------
    values : ndarray
        For example the voxels of white matter.
    bins : int
        Of the histogram, which is smoothed by a Gaussian of 4 bins.

    Raises
    ------
    ValueError
        If there is no value above zero.

    Examples
    --------
    >>> round(mode(np.random.default_rng(0).normal(80, 5, 100_000)))
    80
    """
    from scipy import ndimage

    values = np.asarray(values, dtype=np.float64).ravel()
    values = values[values > 0]
    if values.size == 0:
        raise ValueError("no voxel is above zero")
    low, high = np.percentile(values, [1, 99])
    if not high > low:
        return float(low)
    counts, edges = np.histogram(values, bins, (low, high))
    top = int(np.argmax(ndimage.gaussian_filter1d(counts.astype(float), 4.0, mode="nearest")))
    return float((edges[top] + edges[top + 1]) / 2)


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
    scaled = _divided(volume, white / WHITE_LEVEL, "white matter")
    clipped = float(np.mean(scaled > TOP_LEVEL))
    return np.rint(np.clip(scaled, 0, TOP_LEVEL) * np.float32(255 / TOP_LEVEL)).astype(np.uint8), clipped


def _divided(volume: np.ndarray, by: float, what: str) -> np.ndarray:
    if not (np.isfinite(by) and by > 0):
        raise ValueError(f"the level of {what} is {by:g}")
    return np.asarray(volume, dtype=np.float32) / np.float32(by)
