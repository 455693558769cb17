"""Whether a segmentation into structures is plausible: sides, sizes, pieces, and how it fits the image.

Each figure is a pure function of the label map (codes of BrainageAseg) and, for the fit, of the bias-corrected scan.
`quality_limits` judges them. They tell a map that went wrong from one that did not; that a structure is a little too large
is for the norm curves of a model to say.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from brainage_bids.imaging.crop import bounding_box

LEFT_CEREBRUM, RIGHT_CEREBRUM, CEREBRAL_WHITE, VENTRICLES, OUTER_FLUID = (2, 3), (41, 42), (2, 41), (4, 43), 24
FLUID = (4, 5, 14, 15, 24, 43, 44)
_SIDE_TOLERANCE_MM = 5.0
_LEAST_FLUID_VOXELS = 100
_NEIGHBOURS = np.ones((3, 3, 3), dtype=bool)
_CODES = 256


@dataclass(frozen=True)
class StructureNorm:
    """Between which bounds the size of a structure is possible.

    Attributes
    ----------
    name : str
        Plain words.
    codes : tuple of int
        Left and right, or the only one.
    low, high : float
        Percent of the brain's volume (all structures but fluid), both sides together.
    asymmetry : float or None
        Upper bound of |left − right| / mean of both.
    compact : bool
        Whether it is one piece on each side; thin and small structures are not.
    """

    name: str
    codes: tuple[int, ...]
    low: float
    high: float
    asymmetry: float | None = None
    compact: bool = False


NORMS: tuple[StructureNorm, ...] = (
    StructureNorm("cerebral white matter", (2, 41), 26, 74, 0.10, True),
    StructureNorm("cerebral cortex", (3, 42), 20, 60, 0.16, True),
    StructureNorm("lateral ventricles", (4, 43), 0.33, 11.5, 1.00, True),
    StructureNorm("inferior lateral ventricles", (5, 44), 0.005, 0.68),
    StructureNorm("cerebellar white matter", (7, 46), 1.5, 5.8, 0.64, True),
    StructureNorm("cerebellar cortex", (8, 47), 5.7, 15.4, 0.33, True),
    StructureNorm("thalamus", (10, 49), 0.81, 2.02, 0.30, True),
    StructureNorm("caudate nucleus", (11, 50), 0.33, 1.15, 0.50, True),
    StructureNorm("putamen", (12, 51), 0.46, 1.60, 0.32, True),
    StructureNorm("pallidum", (13, 52), 0.15, 0.55, 0.48),
    StructureNorm("third ventricle", (14,), 0.03, 0.42),
    StructureNorm("fourth ventricle", (15,), 0.05, 0.46),
    StructureNorm("brain stem", (16,), 1.2, 3.3),
    StructureNorm("hippocampus", (17, 53), 0.32, 1.31, 0.42, True),
    StructureNorm("amygdala", (18, 54), 0.11, 0.64, 0.53),
    StructureNorm("nucleus accumbens", (26, 58), 0.037, 0.17),
    StructureNorm("ventral diencephalon", (28, 60), 0.48, 1.26, 0.20),
)
"""Each bound is the farthest of three, moved outwards by a quarter: the 0.1st or 99.9th percentile of the FreeSurfer volumes of
518 healthy adults of 20 to 86 years (IXI), and the extremes of our own maps of 41 adults (36 of OpenNeuro ds002748, 5 of IXI)
and of the 14 label maps that made the atlas, some of them with much atrophy. The sides of the accumbens and of the inferior
horns differ by their whole size in healthy people and have no bound."""


def count_labels(labels: np.ndarray) -> np.ndarray:
    """Voxels of every code, (256,).

    >>> count_labels(np.array([[[0, 2, 2, 41]]], np.uint8))[[2, 41, 3]].tolist()
    [2, 1, 0]
    """
    return np.bincount(labels.ravel(), minlength=_CODES)


def missing_structures(counts: np.ndarray) -> tuple[int, str]:
    """How many structures have no voxel on a side where they belong, and their names.

    >>> missing_structures(np.ones(256, int))
    (0, '')
    """
    missing = [norm.name for norm in NORMS for code in norm.codes if counts[code] == 0]
    return len(missing), ", ".join(dict.fromkeys(missing))


def structures_outside_norms(counts: np.ndarray) -> tuple[int, str]:
    """How many structures have a share of the brain outside of `NORMS`, and which.

    Parameters
    ----------
    counts : ndarray, (256,)
        From `count_labels`.

    Returns
    -------
    int, str
        The number, and each such structure with its share in percent.
    """
    brain = sum(int(counts[code]) for norm in NORMS for code in norm.codes if code not in FLUID)
    shares = [(norm, 100 * sum(int(counts[code]) for code in norm.codes) / brain if brain else 0.0) for norm in NORMS]
    outside = [f"{norm.name} {share:.3g} %" for norm, share in shares if not norm.low <= share <= norm.high]
    return len(outside), ", ".join(outside)


def asymmetry(counts: np.ndarray) -> tuple[float, str]:
    """Largest |L − R| / ((L + R) / 2) of a structure over its bound in `NORMS`, and which one it is.

    Parameters
    ----------
    counts : ndarray, (256,)

    Returns
    -------
    float, str
        Above 1 a structure is more asymmetric than healthy people's; NaN if none is there.

    Examples
    --------
    >>> counts = np.full(256, 100)
    >>> counts[4] = 150
    >>> asymmetry(counts)
    (0.4, 'lateral ventricles 0.4')
    """
    found = []
    for norm in NORMS:
        if norm.asymmetry is None or not counts[list(norm.codes)].any():
            continue
        left, right = (float(counts[code]) for code in norm.codes)
        difference = 2 * abs(left - right) / (left + right)
        found.append((difference / norm.asymmetry, f"{norm.name} {difference:.2g}"))
    return max(found) if found else (float("nan"), "")


def detached_share(labels: np.ndarray) -> tuple[float, str]:
    """Largest share of a structure's voxels that lies outside of its largest piece (corners touch), and which one it is.

    Structures that are thin or small come in pieces by nature and do not count.

    Parameters
    ----------
    labels : ndarray, (X, Y, Z), uint8

    Returns
    -------
    float, str
        NaN if no structure is there.

    Examples
    --------
    >>> labels = np.zeros((9, 3, 3), np.uint8)
    >>> labels[:3], labels[5] = 10, 10
    >>> detached_share(labels)
    (0.25, 'thalamus 0.25')
    """
    boxes = ndimage.find_objects(labels, max_label=_CODES - 1)
    found = []
    for norm in NORMS:
        for code in norm.codes if norm.compact else ():
            if boxes[code - 1] is None:
                continue
            pieces, _ = ndimage.label(labels[boxes[code - 1]] == code, _NEIGHBOURS)
            sizes = np.bincount(pieces.ravel())[1:]
            share = 1 - float(sizes.max()) / float(sizes.sum())
            found.append((share, f"{norm.name} {share:.2g}"))
    return max(found) if found else (float("nan"), "")


def wrong_side_share(labels: np.ndarray, affine: np.ndarray) -> float:
    """Share of the cerebrum's voxels that lie more than 5 mm inside the other half.

    The plane between the halves stands midway between the centres of left and right, at a right angle to the line through
    them; where that line does not run from left to right, sides are exchanged as a whole.

    Parameters
    ----------
    labels : ndarray, (X, Y, Z), uint8
    affine : ndarray, (4, 4)
        Voxel index to mm, RAS.

    Returns
    -------
    float
        NaN if a half is empty.

    Examples
    --------
    >>> labels = np.full((20, 4, 4), 2, np.uint8)
    >>> labels[10:] = 41
    >>> wrong_side_share(labels, np.diag([2.0, 2, 2, 1])), wrong_side_share(labels[::-1], np.diag([2.0, 2, 2, 1]))
    (0.0, 0.7)
    """
    sides = [_places(np.isin(labels, codes), affine) for codes in (LEFT_CEREBRUM, RIGHT_CEREBRUM)]
    if not all(len(places) for places in sides):
        return float("nan")
    left, right = (places.mean(axis=0) for places in sides)
    across = (right - left) / max(float(np.linalg.norm(right - left)), 1e-6)
    across = across if across[0] > 0 else -across
    middle = float(across @ (left + right) / 2)
    wrong = np.count_nonzero(sides[0] @ across - middle > _SIDE_TOLERANCE_MM)
    wrong += np.count_nonzero(middle - sides[1] @ across > _SIDE_TOLERANCE_MM)
    return float(wrong / (len(sides[0]) + len(sides[1])))


def intensity_fit(image: np.ndarray, labels: np.ndarray) -> float:
    """Share of the variance of intensities that the structures explain: η² = 1 − Σ (x − mean of its structure)² / Σ (x − mean)².

    Over all labelled voxels but the outer fluid, which extracted brains lack. Labels that do not lie on their structures
    explain little; the contrast of the scan does not matter as long as it has one.

    Parameters
    ----------
    image : ndarray, (X, Y, Z)
        Bias-corrected.
    labels : ndarray, (X, Y, Z), uint8

    Returns
    -------
    float
        0 to 1; NaN for an image without variation.

    Examples
    --------
    >>> intensity_fit(np.array([1.0, 3.0, 8.0, 10.0]), np.array([2, 2, 3, 3], np.uint8)).__round__(3)
    0.925
    """
    inside = (labels > 0) & (labels != OUTER_FLUID)
    values, codes = image[inside].astype(np.float64), labels[inside]
    counts = np.maximum(np.bincount(codes, minlength=_CODES), 1)
    means = np.bincount(codes, weights=values, minlength=_CODES) / counts
    total = float(np.square(values - values.mean()).sum()) if values.size else 0.0
    return 1 - float(np.square(values - means[codes]).sum()) / total if total > 0 else float("nan")


def ventricle_leak(image: np.ndarray, labels: np.ndarray) -> float:
    """Share of the lateral ventricles whose intensity is nearer to white matter than to the outer fluid (medians of both).

    Parameters
    ----------
    image : ndarray, (X, Y, Z)
        Bias-corrected.
    labels : ndarray, (X, Y, Z), uint8

    Returns
    -------
    float
        NaN without ventricles, white matter, or at least 100 voxels of outer fluid.

    Examples
    --------
    >>> labels = np.repeat(np.array([2, 24, 4], np.uint8), 100)
    >>> image = np.concatenate([np.full(100, 9.0), np.full(100, 1.0), np.full(80, 1.0), np.full(20, 8.0)])
    >>> ventricle_leak(image, labels)
    0.2
    """
    white, fluid, inside = (image[np.isin(labels, codes)] for codes in (CEREBRAL_WHITE, OUTER_FLUID, VENTRICLES))
    if not white.size or not inside.size or fluid.size < _LEAST_FLUID_VOXELS:
        return float("nan")
    bright, dark = float(np.median(white)), float(np.median(fluid))
    return float(np.mean(np.abs(inside - bright) < np.abs(inside - dark))) if bright != dark else float("nan")


def measure_structures(image: np.ndarray, labels: np.ndarray, affine: np.ndarray) -> tuple[dict[str, float], dict[str, str]]:
    """All figures of a segmentation.

    Parameters
    ----------
    image : ndarray, (X, Y, Z)
        Bias-corrected scan.
    labels : ndarray, (X, Y, Z), whole numbers
        Codes of BrainageAseg.
    affine : ndarray, (4, 4)
        Voxel index to mm, RAS.

    Returns
    -------
    dict, dict
        Values by metric, and the structures they speak of by metric.
    """
    box = bounding_box(labels > 0) if labels.any() else (slice(0, 1),) * 3
    image, labels = image[box], labels[box].astype(np.uint8)
    counts = count_labels(labels)
    named = {
        "structures_missing": missing_structures(counts),
        "structures_outside_norms": structures_outside_norms(counts),
        "asymmetry": asymmetry(counts),
        "detached_share": detached_share(labels),
    }
    values = {metric: float(value) for metric, (value, _) in named.items()} | {
        "wrong_side_share": wrong_side_share(labels, affine),
        "intensity_fit": intensity_fit(image, labels),
        "ventricle_leak": ventricle_leak(image, labels),
    }
    return values, {metric: words for metric, (_, words) in named.items()}


def _places(mask: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Turned coordinates in mm of the voxels of a mask, (n, 3), without the offset of the affine."""
    return np.argwhere(mask).astype(np.float32) @ affine[:3, :3].T.astype(np.float32)
