"""Changes of a training image that leave the age as it is; every one is drawn from a generator, so a seed repeats it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from brainage_bids.records import BadConfiguration


@dataclass(frozen=True)
class Augmentation:
    """How far images are changed; 0 leaves a change out.

    Attributes
    ----------
    shift : int
        Up to so many voxels along each axis, whole ones; zeros come in.
    flip : float
        Probability of exchanging left and right (first axis).
    rotate_deg, scale, affine : float
        Up to so many degrees about each axis, a factor between 1 − scale and 1 + scale, with probability `affine`.
    noise : float
        Standard deviation of Gaussian noise, as a share of the image's own; drawn between 0 and this.
    bias : float
        Log-amplitude of a smooth field that multiplies the image.
    gain : float
        Log-range of a factor on the whole image, and of the exponent of a gamma curve.
    blur : float
        Probability of lower resolution along one axis (every second voxel, interpolated back).
    """

    shift: int = 0
    flip: float = 0.0
    rotate_deg: float = 0.0
    scale: float = 0.0
    affine: float = 0.0
    noise: float = 0.0
    bias: float = 0.0
    gain: float = 0.0
    blur: float = 0.0


PRESETS = {
    "none": Augmentation(),
    "light": Augmentation(shift=2, flip=0.5),
    "strong": Augmentation(shift=2, flip=0.5, rotate_deg=5, scale=0.05, affine=0.5, noise=0.05, bias=0.1, gain=0.1, blur=0.1),
}
"""``light``: shifts and flips (Peng 2021); ``strong``: everything."""


def preset(name: str) -> Augmentation:
    """A preset by its name; BadConfiguration if there is none."""
    if name not in PRESETS:
        raise BadConfiguration(f"There is no augmentation {name!r}; known are {', '.join(PRESETS)}.")
    return PRESETS[name]


def augment(image: torch.Tensor, how: Augmentation, generator: np.random.Generator) -> torch.Tensor:
    """Change the images of one session.

    They move, and lose resolution, as one; brightness, bias field and noise are drawn for each, as each was a scan of its own.

    Parameters
    ----------
    image : Tensor, shape (channels, X, Y, Z)
        float32; not altered.
    how : Augmentation
    generator : Generator
        Of all that is drawn.

    Returns
    -------
    Tensor, shape (channels, X, Y, Z), float32

    Examples
    --------
    >>> line = torch.arange(3.0).reshape(1, 3, 1, 1)
    >>> augment(line, Augmentation(flip=1.0), np.random.default_rng(0)).ravel().tolist()
    [2.0, 1.0, 0.0]
    """
    if how.shift:
        steps = [int(n) for n in generator.integers(-how.shift, how.shift + 1, 3)]
        image = torch.stack([shifted(one, steps) for one in image])
    if how.flip and generator.random() < how.flip:
        image = image.flip(1)
    if how.affine and generator.random() < how.affine:
        angles = np.deg2rad(generator.uniform(-how.rotate_deg, how.rotate_deg, 3))
        scale = float(generator.uniform(1 - how.scale, 1 + how.scale))
        image = torch.stack([turned(one, angles, scale) for one in image])
    if how.blur and generator.random() < how.blur:
        axis = int(generator.integers(0, 3))
        image = torch.stack([coarser(one, axis) for one in image])
    return torch.stack([_rescanned(one, how, generator) for one in image])


def _rescanned(image: torch.Tensor, how: Augmentation, generator: np.random.Generator) -> torch.Tensor:
    """Bias field, brightness and noise of one scan."""
    if how.bias:
        image = image * smooth_field(image.shape, how.bias, generator)
    if how.gain:
        factor, exponent = np.exp(generator.uniform(-how.gain, how.gain, 2))
        top = image.abs().max().clamp_min(1e-12)
        image = float(factor) * top * image.sign() * (image.abs() / top) ** float(exponent)
    if how.noise:
        sd = float(generator.uniform(0, how.noise)) * float(image.std())
        image = image + sd * torch.from_numpy(generator.standard_normal(tuple(image.shape), dtype=np.float32))
    return image


def shifted(image: torch.Tensor, steps: list[int]) -> torch.Tensor:
    """Move by whole voxels; zeros come in.

    >>> shifted(torch.arange(1.0, 4.0).reshape(3, 1, 1), [1, 0, 0]).ravel().tolist()
    [0.0, 1.0, 2.0]
    """
    out = torch.zeros_like(image)
    to = tuple(slice(max(step, 0), n + min(step, 0)) for step, n in zip(steps, image.shape, strict=True))
    source = tuple(slice(max(-step, 0), n + min(-step, 0)) for step, n in zip(steps, image.shape, strict=True))
    out[to] = image[source]
    return out


def turned(image: torch.Tensor, angles: np.ndarray, scale: float) -> torch.Tensor:
    """Rotate about the three axes (radians) and scale about the middle of the grid, trilinear; zeros come in."""
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        a, b = [k for k in range(3) if k != axis]
        turn = np.eye(3)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ turn
    sizes = np.array(image.shape, dtype=float)
    matrix = matrix / scale * sizes[None, :] / sizes[:, None]  # grid_sample counts every axis from −1 to 1
    theta = torch.from_numpy(matrix[::-1, ::-1].copy()).to(image.dtype)  # and axes the other way round
    theta = torch.cat([theta, torch.zeros(3, 1, dtype=image.dtype)], 1)[None]
    grid = functional.affine_grid(theta, [1, 1, *image.shape], align_corners=False)
    return functional.grid_sample(image[None, None], grid, align_corners=False)[0, 0]


def coarser(image: torch.Tensor, axis: int) -> torch.Tensor:
    """As if voxels were twice as long along an axis: neighbours averaged, then interpolated back."""
    shape = list(image.shape)
    half = [max(n // 2, 1) if k == axis else n for k, n in enumerate(shape)]
    small = functional.interpolate(image[None, None], size=half, mode="area")
    return functional.interpolate(small, size=shape, mode="trilinear", align_corners=False)[0, 0]


def smooth_field(shape: tuple[int, ...], amplitude: float, generator: np.random.Generator) -> torch.Tensor:
    """Exp of a smooth random field, 4 knots along each axis, between exp(−amplitude) and exp(amplitude)."""
    knots = torch.from_numpy(generator.uniform(-amplitude, amplitude, (1, 1, 4, 4, 4)).astype(np.float32))
    return functional.interpolate(knots, size=list(shape), mode="trilinear", align_corners=True)[0, 0].exp()
