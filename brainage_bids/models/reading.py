"""What every kind of model gives: the protocol that kinds follow, and the records they answer with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from brainage_bids.models.card import ModelCard

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Reading:
    """What a model says of one person.

    Attributes
    ----------
    brain_age : float
        Years.
    sd : float or None
        Of the estimate, years; None if the model knows of none.
    unlike_training : bool
        Whether the input looks unlike that of all training people.
    """

    brain_age: float
    sd: float | None
    unlike_training: bool


@dataclass(frozen=True)
class StructureReading:
    """What one structure of the brain says of one person; a row of ``B_model-M_desc-structures_stats.tsv``.

    Attributes
    ----------
    structure, label : str
        Its name, and plain words for it.
    volume_mm3, mapped_mm3 : float
        As it was measured, and on the scale of the training people.
    share_percent : float or None
        ``mapped_mm3`` over that of the brain; None for the brain itself.
    norm_p5, norm_p50, norm_p95 : float or None
        Percentiles of the share among training people of this age; None where there is no norm or the age is not known.
    contribution_years : float
        How many years the structure adds to the brain age; see ``VolumeModel.contributions``.
    """

    structure: str
    label: str
    volume_mm3: float
    mapped_mm3: float
    share_percent: float | None
    norm_p5: float | None
    norm_p50: float | None
    norm_p95: float | None
    contribution_years: float


class AgeModel(Protocol):
    """A loaded model of any kind."""

    def read(self, card: ModelCard, files: Mapping[str, Path], volumes: Mapping[str, float]) -> Reading:
        """Check the inputs of a person and estimate the brain age; parameters and errors as in ``inference.estimate``."""
        ...

    def predict_array(self, volume: np.ndarray) -> Reading:
        """The brain age of one array that fulfils the contract; BadConfiguration from kinds that need more than one image."""
        ...

    def structures(self, volumes: Mapping[str, float], age: float | None) -> tuple[StructureReading, ...]:
        """What each structure says; empty for kinds that do not look at structures one by one."""
        ...
