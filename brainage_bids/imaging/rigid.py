"""Rigid registration of another image of a head (FLAIR, SWI) to its T1w, whatever its contrast, slices and field of view.

Normalised mutual information (Studholme et al. 1999, doi:10.1016/S0031-3203(98)00091-0) is compared around the brain alone, where
little but the brain's own pose counts. Bounded searches from several poses find valleys, which greedy's gradients alone leave; the
valley with the best `edge_agreement` is taken, and greedy finds its bottom. The agreement says afterwards whether the two belong together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from brainage_bids.imaging.crop import bounding_box, crop
from brainage_bids.imaging.greedy import find_rigid
from brainage_bids.imaging.grids import resample, sample, voxel_sizes
from brainage_bids.imaging.smooth import smooth
from brainage_bids.records import UnusableInput

GRID_MM, SLOPPY_GRID_MM = 1.5, 2.0
"""Voxels on which the two are compared."""
MARGIN_MM = 8.0
"""How far around the brain."""
WIDE_GRID_MM, WIDE_MARGIN_MM = 3.0, 18.0
"""The same for a second search: in some scans the brain alone has several valleys, in others what lies around it misleads."""
COARSE_MM = 4.0
COARSE_POINTS, SLOPPY_POINTS = 15_000, 8_000
TURN_DEG = 12.0
"""First poses are turned by this about each axis, either way."""
POSES_FOLLOWED, SLOPPY_POSES = 4, 1
MOST_SHIFT_MM, MOST_TURN_DEG = 30.0, 35.0
"""How far the search goes from where it starts."""
LEAST_SEEN = 0.35
"""Share of the brain that the other image must show."""
LEVELS = "30x30"
SLOPPY_LEVELS = "30x10"
LARGEST_CORRECTION_MM = 12.0
"""A coarse pose is rarely off by more; where greedy moves the brain farther it has left the valley."""
BINS = 32
BIN_SIGMA = 0.8
EDGE_MM = 3.0
"""Full width at half maximum of the smoothing before edges are compared."""
CLIP_PERCENTILE = 99.5


@dataclass(frozen=True)
class Compared:
    """The T1w as the other image is compared with it: a box around the brain with cubic voxels.

    Attributes
    ----------
    image : ndarray, (X, Y, Z) float32
        Intensities in 0–1.
    affine : ndarray, (4, 4)
        Voxel index to mm.
    region : ndarray, (X, Y, Z) bool
        The brain and `MARGIN_MM` around it.
    brain : ndarray, (X, Y, Z) bool
    wide : Compared, optional
        The same on a coarser grid with more around the brain.
    """

    image: np.ndarray
    affine: np.ndarray
    region: np.ndarray
    brain: np.ndarray
    wide: Compared | None = None


def compared(t1w: np.ndarray, affine: np.ndarray, mask: np.ndarray, *, sloppy: bool = False) -> Compared:
    """Cut the brain out of a T1w and bring it to cubic voxels.

    Parameters
    ----------
    t1w : ndarray, (X, Y, Z) float32
    affine : ndarray, (4, 4)
    mask : ndarray, (X, Y, Z) bool
        The brain.
    sloppy : bool
        On larger voxels.

    Raises
    ------
    UnusableInput
        If the mask is empty.
    """
    if not mask.any():
        raise UnusableInput("The brain mask of the T1w is empty, so nothing can be registered to it; look at the T1w.")
    wide = _around_brain(t1w, affine, mask, WIDE_GRID_MM, WIDE_MARGIN_MM)
    return replace(_around_brain(t1w, affine, mask, SLOPPY_GRID_MM if sloppy else GRID_MM, MARGIN_MM), wide=wide)


def _around_brain(t1w: np.ndarray, affine: np.ndarray, mask: np.ndarray, voxel_mm: float, margin_mm: float) -> Compared:
    box = bounding_box(mask, margin_mm + 2 * voxel_mm, voxel_sizes(affine))
    part, part_affine = crop(t1w, affine, box)
    image, cubic = cubic_voxels(part, part_affine, voxel_mm)
    brain = cubic_voxels(np.asarray(mask[box], dtype=np.float32), part_affine, voxel_mm)[0] > 0.5
    region = ndimage.distance_transform_edt(~brain) * voxel_mm <= margin_mm
    return Compared(unit_range(image, brain), cubic, region, brain)


def register_rigid(target: Compared, image: np.ndarray, affine: np.ndarray, *, start_mm: np.ndarray, sloppy: bool = False, seed: int = 1):
    """Find the pose of an image's head against that of the T1w.

    Parameters
    ----------
    target : Compared
        From `compared`.
    image : ndarray, (X, Y, Z) float32
        The other image ≥ 0.
    affine : ndarray, (4, 4)
        Voxel index to mm of `image`.
    start_mm : ndarray, (3,)
        A further first guess beside "none": how far the head of `image` lies from that of the T1w.
    sloppy : bool
        From fewer poses and places, in fewer steps, on larger voxels if `target` has them.
    seed : int
        Of the sample points.

    Returns
    -------
    ndarray, (4, 4)
        Millimetres of the T1w to millimetres of `image`, RAS, rigid.

    Raises
    ------
    UnusableInput
        If hardly any of the brain is seen from any pose, or greedy stops.
    """
    moving, moving_affine = cubic_voxels(image, affine, float(voxel_sizes(target.affine)[0]))
    moving = unit_range(moving, moving > moving.mean())
    effort = (SLOPPY_POSES, SLOPPY_POINTS) if sloppy else (POSES_FOLLOWED, COARSE_POINTS)
    coarse = _search(target, moving, moving_affine, start_mm, seed, *effort)
    levels = SLOPPY_LEVELS if sloppy else LEVELS
    fine = find_rigid(target.image, target.affine, moving, moving_affine, levels=levels, region=target.region, start=coarse, seed=seed)
    centre = _places(target.brain, target.affine).mean(axis=0)
    moved = np.linalg.norm((fine - coarse)[:3, :3] @ centre + (fine - coarse)[:3, 3])
    return coarse if moved > LARGEST_CORRECTION_MM else fine


def head_shift(t1w: np.ndarray, t1w_affine: np.ndarray, image: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """From the middle of what is bright in the T1w to that of another image, (3,) mm."""
    return _middle(image, affine) - _middle(t1w, t1w_affine)


def pose(shift_mm: np.ndarray, turn_deg: np.ndarray, centre_mm: np.ndarray) -> np.ndarray:
    """A rigid map: turns about x, then y, then z through a centre, then a shift.

    Parameters
    ----------
    shift_mm, turn_deg, centre_mm : ndarray, (3,)

    Returns
    -------
    ndarray, (4, 4)

    Examples
    --------
    >>> (pose([1, 0, 0], [0, 0, 90], [0, 0, 0]) @ [1, 0, 0, 1]).round(6).tolist()
    [1.0, 1.0, 0.0, 1.0]
    """
    x, y, z = np.radians(np.asarray(turn_deg, dtype=float))
    about_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_z = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = about_z @ about_y @ about_x
    matrix[:3, 3] = np.asarray(centre_mm) + np.asarray(shift_mm) - matrix[:3, :3] @ np.asarray(centre_mm)
    return matrix


def rigid_error(found: np.ndarray, truth: np.ndarray, points_mm: np.ndarray) -> tuple[float, float]:
    """How far two rigid maps differ: the mean distance of where they take points, in mm, and the angle between them, in degrees.

    >>> rigid_error(pose([3, 0, 4], [0, 0, 0], [0, 0, 0]), np.eye(4), np.zeros((2, 3)))
    (5.0, 0.0)
    """
    apart = points_mm @ (found - truth)[:3, :3].T + (found - truth)[:3, 3]
    cosine = (np.trace(found[:3, :3] @ truth[:3, :3].T) - 1) / 2
    return float(np.linalg.norm(apart, axis=1).mean()), float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def normalised_mutual_information(first: np.ndarray, second: np.ndarray) -> float:
    """(H(a) + H(b)) / H(a, b) of values in 0–1: 1 for values that tell nothing of each other, more the more they tell.

    The joint histogram of 32 × 32 bins is smoothed a little (0.8 bins), so that the measure changes steadily with the pose; equal values
    then reach about 1.4, without the smoothing 2.

    >>> x = np.linspace(0, 1, 4096)
    >>> round(normalised_mutual_information(x, np.random.default_rng(0).permutation(x)), 1)
    1.0
    """
    rows, columns = (np.minimum((values * BINS).astype(np.intp), BINS - 1) for values in (first, second))
    joint = np.bincount(rows * BINS + columns, minlength=BINS * BINS).reshape(BINS, BINS).astype(float)
    joint = ndimage.gaussian_filter(joint, BIN_SIGMA, mode="constant")
    return (_entropy(joint.sum(axis=0)) + _entropy(joint.sum(axis=1))) / _entropy(joint)


def edge_agreement(first: np.ndarray, second: np.ndarray, region: np.ndarray, voxel_mm: float) -> float:
    """How parallel the edges of two images run, whatever their contrasts: the mean of cos² of the angle between their gradients.

    Each place counts by the product of both gradients' lengths (after normalised gradient fields, Haber & Modersitzki 2006,
    doi:10.1007/11866763_89). Gradients without any relation give 1/3, the same edges 1.

    Parameters
    ----------
    first, second : ndarray, (X, Y, Z)
        On one grid with cubic voxels; NaN in `second` where nothing was seen.
    region : ndarray, (X, Y, Z) bool
        Where they are compared.
    voxel_mm : float

    Returns
    -------
    float
        NaN if nothing can be compared.

    Examples
    --------
    >>> ball = sum(axis**2 for axis in np.ogrid[-9:10, -9:10, -9:10]) < 36.0
    >>> round(edge_agreement(ball, 5.0 - 2.0 * ball, np.ones(ball.shape, bool), 1.5), 6)
    1.0
    """
    seen = region & ndimage.binary_erosion(np.isfinite(second), iterations=2, border_value=1)
    if not seen.any():
        return float("nan")
    one, two = (
        np.stack(np.gradient(smooth(np.nan_to_num(np.asarray(image, dtype=np.float32)), EDGE_MM, (voxel_mm,) * 3)))[:, seen]
        for image in (first, second)
    )
    lengths = np.linalg.norm(one, axis=0) * np.linalg.norm(two, axis=0)
    total = float(lengths.sum(dtype=np.float64))
    if total <= 0:
        return float("nan")
    aligned = np.square((one * two).sum(axis=0)) / np.maximum(lengths, np.finfo(np.float32).tiny)
    return float(aligned.sum(dtype=np.float64)) / total


def agreement_at(target: Compared, image: np.ndarray, affine: np.ndarray, matrix: np.ndarray) -> float:
    """`edge_agreement` of the T1w and of another image at a pose, in the brain and at its surface."""
    there = resample(unit_range(image, image > image.mean()), affine, target.image.shape, target.affine, matrix=matrix, antialias=True)
    seen = resample(np.ones(image.shape, np.float32), affine, target.image.shape, target.affine, matrix=matrix) > 0.99
    region = ndimage.binary_dilation(target.brain, iterations=2)
    return edge_agreement(target.image, np.where(seen, there, np.nan), region, float(voxel_sizes(target.affine)[0]))


def brain_seen(target: Compared, shape: tuple[int, int, int], affine: np.ndarray, matrix: np.ndarray) -> float:
    """Share of the brain of the T1w that lies in the field of view of another image."""
    index = np.linalg.inv(affine) @ matrix
    voxels = _places(target.brain, target.affine) @ index[:3, :3].T + index[:3, 3]
    return float(np.all((voxels >= -0.5) & (voxels <= np.array(shape) - 0.5), axis=1).mean())


def cubic_voxels(image: np.ndarray, affine: np.ndarray, voxel_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """An image on a grid along its own axes with cubic voxels, smoothed where these are the larger; and the grid's affine.

    >>> image, affine = cubic_voxels(np.ones((10, 10, 4), np.float32), np.diag([1.0, 1.0, 3.0, 1.0]), 2.0)
    >>> image.shape, affine.diagonal().tolist()
    ((5, 5, 6), [2.0, 2.0, 2.0, 1.0])
    """
    zoom = voxel_sizes(affine) / voxel_mm
    shape = tuple(int(n) for n in np.ceil(np.array(image.shape) * zoom))
    cubic = affine @ np.diag([*(1 / zoom), 1.0])
    return resample(np.asarray(image, dtype=np.float32), affine, shape, cubic, antialias=True), cubic


def unit_range(image: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Intensities divided by their 99.5th percentile inside a mask and clipped to 0–1.

    Raises
    ------
    UnusableInput
        If there is nothing bright in it.
    """
    top = float(np.percentile(image[inside], CLIP_PERCENTILE)) if inside.any() else 0.0
    if top <= 0:
        raise UnusableInput("The image is dark where a head should be, so it cannot be registered; check that it is the right file.")
    return np.clip(image / top, 0, 1).astype(np.float32)


def _search(
    target: Compared, moving: np.ndarray, moving_affine: np.ndarray, start_mm: np.ndarray, seed: int, count: int, places: int
) -> np.ndarray:
    """Of the poses that share most information with the T1w, near the brain and farther around, the one whose edges agree best."""
    other, other_affine = cubic_voxels(moving, moving_affine, COARSE_MM)
    poses = [
        found
        for view in (target.wide, target)
        if view is not None
        for found in _valleys(view, other, other_affine, _first_poses(start_mm), seed, count, places)
    ]
    if not poses:
        raise UnusableInput(
            "Hardly any of the brain was found in the image, so it cannot be registered; check that it shows the same head."
        )
    judge = target.wide or target
    return max(poses, key=lambda matrix: np.nan_to_num(agreement_at(judge, moving, moving_affine, matrix)))


def _valleys(
    view: Compared, other: np.ndarray, other_affine: np.ndarray, starts: Iterable[np.ndarray], seed: int, count: int, places: int
) -> list[np.ndarray]:
    """Poses that a bounded search for the largest mutual information finds from the most promising first ones."""
    from scipy.optimize import minimize

    image, image_affine = cubic_voxels(view.image, view.affine, COARSE_MM)
    points = _places(view.region, view.affine, places, seed)
    centre, values = points.mean(axis=0), np.clip(sample(image, image_affine, points), 0, 1)

    def loss(parameters: np.ndarray) -> float:
        matrix = pose(parameters[:3], parameters[3:], centre)
        there = sample(other, other_affine, points @ matrix[:3, :3].T + matrix[:3, 3], fill=-1.0)
        seen = there >= 0
        share = float(seen.mean())
        if share < LEAST_SEEN:
            return 0.0
        return -(normalised_mutual_information(values[seen], there[seen]) - 1) * np.sqrt(share)

    first = sorted((loss(start), tuple(start)) for start in starts)
    found = []
    for worth, start in first[:count]:
        if worth >= 0:
            continue
        reach = np.array([MOST_SHIFT_MM] * 3 + [MOST_TURN_DEG] * 3)
        middle = np.array([*start[:3], 0, 0, 0])
        options = {"xtol": 0.1, "ftol": 1e-4, "maxiter": 6, "direc": 4.0 * np.eye(6)}
        end = minimize(loss, start, method="Powell", bounds=np.stack([middle - reach, middle + reach], axis=1), options=options)
        found.append(pose(end.x[:3], end.x[3:], centre))
    return found


def _first_poses(start_mm: np.ndarray) -> Iterator[np.ndarray]:
    turns = [np.zeros(3), *(sign * TURN_DEG * np.eye(3)[axis] for axis in range(3) for sign in (-1, 1))]
    for shift in (np.zeros(3), np.asarray(start_mm, dtype=float)):
        for turn in turns:
            yield np.concatenate([shift, turn])


def _places(mask: np.ndarray, affine: np.ndarray, count: int | None = None, seed: int = 1) -> np.ndarray:
    """Positions of a mask's voxels in mm, (N, 3); or of `count` of them, each moved within its voxel."""
    index = np.argwhere(mask).astype(float)
    if count is not None:
        random = np.random.default_rng(seed)
        index = index[random.choice(len(index), min(count, len(index)), replace=False)]
        index += random.uniform(-0.5, 0.5, index.shape)
    return index @ affine[:3, :3].T + affine[:3, 3]


def _middle(image: np.ndarray, affine: np.ndarray) -> np.ndarray:
    steps = [max(1, int(4.0 / size)) for size in voxel_sizes(affine)]
    few = image[:: steps[0], :: steps[1], :: steps[2]]
    bright = few > few.mean()
    if not bright.any():
        raise UnusableInput("The image is the same everywhere, so it cannot be registered; check that it is the right file.")
    index = np.argwhere(bright).mean(axis=0) * steps
    return affine[:3, :3] @ index + affine[:3, 3]


def _entropy(counts: np.ndarray) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())
