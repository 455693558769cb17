"""Every column of the phenotype tables, joined to visits by identifier."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from brainage_bids.bids.columns import read_column
from brainage_bids.bids.descriptions import entry
from brainage_bids.bids.phenotype import Phenotype, load_phenotype
from brainage_bids.bids.sources import Source
from brainage_bids.bids.tables import is_missing
from brainage_bids.group.own_columns import PHENOTYPE_FLAGS, names_apart, told_apart

_IDENTIFIERS = frozenset({"participant_id", "session_id", "acq_time"})
MOST_KINDS = 12
"""A text column with more different values is a remark, not a category."""


@dataclass(frozen=True)
class Described:
    """What is known of the visits.

    Attributes
    ----------
    rows : list of dict
        One a visit asked for: ``age, sex, site, phenotype_flags`` and every other column.
    columns : dict
        Those other columns to their descriptions (JSON).
    problems : list of str
        What was odd.
    called : dict
        Columns as the tables call them to what they are called here (`own_columns.names_apart`).
    """

    rows: list[dict[str, Any]]
    columns: dict[str, dict[str, Any]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    called: dict[str, str] = field(default_factory=dict)


def describe(
    bids_dir: Path,
    visits: dict[str, list[str]],
    asked: Sequence[tuple[str, str | None]],
    phenotype_files: Sequence[str] = (),
    names: Collection[str] = (),
) -> Described:
    """Join all phenotype columns to visits.

    A value of the visit goes before one of the person; tables of the user before those of the dataset. A column of numbers becomes
    numbers; of two columns of one name the one asked first keeps it, the other is called ``TABLE_column``. A name of ours is given to
    none (`own_columns`).

    Parameters
    ----------
    bids_dir : Path
        The raw dataset.
    visits : mapping
        Person to all sessions.
    asked : sequence of (person, session)
        Rows of the answer.
    phenotype_files : sequence of str
        Further tables.
    names : collection of str
        Columns that hold names (groups), in small letters: what is written there stays as it is, also where it looks like a number.

    Raises
    ------
    BadConfiguration, BadDataset
        As `bids.phenotype.load_phenotype`.
    """
    phenotype = load_phenotype(bids_dir, visits, phenotype_files)
    rows: list[dict[str, Any]] = []
    for person, session in asked:
        record = phenotype.record(person, session)
        rows.append({"age": record.age, "sex": record.sex, "site": record.site, PHENOTYPE_FLAGS: record.flags})
    columns: dict[str, dict[str, Any]] = {}
    found = _columns(phenotype)
    called = names_apart(name for name, _, _ in found)
    problems = told_apart(called)
    for name, sources, described in found:
        name = called[name]
        values = [_cell(sources, person, session) for person, session in asked]
        if all(value is None for value in values):
            columns[name] = described
            for row in rows:
                row[name] = None
            continue
        read = read_column(name, values, described, names=name.lower() in names)
        problems += read.problems
        for row, value in zip(rows, read.values):
            row[name] = value
        columns[name] = described
    return Described(rows, columns, [*phenotype.problems(), *problems], called)


def _columns(phenotype: Phenotype) -> list[tuple[str, list[tuple[Source, str]], dict[str, Any]]]:
    """Name, where to look for it in order, description."""
    order: list[tuple[str, list[Source]]] = [(source.label, [source]) for source in phenotype.user]
    if phenotype.sessions:
        rows = {key: row for source in phenotype.sessions for key, row in source.rows.items()}
        order.append(("sessions", [replace(phenotype.sessions[0], rows=rows)]))
    order += [("participants", [source]) for source in phenotype.participants]
    order += [(Path(source.label).stem, [source]) for source in phenotype.instruments]
    found: dict[str, tuple[list[tuple[Source, str]], dict[str, Any]]] = {}
    for label, sources in order:
        by_name: dict[str, list[tuple[Source, str]]] = {}
        for source in sources:
            named = dict.fromkeys(column for row in source.rows.values() for column in reversed(list(row)))  # rows are read from their end
            for column in named:
                if column not in _IDENTIFIERS and column not in (source.age, source.sex, source.site):
                    by_name.setdefault(column, []).append((source, column))
        for column, places in by_name.items():
            told = entry(places[0][0].described, column)
            described = {"Description": f"Column of {label}.", **(told if isinstance(told, dict) else {})}
            if column in found and label not in ("participants",) and not _same_kind(found[column][0], places):
                found[f"{Path(label).stem}_{column}"] = (places, described)
            elif column in found:
                found[column][0].extend(places)
            else:
                found[column] = (places, described)
    return [(name, places, described) for name, (places, described) in found.items()]


def _same_kind(first: list[tuple[Source, str]], second: list[tuple[Source, str]]) -> bool:
    """Whether two tables say the same column for visits and for people (sessions.tsv and participants.tsv)."""
    visits = {bool(key[1]) for source, _ in first for key in source.rows}
    return visits != {bool(key[1]) for source, _ in second for key in source.rows}


def _cell(places: list[tuple[Source, str]], person: str, session: str | None) -> str | None:
    for key in dict.fromkeys(((person, session), (person, None))):
        for source, column in places:
            row = source.rows.get(key)
            if row is not None and not is_missing(row.get(column)):
                return row[column]
    return None
