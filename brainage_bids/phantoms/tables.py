"""The tables of a phantom cohort: their rows and what each column means."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from brainage_bids.bids.sink import sink_json, sink_table, sink_text
from brainage_bids.phantoms import blood
from brainage_bids.phantoms.ageing import LAWS, STRUCTURES, iron
from brainage_bids.phantoms.cohort import RISKS, Person
from brainage_bids.phantoms.design import Design
from brainage_bids.phantoms.people import Visit

VOLUMES = (*STRUCTURES, "cranium", "lesions")
"""Volumes of the table of the truth, mL."""
_SEX = {"Description": "Sex (simulated)", "Levels": {"F": "female", "M": "male"}}
_GROUP = {"Description": "Group (simulated)", "Levels": {"control": "healthy", "patient": "with the pattern of Alzheimer's disease"}}
_SITE = {"Description": "Site of the scanner; which scanner is which is written in derivatives/truth/effects.json"}
_SCANNER = {"Description": "Scanner; its properties are written in derivatives/truth/effects.json"}
_YES_NO = {"0": "no", "1": "yes"}

PARTICIPANTS: Mapping[str, Mapping[str, Any]] = {
    "participant_id": {"Description": "Identifier of the simulated person"},
    "age": {"Description": "Age at the first visit", "Units": "years"},
    "sex": _SEX,
    "group": _GROUP,
    "site": _SITE,
    "scanner": _SCANNER,
    **{name: {"Description": f"{name.capitalize()} (simulated)", "Levels": _YES_NO} for name in RISKS},
}
SESSIONS: Mapping[str, Mapping[str, Any]] = {
    "session_id": {"Description": "Identifier of the visit; they are numbered in the order of time"},
    "age": {"Description": "Age at the visit; visits at one age are retests", "Units": "years"},
    "site": _SITE,
    "scanner": _SCANNER,
}
IDENTIFIERS: Mapping[str, Mapping[str, Any]] = {
    "participant_id": {"Description": "Identifier of the simulated person"},
    "session_id": {"Description": "Identifier of the visit; n/a in a cohort of one session"},
}
TRUTH: Mapping[str, Mapping[str, Any]] = {
    **IDENTIFIERS,
    "age": {"Description": "Age at the visit", "Units": "years"},
    "gap": {"Description": "Latent gap of the person", "Units": "years"},
    "brain_age": {"Description": "What a perfect method finds", "Units": "years", "Formula": "age + gap"},
    "sex": _SEX,
    "group": _GROUP,
    "pattern": {"Description": "Strength of the Alzheimer pattern; 1 is the published shift at 75 years"},
    "site": _SITE,
    "scanner": _SCANNER,
    "motion": {"Description": "Strength of motion during the scan, 0 (none) to 1 (strong)"},
    **{name: {"Description": f"{name.capitalize()}", "Levels": _YES_NO} for name in RISKS},
    blood.APOE: {"Description": "Number of epsilon 4 alleles of the APOE gene", "Levels": {"0": "none", "1": "one", "2": "two"}},
    **{
        f"standing_{law}": {"Description": f"Where the person stands in {law!r} among people of this brain age and sex, in s.d."}
        for law in LAWS
    },
    **{f"{name}_ml": {"Description": f"True volume: {name.replace('_', ' ')}", "Units": "mL"} for name in VOLUMES},
    "microbleeds": {"Description": "Number of microbleeds; n/a where nothing is painted"},
    **{f"iron_{name}": {"Description": f"Iron in the {name}", "Units": "mg/kg"} for name in ("pallidum", "putamen", "caudate")},
}
"""A row a visit."""


def participant_row(person: Person) -> dict[str, Any]:
    """A row of ``participants.tsv``."""
    first = person.first
    return {
        "participant_id": first.participant_id,
        "age": first.age,
        "sex": first.sex,
        "group": first.group,
        "site": first.scanner.site,
        "scanner": first.scanner.name,
        **{name: int(person.risks[name]) for name in RISKS},
    }


def session_rows(person: Person) -> list[dict[str, Any]]:
    """Rows of ``sub-X_sessions.tsv``."""
    return [
        {"session_id": visit.session_id, "age": visit.age, "site": visit.scanner.site, "scanner": visit.scanner.name}
        for visit in person.visits
    ]


def blood_rows(person: Person) -> Iterator[dict[str, Any]]:
    """Rows of ``phenotype/blood.tsv``; the session is a column where there is more than one."""
    for visit, values in zip(person.visits, person.blood):
        session = {"session_id": visit.session_id} if visit.session_id else {}
        yield {"participant_id": visit.participant_id, **session, **values}


def truth_row(person: Person, visit: Visit, volumes: Mapping[str, float]) -> dict[str, Any]:
    """A row of the table of the truth.

    Parameters
    ----------
    person, visit
        Who, and when.
    volumes : mapping
        mL, by the names of `VOLUMES`; those that are missing are None.
    """
    grams = iron(visit)
    return {
        "participant_id": visit.participant_id,
        "session_id": visit.session_id,
        "age": visit.age,
        "gap": visit.gap,
        "brain_age": round(visit.brain_age, 3),
        "sex": visit.sex,
        "group": visit.group,
        "pattern": visit.pattern,
        "site": visit.scanner.site,
        "scanner": visit.scanner.name,
        "motion": visit.motion,
        **{name: int(person.risks[name]) for name in RISKS},
        blood.APOE: person.e4,
        **{f"standing_{law}": visit.standing.get(law) for law in LAWS},
        **{f"{name}_ml": None if volumes.get(name) is None else round(float(volumes[name]), 4) for name in VOLUMES},
        "microbleeds": None if volumes.get("microbleeds") is None else int(volumes["microbleeds"]),
        **{f"iron_{name}": round(value, 2) for name, value in grams.items()},
    }


def write_folder(out: Path, design: Design, person: Person) -> None:
    """Make the folder of a person, which BIDS wants of everybody in participants.tsv, and write the table of sessions if there is one."""
    name = person.first.participant_id
    if design.sessions > 1:
        sink_table(session_rows(person), out / name / f"{name}_sessions.tsv", SESSIONS, sidecar=False, flush=False)
    else:
        (out / name).mkdir(parents=True, exist_ok=True)


def write_raw_tables(out: Path, design: Design, participants: Iterable[Mapping], taken: Iterable[Mapping]) -> None:
    """Write participants.tsv and the blood from their rows, and what the columns of sessions mean."""
    sink_table(participants, out / "participants.tsv", PARTICIPANTS)
    if design.sessions > 1:
        sink_json(SESSIONS, out / "sessions.json")
    if design.blood:
        measured = {
            "MeasurementToolMetadata": {"Description": "Simulated fasting blood; parameters of Ren et al. 2021, doi:10.1002/hbm.25748"}
        }
        sink_table(taken, out / "phenotype" / "blood.tsv", {**IDENTIFIERS, **blood.columns()}, sidecar=measured)


def write_truth_table(out: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write the table of the truth with its JSON file."""
    sink_table(rows, out / "participants.tsv", TRUTH)


def write_text(path: Path, text: str) -> None:
    """Write a text unless it stands there already."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        sink_text(text, path)
