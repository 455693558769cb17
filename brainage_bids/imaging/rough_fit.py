"""Where the brain lies in a head of any contrast: a pose, then the generative model on a coarse grid.

The atlas knows the head around the brain. Painted like a T1w it is registered to the scan in ways that ask for no contrast; the
mixture of `tissues` then finds the tissues, and twice the tissues found are registered to the atlas's tissues, which gives the brain
its right size even where skull is as bright as cortex.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from brainage_bids.imaging.atlas import Atlas, load_atlas
from brainage_bids.imaging.bias_field import FIRST, SLOPPY, bias_field
from brainage_bids.imaging.expected import KNOWN_BACKGROUND, head_guess
from brainage_bids.imaging.greedy import ANY_CONTRAST, LARGE_PATCHES, find_affine, find_warp
from brainage_bids.imaging.grids import resample, sample, voxel_sizes
from brainage_bids.imaging.groups import Settings
from brainage_bids.imaging.tissues import Segmentation, inside_at, segment_brain
from brainage_bids.imaging.warps import WARP_GRID, SpatialMap, grid_points
from brainage_bids.records import UnusableInput

POSE_MM = 4.0
POSE_LEVELS, SLOPPY_POSE_LEVELS = "100x50x0", "100x10x0"
LEAST_STRETCH, MOST_STRETCH = 0.55, 1.6
"""Factors between which an affine from the template to a head lies."""
GRID_MM, SLOPPY_GRID_MM = 2.5, 3.0
AFFINE_LEVELS, SLOPPY_AFFINE_LEVELS = "60x40x0", "60x10x0"
WARP_LEVELS = "40x0x0"
ROUNDS = 2
SETTINGS = Settings(stride=1, iterations=15, sampled_mm=np.inf)
SLOPPY_SETTINGS = replace(SETTINGS, stride=2)
BRIGHTEST = 2.0
"""Intensities are clipped at this multiple of the head's median, so that fat leaves bins of the histogram for the brain."""
WEIGHTS = {"WM": 1.0, "GM": 0.6, "CSF": 0.25}
"""What tissues are painted with for the registration of tissues to tissues."""

NO_BRAIN = "No brain was found in this scan; check that it shows a whole head, or use --skull-strip skip if it is an extracted brain."


@dataclass(frozen=True)
class RoughFit:
    """Result of `fit_roughly`.

    Attributes
    ----------
    spatial_map : SpatialMap
        Between the template and the person.
    segmentation : Segmentation
        On the coarse grid.
    affine : ndarray, (4, 4)
        Voxel index to mm of the coarse grid.
    """

    spatial_map: SpatialMap
    segmentation: Segmentation
    affine: np.ndarray


def fit_roughly(
    image: np.ndarray, affine: np.ndarray, *, atlas: Atlas | None = None, threads: int = 1, sloppy: bool = False, seed: int = 1
) -> RoughFit:
    """Find the brain of a whole head: pose, size, and a coarse segmentation.

    Parameters
    ----------
    image : ndarray, (X, Y, Z) float32
        Raw intensities ≥ 0 of any contrast, axes R, A, S.
    affine : ndarray, (4, 4)
        Voxel index to mm.
    atlas : Atlas, optional
        The packaged one by default.
    threads : int
        Threads of the mixture; the registrations use one (same input, same bits).
    sloppy : bool
        One round without a warp, fewer steps everywhere, for demonstrations and tests.
    seed : int
        Of greedy.

    Returns
    -------
    RoughFit

    Raises
    ------
    UnusableInput
        If nothing like a brain is found.
    """
    if not np.any(image > 0):
        raise UnusableInput(NO_BRAIN)
    atlas = load_atlas() if atlas is None else atlas
    pose_levels, affine_levels, settings = (POSE_LEVELS, AFFINE_LEVELS, SETTINGS)
    if sloppy:
        pose_levels, affine_levels, settings = (SLOPPY_POSE_LEVELS, SLOPPY_AFFINE_LEVELS, SLOPPY_SETTINGS)
    matrix = _pose(image, affine, atlas, pose_levels, seed)
    grid_mm = SLOPPY_GRID_MM if sloppy else GRID_MM
    coarse, coarse_affine = _coarser(image, affine, grid_mm)
    spatial_map = _straight(matrix)
    inside = (inside_at(atlas, coarse.shape, coarse_affine, spatial_map) > 0.5) & (coarse > 0)
    if not inside.any():
        raise UnusableInput(NO_BRAIN)
    coarse = coarse / bias_field(coarse, coarse_affine, inside, threads=1, effort=SLOPPY if sloppy else FIRST)
    target = _painted({name: atlas.tissue(name) for name in WEIGHTS})
    atlas = atlas if sloppy else atlas.averaged(grid_mm)
    try:
        found = segment_brain(coarse, coarse_affine, inside, spatial_map, atlas=atlas, threads=threads, settings=settings)
        for _ in range(1 if sloppy else ROUNDS):
            tissues = _painted(found.tissues)
            matrix = find_affine(target, tissues, coarse_affine, levels=affine_levels, start=matrix, seed=seed)
            if sloppy:
                spatial_map = _straight(matrix)
            else:
                spatial_map = SpatialMap(matrix, find_warp(target, tissues, coarse_affine, matrix, levels=WARP_LEVELS, seed=seed))
            found = segment_brain(coarse, coarse_affine, inside, spatial_map, atlas=atlas, threads=threads, settings=settings)
    except ValueError as error:
        raise UnusableInput(f"{NO_BRAIN} ({error})") from error
    return RoughFit(spatial_map, found, coarse_affine)


def _pose(image: np.ndarray, affine: np.ndarray, atlas: Atlas, levels: str, seed: int) -> np.ndarray:
    """Affine of the whole head, template mm to the person's mm: of two ways the one that shares more information with the atlas.

    Mutual information follows a pitched head of any contrast, but runs away where the field of view cuts the head; large patches
    are steady there.
    """
    coarse, coarse_affine = _coarser(image, affine, POSE_MM)
    brighter = coarse[coarse > coarse.mean()]
    if not brighter.size:
        raise UnusableInput(NO_BRAIN)
    tissue = np.median(brighter)
    scaled = np.clip(coarse / (BRIGHTEST * tissue), 0, 1)
    guess = head_guess(atlas)
    known = (atlas.probabilities[..., -1] < KNOWN_BACKGROUND)[::2, ::2, ::2]
    points, values = grid_points()[::2, ::2, ::2][known], guess[::2, ::2, ::2][known]
    best, most = None, -np.inf
    for metric in (ANY_CONTRAST, LARGE_PATCHES):
        matrix = find_affine(guess, scaled, coarse_affine, levels=levels, metric=metric, seed=seed)
        if not _is_human(matrix):
            continue
        seen = sample(scaled, coarse_affine, points @ matrix[:3, :3].T + matrix[:3, 3])
        shared = mutual_information(seen, values)
        if shared > most:
            best, most = matrix, shared
    if best is None:
        raise UnusableInput(NO_BRAIN)
    return best


def _is_human(matrix: np.ndarray) -> bool:
    """Whether an affine stretches the template along no direction to what no adult's head is."""
    stretch = np.linalg.svd(matrix[:3, :3], compute_uv=False)
    return bool(np.linalg.det(matrix[:3, :3]) > 0 and LEAST_STRETCH < stretch.min() and stretch.max() < MOST_STRETCH)


def mutual_information(first: np.ndarray, second: np.ndarray, bins: int = 32) -> float:
    """Mutual information of two samples in nats, from their joint histogram.

    Parameters
    ----------
    first, second : ndarray, (N,)
        Values at the same places.
    bins : int
        Of each axis.

    Examples
    --------
    >>> x = np.repeat([0.0, 1.0], 50)
    >>> round(mutual_information(x, 3 - x), 4)  # ln 2
    0.6931
    """
    joint = np.histogram2d(first.ravel(), second.ravel(), bins=bins)[0] / first.size
    apart = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    some = joint > 0
    return float((joint[some] * np.log(joint[some] / apart[some])).sum())


def _coarser(image: np.ndarray, affine: np.ndarray, voxel_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """The image on a grid with cubic voxels of at least `voxel_mm`, same axes and origin."""
    zoom = voxel_sizes(affine) / voxel_mm
    shape = tuple(int(n) for n in np.ceil(np.array(image.shape) * zoom))
    coarse_affine = affine @ np.diag([*(1 / zoom), 1.0])
    return resample(np.asarray(image, dtype=np.float32), affine, shape, coarse_affine, antialias=True), coarse_affine


def _painted(tissues: Mapping[str, np.ndarray]) -> np.ndarray:
    return sum(np.float32(weight) * tissues[name] for name, weight in WEIGHTS.items())


def _straight(matrix: np.ndarray) -> SpatialMap:
    """A map without a warp."""
    nothing = np.zeros((*WARP_GRID.shape, 3), dtype=np.float32)
    return SpatialMap(matrix, nothing, nothing)
