"""Which structures share an intensity distribution, which boundaries hold mixed voxels, and the prior of each such group."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from brainage_bids.imaging import mixture
from brainage_bids.imaging.atlas import OUTSIDE, Atlas

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
    ("limbic", "fluid", ("limbic",), (4, 43, 5, 44, 24)),
    ("skull", "fluid", ("skull",), (24,)),
    ("cerebral white", "cortex", ("cerebral white",), (3, 42)),
    ("cerebellar white", "cerebellar cortex", ("cerebellar white",), (8, 47)),
)
"""Boundaries whose voxels are mixed: the two groups whose intensities mix, the groups of the first side, the codes of the second."""

LINED_EDGES = (
    *(edge if edge[0] != "cortex" else (*edge[:3], (24, 4, 43)) for edge in EDGES),
    ("caudate", "fluid", ("caudate",), (4, 43, 14)),
    ("thalamus", "fluid", ("thalamus",), (4, 43, 14)),
)
"""The same with those of ventricles and the grey matter that lines them, half of whose mixed voxels they would take in. For the final
segmentation: what only gives means to the registration does without."""


@dataclass(frozen=True)
class Settings:
    """Constants of the model, chosen on painted heads (docs/tissues.md).

    Attributes
    ----------
    iterations : int
        EM steps for means and variances.
    neighbourhood : float
        Strength of the Markov field in a scan of little noise: log-odds a unanimous neighbourhood of six adds.
    sweeps : int
        Mean-field sweeps after the last EM step.
    edges : float
        Weight of the voxels on the boundary of two groups, relative to the geometric mean of both priors.
    boundaries : tuple
        Those boundaries: `EDGES` or `LINED_EDGES`.
    edge_shares : tuple of float
        Shares of the second group in such voxels; below one half they count as the first.
    reach : float
        Voxels where the atlas's P(brain or fluid) exceeds this are looked at.
    shell_mm : float
        Half the thickness of grey shells around the brain that are taken off.
    stride : int
        EM looks at every stride-th voxel along each axis.
    sampled_mm : float
        The atlas is averaged over places inside a voxel that are about so far apart.
    """

    iterations: int = 25
    neighbourhood: float = 3.0
    sweeps: int = 3
    edges: float = 1.0
    boundaries: tuple[tuple[str, str, tuple[str, ...], tuple[int, ...]], ...] = EDGES
    edge_shares: tuple[float, ...] = (0.25, 0.75)
    reach: float = 0.004
    shell_mm: float = 2.0
    stride: int = 2
    sampled_mm: float = 1.5


COARSE_MM = 1.2
"""Voxels larger than this (the cube root of their volume) are mixed so often that mixtures nearer to one half are looked for."""
COARSE_SHARES = (0.33, 0.67)


def settings_for(voxel_mm: float) -> Settings:
    """The constants of the final segmentation for voxels of a size in mm.

    >>> settings_for(1.0) == Settings(boundaries=LINED_EDGES)
    True
    """
    shares = COARSE_SHARES if voxel_mm > COARSE_MM else Settings.edge_shares
    return Settings(edge_shares=shares, boundaries=LINED_EDGES)


def channels(atlas: Atlas, codes: tuple[int, ...]) -> list[int]:
    """Where structures stand among the atlas's channels."""
    return [channel for channel, region in enumerate(atlas.regions) if region.index in codes]


def column_names() -> list[str]:
    """The groups of the brain, then the classes around it."""
    return [*(name for name, _, _ in GROUPS), *(name for name, _ in OUTSIDE)]


def columns(settings: Settings) -> list[mixture.Column]:
    """The groups of the mixture: those of the brain, the classes around it, and the mixed voxels."""
    found = [mixture.Column(tissue) for _, tissue, _ in GROUPS]
    found += [mixture.Column("outside", parts=OUTSIDE_PARTS[name]) for name, _ in OUTSIDE]
    if settings.edges > 0:
        names = column_names()
        tissue_of = dict(zip(names, (column.tissue for column in found)))
        for first, second, _, _ in settings.boundaries:
            for share in settings.edge_shares:
                tissue = tissue_of[first if share < 0.5 else second]
                found.append(mixture.Column(tissue, between=(names.index(first), names.index(second), share)))
    return found


def group_prior(prior: np.ndarray, atlas: Atlas, settings: Settings) -> np.ndarray:
    """Prior of every column of `columns`, (N, G)."""
    inner = len(GROUPS)
    membership = np.zeros((prior.shape[1], inner + len(OUTSIDE)), dtype=np.float32)
    for group, (_, _, codes) in enumerate(GROUPS):
        membership[channels(atlas, codes), group] = 1
    for i in range(len(OUTSIDE)):
        membership[len(atlas.regions) + i, inner + i] = 1
    groups = prior @ membership
    if settings.edges <= 0:
        return groups
    names = column_names()
    mixed = []
    for _, _, first, codes in settings.boundaries:
        one = groups[:, [names.index(name) for name in first]].sum(axis=1)
        other = prior[:, channels(atlas, codes)].sum(axis=1)
        weight = settings.edges / len(settings.edge_shares)
        mixed.append(np.repeat((weight * np.sqrt(one * other))[:, None], len(settings.edge_shares), axis=1))
    return mixture.normalised(np.concatenate([groups, *mixed], axis=1))


def without_outside(prior: np.ndarray, atlas: Atlas) -> np.ndarray:
    """The prior given that a voxel is brain or fluid; where the atlas sees neither, cortex and outer fluid alike."""
    prior = prior.copy()
    prior[:, len(atlas.regions) :] = 0
    nowhere = prior.sum(axis=1) < 1e-3
    prior[np.ix_(nowhere, channels(atlas, (3, 42, 24)))] += 1 / 3
    return mixture.normalised(prior)
