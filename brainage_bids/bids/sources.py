"""One phenotype table: found, read, checked and indexed by person and visit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brainage_bids.bids.names import with_prefix
from brainage_bids.bids.tables import Table, is_missing, read_json_object, read_tsv
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
    """

    label: str
    rows: Mapping[Key, Mapping[str, str]]
    age: str | None
    unit: str | None
    sex: str | None
    levels: Any
    site: str | None
    problems: tuple[str, ...]


def read_source(
    path: Path, visits: Visits, *, label: str, strict: bool, sidecars: Sequence[Path] = (), person: str | None = None
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
    keyed = [(key, row) for row in table.rows if (key := _key(row, who, visit, person)) is not None and key[0] in visits]
    distinct = dict.fromkeys((key, tuple(row.items())) for key, row in keyed)  # a row that is there twice says nothing else
    repeated = sorted({"_".join(filter(None, key)) for key, n in Counter(key for key, _ in distinct).items() if n > 1})
    if repeated:
        sentence = f"{label} has more than one row for {', '.join(repeated[:3])}{', …' if len(repeated) > 3 else ''}"
        if strict:
            raise BadDataset(f"{sentence}; keep one row for each person and visit, with session_id in longitudinal tables.")
        return [*problems, f"{sentence} and is left out."]
    if len(distinct) < len(keyed):
        twice = sorted({"_".join(filter(None, key)) for key, n in Counter(key for key, _ in keyed).items() if n > 1})
        problems.append(f"{label} has the same row twice for {', '.join(twice[:3])}{', …' if len(twice) > 3 else ''}; it counts once.")
    source = _source(table, label, dict(keyed), described, problems)
    if strict:
        _check_codes(source)
    return source


def _source(table: Table, label: str, rows: Mapping[Key, Mapping[str, str]], described: Mapping[str, Any], problems: list[str]) -> Source:
    lowered = {str(key).lower(): value for key, value in described.items()}

    def description(column: str | None) -> Any:
        return None if column is None else described.get(column, lowered.get(column.lower()))

    age, sex = table.column(*AGE_COLUMNS), table.column(*SEX_COLUMNS)
    unit = age_unit(description(age))
    if age and unit is None:
        problems = [*problems, f"{label}: the unit of the column {age!r} in its JSON file is not understood, so the ages are left out."]
    levels = description(sex)
    levels = levels.get("Levels", levels.get("levels")) if isinstance(levels, dict) else None
    return Source(label, rows, age, unit, sex, levels, table.column(*SITE_COLUMNS), tuple(problems))


def _descriptions(sidecars: Sequence[Path]) -> tuple[dict[str, Any], list[str]]:
    described: dict[str, Any] = {}
    problems: list[str] = []
    for path in sidecars:
        content, odd = read_json_object(path)
        described.update(content)
        problems += odd
    return described, problems


def _key(row: Mapping[str, str], who: str | None, visit: str | None, person: str | None) -> Key | None:
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
    if is_missing(session):
        return None if person is not None else (participant, None)
    return participant, with_prefix(str(session), "ses-")


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
