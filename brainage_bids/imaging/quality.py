"""Quality figures of a T1w and of its processing, each a pure function of arrays.

Where a figure exists in MRIQC (Esteban et al., PLoS ONE 12:e0184661, 2017) its definition is used, so that values can be
compared; what differs is said. `quality_limits` judges the values.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from brainage_bids.imaging.crop import bounding_box
from brainage_bids.imaging.grids import voxel_sizes

_PLANES_AT_ONCE = 16
_LEAST_CORE_VOXELS = 1000
_DISTANCE_VOXEL_MM = 3.0
_AIR_DISTANCE_MM = 25.0
_LEAST_AIR_SHARE = 0.01


def snr(image: np.ndarray, mask: np.ndarray) -> float:
    """Signal-to-noise ratio inside one tissue: m / (s √(n/(n−1))), with the median m and standard deviation s.

    MRIQC's definition. The tissue is its own noise reference, so the value exists for a brain without its surroundings;
    anatomy and bias count as noise, so use white matter of the bias-corrected image.

    Parameters
    ----------
    image : ndarray, (X, Y, Z)
    mask : ndarray, (X, Y, Z), bool
        The tissue, best its `core`.

    Returns
    -------
    float
        NaN for fewer than two voxels, infinite without any variation.

    Examples
    --------
    >>> round(snr(np.array([9.0, 10.0, 11.0]), np.ones(3, bool)), 3)
    10.0
    """
    values = image[mask]
    if values.size < 2:
        return float("nan")
    return _ratio(float(np.median(values)), float(values.std(dtype=np.float64, ddof=1)))


def cnr(image: np.ndarray, gm: np.ndarray, wm: np.ndarray, air: np.ndarray | None = None) -> float:
    """Contrast-to-noise ratio |μ_WM − μ_GM| / √(σ_air² + σ_WM² + σ_GM²), with medians as μ.

    MRIQC's definition, after Magnotta and Friedman (J Digit Imaging 19:140, 2006). Without air around the head (the brain
    was already extracted) its variance is left out, which raises the value very little.

    Parameters
    ----------
    image : ndarray, (X, Y, Z)
    gm, wm, air : ndarray, (X, Y, Z), bool

    Examples
    --------
    >>> values = np.array([4.0, 6.0, 9.0, 11.0])
    >>> round(cnr(values, values < 8, values > 8), 3)
    3.536
    """
    variance = image[gm].var(dtype=np.float64) + image[wm].var(dtype=np.float64) if gm.any() and wm.any() else np.nan
    if air is not None and air.any():
        variance += image[air].var(dtype=np.float64)
    return _ratio(_contrast(image, gm, wm), float(np.sqrt(variance)))


def cjv(image: np.ndarray, gm: np.ndarray, wm: np.ndarray) -> float:
    """Coefficient of joint variation (σ_WM + σ_GM) / |μ_WM − μ_GM|; low is good.

    Ganzetti et al., Front Neuroinform 10:10, 2016. μ are medians and σ 1.4826 times the median absolute deviation, as in
    MRIQC, so that a few stray voxels do not count.

    Parameters
    ----------
    image : ndarray, (X, Y, Z)
    gm, wm : ndarray, (X, Y, Z), bool

    Examples
    --------
    >>> values = np.array([4.0, 5.0, 6.0, 9.0, 10.0, 11.0])
    >>> round(cjv(values, values < 8, values > 8), 3)
    0.593
    """
    if not gm.any() or not wm.any():
        return float("nan")
    return _ratio(_robust_deviation(image[gm]) + _robust_deviation(image[wm]), _contrast(image, gm, wm))


def efc(image: np.ndarray) -> float:
    """Entropy focus criterion: the entropy of intensities as a share of the greatest possible; low is good.

    E = −Σ (|x|/b) ln(|x|/b) with b = √Σx², divided by √N ln √N, its value for N equal voxels (Atkinson et al., IEEE TMI
    16:903, 1997, normalised as in MRIQC). Ghosting and blurring move energy into the air and raise it. The air must be
    there: n/a for an extracted brain.

    Parameters
    ----------
    image : ndarray, (X, Y, Z)
        The whole field of view, as acquired.

    Returns
    -------
    float
        0 (all energy in one voxel) to 1 (the same everywhere); NaN for an image of zeros.

    Examples
    --------
    >>> round(efc(np.full((2, 2, 2), 7.0)), 6)
    1.0
    """
    top = float(np.abs(image).max()) if image.size else 0.0
    if top == 0 or image.size < 2:
        return float("nan")
    squares = total = x_log_x = 0.0
    for start in range(0, image.shape[0], _PLANES_AT_ONCE):
        values = np.abs(image[start : start + _PLANES_AT_ONCE]).astype(np.float32) / np.float32(top)
        squares += float(np.square(values).sum(dtype=np.float64))
        total += float(values.sum(dtype=np.float64))
        values *= np.log(np.maximum(values, np.float32(1e-30)))  # 0 stays 0
        x_log_x += float(values.sum(dtype=np.float64))
    energy = np.sqrt(squares)
    entropy = (np.log(energy) * total - x_log_x) / energy
    return float(entropy / (np.sqrt(image.size) * np.log(np.sqrt(image.size))))


def fber(image: np.ndarray, brain: np.ndarray, air: np.ndarray) -> float:
    """Foreground-background energy ratio: mean x² inside the brain over mean x² in the air; high is good.

    Shehzad et al., Front Neurosci Conf. Abstr. 2015 (QAP), who take the whole head for the brain and everything else for
    the air. n/a for an extracted brain.

    Parameters
    ----------
    image : ndarray, (X, Y, Z)
        As acquired.
    brain, air : ndarray, (X, Y, Z), bool
        `air` from `air_mask`.

    Returns
    -------
    float
        NaN where there is no air or 99 % of it were set to zero.

    Examples
    --------
    >>> fber(np.array([3.0, 3.0, 1.0, 1.0]), np.array([1, 1, 0, 0], bool), np.array([0, 0, 1, 1], bool))
    9.0
    """
    inside, outside = image[brain], image[air]
    if inside.size == 0 or np.count_nonzero(outside) <= _LEAST_AIR_SHARE * outside.size:
        return float("nan")
    return _ratio(float(np.square(inside, dtype=np.float64).mean()), float(np.square(outside, dtype=np.float64).mean()))


def bias_range(field: np.ndarray, mask: np.ndarray) -> float:
    """Strength of the intensity bias: 95th over 5th percentile of the multiplicative field in the brain; 1 is none.

    Parameters
    ----------
    field : ndarray, (X, Y, Z)
        The factor by which the corrected image was multiplied, above 0.
    mask : ndarray, (X, Y, Z), bool

    Examples
    --------
    >>> round(bias_range(np.linspace(0.5, 1.5, 101), np.ones(101, bool)), 3)
    2.636
    """
    if not mask.any():
        return float("nan")
    low, high = np.percentile(field[mask], [5, 95])
    return _ratio(float(high), float(low)) if low > 0 else float("nan")


def mask_volume_ml(mask: np.ndarray, voxel_mm3: float) -> float:
    """Volume of a mask in mL.

    >>> mask_volume_ml(np.ones((10, 10, 10), bool), 1.5)
    1.5
    """
    return float(np.count_nonzero(mask)) * voxel_mm3 / 1000


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Dice coefficient 2 Σ min(a, b) / (Σa + Σb) of two masks or two probability maps on one grid, 0 to 1.

    Dice, Ecology 26:297, 1945; for probabilities the minimum takes the place of the intersection. With the warped brain
    mask or grey matter and that of the template it is ``registration_overlap``.

    >>> round(overlap(np.array([1, 1, 0]), np.array([1, 0, 0])), 4)
    0.6667
    """
    if first.shape != second.shape:
        raise ValueError(f"maps of shapes {first.shape} and {second.shape} cannot be compared")
    first, second = (np.asarray(a, dtype=np.float32) for a in (first, second))
    total = first.sum(dtype=np.float64) + second.sum(dtype=np.float64)
    return _ratio(2.0 * float(np.minimum(first, second).sum(dtype=np.float64)), float(total))


def registration_overlap(gm: np.ndarray, wm: np.ndarray, template_gm: np.ndarray, template_wm: np.ndarray) -> float:
    """Mean of the `overlap` of grey and of white matter with the template's, all four probability maps on one grid.

    Tissue says more than the brain mask: a template shifted against itself by 10 mm keeps a Dice of .86 for the brain, but
    .64 and .62 for its tissues.

    >>> gm, wm = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    >>> registration_overlap(gm, wm, gm, np.array([0.0, 0.5])), registration_overlap(gm, wm, wm, gm)
    (0.8333333333333333, 0.0)
    """
    return 0.5 * (overlap(gm, template_gm) + overlap(wm, template_wm))


def jacobian_nonpositive_share(jacobian: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Share of voxels (of a mask, if given) where the warp folds: a Jacobian determinant of 0 or less, or none at all.

    >>> jacobian_nonpositive_share(np.array([1.0, 0.5, -0.1, 1.2]))
    0.25
    """
    values = jacobian if mask is None else jacobian[mask]
    return float(np.count_nonzero(~(values > 0)) / values.size) if values.size else float("nan")


def coverage(mask: np.ndarray, affine: np.ndarray, image: np.ndarray | None = None) -> float:
    """Share of the brain's surface that lies inside the field of view: 1 for a whole brain, less where it is cut off.

    The faces of the mask's voxels are counted by area. A face on the outermost plane of the field of view has nothing
    behind it to say that the brain ends there.

    Parameters
    ----------
    mask : ndarray, (X, Y, Z), bool
        The brain.
    affine : ndarray, (4, 4)
        Voxel index to mm.
    image : ndarray, (X, Y, Z), optional
        The scan: planes at its borders without any signal (padding) then do not count as field of view. Leave out for an
        extracted brain, whose signal always ends with the brain.

    Returns
    -------
    float
        NaN for an empty mask.

    Examples
    --------
    >>> mask = np.zeros((4, 4, 4), bool)
    >>> mask[:2, 1:3, 1:3] = True  # a cube, one of its six faces on the border
    >>> round(coverage(mask, np.eye(4)), 4)
    0.8333
    """
    if image is not None and image.any():
        box = _signal_box(image)
        mask = mask[box]
    if not mask.any():
        return float("nan")
    mask = np.asarray(mask, dtype=bool)
    sizes = voxel_sizes(affine)
    surface = cut = 0.0
    for axis in range(3):
        area = float(np.prod(np.delete(sizes, axis)))
        ends = sum(int(np.count_nonzero(np.take(mask, side, axis=axis))) for side in (0, -1))
        front, back = (np.moveaxis(mask, axis, 0)[part] for part in (slice(1, None), slice(None, -1)))
        cut += ends * area
        surface += (int(np.count_nonzero(front != back)) + ends) * area
    return 1.0 - cut / surface


def voxel_max_mm(affine: np.ndarray) -> float:
    """The longest edge of a voxel in mm, rounded to a micrometre.

    >>> voxel_max_mm(np.diag([0.9, 0.9, 3.0000001, 1.0]))
    3.0
    """
    return round(float(voxel_sizes(affine).max()), 3)


def gm_ratio(gm_volume: float, wm_volume: float) -> float:
    """Grey matter as a share of grey and white matter.

    >>> gm_ratio(600.0, 400.0)
    0.6
    """
    return _ratio(gm_volume, gm_volume + wm_volume)


def core(mask: np.ndarray) -> np.ndarray:
    """A tissue without its outermost voxels, which hold a neighbour's signal too; unchanged if under 1000 would remain.

    >>> int(core(np.ones((12, 12, 12), bool)).sum())
    1000
    """
    inner = ndimage.binary_erosion(mask)
    return inner if np.count_nonzero(inner) >= _LEAST_CORE_VOXELS else np.asarray(mask, dtype=bool)


def air_mask(brain: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Air around the upper head: farther than 25 mm from the brain and above its middle.

    Skull and scalp are thinner than that over the vault, and face and neck lie below. A mask by geometry, not by
    brightness, keeps ghosts of the head in the air, where they belong (a threshold counts bright ones as head). Distances
    are measured on voxels of about 3 mm.

    Parameters
    ----------
    brain : ndarray, (X, Y, Z), bool
    affine : ndarray, (4, 4)
        Voxel index to mm, RAS.

    Returns
    -------
    ndarray, (X, Y, Z), bool
        Empty if the field of view ends nearer to the brain.

    Examples
    --------
    >>> brain = np.zeros((40, 40, 40), bool)
    >>> brain[15:25, 15:25, 15:25] = True
    >>> air = air_mask(brain, np.diag([4.0, 4.0, 4.0, 1.0]))
    >>> bool(air[20, 20, 30]), bool(air[20, 20, 32]), bool(air[20, 20, 5])
    (False, True, False)
    """
    sizes = voxel_sizes(affine)
    steps = [max(1, int(_DISTANCE_VOXEL_MM / size)) for size in sizes]
    near = brain[:: steps[0], :: steps[1], :: steps[2]]
    if not near.any():
        return np.zeros(brain.shape, dtype=bool)
    far = ndimage.distance_transform_edt(~near, sampling=sizes * steps) > _AIR_DISTANCE_MM
    for axis, step in enumerate(steps):
        far = np.repeat(far, step, axis=axis)
    far = far[: brain.shape[0], : brain.shape[1], : brain.shape[2]]
    middle = [float(index.mean()) * step for index, step in zip(np.nonzero(near), steps)]
    grid = np.ogrid[tuple(slice(0, size) for size in brain.shape)]
    height = sum(affine[2, axis] * (grid[axis] - middle[axis]) for axis in range(3))
    return far & (height > 0)


def _ratio(numerator: float, denominator: float) -> float:
    """A quotient: NaN for 0/0 and for anything not a number, infinite for x/0."""
    if np.isnan(numerator) or np.isnan(denominator):
        return float("nan")
    if denominator == 0:
        return float("nan") if numerator == 0 else float("inf")
    return numerator / denominator


def _contrast(image: np.ndarray, gm: np.ndarray, wm: np.ndarray) -> float:
    if not gm.any() or not wm.any():
        return float("nan")
    return float(abs(float(np.median(image[wm])) - float(np.median(image[gm]))))


def _robust_deviation(values: np.ndarray) -> float:
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def _signal_box(image: np.ndarray) -> tuple[slice, ...]:
    return bounding_box(image != 0)
