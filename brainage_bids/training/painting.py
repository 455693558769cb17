"""Scans painted from label maps: no two alike in shape, contrast, bias field, noise and resolution, and the truth of every voxel known.

A network that learns from such images is not bound to a scanner (the idea of Billot et al. 2023, doi:10.1016/j.media.2023.102789).
Everything follows from a generator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from brainage_bids.imaging.atlas import MERGED, OUTSIDE
from brainage_bids.imaging.volumes import Region, read_regions
from brainage_bids.records import BadDataset, UnusableInput
from brainage_bids.training.augment import coarser, smooth_field

OUTER = 200
"""Own code of the first class of ``atlas.OUTSIDE``; the next ones follow."""
CORNERS = tuple(np.array(corner, dtype=np.float32) / 4 for corner in ((-1, -1, -1), (1, 1, -1), (1, -1, 1), (-1, 1, 1)))
"""Points in a voxel, a quarter from its middle along each axis: every second corner of a cube."""
BACKGROUND = OUTER + len(OUTSIDE) - 1
FLUID = 24
T1W = {"WM": 1.0, "GM": 0.66, "CSF": 0.22}
"""What a T1w shows of tissues, relative to white matter."""
T1W_OF = {"Thalamus": 0.8, "Caudate": 0.7, "Putamen": 0.74, "Pallidum": 0.88, "Brain-Stem": 0.94, "VentralDC": 0.92}
T1W_OUTER = (0.6, 0.9, 0.15, 0.7, 0.5, 0.0)
"""Of the classes around the brain, in the order of ``atlas.OUTSIDE``."""


@dataclass(frozen=True)
class Painting:
    """How far paintings differ.

    Attributes
    ----------
    warp_mm : float
        Largest displacement of a knot of the random field, mm; knots are `knots_mm` apart.
    knots_mm : float
    turn_deg, scale : float
        Largest turn about each axis and change of each length (a share) of the whole head.
    odd_contrast : float
        Probability that the intensities of tissues are drawn from all there are, instead of around a T1w's.
    spread : float
        Standard deviation of the intensities of tissues around a T1w's.
    texture, noise, bias, gamma : float
        Largest standard deviation inside a tissue and of the noise (shares of white matter), log-amplitude of the bias
        field, and log-range of the exponent of a gamma curve.
    coarse : float
        Probability of lower resolution along one axis.
    stripped, dry : float
        Probability that what lies around the brain is not in the image, and, then, that its outer fluid is not either.
    """

    warp_mm: float = 4.0
    knots_mm: float = 18.0
    turn_deg: float = 4.0
    scale: float = 0.06
    odd_contrast: float = 0.3
    spread: float = 0.08
    texture: float = 0.05
    noise: float = 0.06
    bias: float = 0.25
    gamma: float = 0.2
    coarse: float = 0.3
    stripped: float = 0.5
    dry: float = 0.5


@dataclass(frozen=True)
class LabelMap:
    """A label map with the way to it from the template.

    Attributes
    ----------
    codes : ndarray, (X, Y, Z) uint8
        aseg codes, those of the brain's surroundings as from `OUTER` on.
    to_index : ndarray, (4, 4)
        Template mm to voxel index.
    """

    codes: np.ndarray
    to_index: np.ndarray


def read_label_map(path: Path) -> LabelMap:
    """Read a whole-head label map with FreeSurfer's codes and lay it onto the template by its structures.

    Raises
    ------
    UnusableInput
        If it cannot be read, or is no such map.
    """
    import nibabel as nib

    from brainage_bids.bids.nifti import read_image

    image = nib.as_closest_canonical(read_image(path))
    raw = np.ascontiguousarray(np.asarray(image.dataobj), dtype=np.int32)
    table = code_table()
    if raw.ndim != 3 or raw.min() < 0 or raw.max() >= len(table) or not ((raw == 2).any() and (raw == 41).any()):
        raise UnusableInput(f"{path} is no label map of a whole head with FreeSurfer's codes (aseg).")
    codes = table[raw]
    to_person = fit_affine(*_shared_centres(codes, image.affine))
    return LabelMap(codes, np.linalg.inv(image.affine) @ to_person)


def label_map_paths(folder: Path) -> list[Path]:
    """The label maps in a folder, sorted; BadDataset if there are fewer than two (one to learn from, one to judge by)."""
    paths = sorted(path for path in folder.glob("*.nii*") if path.name.endswith((".nii", ".nii.gz")))
    if len(paths) < 2:
        raise BadDataset(f"{folder} holds {len(paths)} label maps; two or more are needed, to learn from and to judge by.")
    return paths


def code_table() -> np.ndarray:
    """Own code of every code of a label map, (1024,) uint8; what is not known lies around the brain."""
    table = np.full(1024, OUTER + [name for name, _ in OUTSIDE].index("other tissue"), dtype=np.uint8)
    for region in read_regions():
        table[region.index] = region.index
    for old, new in MERGED.items():
        table[old] = new
    table[77] = 2
    for number, (_, codes) in enumerate(OUTSIDE):
        table[list(codes)] = OUTER + number
    return table


def fit_affine(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The affine that carries points nearest to others, by least squares.

    Parameters
    ----------
    source, target : ndarray, shape (n, 3)
        Four points or more, not all in a plane.

    Returns
    -------
    ndarray, shape (4, 4)

    Examples
    --------
    >>> points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1.0]])
    >>> fit_affine(points, 2 * points + 1)[0].round(6).tolist()
    [2.0, 0.0, 0.0, 1.0]
    """
    augmented = np.c_[source, np.ones(len(source))]
    out = np.eye(4)
    out[:3] = np.linalg.lstsq(augmented, target, rcond=None)[0].T
    return out


def _shared_centres(codes: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centres of structures in the template and in a map, mm, (n, 3) each."""
    few = np.ascontiguousarray(codes[::2, ::2, ::2])
    counts = np.bincount(few.ravel(), minlength=256)
    sums = []
    for axis, n in enumerate(few.shape):
        along = np.moveaxis(few, axis, -1).astype(np.int32) * n + np.arange(n, dtype=np.int32)
        sums.append(np.bincount(along.ravel(), minlength=256 * n).reshape(256, n) @ np.arange(n))
    template = template_centres()
    present = [code for code in template if counts[code]]
    centres = 2 * np.stack(sums, axis=1)[present] / counts[present, None]
    return np.array([template[code] for code in present]), centres @ affine[:3, :3].T + affine[:3, 3]


@lru_cache(maxsize=1)
def template_centres() -> dict[int, np.ndarray]:
    """Centre of every structure of BrainageAseg by its code, mm."""
    from brainage_bids.imaging.atlas import load_atlas
    from brainage_bids.imaging.warps import WARP_GRID

    atlas, out = load_atlas(), {}
    axes = [np.arange(n) * WARP_GRID.voxel_mm + start for n, start in zip(WARP_GRID.shape, WARP_GRID.origin_mm, strict=True)]
    for channel, region in enumerate(atlas.regions):
        weight = atlas.probabilities[..., channel].astype(np.float64)
        total = weight.sum()
        sums = [weight.sum(axis=tuple(k for k in range(3) if k != axis)) for axis in range(3)]
        out[region.index] = np.array([one @ axis for one, axis in zip(sums, axes, strict=True)]) / total
    return out


def deformation(shape: Sequence[int], voxel_mm: float, how: Painting, generator: np.random.Generator) -> np.ndarray:
    """Displacements of a smooth random field plus a turn and a stretch about the middle of the grid.

    Returns
    -------
    ndarray, (3, X, Y, Z) float32
        mm.
    """
    import torch
    from torch.nn import functional

    counts = [max(3, int(np.ceil(n * voxel_mm / how.knots_mm)) + 1) for n in shape]
    knots = generator.uniform(-how.warp_mm, how.warp_mm, (1, 3, *counts)).astype(np.float32)
    field = functional.interpolate(torch.from_numpy(knots), size=list(shape), mode="trilinear", align_corners=True)[0].numpy()
    matrix = _turn(np.deg2rad(generator.uniform(-how.turn_deg, how.turn_deg, 3))) @ np.diag(
        generator.uniform(1 - how.scale, 1 + how.scale, 3)
    )
    axes = [((np.arange(n) - (n - 1) / 2) * voxel_mm).astype(np.float32) for n in shape]
    x, y, z = np.ix_(*axes)
    change = (matrix - np.eye(3)).astype(np.float32)
    for axis in range(3):
        field[axis] += change[axis, 0] * x + change[axis, 1] * y + change[axis, 2] * z
    return field


def _turn(angles: np.ndarray) -> np.ndarray:
    out = np.eye(3)
    for axis, angle in enumerate(angles):
        a, b = [k for k in range(3) if k != axis]
        turn = np.eye(3)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        out = out @ turn
    return out


def contrast(how: Painting, generator: np.random.Generator, regions: Sequence[Region] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the intensity of every own code, (256,) float32 each; left and right alike.

    White matter is about 1 in a T1w-like contrast; in an odd one every tissue is anywhere between 0.05 and 1.
    """
    regions = regions or read_regions()
    odd = generator.random() < how.odd_contrast
    tissues = {name: generator.uniform(0.05, 1) if odd else value for name, value in T1W.items()}
    mean, sd = np.zeros(256, dtype=np.float32), np.zeros(256, dtype=np.float32)
    names = {region.name.removeprefix("Left-").removeprefix("Right-"): region.tissue for region in regions}
    own: dict[str, tuple[float, float]] = {}
    for name, tissue in names.items():
        middle = T1W_OF.get(name, tissues[tissue]) if not odd else tissues[tissue]
        shared = generator.normal(0, how.spread)
        own[name] = max(0.02, middle + shared), generator.uniform(0, how.texture)
    for region in regions:
        mean[region.index], sd[region.index] = own[region.name.removeprefix("Left-").removeprefix("Right-")]
    for number, value in enumerate(T1W_OUTER):
        middle = value if number == len(T1W_OUTER) - 1 else (generator.uniform(0, 1) if odd else value)
        mean[OUTER + number] = max(0.0, middle + (generator.normal(0, 0.15) if middle else 0.0))
        sd[OUTER + number] = generator.uniform(0, 2 * how.texture) if middle else 0.0
    if generator.random() < how.stripped:
        mean[OUTER:] = sd[OUTER:] = 0
        if generator.random() < how.dry:
            mean[FLUID] = sd[FLUID] = 0
    return mean, sd


def read_codes(source: LabelMap, affine: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Codes nearest to places; outside the map background.

    Parameters
    ----------
    source : LabelMap
    affine : ndarray, (4, 4)
        Grid index to template mm.
    places : ndarray, (3, …) float32
        Indices of the grid.
    """
    matrix = (source.to_index @ affine).astype(np.float32)
    flat, inside = np.zeros(places.shape[1:], dtype=np.int32), np.ones(places.shape[1:], dtype=bool)
    for axis, n in enumerate(source.codes.shape):
        index = (
            matrix[axis, 0] * places[0] + matrix[axis, 1] * places[1] + matrix[axis, 2] * places[2] + (matrix[axis, 3] + np.float32(0.5))
        )
        inside &= (index >= 0) & (index < n)
        flat *= n
        flat += np.clip(index, 0, n - 1).astype(np.int32)
    return np.where(inside, source.codes.ravel().take(flat), np.uint8(BACKGROUND))


def paint(
    source: LabelMap, shape: Sequence[int], affine: np.ndarray, how: Painting, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A scan on a grid of the template, and its labels.

    Each voxel is the mean of four points in it, so that borders are mixed as in a scan; its label is that of its middle.

    Parameters
    ----------
    source : LabelMap
    shape : three ints
    affine : ndarray, (4, 4)
        Of the grid: index to template mm; equal voxels along straight axes.
    how : Painting
    generator : Generator

    Returns
    -------
    ndarray, ndarray
        Intensities, float32, 0 or more; own codes, uint8.
    """
    import torch

    voxel = float(affine[0, 0])
    moved = deformation(shape, voxel, how, generator) / np.float32(voxel)
    for axis, n in enumerate(shape):
        moved[axis] += np.arange(n, dtype=np.float32).reshape([-1 if k == axis else 1 for k in range(3)])
    mean, sd = contrast(how, generator)
    image, texture = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)
    for corner in CORNERS:
        codes = read_codes(source, affine, moved + corner.reshape(3, 1, 1, 1))
        image += mean[codes]
        texture += sd[codes]
    image, texture = image / len(CORNERS), texture / len(CORNERS)
    empty = image < 1e-6
    image = np.maximum(image + texture * generator.standard_normal(image.shape, dtype=np.float32), 0)
    image **= np.float32(np.exp(generator.uniform(-how.gamma, how.gamma)))
    tensor = torch.from_numpy(image) * smooth_field(tuple(shape), how.bias * float(generator.random()), generator)
    if generator.random() < how.coarse:
        tensor = coarser(tensor, int(generator.integers(0, 3)))
    level = np.float32(generator.uniform(0, how.noise))
    parts = [level * generator.standard_normal(image.shape, dtype=np.float32) for _ in range(2)]
    image = np.hypot(tensor.numpy() + parts[0], parts[1])
    labels = read_codes(source, affine, moved)
    return np.where(empty, np.float32(0), image).astype(np.float32), labels
