"""What the participants wrote, found by a walk over the name table: estimates, volumes, quality, and who has none and why."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from brainage_bids.bids.estimates import COLUMNS, read_rows
from brainage_bids.bids.joining import pair, plain_person
from brainage_bids.bids.model_files import TABLE, read_model_table
from brainage_bids.bids.names import find_derivatives, participant_folders, session_folders, with_prefix
from brainage_bids.bids.sink import sidecar_path
from brainage_bids.bids.tables import is_missing, read_json_object, read_tsv
from brainage_bids.files import read_json
from brainage_bids.records import BadDataset

EXAMPLES = 3
CONTRIBUTION = "contribution_years"
Visit = tuple[str, str | None]
"""Person and session (None in a dataset without sessions)."""


@dataclass
class Collected:
    """Everything that was read.

    Attributes
    ----------
    estimates : list of dict
        Rows of all ``B_brainage.tsv``.
    measures : mapping
        Visit to figures by name: ``vol_…`` volumes in mm³, ``qc_…`` quality figures, ``contrib_MODEL_…`` years that a structure
        adds to a model's brain age.
    versions : mapping
        Visit to the version of the program that made it, where the sidecar tells.
    visits : mapping
        Person to the sessions there are, of raw data and outputs.
    missing : list of dict
        ``participant_id, session_id, reason`` of everyone without an estimate.
    problems : list of str
        What was odd, a sentence each.
    """

    estimates: list[dict[str, Any]] = field(default_factory=list)
    measures: dict[Visit, dict[str, float]] = field(default_factory=dict)
    versions: dict[Visit, str] = field(default_factory=dict)
    visits: dict[str, list[str]] = field(default_factory=dict)
    missing: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def collect(bids_dir: Path, out_dir: Path, participant_labels: Sequence[str] = (), session_labels: Sequence[str] = ()) -> Collected:
    """Read the outputs of everyone.

    Parameters
    ----------
    bids_dir, out_dir : Path
        The raw dataset and the output folder.
    participant_labels, session_labels : sequence of str
        Only these, with or without prefix; all if empty.

    Raises
    ------
    BadDataset
        If one of the folders is none.
    """
    for folder, what in ((bids_dir, "The dataset"), (out_dir, "The output folder")):
        if not folder.is_dir():
            raise BadDataset(f"{what} {folder} is no folder; give the dataset and the folder that the participant level wrote.")
    people = {with_prefix(label, "sub-") for label in participant_labels}
    sessions = {with_prefix(label, "ses-") for label in session_labels}
    found = Collected()
    _read_estimates(out_dir, people, sessions, found)
    _read_measures(out_dir, people, sessions, found)
    _read_versions(out_dir, found)
    wanted = _wanted(bids_dir, out_dir, people)
    for person in sorted(wanted | {row["participant_id"] for row in found.estimates}):
        folders = set(session_folders(bids_dir, person)) | set(session_folders(out_dir, person))
        found.visits[person] = sorted(folders)
    found.missing = _missing(bids_dir, out_dir, sessions, found)
    absent = sorted(people - set(found.visits))
    if absent:
        found.problems.append(
            f"{', '.join(absent[:EXAMPLES])} asked for by --participant-label is neither in the dataset nor in the outputs."
        )
    return found


def some(names: Collection[str]) -> str:
    """A few names and how many more.

    >>> some(["a", "b", "c", "d"])
    'a, b, c and 1 more'
    """
    names = list(names)
    more = len(names) - EXAMPLES
    return ", ".join(names[:EXAMPLES]) + (f" and {more} more" if more > 0 else "")


def _files(out_dir: Path, key: str, people: set[str], sessions: set[str]) -> Iterator[Any]:
    for item in find_derivatives(out_dir, key):
        if (not people or item.participant_id in people) and (not sessions or item.session_id in sessions):
            yield item


def _read_estimates(out_dir: Path, people: set[str], sessions: set[str], found: Collected) -> None:
    other_columns, strangers, empty = [], [], []
    for item in _files(out_dir, "brainage", people, sessions):
        try:
            rows = read_rows(item.path)
        except (OSError, ValueError) as error:
            found.problems.append(f"{item.path.name} cannot be read ({error}) and is left out; run the participant level again.")
            continue
        if not rows:
            empty.append(item.path.name)
        for row in rows:
            if row.get("participant_id") != item.participant_id or (row.get("session_id") or None) != item.session_id:
                strangers.append(item.path.name)
                continue
            if set(row) != set(COLUMNS):
                other_columns.append(item.path.name)
            if row.get("model") is None:
                found.problems.append(f"{item.path.name} has a row without a model, which is left out.")
                continue
            found.estimates.append({name: row.get(name) for name in COLUMNS})
    if empty:
        found.problems.append(f"{len(empty)} table(s) of brain age have no row ({some(empty)}); run the participant level again for them.")
    if other_columns:
        names = list(dict.fromkeys(other_columns))
        found.problems.append(
            f"{len(names)} table(s) of brain age have other columns than this version writes ({some(names)}); they come from another "
            "version, so run the participant level again for them."
        )
    if strangers:
        names = list(dict.fromkeys(strangers))
        found.problems.append(f"{len(names)} table(s) hold rows of somebody else than their name says ({some(names)}); these are left out.")


def _read_measures(out_dir: Path, people: set[str], sessions: set[str], found: Collected) -> None:
    readers = {"volumes": _volumes, "volumes_atlas": _structures, "qc": _quality, "other_qc": _quality, TABLE: _contributions}
    for key, reader in readers.items():
        bad = []
        for item in _files(out_dir, key, people, sessions):
            try:
                values = reader(item.path, item.entities)
            except (OSError, ValueError, KeyError) as error:
                bad.append(f"{item.path.name}: {error}")
                continue
            found.measures.setdefault((item.participant_id, item.session_id), {}).update(values)
        if bad:
            found.problems.append(f"{len(bad)} table(s) of measures cannot be read and are left out ({some(bad)}).")


def _volumes(path: Path, _: Mapping[str, str]) -> dict[str, float]:
    rows = read_tsv(path).rows
    cells = list(rows[0].items()) if rows else []
    return {
        f"vol_{name}": float(text)
        for name, text in reversed(cells)
        if name not in ("participant_id", "session_id") and not is_missing(text)
    }


def _structures(path: Path, _: Mapping[str, str]) -> dict[str, float]:
    values: dict[str, float] = {}
    for row in read_tsv(path).rows:
        if not is_missing(row["volume_mm3"]) and not is_missing(row["name"]):
            values[f"vol_{row['name']}"] = float(row["volume_mm3"])
    return values


def _quality(path: Path, entities: Mapping[str, str]) -> dict[str, float]:
    image = f"{entities['modality']}_" if "modality" in entities else ""
    return {f"qc_{image}{row['metric']}": float(row["value"]) for row in _named(path, "metric") if not is_missing(row["value"])}


def _named(path: Path, name: str) -> list[dict[str, str]]:
    return [row for row in read_tsv(path).rows if not is_missing(row[name])]


def _contributions(path: Path, entities: Mapping[str, str]) -> dict[str, float]:
    """Years that each row of a model's table adds to its brain age, where the table has such a column."""
    numbers = read_model_table(path).numbers()
    return {f"contrib_{entities['model']}_{row}": value for row, column, value in numbers if column == CONTRIBUTION}


def _read_versions(out_dir: Path, found: Collected) -> None:
    visits = {(row["participant_id"], row["session_id"]) for row in found.estimates}
    for item in find_derivatives(out_dir, "preproc"):
        if (item.participant_id, item.session_id) in visits:
            content, _ = read_json_object(sidecar_path(item.path))
            if isinstance(content.get("ProgramVersion"), str):
                found.versions[item.participant_id, item.session_id] = content["ProgramVersion"]


def _wanted(bids_dir: Path, out_dir: Path, people: set[str]) -> set[str]:
    """Everyone of the raw data, of participants.tsv and of the outputs."""
    wanted = set(participant_folders(bids_dir)) | set(participant_folders(out_dir))
    with contextlib.suppress(OSError):  # that it cannot be read is told with the phenotype
        rows = read_tsv(bids_dir / "participants.tsv").rows
        listed = {with_prefix(name, "sub-") for row in rows if not is_missing(name := row.get("participant_id"))}
        otherwise, _ = pair(listed, wanted, plain_person)
        wanted |= {otherwise.get(name, name) for name in listed}
    return wanted & people if people else wanted


def _missing(bids_dir: Path, out_dir: Path, sessions: set[str], found: Collected) -> list[dict[str, Any]]:
    failures = _failures(out_dir, found)
    there = {(row["participant_id"], row["session_id"]) for row in found.estimates}
    persons = {person for person, _ in there}
    rows = []
    for person, visits in found.visits.items():
        wanted: list[str | None] = [visit for visit in visits if not sessions or visit in sessions] if visits else [None]
        if (person, None) in there:
            continue
        for visit in wanted:
            if (person, visit) in there:
                continue
            reason = failures.get((person, visit)) or (failures.get((person, None)) if person not in persons else None)
            rows.append({"participant_id": person, "session_id": visit, "reason": reason or _why(bids_dir, out_dir, person, visit)})
    return rows


def _why(bids_dir: Path, out_dir: Path, person: str, visit: str | None) -> str:
    raw, done = (Path(root) / person / (visit or "") for root in (bids_dir, out_dir))
    if not done.is_dir():
        return "not processed: the outputs have no folder" if raw.is_dir() else "listed in participants.tsv only"
    return "no brain age was estimated: the outputs have a folder without a table of brain age"


def _failures(out_dir: Path, found: Collected) -> dict[Visit, str]:
    failures = {}
    for path in sorted((out_dir / "logs" / "failures").glob("*.json")):
        try:
            content = read_json(path)
            for record in content if isinstance(content, list) else [content]:
                who = (record["participant_id"], record.get("session_id"))
                failures.setdefault(who, f"failed at {record['stage']}: {record['message']}")
        except (OSError, ValueError, KeyError, TypeError) as error:
            found.problems.append(f"The record of a failure {path.name} cannot be read ({error}).")
    return failures
