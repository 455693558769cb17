"""From a painted head to a scan: position, voxels, bias field, motion, noise."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage


def rigid(rotation_deg: np.ndarray, shift_mm: np.ndarray) -> np.ndarray:
    """(4, 4) matrix that turns about the three axes (in the order x, y, z, about the origin) and then shifts.

    >>> rigid(np.array([0, 0, 90.0]), np.zeros(3)).round(6)[:3, :3].tolist()
    [[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    out = np.eye(4)
    for axis, degrees in enumerate(rotation_deg):
        turn, (i, j) = np.eye(4), [(1, 2), (2, 0), (0, 1)][axis]
        c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        turn[i, i], turn[j, j], turn[i, j], turn[j, i] = c, c, -s, s
        out = turn @ out
    out[:3, 3] = shift_mm
    return out


def voxelised(fine: np.ndarray, fine_affine: np.ndarray, shape: tuple[int, ...], affine: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """Means over voxels of a finely painted head: a box along the axes of the head, then reading at the voxels' centres.

    Parameters
    ----------
    fine, fine_affine
        Intensities and grid of the head in its own position.
    shape, affine
        The scan's grid (axes R, A, S).
    pose : ndarray, (4, 4)
        The head's mm to the scanner's mm.

    Returns
    -------
    ndarray, `shape` float32
    """
    edge = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    step = np.sqrt((fine_affine[:3, :3] ** 2).sum(axis=0))
    blurred = fine
    for axis in range(3):
        width = edge[axis] / step[axis]
        if width > 1.2:  # a box of any width: two whole ones, mixed; linear reading adds a voxel of `fine` by itself
            lower = max(1, int(2 * ((width - 1) // 2) + 1))
            share = np.float32((width - lower) / 2)
            narrow = ndimage.uniform_filter1d(blurred, lower, axis=axis, mode="nearest") if lower > 1 else blurred
            if share > 0.01:
                wide = ndimage.uniform_filter1d(blurred, lower + 2, axis=axis, mode="nearest")
                wide *= share
                wide += (1 - share) * narrow
                narrow = wide
            blurred = narrow
    index = np.linalg.inv(fine_affine) @ np.linalg.inv(pose) @ affine
    return ndimage.affine_transform(
        blurred, index[:3, :3], index[:3, 3], shape, output=np.float32, order=1, mode="constant", cval=0.0, prefilter=False
    )


def bias_field(shape: tuple[int, ...], strength: float, rng: np.random.Generator) -> np.ndarray:
    """A smooth multiplicative field: products of cosines up to the second order, the standard deviation of its logarithm is `strength`.

    >>> field = bias_field((20, 20, 20), 0.2, np.random.default_rng(1))
    >>> round(float(np.log(field).std()), 4)
    0.2
    """
    axes = [np.cos(np.pi * np.arange(3)[:, None] * (np.arange(n) + 0.5) / n).astype(np.float32) for n in shape]
    weights = rng.standard_normal((3, 3, 3)).astype(np.float32) / (1 + np.indices((3, 3, 3)).sum(axis=0)) ** 1.5
    weights[0, 0, 0] = 0
    field = np.einsum("abc,ax,by,cz->xyz", weights, *axes, optimize=True).astype(np.float32)
    field -= field.mean()
    field *= np.float32(strength / max(float(field.std()), 1e-12))
    return np.exp(field, out=field)


def moved(image: np.ndarray, amount: float, voxel_mm: float, rng: np.random.Generator) -> np.ndarray:
    """Ghosts and blur of a head that moves along the second axis while its lines of k-space are taken.

    Parameters
    ----------
    image : ndarray, (X, Y, Z)
        Intensities.
    amount : float
        0 leaves the image as it is; at 1 the head wanders by a standard deviation of 2 mm, with two jerks.
    voxel_mm : float
        Edge along the second axis.
    """
    if amount <= 0:
        return image
    lines = image.shape[1]
    path = ndimage.gaussian_filter1d(rng.standard_normal(lines), lines / 25, mode="wrap")
    path /= path.std()
    for _ in range(2):
        path[rng.integers(lines // 8, lines) :] += rng.normal(0, 0.8)
    order = np.argsort(np.fft.fftfreq(lines))  # lines are taken from one end of k-space to the other
    shifts = np.empty(lines)
    shifts[order] = path - path[lines // 2]
    phase = np.exp(-2j * np.pi * np.fft.fftfreq(lines) * shifts * 2.0 * amount / voxel_mm).astype(np.complex64)
    out = np.empty_like(image)
    for start in range(0, image.shape[2], 16):  # a few planes at a time: memory
        part = slice(start, start + 16)
        out[..., part] = np.abs(np.fft.ifft(np.fft.fft(image[..., part], axis=1) * phase[:, None], axis=1))
    return out


def rician(image: np.ndarray, deviation: float, rng: np.random.Generator) -> np.ndarray:
    """Magnitude of the image plus complex Gaussian noise: |image + d (n₁ + i n₂)| (Gudbjartsson & Patz 1995, doi:10.1002/mrm.1910340618).

    Without signal the mean is d √(π/2):

    >>> noise = rician(np.zeros((60, 60, 60), np.float32), 2.0, np.random.default_rng(0))
    >>> round(float(noise.mean()) / (2 * math.sqrt(math.pi / 2)), 2)
    1.0
    """
    if deviation <= 0:
        return image
    out = rng.standard_normal(image.shape, dtype=np.float32)
    out *= np.float32(deviation)
    out += image
    out *= out
    other = rng.standard_normal(image.shape, dtype=np.float32)
    other *= np.float32(deviation)
    other *= other
    out += other
    return np.sqrt(out, out=out)
