"""Deformations of a phantom head: the person's shape, and growth or loss of structures to given volumes.

A head is a map from its own positions (mm) to those of the template, kept on a lattice of 2 mm. Volumes are changed by
displacements u = ∇φ whose divergence is the wanted logarithmic change of every structure, Poisson's equation ∇²φ = r solved by cosine
transforms, in several small steps, each corrected by the volumes then measured. The skull does not move.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import fft, ndimage

from brainage_bids.imaging.warps import WARP_GRID
from brainage_bids.phantoms.anatomy import FINE_MM, FINE_SHAPE

LATTICE_MM = 2.0
LATTICE_SHAPE = (91, 109, 91)
ORIGIN = np.asarray(WARP_GRID.origin_mm, dtype=np.float32)
RIM_MM = 2.5
"""So near to the skull displacements fade out."""
LARGEST_STEP = 0.4
"""Of the logarithm of a volume in one step."""


@dataclass(frozen=True)
class Region:
    """A box of the lattice: where structures can move."""

    box: tuple[slice, slice, slice]
    window: np.ndarray  # 1 inside the skull, 0 at it


def lattice(mm: float = LATTICE_MM, shape: tuple[int, int, int] = LATTICE_SHAPE) -> np.ndarray:
    """Positions (3, X, Y, Z) float32 mm of a lattice that starts at the template's corner."""
    axes = [ORIGIN[axis] + np.float32(mm) * np.arange(n, dtype=np.float32) for axis, n in enumerate(shape)]
    return np.stack(np.meshgrid(*axes, indexing="ij"))


def read_lattice(field: np.ndarray, points: np.ndarray, first: tuple[int, int, int] = (0, 0, 0)) -> np.ndarray:
    """Values (C, ...) of a field (C, X, Y, Z) on the lattice at points (3, ...) mm, trilinear."""
    import torch
    from torch.nn.functional import grid_sample

    volume = torch.from_numpy(np.ascontiguousarray(field.transpose(0, 3, 2, 1)))[None]
    last = np.asarray(field.shape[1:], dtype=np.float32) - 1
    start = ORIGIN + np.float32(LATTICE_MM) * np.asarray(first, dtype=np.float32)
    unit = np.empty((*points.shape[1:], 3), dtype=np.float32)
    for axis in range(3):
        unit[..., axis] = (points[axis] - start[axis]) * (2 / (np.float32(LATTICE_MM) * last[axis])) - 1
    values = grid_sample(volume, torch.from_numpy(unit.reshape(1, -1, 1, 1, 3)), padding_mode="border", align_corners=True)
    return values[0, :, :, 0, 0].numpy().reshape(len(field), *points.shape[1:])


CENTRE = np.array([0.0, -18.0, 8.0])
"""mm: what stays where it is when a head is scaled."""


def proportions(seed: int, scale: float) -> np.ndarray:
    """Lengths along x, y, z in the person over those in the template, (3,); their product is scale³."""
    ratios = np.exp(np.random.default_rng([seed, 13]).normal(0, 0.025, 3))
    return ratios * (scale / np.cbrt(ratios.prod()))


def shape_of_person(seed: int, scale: float) -> np.ndarray:
    """The map (3, 91, 109, 91) float32 from a person's mm to the template's: size, proportions, asymmetry, a random diffeomorphism.

    Parameters
    ----------
    seed : int
        Of the person.
    scale : float
        Length in the person over length in the template.
    """
    rng = np.random.default_rng([seed, 12])
    ratios = proportions(seed, scale)
    coarse = (24, 28, 24)  # 8 mm
    velocity = np.stack([_smooth_field(coarse, 2.0, 2.2, rng) + _smooth_field(coarse, 1.0, 0.6, rng) for _ in range(3)])
    y = lattice(8.0, coarse)
    right = np.exp(-(((y[0] - 30) / 40) ** 2)) - np.exp(-(((y[0] + 30) / 40) ** 2))
    velocity[1] += rng.normal(0.8, 0.5) * right  # frontal right and occipital left lobes reach further
    displacement = _exponential(velocity / 8.0) * np.float32(8.0)
    places = lattice()
    index = np.stack([(places[axis] - ORIGIN[axis]) / 8.0 for axis in range(3)])
    moved = np.stack([ndimage.map_coordinates(part, index, order=1, mode="nearest") for part in displacement])
    out = np.empty_like(places)
    for axis in range(3):
        out[axis] = (places[axis] - CENTRE[axis]) / ratios[axis] + CENTRE[axis] + moved[axis]
    return out


def _smooth_field(shape, sigma: float, amount_mm: float, rng: np.random.Generator) -> np.ndarray:
    field = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), sigma, mode="wrap", truncate=3)
    return np.float32(amount_mm) * field / field.std()


def _exponential(velocity: np.ndarray, squarings: int = 5) -> np.ndarray:
    """Flow of a stationary velocity field (voxels), scaling and squaring."""
    grid = np.indices(velocity.shape[1:], dtype=np.float32)
    out = velocity / np.float32(2**squarings)
    for _ in range(squarings):
        out = out + np.stack([ndimage.map_coordinates(part, grid + out, order=1, mode="nearest") for part in out])
    return out


def labels_at(labels: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Labels (...) of the fine grid of the template nearest to places (3, ...) mm."""
    flat = np.zeros(places.shape[1:], dtype=np.int32)
    for axis in range(3):
        index = (places[axis] - ORIGIN[axis]) * np.float32(1 / FINE_MM)
        index += np.float32(0.5)
        np.clip(index, 0, FINE_SHAPE[axis] - 1, out=index)
        flat *= FINE_SHAPE[axis]
        flat += index.astype(np.int32)
    return labels.ravel().take(flat)


def poisson(source: np.ndarray, voxel_mm: float) -> np.ndarray:
    """φ with ∇²φ = source on a box with no flow through its faces, by cosine transforms; the mean of the source is left out.

    >>> x = np.cos(np.pi * (np.arange(8) + 0.5) / 8)[:, None, None] * np.ones((8, 4, 4))
    >>> phi = poisson(x, 1.0)
    >>> round(float((phi[3] - 2 * phi[2] + phi[1])[0, 0] / x[2, 0, 0]), 6)
    1.0
    """
    spectrum = fft.dctn(source, type=2)
    factors = [(2 * np.cos(np.pi * np.arange(n, dtype=np.float32) / n) - 2) / voxel_mm**2 for n in source.shape]
    total = factors[0][:, None, None] + factors[1][:, None] + factors[2]
    total[0, 0, 0] = 1
    spectrum /= total.astype(spectrum.dtype)
    spectrum[0, 0, 0] = 0
    return fft.idctn(spectrum, type=2)


def region_inside(cranium: np.ndarray) -> Region:
    """Where structures may move: the box around the inside of the skull (X, Y, Z) bool, on the lattice."""
    box = ndimage.find_objects(cranium.astype(np.uint8))[0]
    box = tuple(slice(max(0, s.start - 2), min(n, s.stop + 2)) for s, n in zip(box, cranium.shape))
    depth = ndimage.distance_transform_edt(cranium[box], sampling=LATTICE_MM).astype(np.float32)
    fade = np.clip((depth - LATTICE_MM) / RIM_MM, 0, 1)  # the cells at the skull keep all their corners
    return Region(box, fade * fade * (3 - 2 * fade))


def grown(
    places: np.ndarray, labels: np.ndarray, targets: Mapping[tuple[int, ...], float], region: Region, steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """A head whose structures have other volumes.

    Parameters
    ----------
    places : ndarray, (3, 91, 109, 91) float32
        From the head's mm to the template's.
    labels : ndarray
        The person's labels in the template's space.
    targets : mapping of codes to mL
        Every structure inside the skull, by the codes of `labels` that make it up.
    region : Region
        From `region_inside`.
    steps : int
        How many.

    Returns
    -------
    places : ndarray
        The new map.
    back : ndarray, (3, 91, 109, 91) float32
        From the new head's mm to the old one's.
    """
    part = (slice(None), *region.box)
    first = tuple(s.start for s in region.box)
    home = lattice()[part]
    now = np.concatenate([places[part], home])
    inside = region.window > 0  # nothing else moves, not by a bit
    for _ in range(steps):
        wish = _wished_change(now[:3], labels, targets)
        wish *= inside
        wish -= (wish.sum() / np.count_nonzero(inside)) * inside
        potential = poisson(wish, LATTICE_MM)
        there = np.stack(
            [home[axis][inside] - region.window[inside] * np.gradient(potential, LATTICE_MM, axis=axis)[inside] for axis in range(3)]
        )
        now[:, inside] = read_lattice(now, there, first)
    new, back = places.copy(), lattice()
    new[part], back[part] = now[:3], now[3:]
    return new, back


def _wished_change(places: np.ndarray, labels: np.ndarray, targets: Mapping[tuple[int, ...], float]) -> np.ndarray:
    """Logarithm of wanted over present volume of what is at each place, (X, Y, Z) float32."""
    seen = [labels_at(labels, point) for point in _two_points(places)]
    counts = sum(np.bincount(codes.ravel(), minlength=256) for codes in seen)
    change = np.zeros(256, dtype=np.float32)
    for codes, volume in targets.items():
        present = counts[list(codes)].sum() * LATTICE_MM**3 / 2000
        change[list(codes)] = np.clip(1.2 * np.log(volume / max(present, 0.01)), -LARGEST_STEP, LARGEST_STEP)
    return (change[seen[0]] + change[seen[1]]) / 2


def _two_points(places: np.ndarray) -> list[np.ndarray]:
    """The map a quarter of a cell below and above each point of the lattice along all axes."""
    out = []
    for step in (-1, 1):
        moved = places
        for axis in (1, 2, 3):
            beside = np.roll(moved, -step, axis)
            edge = [slice(None)] * 4
            edge[axis] = 0 if step < 0 else -1
            beside[tuple(edge)] = moved[tuple(edge)]
            moved = np.float32(0.75) * moved + np.float32(0.25) * beside
        out.append(moved)
    return out


def log_jacobian(back: np.ndarray) -> np.ndarray:
    """−ln det D of a map (3, X, Y, Z) mm on the lattice: by how much volumes grew on the way here, (X, Y, Z) float32.

    >>> round(float(log_jacobian(lattice() / np.float32(1.1))[40, 40, 40]), 4)  # 3 ln 1.1
    0.2859
    """
    rows = [np.gradient(part, LATTICE_MM) for part in back]
    (a, b, c), (d, e, f), (g, h, i) = rows
    determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    return -np.log(np.clip(determinant, 0.02, 50)).astype(np.float32)
