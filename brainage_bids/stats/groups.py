"""Comparisons of two groups, and of all pairs of groups."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any, Literal

import numpy as np

from brainage_bids.records import BadConfiguration, UnusableInput
from brainage_bids.stats.corrections import Correction, correct
from brainage_bids.stats.effects import auc_interval, cohens_d, cohens_d_interval, hedges_factor, rank_biserial, two_groups
from brainage_bids.stats.rows import Row, labels, numbers, same_length, tidy

Alternative = Literal["two-sided", "greater", "less"]
_MEANS = "independent people; normal means; variances may differ (the interval of d takes them as equal)"
_RANKS = "independent people; the same shape in both groups if it is read as a shift"


def welch(first: np.ndarray, second: np.ndarray, alternative: Alternative = "two-sided") -> tuple[float, float, float]:
    """Welch's t-test: t = (m₁ − m₂)/√(s₁²/n₁ + s₂²/n₂), degrees of freedom by Welch and Satterthwaite.

    Parameters
    ----------
    first, second : ndarray, shapes (n₁,), (n₂,)
        Values of two groups, two at least each.
    alternative : {"two-sided", "greater", "less"}
        ``greater``: the first group has the larger mean.

    Returns
    -------
    t, df, p : float

    Raises
    ------
    UnusableInput
        If a group has fewer than two values or neither varies.

    Examples
    --------
    >>> t, df, p = welch([2.0, 4.0, 6.0], [1.0, 3.0])
    >>> round(t, 4), round(df, 4), round(p, 4)
    (1.3093, 2.8824, 0.285)
    """
    from scipy.special import stdtr

    first, second = two_groups(first, second)
    parts = first.var(ddof=1) / first.size, second.var(ddof=1) / second.size
    t = (first.mean() - second.mean()) / math.sqrt(sum(parts))
    degrees = sum(parts) ** 2 / (parts[0] ** 2 / (first.size - 1) + parts[1] ** 2 / (second.size - 1))
    below = float(stdtr(degrees, t))
    tails = {"two-sided": 2 * min(below, float(stdtr(degrees, -t))), "greater": float(stdtr(degrees, -t)), "less": below}
    return float(t), float(degrees), tails[_known(alternative)]


def compare_means(
    first: np.ndarray, second: np.ndarray, *, names: tuple[str, str] = ("first", "second"), variable: str = "value",
    alternative: Alternative = "two-sided", level: float = 0.95,
) -> Row:  # fmt: skip
    """Welch's test with the difference of means, Cohen's d and Hedges' g and their intervals; first minus second.

    Missing values are left out. Where nothing can be computed the row says why.

    Returns
    -------
    Row
        ``mean_first, sd_first, n_first`` (and of the second), ``difference`` with ``low, high``, ``t, df, p``, ``d`` and ``g``
        with ``d_low, d_high, g_low, g_high``.
    """
    first, second = _present(first, variable), _present(second, variable)
    about = {"variable": variable, "first": names[0], "second": names[1], **_described(first, "first"), **_described(second, "second")}
    method = f"Welch's t-test ({alternative}), Cohen's d with interval by the non-central t, Hedges' g"
    empty = dict.fromkeys(("difference", "low", "high", "t", "df", "p", "d", "d_low", "d_high", "g", "g_low", "g_high"))
    total = first.size + second.size
    try:
        t, degrees, p = welch(first, second, alternative)
    except UnusableInput as error:
        return tidy(method, total, _MEANS, note=str(error), **about, **empty)
    difference = first.mean() - second.mean()
    half = _half_width(first, second, degrees, level)
    d = cohens_d(first, second)
    low, high = cohens_d_interval(d, first.size, second.size, level)
    factor = hedges_factor(total - 2)
    effects = {"d": d, "d_low": low, "d_high": high, "g": factor * d, "g_low": factor * low, "g_high": factor * high}
    values = {"difference": difference, "low": difference - half, "high": difference + half, "t": t, "df": degrees, "p": p}
    return tidy(method, total, _MEANS, **about, **values, **effects)


def compare_ranks(
    first: np.ndarray, second: np.ndarray, *, names: tuple[str, str] = ("first", "second"), variable: str = "value",
    alternative: Alternative = "two-sided", level: float = 0.95,
) -> Row:  # fmt: skip
    """Mann-Whitney U of the first group with rank-biserial correlation and AUC; both are large where the first lies above.

    Returns
    -------
    Row
        ``median_first, median_second, u, p, rank_biserial, auc, auc_low, auc_high``.
    """
    from scipy.stats import mannwhitneyu

    _known(alternative)
    first, second = _present(first, variable), _present(second, variable)
    method = f"Mann-Whitney U ({alternative}), U of the first group; interval of the AUC by DeLong on the logit"
    about = {"variable": variable, "first": names[0], "second": names[1], "n_first": first.size, "n_second": second.size}
    about |= {"median_first": _median(first), "median_second": _median(second)}
    total = first.size + second.size
    if min(first.size, second.size) == 0:
        empty = dict.fromkeys(("u", "p", "rank_biserial", "auc", "auc_low", "auc_high"))
        return tidy(method, total, _RANKS, note="A group has no value.", **about, **empty)
    u, p = mannwhitneyu(first, second, alternative=alternative)
    area = u / (first.size * second.size)
    low, high = auc_interval(first, second, level)
    note = "" if math.isfinite(low) else "The interval of the AUC is not defined: it is 0 or 1, or a group has one value."
    values = {"u": u, "p": p, "rank_biserial": rank_biserial(first, second), "auc": area, "auc_low": low, "auc_high": high}
    return tidy(method, total, _RANKS, note=note, **about, **values)


def compare_groups(
    values: Sequence[Any], groups: Sequence[Any], *, variable: str = "value", order: Sequence[str] | None = None,
    ranks: bool = False, alternative: Alternative = "two-sided", correction: Correction = "bonferroni", family: str | None = None,
) -> list[Row]:  # fmt: skip
    """Compare all pairs of groups; the sign is first − second in the order given.

    Parameters
    ----------
    values, groups : sequences, length n
        One value and one group a person; rows that lack one are left out.
    variable : str
        Name of the values.
    order : sequence of str, optional
        Groups to compare, in this order; all in alphabetical order by default.
    ranks : bool
        Mann-Whitney instead of Welch.
    alternative, correction, family
        See `compare_means` and `corrections.correct`.

    Returns
    -------
    list of Row
        One a pair.

    Raises
    ------
    UnusableInput
        If there are fewer than two groups, or a group of `order` has nobody.

    Examples
    --------
    >>> rows = compare_groups([1.0, 2.0, 3.0, 5.0], ["a", "a", "b", "b"])
    >>> rows[0]["difference"], rows[0]["correction"]
    (-2.5, 'Bonferroni over 1 tests (pairs of groups of value)')
    """
    same_length(values=values, groups=groups)
    split = split_groups(values, groups, variable=variable, order=order)
    compare = compare_ranks if ranks else compare_means
    rows = [
        compare(split[one], split[other], names=(one, other), variable=variable, alternative=alternative)
        for one, other in combinations(split, 2)
    ]
    return correct(rows, correction, family=family or f"pairs of groups of {variable}")


def split_groups(
    values: Sequence[Any], groups: Sequence[Any], *, variable: str = "value", order: Sequence[str] | None = None
) -> dict[str, np.ndarray]:
    """Values by group, without missing ones.

    Raises
    ------
    UnusableInput
        If fewer than two groups remain or a group of `order` has no value.
    """
    column, names = numbers(values, variable), labels(groups)
    known = np.array([name is not None for name in names], dtype=bool) & np.isfinite(column)
    found = {name: column[known & (names == name)] for name in order or sorted(set(names[known]))}
    empty = [name for name, chosen in found.items() if chosen.size == 0]
    if empty:
        raise UnusableInput(f"No row of the group '{empty[0]}' has a value of '{variable}'.")
    if len(found) < 2:
        raise UnusableInput(f"A comparison needs two groups; '{variable}' is known in {len(found)} ({', '.join(found) or 'none'}).")
    return found


def over_repeats(rows: Iterable[Row]) -> list[Row]:
    """Mean and standard deviation of p, rank-biserial and AUC over repeats (seeds, sets) of the same comparison.

    Rows of one variable, pair and method form one repeated comparison; the spread of p over seeds says how far a finding hangs on
    the seed, and is no test of its own.
    """
    by_pair: dict[tuple, list[Row]] = {}
    for row in rows:
        by_pair.setdefault((row["variable"], row["first"], row["second"], row["method"]), []).append(row)
    summary = []
    for (variable, first, second, method), repeats in by_pair.items():
        values = {}
        for name in ("p", "p_corrected", "rank_biserial", "auc", "d"):
            column = numbers(row.get(name) for row in repeats)
            present = column[np.isfinite(column)]
            if present.size:
                values |= {f"{name}_mean": present.mean(), f"{name}_sd": present.std(ddof=1) if present.size > 1 else None}
        note = "One repeat: no standard deviation." if len(repeats) == 1 else ""
        about = {"variable": variable, "first": first, "second": second, "repeats": len(repeats)}
        about |= {name: repeats[0].get(name) for name in ("n_first", "n_second")}
        summary.append(tidy(f"{method}; over repeats", repeats[0]["n"], repeats[0]["assumptions"], note=note, **about, **values))
    return summary


def _known(alternative: str) -> str:
    if alternative not in ("two-sided", "greater", "less"):
        raise BadConfiguration(f"A test is two-sided, greater or less, not '{alternative}'.")
    return alternative


def _present(values: Sequence[Any], variable: str) -> np.ndarray:
    column = numbers(values, variable)
    return column[np.isfinite(column)]


def _described(values: np.ndarray, name: str) -> dict[str, Any]:
    mean = values.mean() if values.size else None
    return {f"n_{name}": values.size, f"mean_{name}": mean, f"sd_{name}": values.std(ddof=1) if values.size > 1 else None}


def _median(values: np.ndarray) -> float | None:
    return float(np.median(values)) if values.size else None


def _half_width(first: np.ndarray, second: np.ndarray, degrees: float, level: float) -> float:
    from scipy.stats import t as student

    return float(student.ppf((1 + level) / 2, degrees) * math.sqrt(first.var(ddof=1) / first.size + second.var(ddof=1) / second.size))
