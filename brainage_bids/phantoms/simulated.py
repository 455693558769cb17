"""Tables of the app for people who were never imaged: what a method that errs in known ways would have written.

A simulated model of a modality reads brain age as

    c + b (brain age − c) + offset of the scanner + e of the person + e of the visit,

c being the middle of the ages of the cohort and b < 1 its regression to the mean. Volumes are the true ones times the factor of the
scanner and a measurement error. No image is involved: these tables serve to try the group level on as many people as one likes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from brainage_bids.bids.estimates import COLUMNS, estimate_rows
from brainage_bids.bids.names import derivative_path, io_spec
from brainage_bids.bids.sidecars import table_columns
from brainage_bids.bids.sink import sink_json, sink_table
from brainage_bids.modalities import by_words
from brainage_bids.phantoms.ageing import STRUCTURES
from brainage_bids.phantoms.cohort import READING, Cohort, Person, stream
from brainage_bids.phantoms.design import Design
from brainage_bids.phantoms.people import Visit
from brainage_bids.phantoms.scanners import reading_error
from brainage_bids.records import AgeEstimate, Session

VOLUME_ERROR = 0.01
"""Standard deviation of the logarithm of a measured volume."""
FLAGGED_MOTION = 0.5
"""Visits with stronger motion have the flag ``motion_suspected``."""
NORMAL_95 = 1.959964


@dataclass(frozen=True)
class Reader:
    """A simulated model.

    Attributes
    ----------
    name, modality : str
        As in the tables.
    slope : float
        b, the share of a difference in brain age that is read.
    person_sd, visit_sd : float
        Of the errors that stay with a person and that are new at each visit, years.
    """

    name: str
    modality: str
    slope: float
    person_sd: float
    visit_sd: float

    @property
    def sd(self) -> float:
        """Standard deviation of both errors, years."""
        return float(np.hypot(self.person_sd, self.visit_sd))

    @property
    def sha256(self) -> str:
        """What stands where the hash of the weights of a real model would."""
        return hashlib.sha256(repr(self).encode()).hexdigest()


SINGLE = {
    name: Reader(f"sim{row.key}", name, row.simulated.slope, row.simulated.person_sd, row.simulated.visit_sd)
    for name, row in by_words().items()
}


def readers(design: Design) -> tuple[Reader, ...]:
    """One model a modality and, of two or more, one of all.

    >>> [reader.name for reader in readers(Design(modalities=("T1w", "SWI")))]
    ['simt1w', 'simswi', 'simall']
    """
    single = [SINGLE[modality] for modality in design.modalities]
    if len(single) == 1:
        return tuple(single)
    return (*single, Reader("simall", "+".join(design.modalities), 0.90, 2.5, 0.8))


def centre(design: Design) -> float:
    """The age c to which the models regress, years.

    >>> centre(Design())
    52.5
    """
    return sum(design.ages) / 2


def read_ages(design: Design, person: Person, scanner_numbers: tuple[int, ...]) -> list[list[AgeEstimate]]:
    """Estimates of a person: for each visit one a model."""
    rng, models = stream(design, person.number, READING), readers(design)
    own = rng.standard_normal(len(models))
    visits = []
    for visit, number in zip(person.visits, scanner_numbers):
        fresh = rng.standard_normal(len(models))
        offset = reading_error(number)[0]
        ages = [
            centre(design) + model.slope * (visit.brain_age - centre(design)) + offset + model.person_sd * mine + model.visit_sd * new
            for model, mine, new in zip(models, own, fresh)
        ]
        visits.append([_estimate(model, float(age), visit) for model, age in zip(models, ages)])
    return visits


def measured_volumes(design: Design, person: Person, k: int, scanner: int, volumes: Mapping[str, float]) -> dict[str, float]:
    """Volumes of aseg regions as a scanner would have them, mm³, by code.

    Both sides are halves of the true volume, with an error of their own.
    """
    rng, factor = stream(design, person.number, READING, 1 + k), reading_error(scanner)[1]
    out = {}
    for name, codes in STRUCTURES.items():
        if name == "subcortical_grey":
            continue
        shares = _ventricle_shares(codes) if name == "ventricles" else {code: 1 / len(codes) for code in codes}
        for code in codes:
            out[code] = 1000 * volumes[name] * shares[code] * factor * float(np.exp(VOLUME_ERROR * rng.standard_normal()))
    return out


def describe(design: Design) -> dict[str, Any]:
    """What is planted in the simulated tables, for ``effects.json``."""
    return {
        "law": "brain_age read = centre + slope * (brain age - centre) + offset of the scanner + error of the person + error of the visit",
        "centre": centre(design),
        "models": [asdict(model) for model in readers(design)],
        "volumes": {
            "law": "true volume * factor of the scanner * exp(error); sides are halves, the inferior horn an eighth of a lateral ventricle",
            "error_log_sd": VOLUME_ERROR,
        },
    }


class Writer:
    """Writes the tables of a cohort below a derivatives dataset."""

    def __init__(self, root: Path, cohort: Cohort, regions: Mapping[int, tuple[str, str, str]]) -> None:
        self.root, self.cohort, self.regions = root, cohort, regions
        self._atlas = table_columns("volumes_atlas")
        self._volumes = table_columns("volumes")

    def write_shared(self) -> None:
        """Write the descriptions of columns once, above all people (they are inherited)."""
        sink_json(COLUMNS, self.root / "brainage.json")
        sink_json(self._volumes, self.root / "desc-volumes_morph.json")
        sink_json(self._atlas, self.root / f"seg-{io_spec()['defaults']['seg']}_desc-volumes_morph.json")

    def write_person(self, person: Person, volumes: list[Mapping[str, float]]) -> None:
        """Write three tables a visit."""
        design = self.cohort.design
        numbers = tuple(self.cohort.scanner_number(person.number, k) for k in range(len(person.visits)))
        for k, (visit, estimates) in enumerate(zip(person.visits, read_ages(design, person, numbers))):
            measured = measured_volumes(design, person, k, numbers[k], volumes[k])
            session = Session(visit.participant_id, visit.session_id, {}, visit.age, visit.sex, visit.scanner.site)
            self._sink("brainage", visit, estimate_rows(session, estimates), COLUMNS)
            self._sink("volumes", visit, [self._tissues(visit, measured, volumes[k]["cranium"])], self._volumes)
            self._sink("volumes_atlas", visit, self._structures(visit, measured), self._atlas)

    def _sink(self, key: str, visit: Visit, rows: list[dict[str, Any]], columns: Mapping[str, Any]) -> None:
        path = derivative_path(self.root, key, visit.participant_id, visit.session_id)
        sink_table(rows, path, columns, sidecar=False, flush=False)

    def _tissues(self, visit: Visit, measured: Mapping[int, float], cranium_ml: float) -> dict[str, Any]:
        sums = {"GM": 0.0, "WM": 0.0, "CSF": 0.0}
        for code, volume in measured.items():
            sums[self.regions[code][2]] += volume
        row = {
            "participant_id": visit.participant_id,
            "session_id": visit.session_id,
            **sums,
            "brain": sums["GM"] + sums["WM"],
            "eTIV": 1000 * cranium_ml,
            "mask": sum(sums.values()),
        }
        return {name: round(row[name], 1) if isinstance(row[name], float) else row[name] for name in self._volumes}

    def _structures(self, visit: Visit, measured: Mapping[int, float]) -> list[dict[str, Any]]:
        identifiers = {"participant_id": visit.participant_id, "session_id": visit.session_id}
        return [
            {**identifiers, "index": code, "name": name, "hemisphere": side, "volume_mm3": round(measured[code], 1)}
            for code, (name, side, _) in self.regions.items()
        ]


def _estimate(model: Reader, age: float, visit: Visit) -> AgeEstimate:
    return AgeEstimate(
        model=model.name,
        modality=model.modality,
        brain_age=age,
        sd=model.sd,
        sd_within=None,
        sd_between=None,
        low=age - NORMAL_95 * model.sd,
        high=age + NORMAL_95 * model.sd,
        interval_level=0.95,
        interval_method="gaussian",
        flags=("motion_suspected",) * (visit.motion > FLAGGED_MOTION),
        model_sha256=model.sha256,
    )


def _ventricle_shares(codes: tuple[int, ...]) -> dict[int, float]:
    """Body and inferior horn of a lateral ventricle: seven eighths and an eighth."""
    return {code: (0.0625 if code in (5, 44) else 0.4375) for code in codes}
