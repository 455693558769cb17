"""Linear and mixed models of a table by a formula."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from brainage_bids.records import UnusableInput
from brainage_bids.stats.formula_reader import quoted
from brainage_bids.stats.formula_terms import read_formula
from brainage_bids.stats.random_intercept import fit_random_intercept
from brainage_bids.stats.rows import Columns, Row, is_constant, labels, numbers, same_length, tidy

_LINEAR = "independent rows, one a person; normal residuals of one variance; effects add up and are linear as written"
_MIXED = "people are independent, visits of a person share a normal random intercept; normal residuals of one variance"


def default_formula(table: Columns, outcome: str = "pad", group: str | None = None) -> str:
    """Formula with age, age² and sex, and site and group where they are there and vary.

    >>> default_formula({"pad": [1, 2], "age": [20, 30], "sex": ["F", "M"], "site": ["a", "a"]})
    'pad ~ age + I(age**2) + C(sex)'
    """
    terms = ["age", "I(age**2)"]
    for name in ("sex", "site", group):
        if name and name in table and len({value for value in labels(table[name]) if value is not None}) > 1:
            terms.append(f"C({quoted(name)})")
    return f"{quoted(outcome)} ~ " + " + ".join(terms)


def fit_formula(table: Columns, formula: str, *, level: float = 0.95) -> list[Row]:
    """Least squares by a formula: coefficients, and the model as a whole.

    Parameters
    ----------
    table : mapping of columns
        One row a person; rows that lack anything that the formula names are left out and counted.
    formula : str
        ``outcome ~ terms``, see `formula_terms.read_formula`.
    level : float
        Of the intervals.

    Returns
    -------
    list of Row
        ``term, estimate, se, low, high, t, df, p`` a coefficient; then the row of the term ``model`` with ``f, p, r2, r2_adjusted, aic``.
        If nothing can be fitted, one row that says why.

    Raises
    ------
    BadConfiguration
        If the formula cannot be read or names an unknown column.

    Examples
    --------
    >>> rows = fit_formula({"y": [1.0, 3.0, 5.0, 7.5], "x": [0.0, 1.0, 2.0, 3.0]}, "y ~ x")
    >>> rows[1]["term"], round(rows[1]["estimate"], 6)
    ('x', 2.15)
    """
    from statsmodels.regression.linear_model import OLS

    method = f"least squares, {formula}"
    try:
        model = _prepared(table, formula)
    except UnusableInput as error:
        return [_nothing(method, _LINEAR, str(error))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a design without full rank, which is said below
        fit = OLS(model.outcome, model.design).fit()
    if fit.df_resid < 1:
        return [_nothing(method, _LINEAR, f"{int(fit.nobs)} complete rows are too few for {len(fit.params)} coefficients.")]
    if fit.model.rank < len(fit.params):
        said = "A term is constant or follows from the others, so the coefficients cannot be told apart; take it out of the formula."
        return [_nothing(method, _LINEAR, said, int(fit.nobs))]
    limits = np.asarray(fit.conf_int(1 - level))
    rows = []
    for number, term in enumerate(model.terms):
        values = {"estimate": fit.params[number], "se": fit.bse[number], "low": limits[number, 0], "high": limits[number, 1]}
        tested = {"t": fit.tvalues[number], "df": fit.df_resid, "p": fit.pvalues[number]}
        rows.append(tidy(method, int(fit.nobs), _LINEAR, note=model.note, term=term, **values, **tested))
    whole = {"f": fit.fvalue, "p": fit.f_pvalue, "df": fit.df_model, "r2": fit.rsquared, "r2_adjusted": fit.rsquared_adj, "aic": fit.aic}
    return [*rows, tidy(method, int(fit.nobs), _LINEAR, note=model.note, term="model", **whole)]


def fit_mixed(table: Columns, formula: str, participants: Sequence[str], *, level: float = 0.95) -> list[Row]:
    """Mixed model with a random intercept a person, by restricted maximum likelihood (`random_intercept`).

    Parameters
    ----------
    table : mapping of columns
        One row a visit.
    formula : str
        As in `fit_formula`; the fixed part.
    participants : sequence of str, length n
        Whose row it is.

    Returns
    -------
    list of Row
        ``term, estimate, se, low, high, t, df, p`` a fixed effect, by the t distribution with people − fixed effects degrees of freedom
        (the normal one rejects too often with tens of people; for what changes between a person's visits this is cautious); then
        ``between people`` and ``within people`` with the standard deviations as ``estimate``. If nothing can be fitted, one row that
        says why.

    Raises
    ------
    BadConfiguration
        If the formula cannot be read or names an unknown column.
    """
    from scipy.stats import t as student

    method = f"mixed model, random intercept a person, REML, {formula}"
    try:
        model = _prepared(table, formula, participants)
    except UnusableInput as error:
        return [_nothing(method, _MIXED, str(error))]
    people, count = model.people, len(set(model.people))
    try:
        fit = fit_random_intercept(model.design, model.outcome, people)
    except UnusableInput as error:
        return [_nothing(method, _MIXED, str(error), len(people))]
    degrees = count - len(fit.coefficients)
    if degrees < 1:
        return [_nothing(method, _MIXED, f"{count} people are too few for {len(fit.coefficients)} coefficients.", len(people))]
    note = f"{model.note} The variance between people is estimated as 0.".strip() if fit.at_bound else model.note
    quantile, rows = float(student.ppf((1 + level) / 2, degrees)), []
    for term, estimate, se in zip(model.terms, fit.coefficients, np.sqrt(np.diag(fit.covariance))):
        values = {"estimate": estimate, "se": se, "low": estimate - quantile * se, "high": estimate + quantile * se}
        t = estimate / se if se > 0 else math.nan
        tested = {"t": t, "df": degrees, "p": 2 * student.sf(abs(t), degrees)}
        rows.append(tidy(method, len(people), _MIXED, note=note, term=term, people=count, **values, **tested))
    for term, value in {"between people": fit.sd_between, "within people": fit.sd_within}.items():
        empty = dict.fromkeys(("se", "low", "high", "t", "df", "p"))
        said = f"{note} A standard deviation; not tested.".strip()
        rows.append(tidy(method, len(people), _MIXED, note=said, term=term, people=count, estimate=value, **empty))
    return rows


def formula_columns(formula: str, table: Columns) -> list[str]:
    """Columns that a formula names.

    Raises
    ------
    BadConfiguration
        If it cannot be read, see `formula_terms.read_formula`.

    Examples
    --------
    >>> formula_columns("pad ~ age + C(sex)", {"pad": [], "age": [], "sex": []})
    ['pad', 'age', 'sex']
    """
    return list(read_formula(formula, table).columns)


@dataclass(frozen=True)
class _Model:
    """Outcome, design and names of its columns, whose rows they are, and what must be said of rows left out."""

    outcome: np.ndarray
    design: np.ndarray
    terms: tuple[str, ...]
    people: np.ndarray | None
    note: str


def _prepared(table: Columns, formula: str, participants: Sequence[str] | None = None) -> _Model:
    asked = read_formula(formula, table)
    same_length(**{f"'{name}'": table[name] for name in asked.columns}, participants=participants)
    columns = {name: _numbers_or_text(table[name], name) for name in asked.columns}
    people = None if participants is None else labels(participants)
    known = {name: _known(values) for name, values in columns.items()}
    complete = np.logical_and.reduce([*known.values(), *([] if people is None else [_known(people)])])
    if not complete.any():
        empty = [name for name, there in known.items() if not there.any()]
        reason = f"the column '{empty[0]}' has no value" if empty else "none has all the columns"
        raise UnusableInput(f"No row can be used for '{formula}': {reason}.")
    made = asked.design({name: values[complete] for name, values in columns.items()})
    if is_constant(made.outcome):
        raise UnusableInput(f"The outcome of '{formula}' is constant, so nothing can explain it.")
    lost = {"missing values": (~complete).sum(), "a term that is no finite number": (~made.kept).sum()}
    note = " ".join(f"{count} row(s) with {what} are left out." for what, count in lost.items() if count)
    return _Model(made.outcome, made.matrix, made.names, None if people is None else people[complete][made.kept], note)


def _known(values: np.ndarray) -> np.ndarray:
    return np.array([value is not None for value in values], dtype=bool) if values.dtype == object else np.isfinite(values)


def _numbers_or_text(values: Sequence[Any], name: str) -> np.ndarray:
    try:
        return numbers(values, name)
    except UnusableInput:
        return labels(values)


def _nothing(method: str, assumptions: str, note: str, n: int = 0) -> Row:
    return tidy(method, n, assumptions, note=note, term="model", **dict.fromkeys(("estimate", "se", "low", "high", "p")))
