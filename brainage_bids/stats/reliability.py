"""Agreement of repeated measurements: intraclass correlation, spread within a person, Bland and Altman."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from brainage_bids.records import UnusableInput
from brainage_bids.stats.bootstrap import acceleration, bca_interval
from brainage_bids.stats.people import person_weights
from brainage_bids.stats.rows import Row, is_constant, labels, numbers, same_length, tidy

_ICC = "people and sessions drawn at random, every person in every session; normal errors of one variance"
_WITHIN = "people are independent; the spread within is the same for everybody; nobody changes between visits"
_ALTMAN = "independent people; normal differences whose spread does not depend on the size"


@dataclass(frozen=True)
class Agreement:
    """Intraclass correlations over columns.

    Attributes
    ----------
    icc, low, high : ndarray, shape of the columns
        ICC(2,1), absolute agreement of single measurements, and its interval; NaN where not defined.
    consistency : ndarray
        ICC(3,1), which forgives a shift between sessions.
    n, sessions : int
        People and sessions.
    """

    icc: np.ndarray
    low: np.ndarray
    high: np.ndarray
    consistency: np.ndarray
    n: int
    sessions: int


def intraclass_correlation(values: np.ndarray, level: float = 0.95) -> Agreement:
    """ICC(2,1) = (MSR − MSE)/(MSR + (k−1)MSE + k(MSC − MSE)/n), two-way random, of every column at once.

    The interval is that of Shrout and Fleiss (1979) and McGraw and Wong (1996), by Satterthwaite's degrees of freedom. Negative values
    are kept; a column that is constant or holds a NaN is NaN.

    Parameters
    ----------
    values : ndarray, shape (n, k, ...)
        People × sessions × any columns (voxels).
    level : float
        Of the interval.

    Returns
    -------
    Agreement

    Raises
    ------
    UnusableInput
        If there are fewer than two people or two sessions.

    Examples
    --------
    >>> ratings = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    >>> found = intraclass_correlation(np.array(ratings, dtype=float))
    >>> float(found.icc.round(2)), float(found.consistency.round(3))
    (0.29, 0.715)
    """
    values = np.asarray(values, dtype=float)
    if values.ndim < 2 or values.shape[0] < 2 or values.shape[1] < 2:
        raise UnusableInput(f"Agreement needs two people and two sessions at least; got {values.shape[:2]}.")
    n, k = values.shape[:2]
    flat = np.ptp(values, axis=(0, 1)) <= 1e-12 * np.abs(values).max(axis=(0, 1))
    values = values - values.mean(axis=(0, 1))
    people, sessions = values.mean(axis=1), values.mean(axis=0)
    rows = k * np.sum(people**2, axis=0) / (n - 1)
    columns = n * np.sum(sessions**2, axis=0) / (k - 1)
    error = np.sum((values - people[:, None] - sessions[None]) ** 2, axis=(0, 1)) / ((n - 1) * (k - 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        icc = (rows - error) / (rows + (k - 1) * error + k * (columns - error) / n)
        consistency = (rows - error) / (rows + (k - 1) * error)
    low, high = _icc_interval(icc, rows, columns, error, n, k, level)
    return Agreement(*(np.where(flat, np.nan, part) for part in (icc, low, high, consistency)), n, k)


def agreement_row(values: Sequence[Sequence[Any]], *, variable: str = "value", sessions: Sequence[str] = (), level: float = 0.95) -> Row:
    """ICC(2,1), ICC(3,1), spread within people and smallest detectable change of one measure.

    Parameters
    ----------
    values : sequence of sequences, n × k
        A line a person, a column a session (or scanner); people who lack a session are left out and counted.
    variable : str
        Name of the measure. For predicted ages, ask for the gap too: a wide range of ages makes the first high for free.
    sessions : sequence of str
        Names of the sessions.

    Returns
    -------
    Row
        ``icc, low, high, icc_consistency, sd_within`` (√ of the mean variance within people, shifts between sessions
        included), ``smallest_change`` (1.96 √2 sd_within), ``sd_between``.
    """
    method = "ICC(2,1), interval after McGraw and Wong"
    names = {
        "icc": None,
        "low": None,
        "high": None,
        "icc_consistency": None,
        "sd_within": None,
        "smallest_change": None,
        "sd_between": None,
    }
    lengths = {len(line) for line in values}
    if len(lengths) > 1:
        raise UnusableInput(f"Every person needs a cell for each session of '{variable}', empty if missing.")
    table = np.array([numbers(line, variable) for line in values]).reshape(len(values), lengths.pop() if lengths else 0)
    complete = table[np.isfinite(table).all(axis=1)]
    left_out = len(table) - len(complete)
    note = f"{left_out} people lack a session and are left out." if left_out else ""
    about = {"variable": variable, "compared": ", ".join(sessions) or str(table.shape[1])}
    if len(complete) < 2 or complete.shape[1] < 2:
        said = f"{len(complete)} people with {complete.shape[1]} sessions: two of each are needed. {note}".strip()
        return tidy(method, len(complete), _ICC, note=said, **about, **names)
    if is_constant(complete):
        return tidy(method, len(complete), _ICC, note=f"The column '{variable}' is constant. {note}".strip(), **about, **names)
    found = intraclass_correlation(complete, level)
    within = math.sqrt(complete.var(axis=1, ddof=1).mean())
    between = math.sqrt(max(complete.mean(axis=1).var(ddof=1) - within**2 / complete.shape[1], 0.0))
    values_of = {"icc": float(found.icc), "low": float(found.low), "high": float(found.high), "icc_consistency": float(found.consistency)}
    spread = {"sd_within": within, "smallest_change": smallest_detectable_change(within), "sd_between": between}
    return tidy(method, len(complete), _ICC, note=note, **about, **values_of, **spread)


def smallest_detectable_change(sd_within: float) -> float:
    """Change between two visits that error alone exceeds in 5 % of people: 1.96 √2 s.

    >>> round(smallest_detectable_change(1.0), 4)
    2.7718
    """
    return 1.959963984540054 * math.sqrt(2) * sd_within


def within_person_row(
    values: Sequence[Any],
    participants: Sequence[str],
    *,
    variable: str = "value",
    level: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Row:
    """Spread within and between people and ICC(1,1) when people have different numbers of visits.

    By one-way analysis of variance with n₀ = (N − Σnᵢ²/N)/(people − 1) for the mean number of visits (Searle 1971); intervals by
    BCa bootstrap over people.

    Parameters
    ----------
    values, participants : sequences, length N
        One row a visit; people with one visit count for the spread between people only.

    Returns
    -------
    Row
        ``sd_within, sd_within_low, sd_within_high``; ``sd_within_people`` (√ of the mean of people's variances, in which everybody with
        repeated visits counts the same); ``smallest_change, sd_between, icc, icc_low, icc_high, participants, repeated`` (people with more
        than one visit).
    """
    same_length(values=values, participants=participants)
    column, people = numbers(values, variable), labels(participants)
    known = np.isfinite(column) & np.array([name is not None for name in people], dtype=bool)
    column, people = column[known], people[known].astype(str)
    names, row_of, visits = np.unique(people, return_inverse=True, return_counts=True)
    method = f"one-way analysis of variance by person, ICC(1,1); {100 * level:g} % BCa bootstrap over people, {n_resamples} draws"
    about = {"variable": variable, "participants": names.size, "repeated": int((visits > 1).sum())}
    within_names = ("sd_within", "sd_within_low", "sd_within_high", "sd_within_people", "smallest_change")
    empty = dict.fromkeys((*within_names, "sd_between", "icc", "icc_low", "icc_high"))
    if names.size < 2 or visits.max() < 2:
        note = f"{names.size} people, {about['repeated']} of them with repeated visits: two people and a repeated visit are needed."
        return tidy(method, column.size, _WITHIN, note=note, **about, **empty)
    if is_constant(column):
        return tidy(method, column.size, _WITHIN, note=f"The column '{variable}' is constant.", **about, **empty)
    centred = column - column.mean()
    sums = np.bincount(row_of, centred)
    inner = np.bincount(row_of, (centred - (sums / visits)[row_of]) ** 2)
    parts = np.column_stack([np.ones(names.size), visits, visits**2, sums, sums**2 / visits, inner])
    within, between, icc = (float(part[0]) for part in _one_way(np.ones((1, names.size)) @ parts))
    draws = np.concatenate([np.column_stack(_one_way(weights @ parts)) for weights in person_weights(names, n_resamples, seed)])
    accelerated = acceleration(np.column_stack(_one_way(parts.sum(axis=0) - parts)))
    limits = [bca_interval(draws[:, place], value, accelerated[place], level) for place, value in enumerate((within, between, icc))]
    low, high = [limit[0] for limit in limits], [limit[1] for limit in limits]
    more = visits > 1
    spread = {
        "sd_within": within,
        "sd_within_low": low[0],
        "sd_within_high": high[0],
        "sd_within_people": math.sqrt(np.mean(inner[more] / (visits[more] - 1))),
        "smallest_change": smallest_detectable_change(within),
    }
    rest = {"sd_between": between, "icc": icc, "icc_low": low[2], "icc_high": high[2]}
    return tidy(method, column.size, _WITHIN, **about, **spread, **rest)


def bland_altman(
    first: Sequence[Any],
    second: Sequence[Any],
    *,
    names: tuple[str, str] = ("first", "second"),
    variable: str = "value",
    level: float = 0.95,
) -> Row:
    """Mean difference and limits of agreement of two measurements of the same people, with intervals (Bland and Altman 1999).

    Returns
    -------
    Row
        ``difference`` (first − second) with ``low, high``; ``limit_low, limit_high`` (difference ∓ 1.96 s.d.) with
        ``limit_low_low`` … ``limit_high_high``, from the standard error s √(1/n + 1.96²/(2(n − 1))); ``slope, slope_p``: the difference on
        the mean of the two, which must be flat for the limits to hold.
    """
    from scipy.stats import linregress
    from scipy.stats import t as student

    same_length(first=first, second=second)
    one, other = numbers(first, names[0]), numbers(second, names[1])
    both = np.isfinite(one) & np.isfinite(other)
    difference, mean = (one - other)[both], ((one + other) / 2)[both]
    about, method = {"variable": variable, "first": names[0], "second": names[1]}, "Bland-Altman limits of agreement"
    sides = ("difference", "low", "high", "sd", "limit_low", "limit_high", "limit_low_low", "limit_low_high", "limit_high_low")
    if difference.size < 3:
        note = f"{difference.size} people have both measurements; three are needed."
        return tidy(method, difference.size, _ALTMAN, note=note, **about, **dict.fromkeys((*sides, "limit_high_high", "slope", "slope_p")))
    n, centre, sd = difference.size, float(difference.mean()), float(difference.std(ddof=1))
    quantile = float(student.ppf((1 + level) / 2, n - 1))
    half, width = quantile * sd / math.sqrt(n), 1.959963984540054 * sd
    around = quantile * sd * math.sqrt(1 / n + 1.959963984540054**2 / (2 * (n - 1)))
    low, high = centre - width, centre + width
    limits = {"limit_low": low, "limit_high": high, "limit_low_low": low - around, "limit_low_high": low + around}
    limits |= {"limit_high_low": high - around, "limit_high_high": high + around}
    slope, note = (None, None), "The measurements do not vary, so no slope is fitted."
    if not is_constant(mean):
        fit, note = linregress(mean, difference), ""
        slope = (fit.slope, fit.pvalue)
    values = {"difference": centre, "low": centre - half, "high": centre + half, "sd": sd, **limits, "slope": slope[0], "slope_p": slope[1]}
    return tidy(method, n, _ALTMAN, note=note, **about, **values)


def _icc_interval(icc, rows, columns, error, n: int, k: int, level: float) -> tuple[np.ndarray, np.ndarray]:
    from scipy.stats import f as f_distribution

    with np.errstate(invalid="ignore", divide="ignore"):
        a = k * icc / (n * (1 - icc))
        b = 1 + k * icc * (n - 1) / (n * (1 - icc))
        degrees = (a * columns + b * error) ** 2 / ((a * columns) ** 2 / (k - 1) + (b * error) ** 2 / ((n - 1) * (k - 1)))
        upper, lower = f_distribution.ppf((1 + level) / 2, n - 1, degrees), f_distribution.ppf((1 + level) / 2, degrees, n - 1)
        common = k * columns + (k * n - k - n) * error
        low = n * (rows - upper * error) / (upper * common + n * rows)
        high = n * (lower * rows - error) / (common + n * lower * rows)
    exact = (error <= 1e-12 * rows) & (columns <= 1e-12 * rows)  # no error at all: the bounds are 1
    return np.where(exact, 1.0, low), np.where(exact, 1.0, high)


def _one_way(moments: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    people, total, squares, sums, between_ss, within_ss = moments.T
    with np.errstate(invalid="ignore", divide="ignore"):
        within = within_ss / (total - people)
        between_ms = (between_ss - sums**2 / total) / (people - 1)
        mean_visits = (total - squares / total) / (people - 1)
        between = np.maximum((between_ms - within) / mean_visits, 0.0)
        icc = (between_ms - within) / (between_ms + (mean_visits - 1) * within)
    return np.sqrt(within), np.sqrt(between), icc
