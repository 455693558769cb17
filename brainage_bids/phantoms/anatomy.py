"""A person's anatomy in the template's space: labels at 0.75 mm, drawn from BrainageAseg or taken from a label map of a whole head.

Inside the brain's outline cerebral (and cerebellar) fluid, grey and white matter are the layers of one function, the logarithm of white
over outer fluid in the atlas plus a band-limited random field of the person, cut at two levels: grey always lies between the other
two, gyri and sulci differ between people, and the levels give each layer the share that the person's volumes at 20 years ask for.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy import ndimage

from brainage_bids.imaging.atlas import MERGED, OUTSIDE, load_atlas
from brainage_bids.imaging.warps import WARP_GRID, grid_points
from brainage_bids.records import UnusableInput

FINE_MM = WARP_GRID.voxel_mm / 2
FINE_SHAPE = tuple(2 * n - 1 for n in WARP_GRID.shape)
FRONTAL, TEMPORAL = {3: 103, 42: 142}, {3: 104, 42: 143}
"""Own codes of frontal and temporal cortex, left and right, by those of the cortex; 3 and 42 are then the other lobes."""
OUTER = {name: 200 + number for number, (name, _) in enumerate(OUTSIDE)}
"""Own codes of what lies around the brain; the last is air."""
LAYERED = (2, 3, 7, 8, 24, 41, 42, 46, 47)
FOLDS_MM, FOLDS_BAND_MM, FOLDS_STRENGTH = 2.9, 6.0, 0.7
_FLOOR = 0.03
_LAYERED_MARK = 255
_REGIONS = ((3, 2), (103, 2), (104, 2), (42, 41), (142, 41), (143, 41), (8, 7), (47, 46))
"""Grey and white code of every region of layers: cerebrum left (other, frontal, temporal), right, cerebellum left, right."""


def aseg_codes() -> np.ndarray:
    """Look-up table (256,) uint8 from own codes to aseg codes; what lies around the brain becomes 0.

    >>> aseg_codes()[[2, 103, 143, 201]].tolist()
    [2, 3, 42, 0]
    """
    table = np.arange(256, dtype=np.uint8)
    for own in (FRONTAL, TEMPORAL):
        for code, instead in own.items():
            table[instead] = code
    table[200:] = 0
    return table


def doubled(volume: np.ndarray) -> np.ndarray:
    """Twice as many points along every axis (2n − 1), linear between; integers come back times 8.

    >>> doubled(np.array([[[0.0]], [[1.0]]])).ravel().tolist()
    [0.0, 0.5, 1.0]
    """
    whole = np.issubdtype(volume.dtype, np.integer)
    for axis in range(3):
        volume = np.moveaxis(volume, axis, 0)
        out = np.empty((2 * len(volume) - 1, *volume.shape[1:]), dtype=np.int16 if whole else volume.dtype)
        out[::2] = volume
        if whole:
            out[::2] *= 2
        out[1::2] = volume[:-1].astype(out.dtype) + volume[1:]
        if not whole:
            out[1::2] /= 2
        volume = np.moveaxis(out, 0, axis)
    return np.ascontiguousarray(volume)


def banded_noise(shape: tuple[int, ...], low_mm: float, high_mm: float, voxel_mm: float, rng: np.random.Generator) -> np.ndarray:
    """Noise between two widths (difference of Gaussians), standard deviation 1, float32."""
    noise = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), low_mm / voxel_mm, mode="wrap", truncate=3)
    noise -= ndimage.gaussian_filter(noise, high_mm / voxel_mm, mode="wrap", truncate=3)
    return noise / noise.std()


def lobe_of(points: np.ndarray) -> np.ndarray:
    """0 other, 1 frontal, 2 temporal, for template points (..., 3) mm: planes along the central sulcus and the Sylvian fissure.

    >>> lobe_of(np.array([[30, 40, 20], [50, -10, -20], [10, -80, 10]])).tolist()
    [1, 2, 0]
    """
    x, y, z = (points[..., axis] for axis in range(3))
    frontal = (y > -5 - 0.38 * (z - 5)) & (z > -28)
    temporal = (z < -10 + 0.5 * (20 - y)) & (y < 22) & (y > -62) & (z < 22) & ((np.abs(x) > 34) | ((z < -8) & (np.abs(x) > 14)))
    return np.where(temporal, 2, np.where(frontal, 1, 0)).astype(np.uint8)


def from_atlas(seed: int, shares: Mapping[str, float]) -> np.ndarray:
    """Labels of a person drawn from BrainageAseg.

    Parameters
    ----------
    seed : int
        Of the person.
    shares : mapping
        Volume inside the skull of ``cortical_grey``, ``white``, ``cerebellar_grey``, ``cerebellar_white`` over that of all of it.

    Returns
    -------
    ndarray, `FINE_SHAPE` uint8
        aseg codes, own codes of the lobes and of `OUTER`.
    """
    fields = _fields()
    rng = np.random.default_rng([seed, 11])
    folds = banded_noise(WARP_GRID.shape, FOLDS_MM, FOLDS_BAND_MM, WARP_GRID.voxel_mm, rng)
    layer = fields["layer"] + FOLDS_STRENGTH * fields["where"] * folds
    cerebellar = fields["region"] >= 6
    labels = fields["outline"].copy()
    regions = np.repeat(np.repeat(np.repeat(fields["region"], 2, 0), 2, 1), 2, 2)[: FINE_SHAPE[0], : FINE_SHAPE[1], : FINE_SHAPE[2]]
    free = labels == _LAYERED_MARK
    fine, where = doubled(layer)[free], regions[free]
    inside = fields["zone"]
    depth = np.zeros(len(fine), dtype=np.uint8)
    cerebrum = (~cerebellar, where < 6, ("cortical_grey", "white"))
    for part, chosen, names in (cerebrum, (cerebellar, where >= 6, ("cerebellar_grey", "cerebellar_white"))):
        grey, white = (shares[name] * fields["cranium"] for name in names)
        low, high = _levels(layer[inside & part], grey, white)
        depth[chosen] = (fine[chosen] > low).astype(np.uint8) + (fine[chosen] > high)
    table = np.array([[24] * 8, [grey for grey, _ in _REGIONS], [white for _, white in _REGIONS]], dtype=np.uint8)
    labels[free] = table[depth, where]
    return labels


def _levels(values: np.ndarray, grey: float, white: float) -> tuple[float, float]:
    """Levels above which `white` + `grey` and `white` voxels lie, at most 97 % of all."""
    count = len(values)
    top = min(white + grey, 0.97 * count)
    cuts = [int(count - top), int(count - white * top / (white + grey))]
    ordered = np.partition(values, cuts)
    return float(ordered[cuts[0]]), float(ordered[cuts[1]])


@lru_cache(maxsize=1)
def _fields() -> dict[str, np.ndarray]:
    """What of the atlas is the same for everybody: outline at 0.75 mm, and on `WARP_GRID` layers, regions and the zone of layers."""
    atlas = load_atlas()
    channel = {region.index: number for number, region in enumerate(atlas.regions)}
    values = atlas.probabilities

    def total(*codes: int) -> np.ndarray:
        return values[..., [channel[code] for code in codes]].sum(axis=-1, dtype=np.float32) / np.float32(255)

    white, grey, fluid = total(2, 41) + total(7, 46), total(3, 42) + total(8, 47), total(24)
    zone = np.rint(255 * np.maximum(np.maximum(white, grey), fluid)).clip(0, 255).astype(np.uint8)
    best, outline = doubled(zone), np.full(FINE_SHAPE, _LAYERED_MARK, dtype=np.uint8)
    coarse_best = zone.copy()
    others = [(channel[code], code) for code in channel if code not in LAYERED]
    others += [(len(channel) + number, code) for number, code in enumerate(OUTER.values())]
    for number, code in others:
        part = np.ascontiguousarray(values[..., number])
        box = ndimage.find_objects((part > 0).astype(np.uint8))[0]
        fine_box = tuple(slice(2 * s.start, 2 * s.stop - 1) for s in box)
        fine = doubled(part[box])
        wins = fine > best[fine_box]
        outline[fine_box][wins] = code
        best[fine_box][wins] = fine[wins]
        coarse_best = np.maximum(coarse_best, part)
    smooth = {code: ndimage.gaussian_filter(total(*codes), 2) for code, codes in enumerate(((2, 3), (41, 42), (7, 8), (46, 47)))}
    side = np.stack([smooth[number] for number in range(4)]).argmax(axis=0).astype(np.uint8)
    region = np.where(side < 2, 3 * side + lobe_of(grid_points()), 4 + side).astype(np.uint8)
    return {
        "outline": outline,
        "layer": np.log((white + _FLOOR) / (fluid + _FLOOR)),
        "where": np.clip(2.5 * ndimage.gaussian_filter(grey, 1.5), 0, 1) * (1 - 0.7 * fluid),
        "region": region,
        "zone": (zone >= coarse_best) & (zone > 0),
        "cranium": np.count_nonzero(outline < 200) / 8 + np.count_nonzero(outline == _LAYERED_MARK) / 8,
    }


def from_label_map(path: Path) -> np.ndarray:
    """Labels of a whole-head label map (FreeSurfer codes, upright), brought onto the template by the box around its brain.

    Returns
    -------
    ndarray, `FINE_SHAPE` uint8
        As from `from_atlas`.

    Raises
    ------
    UnusableInput
        If the map cannot be read, or holds no cerebral white matter on both sides.
    """
    import nibabel as nib

    from brainage_bids.bids.nifti import read_image

    image = nib.as_closest_canonical(read_image(path))
    codes = np.asarray(image.dataobj).astype(np.int32)
    table = _table_of_codes()
    if codes.ndim != 3 or codes.min() < 0 or codes.max() >= len(table) or not {2, 41} <= set(np.unique(codes).tolist()):
        raise UnusableInput(f"{path} is no label map of a whole head with FreeSurfer's codes; remove it from --anatomies.")
    labels = table[codes]
    brain = np.isin(labels, [code for code in range(1, 200) if code != 24])
    wanted = _brain_box_of_template()
    steps, starts = np.empty(3), np.empty(3)
    for axis in range(3):
        along = np.flatnonzero(brain.any(axis=tuple(other for other in range(3) if other != axis)))
        steps[axis] = (along[-1] - along[0]) / (wanted[1][axis] - wanted[0][axis])
        starts[axis] = along[0] - steps[axis] * wanted[0][axis]
    moved = ndimage.affine_transform(
        labels, np.diag(steps), starts, output_shape=FINE_SHAPE, order=0, mode="constant", cval=OUTER["background"]
    )
    return _with_lobes(moved)


def _with_lobes(labels: np.ndarray) -> np.ndarray:
    for code in (3, 42):
        where = np.nonzero(labels == code)
        points = np.stack(where, axis=-1) * FINE_MM + np.asarray(WARP_GRID.origin_mm)
        lobe = lobe_of(points)
        labels[where] = np.array([code, FRONTAL[code], TEMPORAL[code]], dtype=np.uint8)[lobe]
    return labels


def _brain_box_of_template() -> tuple[np.ndarray, np.ndarray]:
    """First and last voxel of the brain without its outer fluid in `FINE_SHAPE`, (3,) each, at half probability."""
    atlas = load_atlas()
    inside = atlas.tissue("GM") + atlas.tissue("WM") > 0.5
    spans = [np.flatnonzero(inside.any(axis=tuple(other for other in range(3) if other != axis))) for axis in range(3)]
    return np.array([2 * span[0] for span in spans]), np.array([2 * span[-1] for span in spans])


def _table_of_codes() -> np.ndarray:
    table = np.full(1024, OUTER["other tissue"], dtype=np.uint8)
    table[0] = OUTER["background"]
    for region in load_atlas().regions:
        table[region.index] = region.index
    for old, new in MERGED.items():
        table[old] = new
    table[77] = 2
    for name, codes in OUTSIDE:
        table[list(codes)] = OUTER[name]
    return table
