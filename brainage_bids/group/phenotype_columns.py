"""Every column of the phenotype tables, joined to visits by identifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from brainage_bids.bids.phenotype import Phenotype, load_phenotype
from brainage_bids.bids.sources import Source
from brainage_bids.bids.tables import is_missing, read_json_object

_IDENTIFIERS = frozenset({"participant_id", "session_id", "acq_time"})
LEAST_NUMBERS, FEW_STRANGE = 10, 0.1
"""A column is one of numbers if it has ten and at most a tenth as many texts that are none (a slip of typing)."""
_OF_NAMES = frozenset({"subject", "subjects", "session", "sessions", "datatype", "suffix", "extension"})
"""What pybids takes from every file name or asks for by; a column described under such a name would contradict it."""
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
    """

    rows: list[dict[str, Any]]
    columns: dict[str, dict[str, Any]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def describe(
    bids_dir: Path, visits: dict[str, list[str]], asked: Sequence[tuple[str, str | None]], phenotype_files: Sequence[str] = ()
) -> Described:
    """Join all phenotype columns to visits.

    A value of the visit goes before one of the person; tables of the user before those of the dataset. A column of numbers becomes
    numbers; of two columns of one name the one asked first keeps it, the other is called ``TABLE_column``.

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

    Raises
    ------
    BadConfiguration, BadDataset
        As `bids.phenotype.load_phenotype`.
    """
    phenotype = load_phenotype(bids_dir, visits, phenotype_files)
    rows: list[dict[str, Any]] = []
    for person, session in asked:
        record = phenotype.record(person, session)
        rows.append({"age": record.age, "sex": record.sex, "site": record.site, "phenotype_flags": record.flags})
    columns: dict[str, dict[str, Any]] = {}
    problems: list[str] = []
    for name, sources, described in _columns(phenotype, bids_dir):
        if sources[0][1] in _OF_NAMES:
            problems.append(f"The column '{sources[0][1]}' is called '{name}' here: BIDS takes '{sources[0][1]}' from file names.")
        values = [_cell(sources, person, session) for person, session in asked]
        if all(value is None for value in values):
            columns[name] = described
            for row in rows:
                row[name] = None
            continue
        numeric, strange = _as_numbers(values, described)
        if strange:
            told = ", ".join(map(repr, dict.fromkeys(strange)))
            problems.append(f"The column '{name}' has {len(strange)} value(s) that are no number ({told[:60]}), taken as missing.")
        for row, value in zip(rows, values if numeric is None else numeric):
            row[name] = value
        columns[name] = described
    return Described(rows, columns, [*phenotype.problems(), *problems])


def _columns(phenotype: Phenotype, bids_dir: Path) -> list[tuple[str, list[tuple[Source, str]], dict[str, Any]]]:
    """Name, where to look for it in order, description."""
    order: list[tuple[str, list[Source], Path | None]] = [(source.label, [source], None) for source in phenotype.user]
    if phenotype.sessions:
        rows = {key: row for source in phenotype.sessions for key, row in source.rows.items()}
        order.append(("sessions", [replace(phenotype.sessions[0], rows=rows)], bids_dir / "sessions.json"))
    order += [("participants", [source], bids_dir / "participants.json") for source in phenotype.participants]
    order += [(Path(source.label).stem, [source], (bids_dir / source.label).with_suffix(".json")) for source in phenotype.instruments]
    found: dict[str, tuple[list[tuple[Source, str]], dict[str, Any]]] = {}
    for label, sources, sidecar in order:
        content = read_json_object(sidecar)[0] if sidecar is not None else {}
        by_name: dict[str, list[tuple[Source, str]]] = {}
        for source in sources:
            named = dict.fromkeys(column for row in source.rows.values() for column in reversed(list(row)))  # rows are read from their end
            for column in named:
                if column not in _IDENTIFIERS and column not in (source.age, source.sex, source.site):
                    by_name.setdefault(column, []).append((source, column))
        for column, places in by_name.items():
            told = content.get(column) if isinstance(content.get(column), dict) else {}
            described = {"Description": f"Column of {label}.", **told}
            if column in found and label not in ("participants",) and not _same_kind(found[column][0], places):
                found[f"{Path(label).stem}_{column}"] = (places, described)
            elif column in found:
                found[column][0].extend(places)
            else:
                found[column] = (places, described)
    return [
        (f"{Path(places[0][0].label).stem}_{name}" if name in _OF_NAMES else name, places, described)
        for name, (places, described) in found.items()
    ]


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


def _as_numbers(values: list[str | None], described: dict[str, Any]) -> tuple[list[float | None] | None, list[str]]:
    """A column as numbers, None if it holds text; and the few texts in a column of numbers that are no number, taken as missing."""
    levels = described.get("Levels")
    if isinstance(levels, dict) and len(levels) > 2:
        return None, []  # codes of kinds, such as 1 = never, 2 = seldom, 3 = unknown
    found: list[float | None] = []
    strange: list[str] = []
    for value in values:
        number = _number(value)
        found.append(number)
        if value is not None and number is None:
            strange.append(value)
    known = sum(number is not None for number in found)
    if strange and (known < LEAST_NUMBERS or len(strange) > FEW_STRANGE * known):
        return None, []
    return found, strange


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
