"""Linear and mixed models of a table by a formula."""

from __future__ import annotations

import ast
import math
import re
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from brainage_bids.records import BadConfiguration, UnusableInput
from brainage_bids.stats.random_intercept import fit_random_intercept
from brainage_bids.stats.rows import Columns, Row, is_constant, labels, numbers, same_length, tidy

_FUNCTIONS = frozenset({"C", "I", "Q", "np", "bs", "cr", "center", "standardize", "scale"})
"""What a formula may call beside columns."""
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
            terms.append(f"C({name})" if name.isidentifier() else f'C(Q("{name}"))')
    return f"{outcome} ~ " + " + ".join(terms)


def fit_formula(table: Columns, formula: str, *, level: float = 0.95) -> list[Row]:
    """Least squares by a formula: coefficients, and the model as a whole.

    Parameters
    ----------
    table : mapping of columns
        One row a person; rows that lack anything that the formula names are left out and counted.
    formula : str
        ``outcome ~ terms`` as statsmodels reads it, with columns and C(), I(), Q(), np.… only.
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
    import statsmodels.formula.api as smf

    method = f"least squares, {formula}"
    try:
        frame, note = _frame(table, formula)
    except UnusableInput as error:
        return [_nothing(method, _LINEAR, str(error))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a design without full rank, which is said below
        fit = _fitted(lambda: smf.ols(formula, frame).fit(), formula)
    if fit.df_resid < 1:
        return [_nothing(method, _LINEAR, f"{int(fit.nobs)} complete rows are too few for {len(fit.params)} coefficients.")]
    if fit.model.rank < len(fit.params):
        said = "A term is constant or follows from the others, so the coefficients cannot be told apart; take it out of the formula."
        return [_nothing(method, _LINEAR, said, int(fit.nobs))]
    limits = np.asarray(fit.conf_int(1 - level))
    rows = []
    for number, term in enumerate(fit.params.index):
        values = {"estimate": fit.params.iloc[number], "se": fit.bse.iloc[number], "low": limits[number, 0], "high": limits[number, 1]}
        tested = {"t": fit.tvalues.iloc[number], "df": fit.df_resid, "p": fit.pvalues.iloc[number]}
        rows.append(tidy(method, int(fit.nobs), _LINEAR, note=note, term=str(term), **values, **tested))
    whole = {"f": fit.fvalue, "p": fit.f_pvalue, "df": fit.df_model, "r2": fit.rsquared, "r2_adjusted": fit.rsquared_adj, "aic": fit.aic}
    return [*rows, tidy(method, int(fit.nobs), _LINEAR, note=note, term="model", **whole)]


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
        (the normal one rejects too often with tens of people; for what changes between a person's visits this is cautious); then ``between people`` and ``within people`` with the standard
        deviations as ``estimate``. If nothing can be fitted, one row that says why.

    Raises
    ------
    BadConfiguration
        If the formula cannot be read or names an unknown column.
    """
    import statsmodels.formula.api as smf
    from scipy.stats import t as student

    method = f"mixed model, random intercept a person, REML, {formula}"
    try:
        frame, note = _frame(table, formula, participants)
    except UnusableInput as error:
        return [_nothing(method, _MIXED, str(error))]
    people = frame["participants_of_rows"]
    model = _fitted(lambda: smf.ols(formula, frame), formula)
    try:
        fit = fit_random_intercept(model.exog, np.asarray(model.endog, dtype=float), people)
    except UnusableInput as error:
        return [_nothing(method, _MIXED, str(error), len(people))]
    degrees = people.nunique() - len(fit.coefficients)
    if degrees < 1:
        return [_nothing(method, _MIXED, f"{people.nunique()} people are too few for {len(fit.coefficients)} coefficients.", len(people))]
    note = f"{note} The variance between people is estimated as 0.".strip() if fit.at_bound else note
    quantile, rows = float(student.ppf((1 + level) / 2, degrees)), []
    for term, estimate, se in zip(model.exog_names, fit.coefficients, np.sqrt(np.diag(fit.covariance))):
        values = {"estimate": estimate, "se": se, "low": estimate - quantile * se, "high": estimate + quantile * se}
        t = estimate / se if se > 0 else math.nan
        tested = {"t": t, "df": degrees, "p": 2 * student.sf(abs(t), degrees)}
        rows.append(tidy(method, len(people), _MIXED, note=note, term=str(term), people=people.nunique(), **values, **tested))
    for term, value in {"between people": fit.sd_between, "within people": fit.sd_within}.items():
        empty = dict.fromkeys(("se", "low", "high", "t", "df", "p"))
        said = f"{note} A standard deviation; not tested.".strip()
        rows.append(tidy(method, len(people), _MIXED, note=said, term=term, people=people.nunique(), estimate=value, **empty))
    return rows


def formula_columns(formula: str, table: Columns) -> list[str]:
    """Columns that a formula names.

    Raises
    ------
    BadConfiguration
        If it has no ``~`` or no outcome, cannot be read, or names what is neither column nor known function.

    Examples
    --------
    >>> formula_columns("pad ~ age + C(sex)", {"pad": [], "age": [], "sex": []})
    ['pad', 'age', 'sex']
    """
    sides = formula.split("~")
    if len(sides) != 2 or not all(side.strip() for side in sides):
        raise BadConfiguration(f"The formula '{formula}' is not of the form 'outcome ~ terms'.")
    quoted = re.findall(r"""Q\(\s*['"]([^'"]+)['"]\s*\)""", formula)
    try:
        tree = ast.parse(f"({sides[0]}, {sides[1]})".replace("%", "+"), mode="eval")
    except SyntaxError as error:
        raise BadConfiguration(f"The formula '{formula}' cannot be read ({error.msg}).") from error
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (not isinstance(node.value, ast.Name) or node.value.id != "np" or node.attr.startswith("_")):
            raise BadConfiguration(f"The formula '{formula}' may use functions of numpy (np.log) and no other attribute.")
    named = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]
    named = list(dict.fromkeys([name for name in named if name in table or name not in _FUNCTIONS] + quoted))
    unknown = [name for name in named if name not in table]
    if unknown:
        columns = ", ".join(map(str, table))
        raise BadConfiguration(f"The formula '{formula}' names '{unknown[0]}', which is no column; there are {columns}.")
    return sorted(named, key=formula.find)


def _frame(table: Columns, formula: str, participants: Sequence[str] | None = None):
    import pandas as pd

    names = formula_columns(formula, table)
    same_length(**{name: table[name] for name in names}, participants=participants)
    columns = {name: _numbers_or_text(table[name], name) for name in names}
    if participants is not None:
        columns["participants_of_rows"] = labels(participants)
    frame = pd.DataFrame(columns)
    complete = frame.dropna()
    if complete.empty:
        empty = [name for name in frame if frame[name].isna().all()]
        reason = f"the column '{empty[0]}' has no value" if empty else "none has all the columns"
        raise UnusableInput(f"No row can be used for '{formula}': {reason}.")
    outcome = names[0]
    if complete[outcome].dtype == float and is_constant(complete[outcome].to_numpy()):
        raise UnusableInput(f"The column '{outcome}' is constant, so nothing can explain it.")
    missing = len(frame) - len(complete)
    return complete.reset_index(drop=True), f"{missing} row(s) with missing values are left out." if missing else ""


def _numbers_or_text(values: Sequence[Any], name: str) -> np.ndarray:
    try:
        return numbers(values, name)
    except UnusableInput:
        return labels(values)


def _fitted(fit, formula: str):
    try:
        return fit()
    except Exception as error:  # parsers of formulas raise errors of many kinds
        raise BadConfiguration(f"The model '{formula}' cannot be fitted ({str(error).splitlines()[0]}).") from error


def _nothing(method: str, assumptions: str, note: str, n: int = 0) -> Row:
    return tidy(method, n, assumptions, note=note, term="model", **dict.fromkeys(("estimate", "se", "low", "high", "p")))
