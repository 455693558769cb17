"""Where the brain is: found by deepbet (Fisch 2024, doi:10.1016/j.compbiomed.2024.108845); or read
off an image that is already stripped.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import polar

from brainage_bids.imaging.atlas import Atlas
from brainage_bids.imaging.grids import resample, voxel_volume
from brainage_bids.imaging.mask_model import without_skull
from brainage_bids.imaging.pieces import filled, largest_piece
from brainage_bids.records import UnusableInput

STRIPPED_ZEROS = 0.35
"""An image of which at least this share is exactly the background value may already be stripped."""

BRAIN_ML = (400.0, 2600.0)
"""Volumes between which a mask can be a human brain with its inner fluid, wide on purpose."""


BRAIN_CENTRE_MM = (0.0, -18.0, 8.0)
"""Middle of the template's brain."""

UPRIGHT_WITHIN_DEGREES = 4.0
"""A head that is turned by less against the template needs no second look."""

UPRIGHT_SHAPE, UPRIGHT_MM, UPRIGHT_ORIGIN = (220, 256, 256), 1.0, (-110.0, -146.0, -148.0)
"""The grid in the template's pose on which the network looks a second time: head and some of the neck."""


def looks_stripped(image: np.ndarray, affine: np.ndarray) -> bool:
    """Tell whether the skull was already removed from a T1w.

    Two signs must agree: at least 35 % of the voxels hold exactly the background value 0, and what is left is mainly one piece of
    the size of a brain that fills most of its convex surroundings (a defaced or cropped head is larger).

    Examples
    --------
    >>> x = np.linspace(-90, 90, 46)
    >>> ball = sum(a**2 for a in np.meshgrid(x, x, x)) < 65**2
    >>> looks_stripped(ball.astype("f4"), np.diag([4.0, 4.0, 4.0, 1.0]))
    True
    """
    foreground = image > 0
    if 1 - foreground.mean() < STRIPPED_ZEROS:
        return False
    volume = foreground.sum() * voxel_volume(affine) / 1000
    if not BRAIN_ML[0] <= volume <= BRAIN_ML[1]:
        return False
    return bool(largest_piece(foreground).sum() >= 0.95 * foreground.sum())


def mask_of_stripped(image: np.ndarray) -> np.ndarray:
    """Brain mask of an image whose skull was removed: its non-zero voxels, largest piece, holes filled."""
    return filled(largest_piece(image > 0))


def find_brain(image: np.ndarray, affine: np.ndarray, *, device: str = "cpu", threads: int = 1, atlas: Atlas | None = None) -> np.ndarray:
    """Brain mask of a whole-head T1w: deepbet's network (weights in its wheel), then the atlas's word on what is skull.

    The network was trained on upright heads and takes neck and face for brain where the head is pitched. Its first mask is
    therefore only used to find the pose, by a rough affine to the template; where that is turned by 4° or more, the network
    looks again at the head turned upright. Skull that it took for brain would swell the registration, so `without_skull`
    takes off what a rough fit of the generative model does not find near the brain.

    Parameters
    ----------
    image : ndarray, (X, Y, Z) float32
        T1w intensities, axes R, A, S.
    affine : ndarray, (4, 4)
        Voxel index to mm.
    device : {"cpu", "cuda"}
        Where the network runs.
    threads : int
        Threads of torch and of the registrations.
    atlas : Atlas, optional
        The packaged one by default.

    Returns
    -------
    ndarray, (X, Y, Z) bool

    Raises
    ------
    UnusableInput
        If no brain is found.
    """
    import torch

    torch.set_num_threads(threads)
    mask = _network_mask(image, affine, device)
    pose = _pose(image * mask, affine, threads)
    if _angle(np.eye(4), pose) >= UPRIGHT_WITHIN_DEGREES:
        mask = _look_upright(image, affine, pose, device)
    return without_skull(image, affine, mask, threads=threads, atlas=atlas)


def _look_upright(image: np.ndarray, affine: np.ndarray, pose: np.ndarray, device: str) -> np.ndarray:
    """The network's mask of the head turned into the template's pose, back on the image's grid."""
    grid_affine = np.diag([UPRIGHT_MM] * 3 + [1.0])
    grid_affine[:3, 3] = UPRIGHT_ORIGIN
    to_person = pose @ grid_affine
    upright = resample(image, affine, UPRIGHT_SHAPE, to_person)
    found = _network_mask(upright, grid_affine, device)
    mask = largest_piece(resample(found.astype(np.float32), to_person, image.shape, affine) > 0.5)
    if not mask.any():
        raise UnusableInput("No brain was found in this T1w; check that it shows a whole head, or use --skull-strip skip.")
    return mask


def _angle(first: np.ndarray, second: np.ndarray) -> float:
    """Angle in degrees between two rigid maps (4, 4)."""
    cosine = (np.trace(first[:3, :3].T @ second[:3, :3]) - 1) / 2
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def _network_mask(image: np.ndarray, affine: np.ndarray, device: str) -> np.ndarray:
    """One look of the network, its largest piece."""
    import nibabel as nib
    from deepbet.bet import BrainExtraction

    advice = "check that it shows a whole head, or use --skull-strip skip."
    try:
        _, mask, _ = BrainExtraction(no_gpu=device == "cpu").run(nib.Nifti1Image(image, affine))
    except (AssertionError, ValueError, IndexError, RuntimeError) as error:
        raise UnusableInput(f"No brain was found in this T1w ({error}); {advice}") from error
    found = np.asarray(mask.dataobj) > 0
    if not found.any():
        raise UnusableInput(f"No brain was found in this T1w; {advice}")
    return largest_piece(found)


def _pose(brain: np.ndarray, affine: np.ndarray, threads: int) -> np.ndarray:
    """The rigid map (4, 4) from the template's mm to the person's: rotation of a rough affine, about the brain's centre."""
    from brainage_bids.imaging.registration import rough_affine

    rough = rough_affine(brain, affine, threads=threads)
    rotation, _ = polar(rough[:3, :3])
    centre = np.array(BRAIN_CENTRE_MM)
    pose = np.eye(4)
    pose[:3, :3] = rotation
    pose[:3, 3] = rough[:3, :3] @ centre + rough[:3, 3] - rotation @ centre
    return pose
