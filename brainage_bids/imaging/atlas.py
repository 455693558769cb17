"""BrainageAseg: the probability of every aseg structure, and of what lies around the brain, at each place of the template."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import resources
from pathlib import Path

import numpy as np
from scipy import ndimage

from brainage_bids.imaging.volumes import Region, read_regions
from brainage_bids.imaging.warps import WARP_GRID, Reader, SpatialMap

NAME = "BrainageAseg"

OUTSIDE: tuple[tuple[str, tuple[int, ...]], ...] = (
    ("soft tissue", (507,)),
    ("scalp", (511,)),
    ("skull", (515,)),
    ("marrow", (516,)),
    ("other tissue", (502, 506, 508, 509, 512, 514, 530)),
    ("background", (0,)),
)
"""Classes of what is neither brain nor fluid, and the codes of the source maps in each. They are the last channels."""

MERGED = {25: 2, 57: 41, 30: 2, 62: 41, 85: 28, 72: 14, 136: 3, 137: 3, 163: 42, 164: 42}
"""Codes of the source maps that are too small or too rare for a class of their own, and the class that takes them in:
lesions and vessels into white matter, the chiasm into the ventral diencephalon, the fifth ventricle into the third, basal
forebrain and claustrum-like grey into cortex."""

WIDE_FWHM_MM = 12.0
"""Smoothing of the atlas's tails."""

KEPT_AROUND_MM = 20.0
"""Further from the brain than this the atlas says only "background": nothing reads it there, and the file stays small."""

DEEP = 0.15
"""A structure whose bounding box is a smaller share of the grid than this lies deep; those are read in their common box only."""


@dataclass(frozen=True)
class Atlas:
    """Probabilities of structures on `WARP_GRID`.

    Attributes
    ----------
    regions : tuple of Region
        The structures, in the order of the first channels; the classes of `OUTSIDE` follow.
    probabilities : ndarray, (121, 145, 121, K + 6) uint8
        255 × P(class); sums to about 255 over the last axis.
    """

    regions: tuple[Region, ...]
    probabilities: np.ndarray

    def __post_init__(self):
        """Check that the channels fit the regions."""
        wanted = (*WARP_GRID.shape, len(self.regions) + len(OUTSIDE))
        if self.probabilities.shape != wanted:
            raise ValueError(f"an atlas of {len(self.regions)} regions has the shape {wanted}, not {self.probabilities.shape}")

    @cached_property
    def read(self) -> Callable[[np.ndarray], np.ndarray]:
        """255 × P(class) (N, K + 6) float32 at template points (N, 3) mm, as a function of the points.

        Structures deep in the brain are read only where one of them can be.
        """
        boxes = [_box(self.probabilities[..., channel] > 0) for channel in range(self.probabilities.shape[-1])]
        shares = [np.prod(high - low) / np.prod(WARP_GRID.shape) for low, high in boxes]
        deep = [channel for channel, share in enumerate(shares) if share < DEEP]
        wide = [channel for channel, share in enumerate(shares) if share >= DEEP]
        low, high = _box(self.probabilities.T[deep].any(axis=0).T)  # of those that are there at all
        block = self.probabilities[tuple(slice(a, b) for a, b in zip(low, high))]
        read_wide, read_deep = Reader(self.probabilities.T[wide].T), Reader(block.T[deep].T, tuple(low))
        step, origin = np.float32(WARP_GRID.voxel_mm), np.asarray(WARP_GRID.origin_mm, dtype=np.float32)
        least = np.where(low == 0, -np.inf, origin + step * low)  # beyond the grid its edge is read
        most = np.where(high == WARP_GRID.shape, np.inf, origin + step * (high - 1))

        def read(points: np.ndarray) -> np.ndarray:
            values = np.zeros((len(points), len(wide) + len(deep)), dtype=np.float32)
            values[:, wide] = read_wide(points)
            near = np.flatnonzero(((points > least) & (points < most)).all(axis=1))
            values[near[:, None], deep] = read_deep(points[near])
            return values

        return read

    def averaged(self, edge_mm: float) -> Atlas:
        """The atlas as cubes of an edge in mm see it: the mean of two places along each axis, a quarter of the edge off the centre.

        For voxels that are read in one place each, in a template as large as the head.
        """
        share = edge_mm / 4 / WARP_GRID.voxel_mm
        weights = np.array([share / 2, 1 - share, share / 2], dtype=np.float32)
        out = np.zeros_like(self.probabilities)
        for channel in range(out.shape[-1]):
            box = tuple(slice(low, high) for low, high in zip(*_box(self.probabilities[..., channel] > 0)))
            values = self.probabilities[(*box, channel)].astype(np.float32)
            for axis in range(3):
                values = ndimage.convolve1d(values, weights, axis=axis, mode="nearest")
            out[(*box, channel)] = np.rint(values)
        return Atlas(self.regions, out)

    def at(self, spatial_map: SpatialMap, points: np.ndarray) -> np.ndarray:
        """Probabilities (N, K + 6) float32, summing to 1, at points (N, 3) mm of a person."""
        values = self.read(spatial_map.to_template(points))
        return values / np.maximum(values.sum(axis=1, keepdims=True), 1e-6)

    def inside(self) -> np.ndarray:
        """P(brain or its fluid) on `WARP_GRID`, (121, 145, 121) float32, not to be written to."""
        return self._inside

    def inside_at(self, points: np.ndarray) -> np.ndarray:
        """P(brain or its fluid) (N,) float32 at template points (N, 3) mm."""
        return self._read_inside(points)[:, 0]

    @cached_property
    def _inside(self) -> np.ndarray:
        return self.probabilities[..., : len(self.regions)].sum(axis=-1, dtype=np.float32) / np.float32(255)

    @cached_property
    def _read_inside(self) -> Reader:
        return Reader(self._inside[..., None])

    def tissue(self, name: str) -> np.ndarray:
        """P(GM), P(WM) or P(CSF) on `WARP_GRID`, (121, 145, 121) float32."""
        channels = [channel for channel, region in enumerate(self.regions) if region.tissue == name]
        return self.probabilities[..., channels].sum(axis=-1, dtype=np.float32) / np.float32(255)


def _box(where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last + 1 voxel of a bounding box with a margin of one voxel, (3,) each; of nothing, an empty one."""
    if not where.any():
        return np.zeros(3, dtype=int), np.full(3, 2)
    seen_along_z = where.any(axis=2)
    spans = [np.flatnonzero(line) for line in (seen_along_z.any(axis=1), seen_along_z.any(axis=0), where.any(axis=(0, 1)))]
    low = np.array([max(span[0] - 1, 0) for span in spans])
    return low, np.array([min(span[-1] + 2, n) for span, n in zip(spans, where.shape, strict=True)])


def load_atlas(path: str | Path | None = None) -> Atlas:
    """Read an atlas written by `save_atlas`; the packaged BrainageAseg by default, which is read once and not to be written to."""
    return _packaged() if path is None else _read(path)


@lru_cache(maxsize=1)
def _packaged() -> Atlas:
    with resources.as_file(resources.files("brainage_bids") / "data" / "atlas" / f"{NAME}_probseg.nii.gz") as path:
        atlas = _read(path)
    atlas.probabilities.flags.writeable = False
    return atlas


def _read(path: str | Path) -> Atlas:
    import nibabel as nib

    return Atlas(read_regions(), np.asarray(nib.load(path).dataobj))


def save_atlas(atlas: Atlas, path: str | Path) -> None:
    """Write an atlas as a 4-D uint8 NIfTI, one volume a class."""
    import nibabel as nib

    image = nib.Nifti1Image(atlas.probabilities, WARP_GRID.affine)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)


def from_samples(samples: Iterable[np.ndarray], regions: Sequence[Region], fwhm_mm: float = 2.0, wide_share: float = 0.1) -> Atlas:
    """Average label maps of several people, each with its mirror image, into an atlas.

    The template is symmetric, so a person reflected at the midplane, left and right codes exchanged, is a second person.

    Parameters
    ----------
    samples : iterable of ndarray, (S, 121, 145, 121) integer
        For each person the codes at S places inside every voxel of `WARP_GRID`.
    regions : sequence of Region
        The structures.
    fwhm_mm : float
        Gaussian smoothing of the mean: what a few people cannot show of where a structure may lie.
    wide_share : float
        Share of the mean that is smoothed by `WIDE_FWHM_MM` instead: folds and widened fluid that none of them has.

    Returns
    -------
    Atlas

    Raises
    ------
    ValueError
        If a code belongs to no region and to no class of `OUTSIDE`.
    """
    from brainage_bids.imaging.smooth import smooth

    channels = len(regions) + len(OUTSIDE)
    total = np.zeros((channels, *WARP_GRID.shape), dtype=np.float32)
    for person in samples:
        _count(_channel_of_code(regions, person)[person], total)
    mirrored = total[_mirror(regions), ::-1]
    for channel in range(channels):
        both = total[channel] + mirrored[channel]
        narrow, wide = (smooth(both, width, (WARP_GRID.voxel_mm,) * 3) for width in (fwhm_mm, WIDE_FWHM_MM))
        mirrored[channel] = (1 - wide_share) * narrow + wide_share * wide
    mirrored /= np.maximum(mirrored.sum(axis=0), 1e-6)
    brain = mirrored[: len(regions)].sum(axis=0) > 1 / 255
    far = ndimage.distance_transform_edt(~brain, sampling=WARP_GRID.voxel_mm) > KEPT_AROUND_MM
    mirrored[:, far] = 0
    mirrored[-1, far] = 1
    return Atlas(tuple(regions), np.ascontiguousarray(np.moveaxis(np.rint(mirrored * 255).astype(np.uint8), 0, -1)))


def _count(channels: np.ndarray, total: np.ndarray) -> None:
    """Add to `total` (C, X, Y, Z) how many of the S places of every voxel belong to each channel."""
    present = np.flatnonzero(np.bincount(channels.ravel(), minlength=len(total)))
    for channel in present:
        total[channel] += np.count_nonzero(channels == channel, axis=0).astype(np.float32)


def _channel_of_code(regions: Sequence[Region], codes: np.ndarray) -> np.ndarray:
    """Look-up table from a code of the source maps to the atlas's channel."""
    table = {region.index: channel for channel, region in enumerate(regions)}
    table.update({old: table[new] for old, new in MERGED.items() if new in table})
    for channel, (_, outer) in enumerate(OUTSIDE, start=len(regions)):
        table.update(dict.fromkeys(outer, channel))
    present = np.flatnonzero(np.bincount(codes.ravel()))
    unknown = [int(code) for code in present if int(code) not in table]
    if unknown:
        raise ValueError(f"the label map holds codes that belong to no class of the atlas: {unknown}")
    lookup = np.zeros(int(present.max()) + 1, dtype=np.uint8)
    for code in present:
        lookup[code] = table[int(code)]
    return lookup


def _mirror(regions: Sequence[Region]) -> list[int]:
    """For every channel the channel of the same structure of the other hemisphere."""
    by_name = {region.name: channel for channel, region in enumerate(regions)}
    swap = {"L": ("Left-", "Right-"), "R": ("Right-", "Left-")}
    partners = [by_name[r.name.replace(*swap[r.hemisphere])] if r.hemisphere in swap else i for i, r in enumerate(regions)]
    return [*partners, *range(len(regions), len(regions) + len(OUTSIDE))]
