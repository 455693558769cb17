"""Change per year of people who were measured more than once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from brainage_bids.stats.rows import Row, is_constant, labels, numbers, same_length, tidy

_ASSUMPTIONS = "independent people; each changes along a line; every person counts the same, however long they were followed"


def change_per_year(
    values: Sequence[Any], years: Sequence[Any], participants: Sequence[str], *, variable: str = "value", level: float = 0.95
) -> list[Row]:
    """Slope of each person over time, and the mean slope.

    Parameters
    ----------
    values, years : sequences, length n
        One row a visit; ``years`` is the time of the visit, such as the age at the scan. Rows that lack one are left out.
    participants : sequence of str, length n
        Whose row it is.

    Returns
    -------
    list of Row
        The mean first (``participant_id`` is "all"): ``change, low, high, t, p, sd, people``; then each person:
        ``change, visits, span_years``, or why there is none (one visit, visits at one time, sessions without dates).

    Examples
    --------
    >>> rows = change_per_year([1.0, 3.0, 5.0, 6.0], [60, 62, 70, 71], ["a", "a", "b", "b"])
    >>> rows[0]["change"], [row["change"] for row in rows[1:]]
    (1.0, [1.0, 1.0])
    """
    from scipy.stats import t as student

    same_length(values=values, years=years, participants=participants)
    column, time, people = numbers(values, variable), numbers(years, "years"), labels(participants)
    each = []
    for name in sorted({name for name in people if name is not None}):
        rows = people == name
        known = rows & np.isfinite(column) & np.isfinite(time)
        each.append(_person(name, variable, column[known], time[known], int(rows.sum())))
    slopes = np.array([row["change"] for row in each if row["change"] is not None])
    method = "mean of people's least-squares slopes, one-sample t"
    about = {"variable": variable, "participant_id": "all", "people": slopes.size, "visits": sum(row["visits"] for row in each)}
    if slopes.size < 2:
        note = f"{slopes.size} people with two dated visits: two are needed."
        empty = dict.fromkeys(("change", "low", "high", "sd", "t", "p", "span_years"))
        return [tidy(method, slopes.size, _ASSUMPTIONS, note=note, **about, **empty), *each]
    mean, sd = float(slopes.mean()), float(slopes.std(ddof=1))
    error = sd / math.sqrt(slopes.size)
    flat = is_constant(slopes)
    half = float(student.ppf((1 + level) / 2, slopes.size - 1)) * error
    t = None if flat else mean / error
    tested = {"t": t, "p": None if flat else 2 * student.sf(abs(t), slopes.size - 1)}
    note = "Everybody changes alike, so the mean cannot be tested." if flat else ""
    span = float(np.mean([row["span_years"] for row in each if row["change"] is not None]))
    values_of = {"change": mean, "low": mean - half, "high": mean + half, "sd": sd, **tested, "span_years": span}
    return [tidy(method, slopes.size, _ASSUMPTIONS, note=note, **about, **values_of), *each]


def _person(name: str, variable: str, values: np.ndarray, time: np.ndarray, rows: int) -> Row:
    span = float(np.ptp(time)) if time.size else 0.0
    about = {"variable": variable, "participant_id": name, "visits": values.size, "span_years": span}
    method = "least-squares slope over time"
    if values.size < 2 or span <= 0:
        missing = f"; {rows - values.size} row(s) lack a date or a value" if rows > values.size else ""
        note = f"{values.size} visit(s) over {span:g} years{missing}: two at different times are needed."
        return tidy(method, values.size, _ASSUMPTIONS, note=note, **about, change=None)
    centred = time - time.mean()
    return tidy(method, values.size, _ASSUMPTIONS, **about, change=centred @ values / (centred @ centred))
