"""Differences between several groups, with and without covariates, and what follows them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from brainage_bids.records import UnusableInput
from brainage_bids.stats.corrections import Correction, correct
from brainage_bids.stats.least_squares import Covariates, Fit, covariate_design, indicators, least_squares
from brainage_bids.stats.rows import Row, is_constant, labels, numbers, same_length, tidy

_ASSUMPTIONS = "independent people; normal residuals of one variance; covariates act alike in all groups (see p_slopes)"


@dataclass(frozen=True)
class _Design:
    outcome: np.ndarray
    groups: list[str]
    members: np.ndarray  # n, names
    of_group: np.ndarray  # n x (k - 1)
    covariates: dict[str, np.ndarray]  # each n x q
    assumptions: str

    def matrix(self, leave_out: str | None = None) -> np.ndarray:
        parts = [] if leave_out == "group" else [self.of_group]
        parts += [columns for name, columns in self.covariates.items() if name != leave_out]
        return np.column_stack([np.ones(len(self.outcome)), *parts])


def analysis_of_variance(
    values: Sequence[Any], groups: Sequence[Any], covariates: Mapping[str, Sequence[Any]] | None = None, *, variable: str = "value"
) -> list[Row]:
    """ANOVA, or ANCOVA with covariates: the group's effect and each covariate's, each beyond all others (type II).

    Parameters
    ----------
    values, groups : sequences, length n
        One value and one group a person.
    covariates : mapping of name to sequence, optional
        Numbers, or text that becomes indicators. Rows that lack anything are left out; constant covariates too, with a note.
    variable : str
        Name of the values.

    Returns
    -------
    list of Row
        ``term, ss, df, df_residual, f, p, eta2`` (SS over the total) and ``eta2_partial`` (SS over SS + residual), one a term,
        the group first; its row has ``levene_p`` (equal variances of the residuals, by medians), ``shapiro_p`` (their normality,
        up to 5,000 people) and ``p_slopes`` (covariates × group).

    Examples
    --------
    >>> row, = analysis_of_variance([1.0, 2.0, 3.0, 3.0, 4.0, 5.0], ["a"] * 3 + ["b"] * 3)
    >>> row["f"], row["eta2"]
    (6.0, 0.6)
    """
    method = "ANCOVA, type II sums of squares" if covariates else "one-way ANOVA"
    try:
        design, note = _designed(values, groups, covariates or {}, variable)
        whole = least_squares(design.matrix(), design.outcome)
    except UnusableInput as error:
        empty = dict.fromkeys(("ss", "df", "df_residual", "f", "p", "eta2", "eta2_partial", "levene_p", "shapiro_p", "p_slopes"))
        return [tidy(method, 0, _ASSUMPTIONS, note=str(error), variable=variable, term="group", **empty)]
    total = float(np.sum((design.outcome - design.outcome.mean()) ** 2))
    rows = []
    for term in ("group", *design.covariates):
        tested = _f_test(least_squares(design.matrix(leave_out=term), design.outcome), whole)
        ss = tested.pop("ss")
        shares = {"eta2": ss / total, "eta2_partial": ss / (ss + whole.residual_ss)}
        checks = _checks(design, whole) if term == "group" else dict.fromkeys(("levene_p", "shapiro_p", "p_slopes"))
        about = {"variable": variable, "term": term, "groups": ", ".join(design.groups)}
        rows.append(tidy(method, len(design.outcome), design.assumptions, note=note, **about, ss=ss, **tested, **shares, **checks))
    return rows


def adjusted_pairs(
    values: Sequence[Any], groups: Sequence[Any], covariates: Mapping[str, Sequence[Any]] | None = None, *,
    variable: str = "value", correction: Correction = "bonferroni", level: float = 0.95,
) -> list[Row]:  # fmt: skip
    """Differences of the groups' means, adjusted to the covariates' means, with the residual variance of all groups.

    Returns
    -------
    list of Row
        ``first, second, mean_first, mean_second, difference, low, high, t, df, p, p_corrected``, one a pair; first − second.

    Raises
    ------
    UnusableInput
        If nothing can be fitted.
    """
    from scipy.stats import t as student

    design, note = _designed(values, groups, covariates or {}, variable)
    fit = least_squares(design.matrix(), design.outcome)
    centre = design.matrix().mean(axis=0)
    at = {}
    for number, group in enumerate(design.groups):
        at[group] = centre.copy()
        at[group][1 : len(design.groups)] = 0.0
        if number:
            at[group][number] = 1.0
    method = "pairwise t-tests of adjusted means" if design.covariates else "pairwise t-tests with the pooled variance of all groups"
    rows = []
    for first, second in combinations(design.groups, 2):
        contrast = at[first] - at[second]
        difference, error = float(contrast @ fit.coefficients), math.sqrt(contrast @ fit.covariance @ contrast)
        half = float(student.ppf((1 + level) / 2, fit.df)) * error
        t = difference / error if error else math.nan
        means = {"mean_first": float(at[first] @ fit.coefficients), "mean_second": float(at[second] @ fit.coefficients)}
        values_of = {"difference": difference, "low": difference - half, "high": difference + half, "t": t, "df": fit.df}
        p = float(2 * student.sf(abs(t), fit.df))
        about = {"variable": variable, "first": first, "second": second}
        rows.append(tidy(method, len(design.outcome), design.assumptions, note=note, **about, **means, **values_of, p=p))
    return correct(rows, correction, family=f"pairs of groups of {variable}")


def compare_adjusted(
    values: Sequence[Any], groups: Sequence[Any], covariates: Mapping[str, Sequence[Any]], *, variable: str = "value",
    log: bool = False, alpha: float = 0.05,
) -> list[Row]:  # fmt: skip
    """The rule for blood markers: ANCOVA first; ANOVA with Bonferroni pairs where no covariate does anything, adjusted pairs otherwise.

    Parameters
    ----------
    values, groups, covariates
        As in `analysis_of_variance`.
    log : bool
        Take logarithms of the values; those not above zero are left out, with a note.
    alpha : float
        A covariate does something if its p in the ANCOVA is below.

    Returns
    -------
    list of Row
        Tests (``part`` = "test") and pairs (``part`` = "pair").
    """
    column = numbers(values, variable)
    note = ""
    if log:
        unlogged = np.isfinite(column) & (column <= 0)
        note = f"{unlogged.sum()} value(s) not above zero have no logarithm and are left out." if unlogged.any() else ""
        column = np.log(np.where(column > 0, column, np.nan))
        variable = f"log {variable}"
    rows = analysis_of_variance(column, groups, covariates, variable=variable)
    used = {row["term"]: covariates[row["term"]] for row in rows[1:] if row["p"] is not None and row["p"] < alpha}
    if not used and len(rows) > 1:
        rows += analysis_of_variance(column, groups, variable=variable)
    pairs = [] if rows[0]["p"] is None else adjusted_pairs(column, groups, covariates if used else None, variable=variable)
    marked = [{"part": "test", **row} for row in rows] + [{"part": "pair", **row} for row in pairs]
    return [{**row, "note": " ".join(filter(None, (row["note"], note)))} for row in marked]


def _designed(values: Sequence[Any], groups: Sequence[Any], covariates: Mapping[str, Sequence[Any]], variable: str) -> tuple[_Design, str]:
    same_length(values=values, groups=groups, **covariates)
    outcome, names = numbers(values, variable), labels(groups)
    known = np.isfinite(outcome) & np.array([name is not None for name in names], dtype=bool)
    others = Covariates(covariates, len(outcome))
    assumptions, known = _ASSUMPTIONS + others.lacking(known), known & others.covered
    if not known.any():
        raise UnusableInput(f"No row has '{variable}', a group and all covariates.")
    columns = {name: covariate_design({name: column}, known) for name, column in covariates.items()}
    idle = [name for name, column in columns.items() if all(is_constant(part) for part in column.T)]
    found, of_group = indicators(names[known])
    if len(found) < 2:
        raise UnusableInput(f"The column '{variable}' is known in one group only ({found[0]}); two are needed.")
    if is_constant(outcome[known]):
        raise UnusableInput(f"The column '{variable}' is constant.")
    note = f"Constant covariates are left out: {', '.join(idle)}." if idle else ""
    kept = {name: column for name, column in columns.items() if name not in idle}
    return _Design(outcome[known], found, names[known], of_group, kept, assumptions), note


def _f_test(reduced: Fit, whole: Fit) -> dict[str, Any]:
    from scipy.stats import f as f_distribution

    ss, df = max(reduced.residual_ss - whole.residual_ss, 0.0), reduced.df - whole.df
    f = (ss / df) / (whole.residual_ss / whole.df) if whole.residual_ss > 0 else math.nan
    return {"ss": ss, "df": df, "df_residual": whole.df, "f": f, "p": float(f_distribution.sf(f, df, whole.df))}


def _checks(design: _Design, fit: Fit) -> dict[str, float | None]:
    from scipy.stats import levene, shapiro

    residuals = design.outcome - design.matrix() @ fit.coefficients
    parts = [residuals[design.members == group] for group in design.groups]
    testable = min(part.size for part in parts) >= 2 and fit.df > 1 and residuals.std() > 1e-9 * design.outcome.std()
    with np.errstate(invalid="ignore", divide="ignore"):
        checks: dict[str, float | None] = {"levene_p": levene(*parts).pvalue if testable else None}
    checks["shapiro_p"] = shapiro(residuals).pvalue if testable and residuals.size <= 5000 else None
    checks["p_slopes"] = None
    if design.covariates:
        products = [of * column for columns in design.covariates.values() for column in columns.T for of in design.of_group.T]
        extended = np.column_stack([design.matrix(), *products])
        extended = extended / np.maximum(np.sqrt((extended**2).sum(axis=0)), 1e-300)
        solved, _, rank, _ = np.linalg.lstsq(extended, design.outcome, rcond=1e-10)
        df = residuals.size - int(rank)  # a category that a group lacks has no slope there and takes no degree of freedom
        if fit.df > df >= 1:
            left = float(np.sum((design.outcome - extended @ solved) ** 2))
            checks["p_slopes"] = _f_test(fit, Fit(solved, np.empty((0, 0)), left, df))["p"]
    return checks
