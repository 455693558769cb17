"""Tissue maps and masks of another app, checked and brought to our codes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from brainage_bids.imaging.volumes import TISSUES
from brainage_bids.records import UnusableInput

SLACK = 0.02
"""How far a probability may lie outside 0–1, as interpolation leaves it."""


def probability(values: np.ndarray, name: object) -> np.ndarray:
    """A map of another app as probabilities from 0 to 1.

    Parameters
    ----------
    values : ndarray, (X, Y, Z) float32
        What the file holds; values that are not finite become 0.
    name : object
        The file, for the message.

    Returns
    -------
    ndarray, (X, Y, Z) float32

    Raises
    ------
    UnusableInput
        If the values do not lie between 0 and 1, or all are 0.

    >>> probability(np.array([0.0, np.nan, 1.01]), "x.nii").tolist()
    [0.0, 0.0, 1.0]
    """
    values = np.where(np.isfinite(values), values, 0)
    low, high = float(values.min()), float(values.max())
    if low < -SLACK or high > 1 + SLACK or high <= SLACK:
        raise UnusableInput(
            f"{name} holds values from {low:g} to {high:g}, which are no probabilities of a tissue, so it cannot be reused; "
            "leave that dataset out of --derivatives."
        )
    return np.clip(values, 0, 1)


def brain_of(mask: np.ndarray, name: object) -> np.ndarray:
    """A brain mask of another app as bool.

    Raises
    ------
    UnusableInput
        If it is empty or fills the image.

    >>> brain_of(np.array([0.0, 1.0, np.nan]), "x.nii").tolist()
    [False, True, False]
    """
    brain = np.where(np.isfinite(mask), mask, 0) > 0.5
    if not brain.any() or brain.all():
        state = "fills the whole image" if brain.any() else "is empty"
        raise UnusableInput(f"The brain mask {name} {state}, so it cannot be reused; leave that dataset out of --derivatives.")
    return brain


def tissue_labels(labels: np.ndarray | None, maps: Mapping[str, np.ndarray]) -> np.ndarray:
    """The tissue of each voxel in our codes (1 GM, 2 WM, 3 CSF), whatever the codes of the other app are.

    fMRIPrep wrote 1 CSF, 2 GM, 3 WM in its first years and 1 GM, 2 WM, 3 CSF since; other apps have codes of their own, and
    the look-up table is often not there. So each label is named by the tissue whose map is highest in its voxels. Where
    that does not name three labels by three tissues, or there are no labels, every voxel goes to the highest map.

    Parameters
    ----------
    labels : ndarray, (X, Y, Z) int, optional
        The ``dseg`` of the other app, 0 outside.
    maps : mapping of str to ndarray, (X, Y, Z) float32
        Probabilities of GM, WM and CSF on the same grid.

    Returns
    -------
    ndarray, (X, Y, Z) uint8

    Examples
    --------
    >>> maps = {"GM": np.array([0.9, 0.0, 0.1, 0.0]), "WM": np.array([0.1, 1.0, 0.0, 0.0]), "CSF": np.array([0.0, 0.0, 0.9, 0.0])}
    >>> tissue_labels(np.array([2, 3, 1, 0]), maps).tolist(), tissue_labels(None, maps).tolist()
    ([1, 2, 3, 0], [1, 2, 3, 0])
    """
    codes = {} if labels is None else _codes(labels, maps)
    if labels is not None and sorted(codes.values()) == sorted(TISSUES):
        out = np.zeros(labels.shape, dtype=np.uint8)
        for label, code in codes.items():
            out[labels == label] = code
        return out
    stacked = np.stack([maps[TISSUES[code]] for code in sorted(TISSUES)])
    highest = np.array(sorted(TISSUES), dtype=np.uint8)[stacked.argmax(axis=0)]
    return np.where(stacked.sum(axis=0) >= 0.5, highest, 0).astype(np.uint8)


def _codes(labels: np.ndarray, maps: Mapping[str, np.ndarray]) -> dict[int, int]:
    """Our code of each label; empty if there are not as many labels as tissues."""
    present = [int(label) for label in np.unique(labels) if label != 0]
    if len(present) != len(TISSUES):
        return {}
    codes = {}
    for label in present:
        inside = labels == label
        codes[label] = max(TISSUES, key=lambda code, inside=inside: float(maps[TISSUES[code]][inside].mean()))
    return codes
