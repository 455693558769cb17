"""Error and uncertainty against age by a polynomial of third order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from brainage_bids.stats.least_squares import least_squares
from brainage_bids.stats.rows import Row, is_constant, numbers, same_length, tidy

_ASSUMPTIONS = "independent people; normal residuals of one variance; the curve holds within the ages seen"


def interval_width(sd: np.ndarray, members: np.ndarray, level: float = 0.95) -> np.ndarray:
    """Width of the interval of the mean over the members of an ensemble: 2 t(.975, k − 1) s / √k; NaN for fewer than two members.

    >>> interval_width([2.0, 2.0], [10, 1]).round(4).tolist()
    [2.8614, nan]
    """
    from scipy.stats import t as student

    sd, members = np.asarray(sd, dtype=float), np.asarray(members, dtype=float)
    several = np.where(members > 1, members, np.nan)
    return 2 * student.ppf((1 + level) / 2, several - 1) * sd / np.sqrt(several)


def polynomial_by_age(
    ages: Sequence[Any], values: Sequence[Any], *, variable: str = "value", order: int = 3, points: int = 61, level: float = 0.95
) -> list[Row]:
    """Least-squares polynomial of a value on age, with a band, and its test against no dependence on age.

    Parameters
    ----------
    ages, values : sequences, length n
        One row a person; rows that lack one are left out.
    order : int
        Highest power of age.
    points : int
        Ages, from the youngest to the oldest, at which the curve is given.
    level : float
        Of the band of the mean.

    Returns
    -------
    list of Row
        First the fit (``part`` = "fit"): ``c0 … c3`` for powers of age in years, ``r2, f, df, df_residual, p``; then the curve
        (``part`` = "curve"): ``age, value, low, high``. If nothing can be fitted, one row that says why.

    Examples
    --------
    >>> rows = polynomial_by_age([20, 30, 40, 50, 60, 70.0], [1, 2, 3, 4, 5, 6.5], order=1, points=2)
    >>> round(rows[0]["c1"], 4), rows[1]["age"]
    (0.1071, 20.0)
    """
    from scipy.stats import f as f_distribution
    from scipy.stats import t as student

    same_length(ages=ages, values=values)
    age, value = numbers(ages, "age"), numbers(values, variable)
    known = np.isfinite(age) & np.isfinite(value)
    age, value = age[known], value[known]
    method = f"polynomial of order {order}, least squares"
    powers = [f"c{power}" for power in range(order + 1)]
    if np.unique(age).size <= order + 1:
        note = f"{np.unique(age).size} different ages are too few for a polynomial of order {order}."
        empty = dict.fromkeys((*powers, "r2", "f", "df", "df_residual", "p"))
        return [tidy(method, age.size, _ASSUMPTIONS, note=note, variable=variable, part="fit", **empty)]
    centre, scale = float(age.mean()), float(age.std())
    fit = least_squares(np.vander((age - centre) / scale, order + 1, increasing=True), value)
    total = float(np.sum((value - value.mean()) ** 2))
    untestable = is_constant(value) or fit.residual_ss <= 1e-20 * total
    f = math.nan if untestable else ((total - fit.residual_ss) / order) / (fit.residual_ss / fit.df)
    tested = {"r2": None if is_constant(value) else 1 - fit.residual_ss / total, "f": f, "df": order, "df_residual": fit.df}
    line = np.polynomial.Polynomial(fit.coefficients)(np.polynomial.Polynomial([-centre / scale, 1 / scale]))
    coefficients = dict(zip(powers, [*line.coef, *([0.0] * order)]))
    tested["p"] = float(f_distribution.sf(f, order, fit.df))
    note = "" if math.isfinite(f) else f"{variable} does not vary or the curve meets every value: no test."
    rows = [tidy(method, age.size, _ASSUMPTIONS, note=note, variable=variable, part="fit", **coefficients, **tested)]
    at = np.linspace(age.min(), age.max(), points)
    design = np.vander((at - centre) / scale, order + 1, increasing=True)
    curve = design @ fit.coefficients
    half = student.ppf((1 + level) / 2, fit.df) * np.sqrt(np.einsum("ij,jk,ik->i", design, fit.covariance, design))
    for number in range(points):
        values_at = {"age": at[number], "value": curve[number], "low": curve[number] - half[number], "high": curve[number] + half[number]}
        rows.append(tidy(method, age.size, _ASSUMPTIONS, variable=variable, part="curve", **values_at))
    return rows
