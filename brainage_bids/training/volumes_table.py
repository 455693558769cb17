"""The people a ``volumes`` model is trained on: a table of FreeSurfer's volumes, cleaned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from brainage_bids.bids.columns import decimal_comma
from brainage_bids.bids.descriptions import entry
from brainage_bids.bids.sources import known_cells
from brainage_bids.bids.tables import Table, is_missing, read_json_object, read_tsv
from brainage_bids.bids.units import age_unit, parse_age
from brainage_bids.models.volumes import STRUCTURES, Structure, log_shares
from brainage_bids.records import BadConfiguration, BadDataset

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "cortex": ("lhCortexVol_mm3", "rhCortexVol_mm3"),
    "white_matter": ("lhCerebralWhiteMatterVol_mm3", "rhCerebralWhiteMatterVol_mm3"),
    "lateral_ventricles": (
        "Left_Lateral_Ventricle_mm3",
        "Right_Lateral_Ventricle_mm3",
        "Left_Inf_Lat_Vent_mm3",
        "Right_Inf_Lat_Vent_mm3",
        "Left_choroid_plexus_mm3",
        "Right_choroid_plexus_mm3",
    ),
    "third_ventricle": ("3rd_Ventricle_mm3",),
    "fourth_ventricle": ("4th_Ventricle_mm3",),
    "thalamus": ("Left_Thalamus_Proper_mm3", "Right_Thalamus_Proper_mm3"),
    "caudate": ("Left_Caudate_mm3", "Right_Caudate_mm3"),
    "putamen": ("Left_Putamen_mm3", "Right_Putamen_mm3"),
    "pallidum": ("Left_Pallidum_mm3", "Right_Pallidum_mm3"),
    "hippocampus": ("Left_Hippocampus_mm3", "Right_Hippocampus_mm3"),
    "amygdala": ("Left_Amygdala_mm3", "Right_Amygdala_mm3"),
    "accumbens": ("Left_Accumbens_area_mm3", "Right_Accumbens_area_mm3"),
    "ventral_diencephalon": ("Left_VentralDC_mm3", "Right_VentralDC_mm3"),
    "brain_stem": ("Brain_Stem_mm3",),
    "cerebellar_cortex": ("Left_Cerebellum_Cortex_mm3", "Right_Cerebellum_Cortex_mm3"),
    "cerebellar_white_matter": ("Left_Cerebellum_White_Matter_mm3", "Right_Cerebellum_White_Matter_mm3"),
}
"""Columns of each structure. FreeSurfer's volume of the cerebral white matter is measured inside the white surface
(surfer.nmr.mgh.harvard.edu/fswiki/MorphometryStats); the corpus callosum and white-matter hypointensities are taken to be part of
it, as they are of ours, and their own columns are not read. The choroid plexus belongs to our lateral ventricles."""
ROBUST_SDS = 6.0
"""A share farther than this from the median is not a brain's: the surfaces failed."""


@dataclass(frozen=True)
class VolumeTable:
    """People to train on; one entry a person in every sequence.

    Attributes
    ----------
    participants : tuple of str
    ages : ndarray, shape (n,)
        Years.
    sexes, sites : tuple of str or None
    volumes : tuple of mapping
        mm³ by the name of a structure, on the scale of the table.
    left_out : tuple of (str, str)
        Who is not used, and why.
    """

    participants: tuple[str, ...]
    ages: np.ndarray
    sexes: tuple[str | None, ...]
    sites: tuple[str | None, ...]
    volumes: tuple[Mapping[str, float], ...]
    left_out: tuple[tuple[str, str], ...] = ()

    def features(self, structures: tuple[Structure, ...]) -> np.ndarray:
        """``log_shares`` of everybody, shape (n, used structures + 1)."""
        return np.array([log_shares(person, structures) for person in self.volumes])

    def rows(self, keep: np.ndarray, left_out: Sequence[tuple[str, str]] = ()) -> VolumeTable:
        """The people of some rows, with further ones named as left out."""
        columns = {
            name: tuple(getattr(self, name)[row] for row in np.flatnonzero(keep)) for name in ("participants", "sexes", "sites", "volumes")
        }
        return replace(self, ages=self.ages[keep], left_out=(*self.left_out, *left_out), **columns)

    def counts(self, values: Sequence[str | None]) -> dict[str, int]:
        """How many people have each value, the unknown aside."""
        return dict(sorted(Counter(value for value in values if value is not None).items()))

    def reasons(self) -> dict[str, list[str]]:
        """Why people were left out, and whom it concerns."""
        found: dict[str, list[str]] = {}
        for person, reason in self.left_out:
            found.setdefault(reason, []).append(person)
        return found


def read_volume_table(path: Path | str, *, leave_out: Collection[str] = ()) -> VolumeTable:
    """Read a table of FreeSurfer's volumes and leave out what cannot be trained on.

    Parameters
    ----------
    path : Path
        A row a person: participant_id, age, and `COLUMNS`; sex and site if known.
    leave_out : collection of str
        People who are to be judged later, by their ``participant_id``.

    Raises
    ------
    BadConfiguration
        If a column or a person who is to be left out is not there.
    BadDataset
        If fewer than 20 people are left.
    """
    described, _ = read_json_object(Path(path).with_suffix(".json"))
    table = known_cells(read_tsv(Path(path)), described)
    needed = ["participant_id", "age", *(column for columns in COLUMNS.values() for column in columns)]
    lacking = [name for name in needed if table.column(name) is None]
    if lacking:
        raise BadConfiguration(f"The table {path} lacks {', '.join(lacking)}.")
    absent = sorted(set(leave_out) - {row["participant_id"] for row in table.rows})
    if absent:
        raise BadConfiguration(f"Not in the table {path} and so cannot be left out: {', '.join(absent)}.")
    people = _people(table, age_unit(entry(described, table.column("age"))), set(leave_out))
    if len(people.ages) < 20:
        raise BadDataset(f"The table {path} has {len(people.ages)} people who can be trained on; 20 are the least.")
    return _without_outliers(people)


def _people(table: Table, unit: str | None, leave_out: set[str]) -> VolumeTable:
    """Everybody with an age and volumes above zero, each once."""
    repeated = {name for name, count in Counter(row["participant_id"] for row in table.rows).items() if count > 1}
    sex, site, ages = table.column("sex"), table.column("site"), table.column("age")
    comma = decimal_comma(row[ages] for row in table.rows)
    kept: list[tuple] = []
    left_out = []
    for row in table.rows:
        person = row["participant_id"]
        age = _years(row[ages].replace(",", ".") if comma else row[ages], unit)
        cells = {column: _number(row[column]) for columns in COLUMNS.values() for column in columns}
        volumes = {name: sum(cells[column] for column in columns) for name, columns in COLUMNS.items()}
        reasons = {
            "kept for judging": person in leave_out,
            "the same identifier twice": person in repeated,
            "no age": not np.isfinite(age),
            "a volume is missing or zero": not all(np.isfinite(value) and value > 0 for value in cells.values()),
        }
        reason = next((words for words, holds in reasons.items() if holds), None)
        if reason is not None:
            left_out.append((person, reason))
            continue
        known = [row[column] if column is not None and not is_missing(row[column]) else None for column in (sex, site)]
        kept.append((person, age, *known, volumes))
    participants, ages, sexes, sites, volumes = zip(*kept, strict=True) if kept else ((),) * 5
    return VolumeTable(participants, np.array(ages, dtype=float), sexes, sites, volumes, tuple(left_out))


def _without_outliers(people: VolumeTable) -> VolumeTable:
    """People of whom no share lies `ROBUST_SDS` from the median (1.4826 × the median distance from it is one)."""
    features = people.features(STRUCTURES)
    distance = np.abs(features - np.median(features, axis=0))
    far = distance / (1.4826 * np.median(distance, axis=0)) > ROBUST_SDS
    names = [*(structure.label for structure in STRUCTURES), "brain size"]
    left_out = [(people.participants[row], f"implausible: {names[int(np.argmax(far[row]))]}") for row in np.flatnonzero(far.any(axis=1))]
    return people.rows(~far.any(axis=1), left_out)


def _years(text: str, unit: str | None) -> float:
    """An age; NaN for a cell that is none, or but a bound, or where the unit is not known."""
    try:
        age = None if unit is None else parse_age(text, unit)
    except ValueError:
        return float("nan")
    return float("nan") if age is None or age.censored else age.years


def _number(text: str | None) -> float:
    """A number; NaN for a cell that is none."""
    try:
        return float(text) if text is not None and not is_missing(text) else float("nan")
    except ValueError:
        return float("nan")
