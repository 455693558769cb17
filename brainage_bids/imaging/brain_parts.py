"""Cortex, subcortex and cerebellum of the template as masks that share no voxel, by BrainageAseg (METHODS, H4)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from brainage_bids.imaging.atlas import Atlas, load_atlas
from brainage_bids.imaging.grids import GRIDS, Grid
from brainage_bids.imaging.warps import field_at

PARTS: Mapping[str, tuple[int, ...]] = {
    "cortex": (3, 42),
    "subcortex": (10, 11, 12, 13, 16, 17, 18, 26, 28, 49, 50, 51, 52, 53, 54, 58, 60),
    "cerebellum": (7, 8, 46, 47),
}
"""Codes of each part: the cortical ribbon; deep grey matter, hippocampus, amygdala, ventral diencephalon and brain stem; cerebellar
cortex and white matter. Cerebral white matter and fluid are in none."""
FLUID = (4, 5, 14, 15, 24, 43, 44)
"""Codes of the ventricles and the fluid around the brain."""
_PLANES_AT_ONCE = 91


def labels_on(grid: Grid, atlas: Atlas | None = None) -> np.ndarray:
    """The most probable structure of each voxel of a grid of the template, 0 where none is; int16.

    Parameters
    ----------
    grid : Grid
    atlas : Atlas, optional
        The packaged one by default.
    """
    atlas = load_atlas() if atlas is None else atlas
    codes = np.array(
        [region.index for region in atlas.regions] + [0] * (atlas.probabilities.shape[-1] - len(atlas.regions)), dtype=np.int16
    )
    probabilities = atlas.probabilities
    axes = [np.asarray(origin + grid.voxel_mm * np.arange(n), dtype=np.float32) for origin, n in zip(grid.origin_mm, grid.shape)]
    out = np.empty(grid.shape, dtype=np.int16)
    for start in range(0, grid.shape[2], _PLANES_AT_ONCE):
        planes = slice(start, start + _PLANES_AT_ONCE)
        points = np.stack(np.meshgrid(axes[0], axes[1], axes[2][planes], indexing="ij"), axis=-1)
        out[..., planes] = codes[field_at(probabilities, points).argmax(axis=-1)]
    return out


def brain_parts(grid: Grid = GRIDS["2"], atlas: Atlas | None = None) -> dict[str, np.ndarray]:
    """Masks of `PARTS` on a grid of the template.

    Parameters
    ----------
    grid, atlas
        As for `labels_on`.

    Returns
    -------
    dict of str to ndarray, grid.shape, bool
        No voxel is in two of them, because each has one most probable structure.
    """
    labels = labels_on(grid, atlas)
    return {name: np.isin(labels, codes) for name, codes in PARTS.items()}


def union_share(parts: Mapping[str, np.ndarray], brain: np.ndarray) -> float:
    """Share of a brain's voxels that lie in one of the parts.

    >>> union_share({"a": np.array([1, 0, 0], bool), "b": np.array([0, 1, 0], bool)}, np.ones(3, bool))
    0.6666666666666666
    """
    union = np.logical_or.reduce(list(parts.values()))
    return float(np.count_nonzero(union & brain) / np.count_nonzero(brain))


def parts_words() -> str:
    """What the parts are together, in a sentence.

    >>> parts_words()
    "Cortex, subcortex and cerebellum share no voxel; together they are 61 % of the template's brain without its fluid."
    """
    grid = GRIDS["2"]
    labels = labels_on(grid)
    tissue = (labels > 0) & ~np.isin(labels, FLUID)
    share = union_share({name: np.isin(labels, codes) for name, codes in PARTS.items()}, tissue)
    *others, last = PARTS
    names = f"{', '.join(others)} and {last}".capitalize()
    return f"{names} share no voxel; together they are {100 * share:.0f} % of the template's brain without its fluid."
