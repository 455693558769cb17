"""Where the brain is: found by deepbet (Fisch 2024, doi:10.1016/j.media.2023.102993), or read off an image that is already stripped."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.linalg import polar

from brainage_bids.imaging.grids import resample, voxel_volume
from brainage_bids.records import UnusableInput

STRIPPED_ZEROS = 0.35
"""An image of which at least this share is exactly the background value may already be stripped."""

BRAIN_ML = (400.0, 2600.0)
"""Volumes between which a mask can be a human brain with its inner fluid, wide on purpose."""


BRAIN_CENTRE_MM = (0.0, -18.0, 8.0)
"""Middle of the template's brain."""

LOOKS = 3
"""How often the network may look."""

UPRIGHT_WITHIN_DEGREES = 4.0
"""A head that is turned by less against the last look needs no other."""

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
    return largest_piece(foreground).sum() >= 0.95 * foreground.sum()


def mask_of_stripped(image: np.ndarray) -> np.ndarray:
    """Brain mask of an image whose skull was removed: its non-zero voxels, largest piece, holes filled."""
    return filled(largest_piece(image > 0))


def find_brain(image: np.ndarray, affine: np.ndarray, *, device: str = "cpu", threads: int = 1) -> np.ndarray:
    """Brain mask of a whole-head T1w by deepbet's network (weights in its wheel), which looks again where the head is not upright.

    The network was trained on upright heads and takes neck and face for brain where the head is pitched. Its first mask is
    therefore only used to find the pose, by a rough affine to the template; where that is turned by 4° or more, the network looks
    again at the head turned upright, and a third time if that mask shows another pose.

    Parameters
    ----------
    image : ndarray, (X, Y, Z) float32
        T1w intensities, axes R, A, S.
    affine : ndarray, (4, 4)
        Voxel index to mm.
    device : {"cpu", "cuda"}
        Where the network runs.
    threads : int
        Threads of torch and of the registration.

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
    mask, pose = _network_mask(image, affine, device), np.eye(4)
    for _ in range(LOOKS - 1):
        before, pose = pose, _pose(image * mask, affine, threads)
        if _angle(before, pose) < UPRIGHT_WITHIN_DEGREES:
            break
        mask = _look_upright(image, affine, pose, device)
    return mask


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


def largest_piece(mask: np.ndarray) -> np.ndarray:
    """The largest 6-connected component of a mask.

    >>> largest_piece(np.array([[[1, 0, 1, 1]]], bool)).astype(int).tolist()
    [[[0, 0, 1, 1]]]
    """
    labels, count = ndimage.label(mask)
    if count <= 1:
        return mask.astype(bool)
    return labels == np.argmax(np.bincount(labels.ravel())[1:]) + 1


def filled(mask: np.ndarray) -> np.ndarray:
    """A mask with its holes closed.

    >>> ring = np.pad(np.zeros((1, 1, 1), bool), 1, constant_values=True)
    >>> int(filled(ring).sum())
    27
    """
    return ndimage.binary_fill_holes(mask)
