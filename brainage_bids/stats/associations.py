"""Correlations of an outcome with many columns, partial for covariates, and matrices of correlations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations, product
from typing import Literal

import numpy as np

from brainage_bids.records import BadConfiguration
from brainage_bids.stats.corrections import Correction, correct
from brainage_bids.stats.least_squares import Covariates, residuals_on
from brainage_bids.stats.metrics import pearson_r
from brainage_bids.stats.rows import Columns, Row, column, is_constant, numbers, same_length, tidy, why_empty

Kind = Literal["auto", "pearson", "spearman"]
OUTLIER_Z = 3.5
"""Values whose modified z-score .6745 |x − median| / MAD is above are outliers (Iglewicz and Hoaglin 1993)."""

_LARGEST_FOR_SHAPIRO = 5000
_ASSUMPTIONS = {
    "Pearson": "independent people; a linear relation, both normal",
    "Spearman": "independent people; a monotonic relation",
}
_FEWEST = 4


def is_normal(values: np.ndarray, alpha: float = 0.05) -> bool:
    """Whether Shapiro and Wilk's test finds no departure from a normal distribution.

    Above 5,000 values, for which its p is not known, every k-th of the sorted values is tested, so that at most 5,000 are.

    >>> is_normal(np.array([-1.2, -0.5, -0.1, 0.2, 0.6, 1.1])), is_normal(np.exp(np.arange(20.0)))
    (True, False)
    """
    from scipy.stats import shapiro

    values = np.sort(np.asarray(values, dtype=float))
    values = values[:: max(1, math.ceil(values.size / _LARGEST_FOR_SHAPIRO))]
    return values.size >= 3 and not is_constant(values) and bool(shapiro(values).pvalue >= alpha)


def outliers(values: np.ndarray, limit: float = OUTLIER_Z) -> np.ndarray:
    """Mark values far from the median by their modified z-score; none where the median deviation is 0.

    >>> outliers(np.array([1.0, 2.0, 3.0, 2.0, 90.0])).tolist()
    [False, False, False, False, True]
    """
    values = np.asarray(values, dtype=float)
    deviation = np.abs(values - np.nanmedian(values))
    spread = np.nanmedian(deviation)
    return 0.6745 * deviation > limit * spread if spread > 0 else np.zeros(values.shape, dtype=bool)


def correlation(
    x: np.ndarray,
    y: np.ndarray,
    *,
    kind: Literal["pearson", "spearman"] = "pearson",
    covariates: np.ndarray | None = None,
    level: float = 0.95,
) -> dict[str, float]:
    """Correlation with interval and p, partial if there are covariates.

    Spearman's is Pearson's of the ranks (the covariates' too). The interval is Fisher's, for Spearman with the standard error
    √((1 + r²/2)/(n − 3 − q)) of Bonett and Wright (2000); p by the t distribution with n − 2 − q degrees of freedom.

    Parameters
    ----------
    x, y : ndarray, shape (n,)
        Without missing values.
    covariates : ndarray, shape (n, q), optional

    Returns
    -------
    dict
        ``r, low, high, p``; NaN where not defined (a constant column, too few rows).

    Examples
    --------
    >>> found = correlation(np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.array([2.0, 1.0, 4.0, 3.0, 5.0]))
    >>> round(found["r"], 6), round(found["p"], 4)
    (0.8, 0.1041)
    """
    from scipy.special import stdtr
    from scipy.stats import norm, rankdata

    q = 0
    if kind == "spearman":
        x, y = rankdata(x), rankdata(y)
    if covariates is not None:
        covariates = covariates[:, [not is_constant(part) for part in covariates.T]]
        q = covariates.shape[1]
        if q:
            covariates = rankdata(covariates, axis=0) if kind == "spearman" else covariates
            spreads = np.array([x.std(), y.std()])
            left = residuals_on(covariates, np.column_stack([x, y]))
            left[:, left.std(axis=0) <= 1e-9 * spreads] = 0.0  # fully explained
            x, y = left.T
    degrees = len(x) - 2 - q
    r = float(pearson_r(x, y)) if degrees >= 1 else math.nan
    if not math.isfinite(r):
        return dict.fromkeys(("r", "low", "high", "p"), math.nan)
    if abs(r) > 1 - 1e-12:
        return {"r": math.copysign(1.0, r), "low": math.copysign(1.0, r), "high": math.copysign(1.0, r), "p": 0.0}
    p = float(2 * stdtr(degrees, -abs(r) * math.sqrt(degrees / (1 - r**2))))
    if degrees < 2:
        return {"r": r, "low": math.nan, "high": math.nan, "p": p}
    error = math.sqrt((1 + r**2 / 2 if kind == "spearman" else 1.0) / (degrees - 1))
    half = float(norm.ppf((1 + level) / 2)) * error
    return {"r": r, "low": math.tanh(math.atanh(r) - half), "high": math.tanh(math.atanh(r) + half), "p": p}


def associate(
    table: Columns, outcome: str, variables: Sequence[str], *, covariates: Sequence[str] = ("age",), kind: Kind = "auto",
    correction: Correction = "bh", family: str | None = None, level: float = 0.95,
) -> list[Row]:  # fmt: skip
    """Correlate an outcome with columns: plain, partial for covariates, and without outliers.

    Parameters
    ----------
    table : mapping of columns
        One row a person; each pair uses the rows that have both.
    outcome : str
        A column, such as the brain-age gap.
    variables : sequence of str
        Other columns.
    covariates : sequence of str
        For ``r_partial``; text becomes indicators. Empty for none.
    kind : {"auto", "pearson", "spearman"}
        ``auto``: Pearson where Shapiro and Wilk's test finds both columns normal, Spearman otherwise; said in ``method``.
    correction, family
        Of ``p`` and ``p_partial``, each over all variables.

    Returns
    -------
    list of Row
        ``r, low, high, p``; ``r_partial, low_partial, high_partial, p_partial``; ``outliers`` (how many rows) and
        ``r_without_outliers, p_without_outliers``. A pair that cannot be computed gives a row that says why.

    Raises
    ------
    UnusableInput
        If a column is not there or holds text.
    """
    _known(kind)
    values = {name: numbers(column(table, name), name) for name in dict.fromkeys((outcome, *variables))}
    same_length(**{name: table[name] for name in (*values, *covariates) if name in table})
    adjust = {name: column(table, name) for name in covariates}
    size, known = len(values[outcome]), {}
    rows = []
    for name in variables:
        chosen = tuple(covariate for covariate in covariates if covariate not in (name, outcome))
        if chosen not in known:
            known[chosen] = Covariates({covariate: adjust[covariate] for covariate in chosen}, size)
        rows.append(_association((outcome, values[outcome]), (name, values[name]), known[chosen], kind, level))
    family = family or f"columns against {outcome}"
    plain = correct(rows, correction, family=family)
    partial = correct(plain, correction, family=f"{family}, partial", p="p_partial")
    if not covariates:
        return [{**row, "correction": one["correction"]} for one, row in zip(plain, partial)]
    return [{**row, "correction": f"{one['correction']}; {row['correction']}"} for one, row in zip(plain, partial)]


def correlation_matrix(
    first: Columns, second: Columns | None = None, *, covariates: Columns | None = None, kind: Kind = "auto",
    correction: Correction = "bh", family: str = "all pairs",
) -> list[Row]:  # fmt: skip
    """Correlations of all pairs of columns, of one table or between two, one row a pair.

    Parameters
    ----------
    first, second : mappings of columns
        Numbers; each pair uses the rows that have both. Without `second`, each pair of `first` once.
    covariates : mapping of columns, optional
        Beyond which all pairs are correlated; rows that lack one are left out.
    kind, correction, family
        As in `associate`.

    Returns
    -------
    list of Row
        ``first, second, covariates, r, low, high, p, p_corrected``.
    """
    _known(kind)
    same_length(
        **{name: first[name] for name in first}, **{f"{name} of the second": second[name] for name in (() if second is None else second)}
    )
    left = {name: numbers(first[name], name) for name in first}
    right = {name: numbers(second[name], name) for name in second} if second is not None else left
    others = Covariates(covariates or {}, len(next(iter(left.values()), ())))
    pairs = product(left, right) if second is not None else combinations(left, 2)
    normal: Mapping[str, bool] = {}
    if kind == "auto":  # once a column, not once a pair
        normal = {f"{side}{name}": is_normal(v[np.isfinite(v)]) for side, columns in ((0, left), (1, right)) for name, v in columns.items()}
    rows = []
    for one, other in pairs:
        chosen = kind if kind != "auto" else "pearson" if normal[f"0{one}"] and normal[f"1{other}"] else "spearman"
        rows.append(_pair((one, left[one]), (other, right[other]), others, chosen, kind == "auto"))
    return correct(rows, correction, family=family)


def _pair(first: tuple[str, np.ndarray], second: tuple[str, np.ndarray], others: Covariates, kind: str, decided: bool) -> Row:
    (one, x), (other, y), name = first, second, kind.capitalize()
    assumptions = _ASSUMPTIONS[name] + others.lacking(np.isfinite(x) & np.isfinite(y))
    both = np.isfinite(x) & np.isfinite(y) & others.covered
    note = why_empty(x[both], one, _FEWEST) or why_empty(y[both], other, _FEWEST)
    given = others.design(both) if others.names and not note else None
    found = correlation(x[both], y[both], kind=kind, covariates=given) if not note else dict.fromkeys(("r", "low", "high", "p"))
    method = f"{name} correlation" + (" (Shapiro-Wilk of each column decided)" if decided else "")
    about = {"first": one, "second": other, "covariates": ", ".join(others.names)}
    return tidy(method, int(both.sum()), assumptions, note=note, **about, **found)


def _association(outcome: tuple[str, np.ndarray], variable: tuple[str, np.ndarray], others: Covariates, kind: Kind, level: float) -> Row:
    (to, y), (name, x) = outcome, variable
    both = np.isfinite(x) & np.isfinite(y)
    note = why_empty(x[both], name, _FEWEST) or why_empty(y[both], to, _FEWEST)
    about = {"first": to, "second": name, "covariates": ", ".join(others.names)}
    shape = {f"{value}_partial": None for value in ("r", "low", "high", "p", "n")}
    if note:
        empty = dict.fromkeys(("r", "low", "high", "p", "outliers", "r_without_outliers", "p_without_outliers"))
        return tidy("correlation", int(both.sum()), "independent people", note=note, **about, **empty, **shape)
    chosen = kind
    if kind == "auto":
        chosen = "pearson" if is_normal(x[both]) and is_normal(y[both]) else "spearman"
    found = correlation(x[both], y[both], kind=chosen, level=level)
    notes = []
    if others.names:
        complete = both & others.covered
        partial = correlation(x[complete], y[complete], kind=chosen, covariates=others.design(complete), level=level)
        shape = {f"{value}_partial": number for value, number in partial.items()} | {"n_partial": int(complete.sum())}
        if not math.isfinite(partial["r"]):
            notes.append(f"The partial correlation is not defined: too few rows, or {', '.join(others.names)} explain(s) a column fully.")
    far = np.zeros(len(x), dtype=bool)
    far[both] = outliers(x[both]) | outliers(y[both])
    kept = both & ~far
    inner = correlation(x[kept], y[kept], kind=chosen) if kept.sum() >= _FEWEST else {"r": math.nan, "p": math.nan}
    if not math.isfinite(inner["r"]):
        notes.append("Without outliers nothing is left to correlate.")
    decided = "Shapiro-Wilk decided; " if kind == "auto" else ""
    method = f"{chosen.capitalize()} correlation ({decided}outliers: modified z above {OUTLIER_Z})"
    without = {"outliers": int(far.sum()), "r_without_outliers": inner["r"], "p_without_outliers": inner["p"]}
    assumptions = _ASSUMPTIONS[chosen.capitalize()] + others.lacking(both)
    return tidy(method, int(both.sum()), assumptions, note=" ".join(notes), **about, **found, **shape, **without)


def _known(kind: str) -> None:
    if kind not in ("auto", "pearson", "spearman"):
        raise BadConfiguration(f"A correlation is auto, pearson or spearman, not '{kind}'.")
