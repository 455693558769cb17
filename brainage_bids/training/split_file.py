"""Files that say who is in which part of a split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from brainage_bids.bids.tables import read_tsv
from brainage_bids.records import BadConfiguration
from brainage_bids.stats.folds import PARTS
from brainage_bids.training.images import same_person


def read_split(path: Path | str, participants: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Parts of people from a file with ``participant_id`` and ``split`` (train, validation, test).

    Parameters
    ----------
    path : Path
        A tsv.
    participants : sequence of str, length n
        With ``sub-``, and the number of their dataset before it where there are several (``2:sub-01``).

    Returns
    -------
    ndarray of str, shape (n,)
        ``""`` for people who are not in the file.
    tuple of str
        People of the file who are not among the participants.

    Raises
    ------
    BadConfiguration
        If a column is missing, a part has another name, a person stands in two parts, or a part is empty.
    """
    try:
        table = read_tsv(Path(path))
    except OSError as error:
        raise BadConfiguration(f"The split file {path} cannot be read ({error.strerror}).") from error
    person, part = table.column("participant_id"), table.column("split")
    if person is None or part is None:
        raise BadConfiguration(f"The split file {path} needs the columns participant_id and split.")
    found: dict[str, str] = {}
    for row in table.rows:
        name, value = same_person(row[person]), row[part]
        if value not in PARTS:
            raise BadConfiguration(f"The split file {path} has the part {value!r} for {name}; it must be one of {', '.join(PARTS)}.")
        if found.setdefault(name, value) != value:
            raise BadConfiguration(f"The split file {path} has {name} in two parts, {found[name]} and {value}.")
    parts = np.array([found.get(name, "") for name in participants])
    empty = [name for name in PARTS if name not in parts]
    if empty:
        numbered = any(":" in name for name in participants) and not all(":" in name for name in found)
        advice = " With several datasets the number of theirs stands before a person, as in 2:sub-01." if numbered else ""
        raise BadConfiguration(f"With the split file {path} nobody of this cohort is in {' and '.join(empty)}.{advice}")
    return parts, tuple(sorted(set(found) - set(participants)))


def split_rows(participants: Sequence[str], parts: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a split file, one a person; those in no part are left out."""
    of_person: Mapping[str, str] = dict(zip(participants, map(str, parts), strict=True))
    return [{"participant_id": name, "split": of_person[name]} for name in sorted(of_person) if of_person[name]]


def count_parts(participants: Sequence[str], parts: Sequence[str]) -> dict[str, int]:
    """How many people are in each part."""
    counts = Counter(row["split"] for row in split_rows(participants, parts))
    return {name: counts[name] for name in PARTS}
