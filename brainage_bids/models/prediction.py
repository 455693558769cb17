"""What every kind of model answers with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

WITHIN, BETWEEN = "within", "between"
"""Levels of variance that have columns of their own in ``B_brainage.tsv``: over base models, and over sub-ensembles."""


@dataclass(frozen=True)
class Estimate:
    """A brain age.

    Attributes
    ----------
    mean : float
        Years.
    sd : float or None
        Of a new person's age around it, years; None if the model knows of none.
    variance : mapping of str to float
        Parts of the uncertainty by named level (`WITHIN`, `BETWEEN`), years²; empty where there is no ensemble.
    """

    mean: float
    sd: float | None = None
    variance: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Volume:
    """Values on a grid, (X, Y, Z), with the affine from voxel index to mm, RAS."""

    data: np.ndarray
    affine: np.ndarray


@dataclass(frozen=True)
class Prediction:
    """What a model says of one session; each part has the key of an output of the card.

    Attributes
    ----------
    age : Estimate or None
        None from a model that gives none.
    maps, images : mapping of str to Volume
    tables : mapping of str to sequence of mapping
        Rows with the columns of the output.
    flags : tuple of str
        Codes of ``records.FLAGS``.
    """

    age: Estimate | None = None
    maps: Mapping[str, Volume] = field(default_factory=dict)
    tables: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    images: Mapping[str, Volume] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
