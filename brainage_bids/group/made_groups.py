"""Groups that no column holds: made by queries, or from the Clinical Dementia Rating of two visits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from brainage_bids.records import BadConfiguration, UnusableInput
from brainage_bids.stats.comparisons import shown
from brainage_bids.stats.queries import rows_where
from brainage_bids.stats.rows import numbers

CDR = "cdr"
CDR_COLUMNS = ("cdr", "cdr_global", "cdrglob", "cdglobal")


def made_groups(wanted: Sequence[str], table: Mapping[str, Sequence[Any]], n: int) -> tuple[list[str | None], list[str]]:
    """The group of each row, and what must be said of it.

    Parameters
    ----------
    wanted : sequence of str
        ``NAME=QUERY`` each, or the word ``cdr`` alone.
    table : mapping of columns, each of length n
        Of all rows; for ``cdr`` with ``participant_id``, ``session_id`` and ``age``.
    n : int

    Returns
    -------
    list of str or None
        A row for which no query holds has no group; of several that hold the first counts.
    list of str
        Sentences.

    Raises
    ------
    BadConfiguration
        If a group has no name or query, a query cannot be read, or there is no rating.

    Examples
    --------
    >>> made_groups(["young=age < 40", "old=age > 60"], {"age": [30, 50, 70]}, 3)[0]
    ['young', None, 'old']
    """
    if list(wanted) == [CDR]:
        return _by_rating(table)
    groups: list[str | None] = [None] * n
    doubled = 0
    for said in wanted:
        name, mark, query = (part.strip() for part in said.partition("="))
        if not (name and mark and query) or query.startswith("="):
            raise BadConfiguration(f'The group {shown(said)!r} of --groups is not NAME=QUERY, such as "old=age > 60".')
        holds = rows_where(query, table, n, f"--groups {name}")
        if not holds.any():
            raise BadConfiguration(f"The query of the group {name!r} of --groups ({shown(query)}) holds for nobody.")
        doubled += int((holds & np.array([group is not None for group in groups], dtype=bool)).sum())
        groups = [name if there and group is None else group for group, there in zip(groups, holds)]
    said = [f"{doubled} row(s) fulfil the queries of two groups of --groups; the first group counts."] if doubled else []
    return groups, said


def rating_group(first: float, last: float) -> str | None:
    """Group by the global Clinical Dementia Rating at the first and at the last visit; None for courses that the rule does not name.

    The rule of Popescu et al. 2021 (doi:10.3389/fnagi.2021.761954): 0 and 0 healthy, .5 and .5 stable, .5 and 1 or more progressive mild
    cognitive impairment, 1 or more at the first visit Alzheimer's disease. Their last visit was three years after the first or later.
    Without a second rating (NaN) only the last of these can be told.

    >>> rating_group(0, 0), rating_group(0.5, 0.5), rating_group(0.5, 1), rating_group(1, 1), rating_group(0, 0.5)
    ('HC', 'sMCI', 'pMCI', 'AD', None)
    """
    if first >= 1:
        return "AD"
    if first == 0.5:
        return "sMCI" if last == 0.5 else ("pMCI" if last >= 1 else None)
    return "HC" if first == 0 and last == 0 else None


def _by_rating(table: Mapping[str, Sequence[Any]]) -> tuple[list[str | None], list[str]]:
    column = next((name for name in table if str(name).lower() in CDR_COLUMNS), None)
    if column is None:
        raise BadConfiguration(f"--groups cdr needs a column of the Clinical Dementia Rating ({', '.join(CDR_COLUMNS)}); there is none.")
    people, ages = list(table["participant_id"]), numbers(table["age"], "age")
    try:
        ratings = numbers(table[column], column)
    except UnusableInput as error:
        raise BadConfiguration(f"--groups cdr needs ratings that are numbers. {error}") from error
    ages = np.where(np.isfinite(ages), ages, np.inf)
    courses: dict[str, dict[Any, float]] = {}
    for place in np.argsort(ages, kind="stable"):
        if np.isfinite(ratings[place]):
            courses.setdefault(people[place], {}).setdefault(table["session_id"][place], float(ratings[place]))
    groups: dict[str, str | None] = {}
    for person, course in courses.items():
        first, *later = course.values()
        groups[person] = rating_group(first, later[-1] if later else np.nan)
    without = len(set(people)) - sum(group is not None for group in groups.values())
    said = [f"{without} participant(s) have no rating or a course of ratings that belongs to no group."] if without else []
    return [groups.get(person) for person in people], said
