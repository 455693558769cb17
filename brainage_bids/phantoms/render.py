"""Images of a visit and their truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from brainage_bids.phantoms.people import Visit


@dataclass(frozen=True)
class Rendering:
    """Images of a visit and what is true of them.

    Attributes
    ----------
    images : dict of str to (ndarray float32, affine)
        By modality; each in its own grid and position.
    labels : ndarray, (X, Y, Z) uint8
        aseg codes, 0 outside the brain and its fluid, on the grid of the truth (axes R, A, S), `affine`.
    affine : ndarray, (4, 4)
        Voxel index to mm of all maps of the truth. It is the position of the T1w.
    lesions : ndarray, (X, Y, Z) uint8
        1 in white-matter lesions.
    atrophy : ndarray, (X, Y, Z) float32
        Logarithm of the local volume now over that in the same person's head at 20 years: below 0 where tissue was lost.
    iron : ndarray, (X, Y, Z) float32
        mg per kg fresh weight.
    volumes : dict of str to float
        True volumes in mL, counted in the image's own labels, by the names of `ageing.STRUCTURES`, ``cranium``, ``lesions``, and
        ``microbleeds`` (their number).
    effects : dict
        What was planted: targets, iron, lobes, transforms of modalities, parameters used. It can be written as JSON.
    """

    images: dict[str, tuple[np.ndarray, np.ndarray]]
    labels: np.ndarray
    affine: np.ndarray
    lesions: np.ndarray
    atrophy: np.ndarray
    iron: np.ndarray
    volumes: dict[str, float]
    effects: dict[str, object] = field(default_factory=dict)


def render(visit: Visit, modalities: Sequence[str], *, anatomies: Path | None = None, threads: int = 1) -> Rendering:
    """Images (T1w, FLAIR, SWI) and truth of a visit."""
    raise NotImplementedError


def model_space(visit: Visit, kind: str = "tissues", *, voxel_mm: float = 1.5, anatomies: Path | None = None) -> Mapping[str, np.ndarray]:
    """Maps straight on the template's grid of 1.5 or 2 mm, without a scanner.

    ``kind="tissues"`` gives modulated ``GM``, ``WM``, ``CSF`` (mL per mL of the template), ``kind="T1w"`` gives ``T1w``: float32.
    """
    raise NotImplementedError
