"""Age, sex and site of every visit, joined from the tables of a dataset by identifier."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from brainage_bids.bids.columns import name_problems, read_column
from brainage_bids.bids.descriptions import entry
from brainage_bids.bids.joining import EXAMPLES, Renamed
from brainage_bids.bids.names import participant_folders
from brainage_bids.bids.sources import Key, Source, Visits, read_source
from brainage_bids.bids.tables import is_missing
from brainage_bids.bids.units import Age, parse_age, parse_sex
from brainage_bids.records import BadConfiguration

_OF_AGE = re.compile(r"(?<![A-Za-z])[Aa](?:ge|GE)(?![a-z])|(?<=[a-z])Age(?![a-z])")
"""In names of columns such as ``age_months``, ``ScanAge``, ``Age (years)``, not in ``stage`` or ``agent``."""


@dataclass(frozen=True)
class Record:
    """What the tables say about one visit."""

    age: float | None = None  # years
    sex: Literal["F", "M"] | None = None
    site: str | None = None
    flags: tuple[str, ...] = ()


@dataclass
class Phenotype:
    """The tables of a dataset for the people asked for; made by `load_phenotype`.

    Attributes
    ----------
    user : list of Source
        Tables named by the user.
    sessions, participants, instruments : list of Source
        ``sub-X_sessions.tsv``, ``participants.tsv``, ``phenotype/*.tsv``.
    first_visit : mapping
        Person to the visit that an age without a visit belongs to; None where the visits have no known order.
    """

    user: list[Source] = field(default_factory=list)
    sessions: list[Source] = field(default_factory=list)
    participants: list[Source] = field(default_factory=list)
    instruments: list[Source] = field(default_factory=list)
    first_visit: Mapping[str, str | None] = field(default_factory=dict)
    _problems: list[str] = field(default_factory=list)
    _odd: dict[tuple[str, str, str], dict[str, str]] = field(default_factory=dict)
    _sessions_of: dict[str, list[Source]] | None = None
    _columns: dict[tuple[str, str], Mapping[Key, float | str | None]] = field(default_factory=dict)

    def record(self, participant_id: str, session_id: str | None) -> Record:
        """Return age, sex and site of one visit with the flags that follow.

        Tables named by the user are asked before those of the dataset, and among these a row of the visit before a row of
        the person. The age in a row of the person belongs to the first visit; a later one takes it with the flag
        ``age_not_per_session``.
        """
        lookups = self._lookups(participant_id, session_id)
        flags: list[str] = []
        age = None
        for source, key in lookups:
            age = self._age(source, key)
            if age is not None:
                if age.censored:
                    flags.append("age_censored")
                if key[1] is None and session_id is not None and self.first_visit.get(participant_id) != session_id:
                    flags.append("age_not_per_session")
                break
        if age is None:
            flags.append("age_missing")
        sexes = (self._sex(source, key) for source, key in lookups)
        sites = (source.rows[key][source.site] for source, key in lookups if source.site is not None)
        return Record(
            age=None if age is None else age.years,
            sex=next((sex for sex in sexes if sex is not None), None),
            site=next((site for site in sites if not is_missing(site)), None),
            flags=tuple(flags),
        )

    def values(self, participant_id: str, session_id: str | None, columns: Sequence[str]) -> dict[str, float | str | None]:
        """Return what the tables say of one visit in some columns: numbers where they are, None where nothing is said.

        Tables are asked in the order of `record`; ``sex`` is 0 for women and 1 for men.
        """
        found: dict[str, float | str | None] = {}
        lookups = self._lookups(participant_id, session_id)
        for name in columns:
            cells = (self._column(source, name).get(key) for source, key in lookups)
            found[name] = next((cell for cell in cells if cell is not None), None)
        if "sex" in found:
            sexes = {"F": 0.0, "M": 1.0}
            found["sex"] = sexes.get(self.record(participant_id, session_id).sex)
        return found

    def _column(self, source: Source, name: str) -> Mapping[Key, float | str | None]:
        """A column of a table as what all its cells together are, by row."""
        if (source.label, name) not in self._columns:
            read = read_column(name, [row.get(name) for row in source.rows.values()], entry(source.described, name))
            self._columns[source.label, name] = dict(zip(source.rows, read.values, strict=True))
        return self._columns[source.label, name]

    def problems(self) -> list[str]:
        """Return what was odd in the tables, one sentence each; cells that could not be read once they were asked for."""
        gathered = []
        for (label, column, reason), cases in self._odd.items():
            some = ", ".join(f"{value!r} of {who}" for who, value in list(cases.items())[:EXAMPLES])
            more = ", …" if len(cases) > EXAMPLES else ""
            gathered.append(f"{label}: {len(cases)} value(s) of {column!r} taken as missing, because it {reason} ({some}{more}).")
        return [*self._problems, *gathered, *self._about_ages(), *self._about_names()]

    def cells(self, participant_id: str, session_id: str | None) -> dict[str, str | None]:
        """Every column of the user's tables as text; cells of the visit before those of the person, None where nothing is known."""
        found: dict[str, str | None] = {}
        for source in self.user:
            for key in dict.fromkeys(((participant_id, session_id), (participant_id, None))):
                for name, text in source.rows.get(key, {}).items():
                    if found.get(name) is None:
                        found[name] = None if is_missing(text) else text
        return found

    def about(self, column: str | None) -> list[str]:
        """What is doubtful in a column of names in the user's tables."""
        said: list[str] = []
        for source in self.user if column is not None else ():
            said += name_problems(column, [row.get(column) for row in source.rows.values()], entry(source.described, column))
        return said

    def _about_ages(self) -> list[str]:
        """What columns may hold ages, if none is called so."""
        named = [(source, source.label) for source in (*self.user, *self.participants, *self.instruments)]
        named += [(source, "sub-X_sessions.tsv") for source in self.sessions]
        if any(source.age is not None for source, _ in named):
            return []
        alike = [(label, column) for source, label in named for column in next(iter(source.rows.values()), {}) if _OF_AGE.search(column)]
        return [
            f"{label} has no column 'age', and {column!r} is not taken for it; call it age, and say its Units in the JSON file."
            for label, column in dict.fromkeys(alike)
        ]

    def _about_names(self) -> list[str]:
        """What is doubtful in the sites, and what the tables call otherwise than the folders."""
        said: list[str] = []
        sessions = Renamed()
        for source in self.sessions:
            sessions.add(source.renamed)
        for source in (*self.user, *self.participants, *self.instruments):
            said += source.renamed.sentences(source.label)
            if source.site is not None:
                said += name_problems(source.site, [row[source.site] for row in source.rows.values()], entry(source.described, source.site))
        return list(dict.fromkeys([*said, *sessions.sentences("sub-X_sessions.tsv")]))

    def _lookups(self, participant_id: str, session_id: str | None) -> list[tuple[Source, Key]]:
        visit: Key = (participant_id, session_id)
        person: Key = (participant_id, None)
        order = [(source, key) for source in self.user for key in (visit, person)]
        order += [(source, visit) for source in (*self._own_sessions(participant_id), *self.participants, *self.instruments)]
        order += [(source, person) for source in (*self.participants, *self.instruments)]
        return [(source, key) for source, key in order if key in source.rows]

    def _own_sessions(self, participant_id: str) -> list[Source]:
        if self._sessions_of is None:  # thousands of people have a table each, and asking all of them for each takes minutes
            self._sessions_of = {}
            for source in self.sessions:
                for person in {key[0] for key in source.rows}:
                    self._sessions_of.setdefault(person, []).append(source)
        return self._sessions_of.get(participant_id, [])

    def _age(self, source: Source, key: Key) -> Age | None:
        if source.age is None or source.unit is None:
            return None
        text = source.rows[key][source.age]
        try:
            return parse_age(text.replace(",", ".") if source.comma else text, source.unit)
        except ValueError as error:
            self._odd.setdefault((source.label, source.age, str(error)), {})["_".join(filter(None, key))] = text
            return None

    def _sex(self, source: Source, key: Key) -> Literal["F", "M"] | None:
        if source.sex is None:
            return None
        text = source.rows[key][source.sex]
        try:
            return parse_sex(text, source.levels)
        except ValueError as error:
            self._odd.setdefault((source.label, source.sex, str(error)), {})["_".join(filter(None, key))] = text
            return None


def load_phenotype(bids_dir: Path | None, visits: Visits, phenotype_files: Sequence[Path | str] = ()) -> Phenotype:
    """Read the tables that say something about the people asked for.

    Parameters
    ----------
    bids_dir : Path or None
        The raw dataset; None to use the tables of the user alone.
    visits : mapping
        The people asked for, each with all ``ses-Y`` folders on disk (an empty list without sessions).
    phenotype_files : sequence of Path
        Further tables (``--phenotype``), the most trusted first. Each has ``participant_id`` and may have ``session_id``.

    Returns
    -------
    Phenotype

    Raises
    ------
    BadConfiguration
        If a table named by the user cannot be read or has no ``participant_id``.
    BadDataset
        If rows of ``participants.tsv`` or of a table of the user contradict each other, or it codes sex by numbers without levels.
    """
    phenotype = Phenotype()
    everyone = participant_folders(bids_dir) if bids_dir is not None else []
    for path in map(Path, phenotype_files):
        phenotype.user.append(_user_source(path, visits, everyone, phenotype))
    first_visit: dict[str, str | None] = {person: _first_by_number(sessions) for person, sessions in visits.items()}
    if bids_dir is not None:
        participants = bids_dir / "participants.tsv"
        if os.path.lexists(participants):
            _add(phenotype, phenotype.participants, participants, visits, label="participants.tsv", strict=True, everyone=everyone)
            _note_absent(phenotype, visits)
        else:
            phenotype._problems.append("The dataset has no participants.tsv, so ages and sexes may be unknown.")
        for path in sorted(bids_dir.glob("phenotype/*.tsv")):
            _add(phenotype, phenotype.instruments, path, visits, label=f"phenotype/{path.name}", strict=False, everyone=everyone)
        for person, sessions in visits.items():
            path = bids_dir / person / f"{person}_sessions.tsv"
            if sessions and os.path.lexists(path):
                sidecars = [bids_dir / "sessions.json", path.with_suffix(".json")]
                source = _add(
                    phenotype, phenotype.sessions, path, {person: sessions}, label=path.name, strict=False, sidecars=sidecars, person=person
                )
                first_visit[person] = (source and _first_by_table(source, sessions)) or first_visit[person]
    phenotype.first_visit = first_visit
    return phenotype


def _user_source(path: Path, visits: Visits, everyone: Sequence[str], phenotype: Phenotype) -> Source:
    try:
        source = read_source(path, visits, label=path.name, strict=True, everyone=everyone)
    except OSError as error:
        raise BadConfiguration(f"The phenotype table {path} cannot be read ({error.strerror}); check --phenotype.") from error
    if isinstance(source, list):
        raise BadConfiguration(f"The phenotype table {path} cannot be used: {source[-1]}")
    phenotype._problems += source.problems
    return source


def _add(phenotype: Phenotype, sources: list[Source], path: Path, visits: Visits, **how) -> Source | None:
    """Read a table of the dataset; one that cannot be read is a problem, not the end."""
    try:
        source = read_source(path, visits, **how)
    except OSError as error:
        source = [f"{how['label']} cannot be read ({error.strerror}) and is left out."]
    if isinstance(source, list):
        phenotype._problems += source
        return None
    phenotype._problems += source.problems
    sources.append(source)
    return source


def _note_absent(phenotype: Phenotype, visits: Visits) -> None:
    for source in phenotype.participants:
        listed = {person for person, _ in source.rows}
        absent = [person for person in visits if person not in listed]
        if absent:
            some = ", ".join(absent[:EXAMPLES]) + (", …" if len(absent) > EXAMPLES else "")
            phenotype._problems.append(f"{source.label} has no row for {len(absent)} participant(s) ({some}).")


def _first_by_number(sessions: Sequence[str]) -> str | None:
    """Return the visit with the lowest number; None if the labels do not count (``ses-pre``, ``ses-post``).

    >>> _first_by_number(["ses-10", "ses-9"]), _first_by_number(["ses-post", "ses-pre"])
    ('ses-9', None)
    """
    if len(sessions) < 2:
        return sessions[0] if sessions else None
    matches = [re.fullmatch(r"(.*?)(\d+)", session) for session in sessions]
    if any(match is None for match in matches) or len({match[1] for match in matches if match}) > 1:
        return None
    return min(sessions, key=lambda session: int(re.fullmatch(r"(.*?)(\d+)", session)[2]))


def _first_by_table(source: Source, sessions: Sequence[str]) -> str | None:
    """Return the visit with the earliest ``acq_time``, or the one of the first row where times are missing."""
    listed = [(key[1], row) for key, row in source.rows.items() if key[1] in sessions]
    times = [row.get("acq_time") for _, row in listed]
    if len(listed) < len(sessions):
        return None
    if all(not is_missing(time) for time in times):
        return min(listed, key=lambda item: str(item[1]["acq_time"]))[0]
    return listed[0][0] if listed else None
