"""Structures and tissues by a generative model: a registered probability atlas, Gaussians a group of structures, a Markov field.

The model is that of Van Leemput 1999 (doi:10.1109/42.811270) and Ashburner & Friston 2005 (doi:10.1016/j.neuroimage.2005.02.018):
the intensity of a voxel is Gaussian given its group; the probability of a group is the atlas's at the place, tempered by what the
neighbours are (mean field). What surrounds the brain has groups of its own, so the model also says where the brain ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from brainage_bids.imaging import groups, mixture
from brainage_bids.imaging.atlas import Atlas, load_atlas
from brainage_bids.imaging.crop import Box, bounding_box, crop, paste
from brainage_bids.imaging.grids import voxel_sizes
from brainage_bids.imaging.groups import GROUPS, Settings
from brainage_bids.imaging.pieces import filled, largest_piece
from brainage_bids.imaging.warps import SpatialMap, grid_points
from brainage_bids.records import UnusableInput

TISSUES = ("GM", "WM", "CSF")
USUAL_NOISE = 0.14
"""Standard deviation of white matter over its contrast to cortex in a good T1w; in a noisier scan neighbours count for more."""
MOST_NOISE = 2.0
LESION_SDS = 2.0
LESION_DENSITY = 0.05
"""Per unit of intensity, which is white matter's; a Gaussian of the brain has a density of 4 to 10 at its mean."""
_POINTS_AT_ONCE = 400_000


@dataclass(frozen=True)
class Segmentation:
    """What `segment_brain` returns, on the grid of its image.

    Attributes
    ----------
    tissues : dict of str to ndarray, (X, Y, Z) float32
        Probabilities of GM, WM, CSF; their sum is at most 1 (the rest is outside).
    labels : ndarray, (X, Y, Z) uint8
        Codes of the structures (aseg), 0 outside.
    means, deviations : dict of str to float
        Intensity of each group.
    """

    tissues: dict[str, np.ndarray]
    labels: np.ndarray
    means: dict[str, float] = field(default_factory=dict)
    deviations: dict[str, float] = field(default_factory=dict)

    @property
    def brain(self) -> np.ndarray:
        """The brain with its fluid, (X, Y, Z) bool."""
        return self.labels > 0

    def dseg(self) -> np.ndarray:
        """Tissue of each voxel: 1 GM, 2 WM, 3 CSF, 0 where the structure is outside."""
        tissue = np.zeros(256, dtype=np.uint8)
        for _, name, codes in GROUPS:
            tissue[list(codes)] = TISSUES.index(name) + 1
        return tissue[self.labels]


def segment_brain(
    image: np.ndarray,
    affine: np.ndarray,
    mask: np.ndarray,
    spatial_map: SpatialMap,
    *,
    stripped: bool = False,
    atlas: Atlas | None = None,
    threads: int = 1,
    settings: Settings | None = None,
) -> Segmentation:
    """Label tissues and structures of a bias-corrected T1w and say anew where the brain ends.

    Parameters
    ----------
    image : ndarray, (X, Y, Z) float32
        Bias-corrected intensities of the whole head, or of the brain alone if `stripped`.
    affine : ndarray, (4, 4)
        Voxel index to mm.
    mask : ndarray, (X, Y, Z) bool
        The first brain mask.
    spatial_map : SpatialMap
        From `registration.register`.
    stripped : bool
        The skull was removed before: everything inside `mask` is brain or fluid, nothing else is.
    atlas : Atlas, optional
        The packaged one by default.
    threads : int
        Threads of torch.
    settings : Settings, optional
        Constants of the model; by default those for the size of the voxels.

    Returns
    -------
    Segmentation

    Raises
    ------
    ValueError
        If nothing of the image lies in the brain of the atlas.
    """
    import torch

    torch.set_num_threads(threads)
    atlas = load_atlas() if atlas is None else atlas
    settings = settings or groups.settings_for(float(np.prod(voxel_sizes(affine))) ** (1 / 3))
    box = _brain_box(atlas, spatial_map, affine, mask, None if stripped else settings.reach)
    part, part_affine = crop(image, affine, box)
    points = _template_points(part.shape, part_affine, spatial_map)
    if stripped:
        region = mask[box]
    else:
        region = (atlas.inside_at(points) > settings.reach).reshape(part.shape)
    if not region.any():
        raise ValueError("no voxel of the image lies in the brain of the registered atlas")
    prior = _prior(atlas, _places(points, region, part_affine, spatial_map, settings.sampled_mm))
    inner = segment(part, region, prior, atlas, sizes=voxel_sizes(affine), stripped=stripped, settings=settings)
    brain = region if stripped else _brain(inner.dseg(), voxel_sizes(affine).mean(), settings.shell_mm)
    labels = _holes_labelled(inner, brain)
    tissues = {name: paste(values * brain, box, image.shape) for name, values in inner.tissues.items()}
    return Segmentation(tissues, paste(labels, box, image.shape), inner.means, inner.deviations)


def segment(
    image: np.ndarray,
    region: np.ndarray,
    prior: np.ndarray,
    atlas: Atlas,
    *,
    sizes: np.ndarray | None = None,
    stripped: bool = False,
    settings: Settings | None = None,
) -> Segmentation:
    """Label the structures in a region of a bias-corrected image of any contrast.

    Parameters
    ----------
    image : ndarray, (X, Y, Z) float32
        Bias-corrected intensities.
    region : ndarray, (X, Y, Z) bool
        Voxels to label.
    prior : ndarray, (N, K + 6) float32
        The atlas at the N voxels of `region` (``region.nonzero()`` order).
    atlas : Atlas
        Names the channels of `prior`.
    sizes : ndarray, (3,), optional
        Edges of a voxel, mm: neighbours that are further away count for less. Cubes by default.
    stripped : bool
        Nothing inside `region` is outside the brain.
    settings : Settings, optional
        Constants.

    Returns
    -------
    Segmentation
    """
    settings = settings or Settings()
    if stripped:
        prior = groups.without_outside(prior, atlas)
    columns = groups.columns(settings)
    before = groups.group_prior(prior, atlas, settings)
    values, scale = _scaled(image[region], prior, atlas)
    model = _fitted(values, before, region, columns, settings)
    weighted = before * (mixture.likelihood(values, model) + _lesions(values, model, len(columns)))
    posterior = mixture.normalised(weighted)
    tissue_of = np.array([column.tissue for column in columns])
    strength = settings.neighbourhood * _noisiness(model)
    near = np.full(3, 1 / 3) if sizes is None else (1 / sizes) / (1 / sizes).sum()
    for _ in range(settings.sweeps):
        field_ = _neighbours(posterior, tissue_of, region, strength * near)
        posterior = mixture.normalised(weighted * field_)
    maps = {name: posterior[:, tissue_of == name].sum(axis=1) for name in TISSUES}
    labels = _structures(maps, posterior, prior, before, atlas)
    names = [name for name, _, _ in GROUPS]
    return Segmentation(
        {name: _volume(values, region) for name, values in maps.items()},
        _volume(labels, region),
        {name: float(scale * model[i].mean[0]) for i, name in enumerate(names)},
        {name: float(scale * np.sqrt(model[i].variance[0])) for i, name in enumerate(names)},
    )


def group_means(
    image: np.ndarray, region: np.ndarray, prior: np.ndarray, atlas: Atlas, *, stripped: bool = False, settings: Settings | None = None
) -> dict[str, float]:
    """Mean intensity of every group of structures; parameters as for `segment`, whose first step this is."""
    settings = settings or Settings()
    if stripped:
        prior = groups.without_outside(prior, atlas)
    values, scale = _scaled(image[region], prior, atlas)
    model = _fitted(values, groups.group_prior(prior, atlas, settings), region, groups.columns(settings), settings)
    return {name: float(scale * model[i].mean[0]) for i, (name, _, _) in enumerate(GROUPS)}


def _scaled(values: np.ndarray, prior: np.ndarray, atlas: Atlas) -> tuple[np.ndarray, float]:
    """Intensities in units of white matter's median, at most 3, and that unit."""
    values = values.astype(np.float32)
    unit = mixture.weighted_median(values, prior[:, groups.channels(atlas, (2, 41))].sum(axis=1) ** 2)
    if unit <= 0:
        raise UnusableInput("The scan is dark where the registered atlas sees white matter; look at its brain mask and registration.")
    return np.clip(values / unit, 0, 3), unit


def _fitted(values: np.ndarray, prior: np.ndarray, region: np.ndarray, columns: list[mixture.Column], settings: Settings):
    keep = _strided(region, settings.stride)
    return mixture.fit(values[keep], prior[keep], columns, settings.iterations)


def _brain(dseg: np.ndarray, voxel_mm: float, shell_mm: float) -> np.ndarray:
    """The final mask: without thin shells of grey that only fluid ties to the brain, which are skull, in one piece, holes filled.

    Shells do not survive an erosion by `shell_mm`; what is left is grown back inside grey and white matter, two voxels further.
    """
    steps = max(1, round(shell_mm / voxel_mm))
    matter = (dseg == 1) | (dseg == 2)
    core = largest_piece(ndimage.binary_erosion(matter, iterations=steps))
    kept = ndimage.binary_dilation(core, iterations=steps + 2, mask=matter)
    loose, _ = ndimage.label(matter & ~kept)
    touching = np.unique(loose[ndimage.binary_dilation(dseg == 0, iterations=2)])
    shells = np.isin(loose, touching[touching > 0])
    return filled(largest_piece((dseg > 0) & ~shells))


def _brain_box(atlas: Atlas, spatial_map: SpatialMap, affine: np.ndarray, mask: np.ndarray, reach: float | None) -> Box:
    """The part of the image in which the registered atlas sees brain (or the mask, without a `reach`), and a voxel around."""
    if reach is None:
        return bounding_box(mask, 1.0)
    inverse = np.linalg.inv(affine)
    seen = spatial_map.to_person(grid_points()[atlas.inside() > reach]) @ inverse[:3, :3].T + inverse[:3, 3]
    low = np.maximum(np.floor(seen.min(axis=0)).astype(int) - 1, 0)
    high = np.minimum(np.ceil(seen.max(axis=0)).astype(int) + 2, mask.shape)
    if (high <= low).any():
        raise ValueError("no voxel of the image lies in the brain of the registered atlas")
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high))


def inside_at(atlas: Atlas, shape: tuple[int, ...], affine: np.ndarray, spatial_map: SpatialMap) -> np.ndarray:
    """P(brain or its fluid) of the registered atlas at every voxel of a grid, (X, Y, Z) float32."""
    return atlas.inside_at(_template_points(shape, affine, spatial_map)).reshape(shape)


def _template_points(shape: tuple[int, ...], affine: np.ndarray, spatial_map: SpatialMap) -> np.ndarray:
    """Template positions (N, 3) float32 mm of all voxels of a grid."""
    axes = [np.arange(n, dtype=np.float32) for n in shape]
    return _to_template(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3), affine, spatial_map)


def _to_template(index: np.ndarray, affine: np.ndarray, spatial_map: SpatialMap) -> np.ndarray:
    place = index @ affine[:3, :3].T.astype(np.float32) + affine[:3, 3].astype(np.float32)
    return np.concatenate([spatial_map.to_template(place[part]) for part in _parts(len(place))])


def _places(points: np.ndarray, region: np.ndarray, affine: np.ndarray, spatial_map: SpatialMap, sampled_mm: float) -> Iterator[np.ndarray]:
    """Template positions (N, 3) of the voxels of a region: their centres, or in thick voxels places inside, one set after another."""
    counts = [max(1, round(float(size) / sampled_mm)) for size in voxel_sizes(affine)]
    if counts == [1, 1, 1]:
        yield points[region.ravel()]
        return
    index = np.argwhere(region).astype(np.float32)
    for place in np.ndindex(*counts):
        offset = (np.array(place, dtype=np.float32) + 0.5) / counts - 0.5
        yield _to_template(index + offset.astype(np.float32), affine, spatial_map)


def _prior(atlas: Atlas, places: Iterable[np.ndarray]) -> np.ndarray:
    """The mean of the atlas over sets of template positions, (N, K + 6) float32, rows summing to 1."""
    total = None
    for points in places:
        values = np.concatenate([atlas.read(points[part]) for part in _parts(len(points))])
        total = values if total is None else total + values
    for part in _parts(len(total)):
        total[part] = mixture.normalised(total[part])
    return total


def _parts(count: int) -> Iterator[slice]:
    for start in range(0, count, _POINTS_AT_ONCE):
        yield slice(start, min(start + _POINTS_AT_ONCE, count))


def _neighbours(posterior: np.ndarray, tissue_of: np.ndarray, region: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """exp(Σ over axes of strength × mean posterior of a column's tissue over the axis' two neighbours), (N, G)."""
    out = np.empty_like(posterior)
    padded = np.zeros(tuple(n + 2 for n in region.shape), dtype=np.float32)
    inner = (slice(1, -1),) * 3
    for tissue in np.unique(tissue_of):
        columns = np.flatnonzero(tissue_of == tissue)
        padded[inner][region] = posterior[:, columns].sum(axis=1)
        total = np.zeros(region.shape, dtype=np.float32)
        for axis in range(3):
            for start in (0, 2):
                shifted = list(inner)
                shifted[axis] = slice(start, start + region.shape[axis])
                total += np.float32(strength[axis] / 2) * padded[tuple(shifted)]
        out[:, columns] = np.exp(total[region])[:, None]
    return out


def _lesions(values: np.ndarray, model: list[mixture.Gaussians], columns: int) -> np.ndarray:
    """A density of white matter where a voxel is brighter than any group of the brain, (N, G) float32: lesions of a FLAIR.

    Outliers of a model of intensities are lesions in Van Leemput et al. 2001 (doi:10.1109/42.938237) too.
    """
    brightest = max(model[: len(GROUPS)], key=lambda group: float(group.mean[0]))
    out = np.zeros((len(values), columns), dtype=np.float32)
    beyond = values > brightest.mean[0] + LESION_SDS * np.sqrt(brightest.variance[0])
    out[beyond, [name for name, _, _ in GROUPS].index("cerebral white")] = LESION_DENSITY
    return out


def _noisiness(model: list[mixture.Gaussians]) -> float:
    """How much more than usual white matter scatters, in units of its contrast to cortex; from 1 to `MOST_NOISE`."""
    white, cortex = (model[[name for name, _, _ in GROUPS].index(name)] for name in ("cerebral white", "cortex"))
    contrast = max(abs(float(white.mean[0] - cortex.mean[0])), 1e-6)
    return float(np.clip(np.sqrt(white.variance[0]) / (USUAL_NOISE * contrast), 1.0, MOST_NOISE))


def _strided(region: np.ndarray, stride: int) -> np.ndarray:
    lattice = np.zeros(region.shape, dtype=bool)
    lattice[::stride, ::stride, ::stride] = True
    return lattice[region]


def _volume(values: np.ndarray, region: np.ndarray) -> np.ndarray:
    out = np.zeros(region.shape, dtype=values.dtype)
    out[region] = values
    return out


def _structures(maps, posterior, prior, before, atlas) -> np.ndarray:
    """Codes (N,) uint8: the most probable structure of the most probable tissue, 0 where outside is more probable than each."""
    stacked = np.stack([maps[name] for name in TISSUES], axis=1)
    best = np.where(stacked.max(axis=1) >= 1 - stacked.sum(axis=1), stacked.argmax(axis=1), -1)
    ratio = posterior / np.maximum(before, 1e-12)
    labels = np.zeros(len(prior), dtype=np.uint8)
    for row, name in enumerate(TISSUES):
        chosen = np.flatnonzero(best == row)
        score, winner = np.full(len(chosen), -1, dtype=np.float32), np.zeros(len(chosen), dtype=np.uint8)
        for group, (_, tissue, codes) in enumerate(GROUPS):
            for channel in groups.channels(atlas, codes) if tissue == name else ():
                value = prior[chosen, channel] * ratio[chosen, group]
                better = value > score
                score[better], winner[better] = value[better], atlas.regions[channel].index
        labels[chosen] = winner
    return labels


def _holes_labelled(inner: Segmentation, brain: np.ndarray) -> np.ndarray:
    """Labels inside the final brain; a filled hole takes the code of outer fluid."""
    return np.where(brain, np.where(inner.labels > 0, inner.labels, 24), 0).astype(np.uint8)
