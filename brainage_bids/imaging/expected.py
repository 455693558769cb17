"""The image that the atlas expects of a person, and a registration that is refined by it, whatever the contrast.

The mixture of `tissues` says how bright each group of structures is in this scan. Painting the atlas's probabilities with these
intensities gives an image in the template's space of the same contrast, head included, to which the scan is registered again
(as in Ashburner & Friston 2005, doi:10.1016/j.neuroimage.2005.02.018, where both steps alternate). What lies around the brain is
painted too, so that a skull as bright as cortex pulls the warp to where skull is.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from brainage_bids.imaging import mixture
from brainage_bids.imaging.atlas import OUTSIDE, Atlas, load_atlas
from brainage_bids.imaging.greedy import find_warp
from brainage_bids.imaging.grids import voxel_sizes
from brainage_bids.imaging.groups import GROUPS, Settings
from brainage_bids.imaging.normalise import to_template
from brainage_bids.imaging.tissues import group_means
from brainage_bids.imaging.warps import WARP_GRID, SpatialMap, field_at, grid_points

LEVELS = "20x30x10"
"""Steps of the refinement at 6, 3 and 1.5 mm."""

BRIGHTEST = 1.3
"""Intensities are clipped here, in units of the brightest that the atlas expects."""

SURE = 0.6
"""Where the atlas gives a class more than this, its intensity is read."""

KNOWN_BACKGROUND = 128
"""Where the atlas gives the far background less than this (of 255), it knows the head, and images are compared."""

FIRST_GUESS = {"WM": 1.0, "GM": 0.68, "CSF": 0.22}
OUTER_GUESS = (0.55, 0.95, 0.15, 0.80, 0.50, 0.0)
"""A head in rough T1w intensities, relative to white matter: for the first look, by mutual information, only."""

PLAIN = {"WM": "cerebral white", "GM": "cortex", "CSF": "fluid"}
"""The group that stands for its tissue where the means of small structures cannot be trusted yet."""

THICK_MM = 4.0
"""Of slices thicker than this the new warp is averaged with the old one, as what is between slices misleads it (docs/tissues.md)."""

LIKE_WHITE = ("pallidum",)
"""Grey groups that are then painted white: iron and myelin make them so in most contrasts."""

BETWEEN = ("thalamus",)
"""Groups that are then painted half way between grey and white: which of the two they resemble depends on the contrast."""

OUTER_FLUID = 24


def expected_image(atlas: Atlas, means: Mapping[str, float], outer: Mapping[int | str, float] | None = None) -> np.ndarray:
    """Paint the atlas: the mean intensity at each place of the template.

    Parameters
    ----------
    atlas : Atlas
        Probabilities.
    means : mapping
        Intensity by name of group (``groups.GROUPS``).
    outer : mapping, optional
        Intensity of the classes around the brain by name (``atlas.OUTSIDE``; 0 where missing), and of structures by code
        where it differs from its group's.

    Returns
    -------
    ndarray, (121, 145, 121) float32
    """
    outer = outer or {}
    group_of = {code: name for name, _, codes in GROUPS for code in codes}
    levels = [outer.get(region.index, means[group_of[region.index]]) for region in atlas.regions]
    levels += [outer.get(name, 0.0) for name, _ in OUTSIDE]
    painted = np.zeros(atlas.probabilities.shape[:3], dtype=np.float32)
    for channel, level in enumerate(levels):
        if level != 0:
            painted += np.float32(level) * atlas.probabilities[..., channel]
    return painted / np.float32(255)


def head_guess(atlas: Atlas) -> np.ndarray:
    """The atlas painted like a T1w head, for a first affine by mutual information; (121, 145, 121) float32."""
    means = {name: FIRST_GUESS[tissue] for name, tissue, _ in GROUPS}
    return expected_image(atlas, means, dict(zip((name for name, _ in OUTSIDE), OUTER_GUESS)))


def refine(
    image: np.ndarray,
    affine: np.ndarray,
    spatial_map: SpatialMap,
    *,
    mask: np.ndarray | None = None,
    atlas: Atlas | None = None,
    levels: str = LEVELS,
    plain: bool = False,
    seed: int = 1,
) -> SpatialMap:
    """Warp a scan anew, to the image that the atlas expects of it.

    Parameters
    ----------
    image : ndarray, (X, Y, Z) float32
        Bias-corrected scan of any contrast: the whole head, or a stripped brain with its `mask`.
    affine : ndarray, (4, 4)
        Voxel index to mm.
    spatial_map : SpatialMap
        The map so far. Its affine stays; the new warp follows the old one (in thick slices, half of the way).
    mask : ndarray, (X, Y, Z) bool, optional
        Only for a stripped brain: outside is nothing.
    atlas : Atlas, optional
        The packaged one by default.
    levels : str
        Steps at 6, 3 and 1.5 mm.
    plain : bool
        Paint grey structures like cortex and white ones like cerebral white matter (`LIKE_WHITE` and `BETWEEN` excepted): for a map that is
        still so far off that ventricles are read as caudate.
    seed : int
        Of greedy.

    Returns
    -------
    SpatialMap

    Raises
    ------
    UnusableInput
        If greedy stops, or the image is dark where the atlas sees white matter.
    """
    atlas = load_atlas() if atlas is None else atlas
    seen = to_template(image if mask is None else image * mask, affine, spatial_map, WARP_GRID)
    inside = atlas.inside()
    settings = Settings(iterations=15)
    region = inside > settings.reach
    if mask is not None:
        region &= to_template(mask.astype(np.float32), affine, spatial_map, WARP_GRID) > 0.5
    prior = mixture.normalised(atlas.probabilities[region].astype(np.float32))
    means = group_means(seen, region, prior, atlas, stripped=mask is not None, settings=settings)
    if plain:
        means = _plain(means)
    target = expected_image(atlas, means, _outer_levels(atlas, seen, mask is not None))
    top = np.percentile(target[inside > 0.5], 99.9)
    compared = inside > settings.reach if mask is not None else atlas.probabilities[..., -1] < KNOWN_BACKGROUND
    further = find_warp(
        target / top, np.clip(seen / top, 0, BRIGHTEST), WARP_GRID.affine, np.eye(4), levels=levels, region=compared, seed=seed
    )
    displacement = further + field_at(spatial_map.displacement, grid_points() + further)
    if voxel_sizes(affine).max() > THICK_MM and not plain:
        displacement = (displacement + spatial_map.displacement) / 2
    return SpatialMap(spatial_map.affine, displacement)


def _plain(means: Mapping[str, float]) -> dict[str, float]:
    levels = {name: means[PLAIN[tissue]] for name, tissue, _ in GROUPS}
    levels |= dict.fromkeys(LIKE_WHITE, means[PLAIN["WM"]])
    return {**levels, **dict.fromkeys(BETWEEN, (means[PLAIN["GM"]] + means[PLAIN["WM"]]) / 2)}


def _outer_levels(atlas: Atlas, seen: np.ndarray, stripped: bool) -> dict[int | str, float]:
    """Intensity of each class around the brain; of a stripped brain that of outer fluid, which may have been cut off with the skull."""
    channels: dict[int | str, int] = {name: len(atlas.regions) + i for i, (name, _) in enumerate(OUTSIDE)}
    if stripped:
        channels = {OUTER_FLUID: next(i for i, region in enumerate(atlas.regions) if region.index == OUTER_FLUID)}
    return {key: _level(seen, atlas.probabilities[..., channel]) for key, channel in channels.items()}


def _level(seen: np.ndarray, weight: np.ndarray) -> float:
    sure = weight > 255 * SURE
    return float(np.median(seen[sure])) if sure.sum() > 500 else float(np.average(seen, weights=weight))
