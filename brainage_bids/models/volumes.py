"""Models of kind ``volumes``: the age from the volumes of structures relative to the brain's, and from the brain's.

Volumes are measured by one segmentation and were learned from another, so each structure is first brought to the scale of the
training people by a factor of its own. The features of a person are the logarithms of each structure's share of the brain and
of the brain's volume, less their means in training, divided by a scale each. In logarithms an error that is a share of the
volume is the same for all sizes, and large ventricles do not count out of proportion.

The brain here is the cerebrum without ventricles: cortex, white matter and deep grey matter. Cerebellum and brain stem do not
belong to it, so that a scan that cuts them leaves all other shares as they are. The outer fluid is not looked at: how much of it
is seen depends on the brain extraction, not on age.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from brainage_bids.bids.structures import COLUMNS, structure_rows
from brainage_bids.models.needs import VOLUMES, TableNeed
from brainage_bids.models.norms import NormCurve
from brainage_bids.models.prediction import Estimate, Prediction
from brainage_bids.models.regressor import Regressor, contributions
from brainage_bids.records import UnusableInput

if TYPE_CHECKING:
    from brainage_bids.models.case import Case

BRAIN = "brain"
BRAIN_LABEL = "brain size"


@dataclass(frozen=True)
class Structure:
    """One structure, left and right together.

    Attributes
    ----------
    name, label : str
        Its name, and plain words for it.
    parts : tuple of str
        Names of its regions in our table.
    in_brain : bool
        Whether it belongs to the brain to which all are related.
    used : bool
        Whether its share is a feature.
    scale : float
        Volume on the scale of the training people over our volume.
    """

    name: str
    label: str
    parts: tuple[str, ...]
    in_brain: bool
    used: bool = True
    scale: float = 1.0


def _both(*names: str) -> tuple[str, ...]:
    return tuple(f"{side}-{name}" for name in names for side in ("Left", "Right"))


STRUCTURES: tuple[Structure, ...] = (
    Structure("cortex", "cortex", _both("Cerebral-Cortex"), True),
    Structure("white_matter", "white matter", _both("Cerebral-White-Matter"), True),
    Structure("lateral_ventricles", "lateral ventricles", _both("Lateral-Ventricle", "Inf-Lat-Vent"), False),
    Structure("third_ventricle", "third ventricle", ("3rd-Ventricle",), False),
    Structure("fourth_ventricle", "fourth ventricle", ("4th-Ventricle",), False),
    Structure("thalamus", "thalamus", _both("Thalamus"), True),
    Structure("caudate", "caudate nucleus", _both("Caudate"), True),
    Structure("putamen", "putamen", _both("Putamen"), True),
    Structure("pallidum", "pallidum", _both("Pallidum"), True),
    Structure("hippocampus", "hippocampus", _both("Hippocampus"), True),
    Structure("amygdala", "amygdala", _both("Amygdala"), True),
    Structure("accumbens", "nucleus accumbens", _both("Accumbens-area"), True),
    Structure("ventral_diencephalon", "ventral diencephalon", _both("VentralDC"), True),
    Structure("brain_stem", "brain stem", ("Brain-Stem",), False),
    Structure("cerebellar_cortex", "cortex of the cerebellum", _both("Cerebellum-Cortex"), False),
    Structure("cerebellar_white_matter", "white matter of the cerebellum", _both("Cerebellum-White-Matter"), False),
)
"""Structures that are tried. Lateral ventricles have their inferior horns with them, whose border is drawn in another place at
every site. The outer fluid is not among them; see the head of this file."""


@dataclass(frozen=True)
class VolumeModel:
    """Everything that turns volumes into an age.

    Attributes
    ----------
    model_structures : tuple of Structure
        Those that are used, and those that make the brain.
    centre, spread : ndarray, shape (d,)
        Mean in training of the features (`log_shares`), and what they are divided by.
    low, high : ndarray, shape (d,)
        Least and largest of the features in training.
    regressor : Regressor
        From features to age.
    offset : float
        Years added to what the regressor says; 0 unless calibrated on somebody's controls.
    norms : mapping of str to NormCurve
        By the name of a used structure.
    """

    model_structures: tuple[Structure, ...]
    centre: np.ndarray
    spread: np.ndarray
    low: np.ndarray
    high: np.ndarray
    regressor: Regressor
    offset: float
    norms: Mapping[str, NormCurve]

    @property
    def used(self) -> tuple[Structure, ...]:
        """Structures whose shares are features, in the features' order; the last feature is the brain's size."""
        return tuple(structure for structure in self.model_structures if structure.used)

    def predict(self, case: Case) -> Prediction:
        """Read the volumes of a case, estimate the brain age and tell what each structure says (``prediction.Model``)."""
        volumes = case.table(TableNeed(VOLUMES, tuple(part for structure in self.model_structures for part in structure.parts)))
        estimate, unlike = self.age(volumes)
        flags = ("input_mismatch",) if unlike else ()
        return Prediction(estimate, tables={"structures": structure_rows(self.structures(volumes, case.age))}, flags=flags)

    def age(self, volumes: Mapping[str, float]) -> tuple[Estimate, bool]:
        """The brain age from volumes, mm³ by the name of a region, and whether a feature lies outside of all training people."""
        raw = log_shares(map_volumes(volumes, self.model_structures), self.model_structures)
        mean, sd = self.regressor.predict(self.standardise(raw)[None, :])
        return Estimate(float(mean[0]) + self.offset, float(sd[0])), self.unlike_training(raw)

    def standardise(self, raw: np.ndarray) -> np.ndarray:
        """Features as the regressor takes them, from those of `log_shares`."""
        return (raw - self.centre) / self.spread

    def unlike_training(self, raw: np.ndarray) -> bool:
        """Whether a feature lies outside of all training people."""
        return bool(np.any(raw < self.low) or np.any(raw > self.high))

    def contributions(self, volumes: Mapping[str, float]) -> dict[str, float]:
        """Years that each used structure, and the brain's size, add to the brain age of the mean training person.

        The changes of the regression are integrated along the straight line from the mean of the training people's features
        to this person's (``regressor.contributions``), so they sum to the brain age less that of the mean person (and
        less the offset of a calibration).
        """
        raw = log_shares(map_volumes(volumes, self.model_structures), self.model_structures)
        years = contributions(self.regressor, np.zeros_like(raw), self.standardise(raw))
        return dict(zip([*(structure.name for structure in self.used), BRAIN], map(float, years), strict=True))

    def structures(self, volumes: Mapping[str, float], age: float | None) -> tuple[dict[str, float | str | None], ...]:
        """A row a used structure and one of the brain as a whole, with the columns of ``usual_outputs.STRUCTURES``.

        Parameters
        ----------
        volumes : mapping
            mm³ by the name of a region.
        age : float or None
            Years; it chooses the norms and nothing else.
        """
        mapped = map_volumes(volumes, self.model_structures)
        measured = {structure.name: sum(volumes[part] for part in structure.parts) for structure in self.model_structures}
        inside = [structure.name for structure in self.model_structures if structure.in_brain]
        brain = sum(mapped[name] for name in inside)
        years = self.contributions(volumes)
        rows = []
        for structure in self.used:
            name = structure.name
            norm = self.norms[name].at(age) if age is not None and name in self.norms else None
            share = 100 * mapped[name] / brain
            rows.append(_row(name, structure.label, measured[name], mapped[name], share, *(norm or (None, None, None)), years[name]))
        whole = sum(measured[name] for name in inside)
        return (*rows, _row(BRAIN, BRAIN_LABEL, whole, brain, None, None, None, None, years[BRAIN]))


def _row(*values: float | str | None) -> dict[str, float | str | None]:
    return dict(zip(COLUMNS, values, strict=True))


def map_volumes(volumes: Mapping[str, float], structures: tuple[Structure, ...]) -> dict[str, float]:
    """Volumes of structures on the scale of the training people, mm³ by name.

    Parameters
    ----------
    volumes : mapping
        mm³ by the name of a region; see ``features.read_volumes``.
    structures : tuple of Structure

    Raises
    ------
    UnusableInput
        If a region is missing, or a structure's volume is not a finite number above zero.

    Examples
    --------
    >>> thalamus = Structure("thalamus", "thalamus", ("Left-Thalamus", "Right-Thalamus"), True, scale=1.1)
    >>> round(map_volumes({"Left-Thalamus": 7000.0, "Right-Thalamus": 6000.0}, (thalamus,))["thalamus"], 3)
    14300.0
    """
    missing = sorted({part for structure in structures for part in structure.parts if part not in volumes})
    if missing:
        raise UnusableInput(f"The model needs volumes that are not there: {', '.join(missing)}; run the preprocessing again.")
    mapped = {}
    for structure in structures:
        total = sum(float(volumes[part]) for part in structure.parts)
        if not (math.isfinite(total) and total > 0):
            raise UnusableInput(
                f"The volume of the {structure.label} is {total:g} mm³, so no age can be estimated; look at the segmentation."
            )
        mapped[structure.name] = structure.scale * total
    return mapped


def log_shares(mapped: Mapping[str, float], structures: tuple[Structure, ...]) -> np.ndarray:
    """Logarithms of the share of each used structure, and of the brain's volume in mm³.

    Parameters
    ----------
    mapped : mapping
        mm³ by the name of a structure, as from `map_volumes`.
    structures : tuple of Structure

    Returns
    -------
    ndarray, shape (used structures + 1,), float64

    Examples
    --------
    >>> white, inside = Structure("white_matter", "", (), True), Structure("third_ventricle", "", (), False)
    >>> log_shares({"white_matter": 1000.0, "third_ventricle": 10.0}, (white, inside)).round(4).tolist()
    [0.0, -4.6052, 6.9078]
    """
    brain = sum(mapped[structure.name] for structure in structures if structure.in_brain)
    shares = [math.log(mapped[structure.name] / brain) for structure in structures if structure.used]
    return np.array([*shares, math.log(brain)])
