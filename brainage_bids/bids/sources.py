"""One phenotype table: found, read, checked and indexed by person and visit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from pathlib import Path
from typing import Any

from brainage_bids.bids.columns import decimal_comma
from brainage_bids.bids.descriptions import entry, field, is_code_of, levels_of, missing_codes, table_codes
from brainage_bids.bids.joining import Renamed, few, join_keys
from brainage_bids.bids.names import with_prefix
from brainage_bids.bids.tables import MISSING_WORDS, Table, is_missing, read_json_object, read_tsv
from brainage_bids.bids.units import age_unit, is_code, parse_sex
from brainage_bids.records import BadDataset

AGE_COLUMNS = ("age",)
SEX_COLUMNS = ("sex", "gender")
SITE_COLUMNS = ("site", "site_id")

Visits = Mapping[str, Sequence[str]]
"""Person to the ``ses-Y`` folders on disk (empty without sessions)."""
Key = tuple[str, str | None]
"""Person and visit; None as visit where a table does not tell visits apart."""


@dataclass(frozen=True)
class Source:
    """One table with what its JSON file says about the columns of interest.

    Attributes
    ----------
    label : str
        What it is called in messages.
    rows : mapping
        (person, visit or None) to the cells of the row.
    age, sex, site : str or None
        Name of the column, None if there is none.
    unit : str or None
        Unit of the ages, None if it is not known.
    levels : object
        ``Levels`` of the sex column.
    problems : tuple of str
        What was odd, one sentence each.
    described : mapping
        What its JSON file says, by column.
    renamed : Renamed
        What it calls otherwise than the folders.
    comma : bool
        Whether its ages have a comma before their decimals.
    """

    label: str
    rows: Mapping[Key, Mapping[str, str]]
    age: str | None
    unit: str | None
    sex: str | None
    levels: Any
    site: str | None
    problems: tuple[str, ...]
    described: Mapping[str, Any] = dataclass_field(default_factory=dict)
    renamed: Renamed = dataclass_field(default_factory=Renamed)
    comma: bool = False


def read_source(
    path: Path,
    visits: Visits,
    *,
    label: str,
    strict: bool,
    sidecars: Sequence[Path] = (),
    person: str | None = None,
    everyone: Collection[str] = (),
) -> Source | list[str]:
    """Read one table and keep the rows of the people asked for.

    Parameters
    ----------
    path : Path
        A tsv.
    visits : mapping
        The people asked for.
    label : str
        What to call it in messages.
    strict : bool
        Whether rows that contradict each other and codes of sex without a meaning are fatal (participants.tsv, tables named by
        the user) or a reason to leave the table (such rows) or the value (codes) out.
    sidecars : sequence of Path
        JSON files that describe the columns, the nearest last; by default the one of the same stem.
    person : str, optional
        Whose table it is, where it has no column for that (sessions.tsv).
    everyone : collection of str
        All people on disk, where more than those asked for: a name that is written otherwise must be the only one of them.

    Returns
    -------
    Source or list of str
        The problems alone, if the table cannot be used.

    Raises
    ------
    BadDataset
        See ``strict``.
    OSError
        If the table cannot be read.
    """
    table = read_tsv(path)
    described, problems = _descriptions(sidecars or [path.with_suffix(".json")])
    problems = [*table.problems, *problems]
    who, visit = table.column("participant_id"), table.column("session_id")
    if person is None and who is None:
        tabs = "; columns must be separated by tabs" if len(table.columns) == 1 else ""
        return [*problems, f"{label} has no column participant_id and is left out{tabs}."]
    if person is not None and visit is None:
        return [*problems, f"{label} has no column session_id and is left out."]
    table = known_cells(table, described)
    keyed, renamed, said = _joined_rows(table, label, person, visits, everyone)
    problems += said
    distinct = dict.fromkeys((key, tuple(row.items())) for key, row in keyed)  # a row that is there twice says nothing else
    if repeated := _repeated(key for key, _ in distinct):
        sentence = f"{label} has more than one row for {few(repeated)}"
        if strict:
            raise BadDataset(f"{sentence}; keep one row for each person and visit, with session_id in longitudinal tables.")
        return [*problems, f"{sentence} and is left out."]
    if len(distinct) < len(keyed):
        problems.append(f"{label} has the same row twice for {few(_repeated(key for key, _ in keyed))}; it counts once.")
    source = _source(table, label, dict(keyed), described, problems, renamed)
    if strict:
        _check_codes(source)
    return source


def _repeated(keys: Iterable[Key]) -> list[str]:
    """Whom some rows are of, of whom there are several."""
    return sorted({"_".join(filter(None, key)) for key, count in Counter(keys).items() if count > 1})


def _joined_rows(
    table: Table, label: str, person: str | None, visits: Visits, everyone: Collection[str]
) -> tuple[list[tuple[Key, Mapping[str, str]]], Renamed, list[str]]:
    """Rows of the people asked for under the names of the folders; what was called otherwise; a sentence if all are somebody else's."""
    who, visit = table.column("participant_id"), table.column("session_id")
    on_disk = {folder for folders in visits.values() for folder in folders}
    named = [(key, row) for row in table.rows if (key := _key(row, who, visit, person, on_disk)) is not None]
    everyone = list(dict.fromkeys([*visits, *everyone]))
    keys, renamed = join_keys([key for key, _ in named], visits, everyone)
    said = []
    if named and visits and not {key[0] for key in keys} & set(everyone):
        there = few(list(dict.fromkeys(key[0] for key, _ in named)))
        said.append(f"{label} has a row for none of the {len(everyone)} participant(s) (it has {there}; the dataset {few(everyone)}).")
    return [(key, row) for key, (_, row) in zip(keys, named, strict=True) if key[0] in visits], renamed, said


def known_cells(table: Table, described: Mapping[str, Any]) -> Table:
    """The same table with ``n/a`` where its JSON file declares a cell to be a code of a missing value."""
    everywhere = table_codes(described)
    codes: dict[str, tuple[frozenset[str], Mapping[str, str]]] = {}
    for column in set(table.columns) - {table.column("participant_id"), table.column("session_id")}:
        told = entry(described, column)
        if declared := everywhere | missing_codes(told):
            codes[column] = declared, levels_of(told)
    if not codes:
        return table
    rows = []
    for row in table.rows:
        absent = [name for name, (declared, levels) in codes.items() if is_code_of(row[name], declared, levels)]
        rows.append({**row, **dict.fromkeys(absent, "n/a")} if absent else row)
    return replace(table, rows=tuple(rows))


def _source(
    table: Table, label: str, rows: Mapping[Key, Mapping[str, str]], described: Mapping[str, Any], problems: list[str], renamed: Renamed
) -> Source:
    age, sex = table.column(*AGE_COLUMNS), table.column(*SEX_COLUMNS)
    unit = age_unit(entry(described, age))
    if age and unit is None:
        problems = [*problems, f"{label}: the unit of the column {age!r} in its JSON file is not understood, so the ages are left out."]
    comma = age is not None and decimal_comma(row[age] for row in table.rows)
    levels = field(entry(described, sex), "levels", "level")
    site = table.column(*SITE_COLUMNS)
    return Source(label, rows, age, unit, sex, levels, site, tuple(problems), described, renamed, comma)


def _descriptions(sidecars: Sequence[Path]) -> tuple[dict[str, Any], list[str]]:
    described: dict[str, Any] = {}
    problems: list[str] = []
    for path in sidecars:
        content, odd = read_json_object(path)
        described.update(content)
        problems += odd
    return described, problems


def _key(row: Mapping[str, str], who: str | None, visit: str | None, person: str | None, on_disk: Collection[str]) -> Key | None:
    """Return the identifiers of a row; None if it names nobody, or somebody else than the owner of the table."""
    named = row[who] if who is not None else None
    if is_missing(named):
        if person is None:
            return None
        participant = person
    else:
        participant = with_prefix(str(named), "sub-")
        if person is not None and participant != person:
            return None
    session = row[visit] if visit is not None else None
    if session is None or is_missing(session):
        return None if person is not None else (participant, None)
    named = with_prefix(session, "ses-")
    if session.lower() in MISSING_WORDS and named not in on_disk:
        return None if person is not None else (participant, None)
    return participant, named


def _check_codes(source: Source) -> None:
    """Refuse numbers that nobody says the meaning of: guessing would swap men and women.

    Raises
    ------
    BadDataset
        Naming the numbers.
    """
    if source.sex is None:
        return
    unknown = set()
    for row in source.rows.values():
        text = row[source.sex]
        try:
            parse_sex(text, source.levels)
        except ValueError:
            if is_code(text):
                unknown.add(text)
    if unknown:
        raise BadDataset(
            f"{source.label} codes {source.sex!r} as {', '.join(sorted(unknown))} and its JSON file does not say what that means; "
            'add Levels to it, such as {"0": "female", "1": "male"}.'
        )
