"""Structures and tissues by a generative model: a registered probability atlas, Gaussians a group of structures, a Markov field.

The model is that of Van Leemput 1999 (doi:10.1109/42.811270) and Ashburner & Friston 2005 (doi:10.1016/j.neuroimage.2005.02.018):
the intensity of a voxel is Gaussian given its group; the probability of a group is the atlas's at the place, tempered by what the
neighbours are (mean field). What surrounds the brain has groups of its own, so the model also says where the brain ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from brainage_bids.imaging import mixture
from brainage_bids.imaging.atlas import OUTSIDE, Atlas, load_atlas
from brainage_bids.imaging.crop import Box, bounding_box, crop, paste
from brainage_bids.imaging.grids import voxel_sizes
from brainage_bids.imaging.pieces import filled, largest_piece
from brainage_bids.imaging.warps import SpatialMap, field_at, grid_points

GROUPS: tuple[tuple[str, str, tuple[int, ...]], ...] = (
    ("cerebral white", "WM", (2, 41)),
    ("cerebellar white", "WM", (7, 46)),
    ("brain stem", "WM", (16, 28, 60)),
    ("cortex", "GM", (3, 42)),
    ("cerebellar cortex", "GM", (8, 47)),
    ("limbic", "GM", (17, 53, 18, 54, 26, 58)),
    ("thalamus", "GM", (10, 49)),
    ("caudate", "GM", (11, 50)),
    ("putamen", "GM", (12, 51)),
    ("pallidum", "GM", (13, 52)),
    ("fluid", "CSF", (4, 43, 5, 44, 14, 15, 24)),
)
"""Structures that share one intensity distribution: name, tissue, aseg codes."""

OUTSIDE_PARTS = {"soft tissue": 2, "scalp": 1, "skull": 2, "marrow": 1, "other tissue": 3, "background": 2}
"""Gaussians of each class around the brain, which are less uniform than the brain's."""

EDGES: tuple[tuple[str, str, tuple[str, ...], tuple[int, ...]], ...] = (
    ("cerebral white", "fluid", ("cerebral white", "cerebellar white", "brain stem"), (4, 43, 5, 44, 14, 15)),
    ("cortex", "fluid", ("cortex",), (24,)),
    ("cerebellar cortex", "fluid", ("cerebellar cortex",), (24, 15)),
    ("skull", "fluid", ("skull",), (24,)),
    ("cerebral white", "cortex", ("cerebral white",), (3, 42)),
    ("cerebellar white", "cerebellar cortex", ("cerebellar white",), (8, 47)),
)
"""Boundaries whose voxels are mixed: the two groups whose intensities mix, the groups of the first side, the codes of the second."""

TISSUES = ("GM", "WM", "CSF")
_POINTS_AT_ONCE = 400_000


@dataclass(frozen=True)
class Settings:
    """Constants of the model, chosen on painted heads (docs/tissues.md).

    Attributes
    ----------
    iterations : int
        EM steps for means and variances.
    neighbourhood : float
        Strength of the Markov field: log-odds a unanimous neighbourhood of six adds.
    sweeps : int
        Mean-field sweeps after the last EM step.
    edges : float
        Weight of the voxels on the boundary of two groups (`EDGES`), relative to the geometric mean of both priors.
    edge_shares : tuple of float
        Shares of the second group in such voxels; below one half they count as the first.
    reach : float
        Voxels where the atlas's P(brain or fluid) exceeds this are looked at.
    shell_mm : float
        Half the thickness of grey shells around the brain that are taken off.
    stride : int
        EM looks at every stride-th voxel along each axis.
    """

    iterations: int = 25
    neighbourhood: float = 1.5
    sweeps: int = 3
    edges: float = 1.0
    edge_shares: tuple[float, ...] = (0.25, 0.75)
    reach: float = 0.004
    shell_mm: float = 2.0
    stride: int = 2


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
        Constants of the model.

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
    settings = settings or Settings()
    box = _brain_box(atlas, spatial_map, affine, mask, None if stripped else settings.reach)
    part, part_affine = crop(image, affine, box)
    points = _template_points(part.shape, part_affine, spatial_map)
    if stripped:
        region = mask[box]
    else:
        region = (field_at(atlas.inside()[..., None], points)[:, 0] > settings.reach).reshape(part.shape)
    if not region.any():
        raise ValueError("no voxel of the image lies in the brain of the registered atlas")
    prior = _prior(atlas, points[region.ravel()])
    inner = segment(part, region, prior, atlas, stripped=stripped, settings=settings)
    brain = region if stripped else _brain(inner.dseg(), voxel_sizes(affine).mean(), settings.shell_mm)
    labels = _holes_labelled(inner, brain)
    tissues = {name: paste(values * brain, box, image.shape) for name, values in inner.tissues.items()}
    return Segmentation(tissues, paste(labels, box, image.shape), inner.means, inner.deviations)


def segment(
    image: np.ndarray, region: np.ndarray, prior: np.ndarray, atlas: Atlas, *, stripped: bool = False, settings: Settings | None = None
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
        prior = _without_outside(prior, atlas)
    columns = _columns(settings)
    group_prior = _group_prior(prior, atlas, settings)
    values = image[region].astype(np.float32)
    scale = mixture.weighted_median(values, prior[:, _channels(atlas, (2, 41))].sum(axis=1) ** 2)
    values = np.clip(values / scale, 0, 3)
    keep = _strided(region, settings.stride)
    model = mixture.fit(values[keep], group_prior[keep], columns, settings.iterations)
    weighted = group_prior * mixture.likelihood(values, model)
    posterior = mixture.normalised(weighted)
    tissue_of = np.array([column.tissue for column in columns])
    for _ in range(settings.sweeps):
        field_ = _neighbours(posterior, tissue_of, region, settings.neighbourhood)
        posterior = mixture.normalised(weighted * field_)
    maps = {name: posterior[:, tissue_of == name].sum(axis=1) for name in TISSUES}
    labels = _structures(maps, posterior, prior, group_prior, atlas)
    names = [name for name, _, _ in GROUPS]
    return Segmentation(
        {name: _volume(values, region) for name, values in maps.items()},
        _volume(labels, region),
        {name: float(scale * model[i].mean[0]) for i, name in enumerate(names)},
        {name: float(scale * np.sqrt(model[i].variance[0])) for i, name in enumerate(names)},
    )


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


def _template_points(shape: tuple[int, ...], affine: np.ndarray, spatial_map: SpatialMap) -> np.ndarray:
    """Template positions (N, 3) float32 mm of all voxels of a grid."""
    axes = [np.arange(n, dtype=np.float32) for n in shape]
    index = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    place = index @ affine[:3, :3].T.astype(np.float32) + affine[:3, 3].astype(np.float32)
    return np.concatenate([spatial_map.to_template(place[part]) for part in _parts(len(place))])


def _prior(atlas: Atlas, points: np.ndarray) -> np.ndarray:
    """The atlas at template points, (N, K + 6) float32, rows summing to 1."""
    out = np.empty((len(points), atlas.probabilities.shape[-1]), dtype=np.float32)
    for part in _parts(len(points)):
        out[part] = mixture.normalised(field_at(atlas.probabilities, points[part]))
    return out


def _parts(count: int) -> Iterator[slice]:
    for start in range(0, count, _POINTS_AT_ONCE):
        yield slice(start, min(start + _POINTS_AT_ONCE, count))


def _without_outside(prior: np.ndarray, atlas: Atlas) -> np.ndarray:
    """The prior given that a voxel is brain or fluid; where the atlas sees neither, cortex and outer fluid alike."""
    prior = prior.copy()
    prior[:, len(atlas.regions) :] = 0
    nowhere = prior.sum(axis=1) < 1e-3
    prior[np.ix_(nowhere, _channels(atlas, (3, 42, 24)))] += 1 / 3
    return mixture.normalised(prior)


def _channels(atlas: Atlas, codes: tuple[int, ...]) -> list[int]:
    return [channel for channel, region in enumerate(atlas.regions) if region.index in codes]


def _column_names() -> list[str]:
    """The groups of the brain, then the classes around it."""
    return [*(name for name, _, _ in GROUPS), *(name for name, _ in OUTSIDE)]


def _columns(settings: Settings) -> list[mixture.Column]:
    """The groups of the mixture: those of the brain, the classes around it, and the edges of the ventricles."""
    columns = [mixture.Column(tissue) for _, tissue, _ in GROUPS]
    columns += [mixture.Column("outside", parts=OUTSIDE_PARTS[name]) for name, _ in OUTSIDE]
    if settings.edges > 0:
        names = _column_names()
        tissue_of = dict(zip(names, (column.tissue for column in columns)))
        for first, second, _, _ in EDGES:
            for share in settings.edge_shares:
                tissue = tissue_of[first if share < 0.5 else second]
                columns.append(mixture.Column(tissue, between=(names.index(first), names.index(second), share)))
    return columns


def _group_prior(prior: np.ndarray, atlas: Atlas, settings: Settings) -> np.ndarray:
    """Prior of every column of `_columns`, (N, G)."""
    inner = len(GROUPS)
    membership = np.zeros((prior.shape[1], inner + len(OUTSIDE)), dtype=np.float32)
    for group, (_, _, codes) in enumerate(GROUPS):
        membership[_channels(atlas, codes), group] = 1
    for i in range(len(OUTSIDE)):
        membership[len(atlas.regions) + i, inner + i] = 1
    groups = prior @ membership
    if settings.edges <= 0:
        return groups
    names = _column_names()
    mixed = []
    for _, _, first, codes in EDGES:
        one = groups[:, [names.index(name) for name in first]].sum(axis=1)
        other = prior[:, _channels(atlas, codes)].sum(axis=1)
        weight = settings.edges / len(settings.edge_shares)
        mixed.append(np.repeat((weight * np.sqrt(one * other))[:, None], len(settings.edge_shares), axis=1))
    return mixture.normalised(np.concatenate([groups, *mixed], axis=1))


def _neighbours(posterior: np.ndarray, tissue_of: np.ndarray, region: np.ndarray, strength: float) -> np.ndarray:
    """exp(strength × mean posterior of a column's tissue over the six neighbours), (N, G)."""
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
                total += padded[tuple(shifted)]
        out[:, columns] = np.exp(np.float32(strength / 6) * total[region])[:, None]
    return out


def _strided(region: np.ndarray, stride: int) -> np.ndarray:
    lattice = np.zeros(region.shape, dtype=bool)
    lattice[::stride, ::stride, ::stride] = True
    return lattice[region]


def _volume(values: np.ndarray, region: np.ndarray) -> np.ndarray:
    out = np.zeros(region.shape, dtype=values.dtype)
    out[region] = values
    return out


def _structures(maps, posterior, prior, group_prior, atlas) -> np.ndarray:
    """Codes (N,) uint8: the most probable structure of the most probable tissue, 0 where outside is more probable than each."""
    stacked = np.stack([maps[name] for name in TISSUES], axis=1)
    best = np.where(stacked.max(axis=1) >= 1 - stacked.sum(axis=1), stacked.argmax(axis=1), -1)
    ratio = posterior / np.maximum(group_prior, 1e-12)
    labels = np.zeros(len(prior), dtype=np.uint8)
    for row, name in enumerate(TISSUES):
        chosen = np.flatnonzero(best == row)
        score, winner = np.full(len(chosen), -1, dtype=np.float32), np.zeros(len(chosen), dtype=np.uint8)
        for group, (_, tissue, codes) in enumerate(GROUPS):
            for channel in _channels(atlas, codes) if tissue == name else ():
                value = prior[chosen, channel] * ratio[chosen, group]
                better = value > score
                score[better], winner[better] = value[better], atlas.regions[channel].index
        labels[chosen] = winner
    return labels


def _holes_labelled(inner: Segmentation, brain: np.ndarray) -> np.ndarray:
    """Labels inside the final brain; a filled hole takes the code of outer fluid."""
    return np.where(brain, np.where(inner.labels > 0, inner.labels, 24), 0).astype(np.uint8)
