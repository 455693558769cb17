"""Connected pieces of a mask."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


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
