"""What a linear fusion is made of, and whether a further modality helps: coefficients, variance inflation, nested models, errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from brainage_bids.cohort.fusion import fit_linear, fusion_matrix
from brainage_bids.records import BadConfiguration, UnusableInput
from brainage_bids.stats.accuracy import compare_models
from brainage_bids.stats.least_squares import Fit, least_squares
from brainage_bids.stats.metrics import error_metrics
from brainage_bids.stats.rows import Columns, Row, numbers, tidy

_ASSUMPTIONS = "independent people, one row each; normal residuals of one variance; predictions of models that did not train on these rows"


def coefficient_rows(table: Columns, ages: Sequence[Any], models: Mapping[str, Sequence[str]], *, level: float = 0.95) -> list[Row]:
    """Coefficients of every model, with p and variance inflation factor.

    Parameters
    ----------
    table : mapping of columns
        Predictions and covariates of the fit rows.
    ages : sequence, length n
        Years.
    models : mapping of str to sequence of str
        Such as ``{"T": ["t1w"], "T+A": ["t1w", "cbv"]}``. All models are fitted on the rows that have the columns of all, so that
        they can be compared.

    Returns
    -------
    list of Row
        ``model, term, estimate, se, low, high, t, df, p, vif`` (1/(1 − R²) of the term on the others; 1 if alone).
    """
    from scipy.stats import t as student

    rows, method = [], "least squares of age on predictions"
    for model, names in models.items():
        try:
            design, age = _complete(table, ages, models, names)
            fit = least_squares(design, age)
        except UnusableInput as error:
            empty = dict.fromkeys(("term", "estimate", "se", "low", "high", "t", "df", "p", "vif"))
            rows.append(tidy(method, 0, _ASSUMPTIONS, note=str(error), model=model, **empty))
            continue
        inflation = [None, *variance_inflation(design[:, 1:])]
        quantile = float(student.ppf((1 + level) / 2, fit.df))
        for place, term in enumerate(("intercept", *names)):
            estimate, se = float(fit.coefficients[place]), float(np.sqrt(fit.covariance[place, place]))
            t = estimate / se if se > 0 else float("nan")
            values = {"estimate": estimate, "se": se, "low": estimate - quantile * se, "high": estimate + quantile * se}
            tested = {"t": t, "df": fit.df, "p": float(2 * student.sf(abs(t), fit.df)), "vif": inflation[place]}
            rows.append(tidy(method, len(age), _ASSUMPTIONS, model=model, term=term, **values, **tested))
    return rows


def variance_inflation(columns: np.ndarray) -> list[float]:
    """1/(1 − R²) of each column on the others: the diagonal of the inverse of their correlations.

    >>> [round(value, 3) for value in variance_inflation(np.array([[1.0, 1.0], [2.0, 2.0], [3.0, 2.0], [4.0, 4.0]]))]
    [6.786, 6.786]
    """
    return np.diag(np.linalg.inv(np.atleast_2d(np.corrcoef(columns, rowvar=False)))).tolist()


def nested_rows(table: Columns, ages: Sequence[Any], models: Mapping[str, Sequence[str]], pairs: Sequence[tuple[str, str]]) -> list[Row]:
    """F tests whether a larger model explains more than a smaller one within it, on the fit rows.

    Parameters
    ----------
    pairs : sequence of (smaller, larger)
        Names of models, such as T and T+A.

    Returns
    -------
    list of Row
        ``smaller, larger, f, df, df_residual, p``.

    Raises
    ------
    BadConfiguration
        If the smaller is not within the larger.
    """
    from scipy.stats import f as f_distribution

    rows, method = [], "F test of nested least-squares models"
    for smaller, larger in pairs:
        if smaller not in models or larger not in models or not set(models[smaller]) < set(models[larger]):
            raise BadConfiguration(f"The model {smaller} is not nested in {larger}.")
        try:
            fits: list[Fit] = []
            for name in (smaller, larger):
                design, age = _complete(table, ages, models, models[name])
                fits.append(least_squares(design, age))
        except UnusableInput as error:
            empty = dict.fromkeys(("f", "df", "df_residual", "p"))
            rows.append(tidy(method, 0, _ASSUMPTIONS, note=str(error), smaller=smaller, larger=larger, **empty))
            continue
        one, other = fits
        df = one.df - other.df
        f = max(one.residual_ss - other.residual_ss, 0.0) / df / (other.residual_ss / other.df) if other.residual_ss > 0 else float("nan")
        values = {"f": f, "df": df, "df_residual": other.df, "p": float(f_distribution.sf(f, df, other.df))}
        rows.append(tidy(method, len(age), _ASSUMPTIONS, smaller=smaller, larger=larger, **values))
    return rows


def fusion_errors(
    fit_table: Columns, fit_ages: Sequence[Any], test_table: Columns, test_ages: Sequence[Any], participants: Sequence[str],
    models: Mapping[str, Sequence[str]], pairs: Sequence[tuple[str, str]] = (), *, paired: bool = True, n_resamples: int = 2000,
    seed: int = 0,
) -> list[Row]:  # fmt: skip
    """MAE, MSE and R² of each model on rows that its head was not fitted on, each pair of them compared, and what they predict.

    Parameters
    ----------
    fit_table, fit_ages
        The rows that heads are fitted on.
    test_table, test_ages, participants
        Other people; rows that lack a column of any model are left out, so that all models are scored on the same rows.
    pairs : sequence of (smaller, larger)
        Names of models, such as T and T+A.
    paired : bool
        Of the permutation test; see `stats.accuracy.compare_models`.

    Returns
    -------
    list of Row
        ``part`` = "error": ``model, mae, mse, r2``; ``part`` = "comparison", larger first: the row of `stats.accuracy.compare_models`,
        whose interval is a paired bootstrap over people; ``part`` = "prediction": ``participant_id, model, age, predicted, residual``
        (age − predicted) of each row.
    """
    everything = sorted({name for names in models.values() for name in names})
    values, age = fusion_matrix(test_table, everything), numbers(test_ages, "age")
    complete = np.isfinite(values).all(axis=1) & np.isfinite(age)
    kept = {name: values[complete, place] for place, name in enumerate(everything)}
    age, people = age[complete], [name for name, there in zip(participants, complete) if there]
    rows, fused = [], {}
    for model, names in models.items():
        method = "errors of a linear fusion on rows it was not fitted on"
        try:
            fused[model] = fit_linear(fit_table, fit_ages, names).estimate(kept).ages
            found = error_metrics(age, fused[model])
            values_of = {"mae": found.mae, "mse": found.rmse**2, "r2": found.r2}
            rows.append({"part": "error", **tidy(method, age.size, _ASSUMPTIONS, model=model, **values_of)})
        except ValueError as error:
            fused.pop(model, None)
            empty = dict.fromkeys(("mae", "mse", "r2"))
            rows.append({"part": "error", **tidy(method, age.size, _ASSUMPTIONS, note=str(error), model=model, **empty)})
    for smaller, larger in pairs:
        if smaller in fused and larger in fused:
            how = {"names": (larger, smaller), "paired": paired, "n_resamples": n_resamples, "seed": seed}
            rows.append({"part": "comparison", **compare_models(age, fused[larger], fused[smaller], people, **how)})
    for model, predicted in fused.items():
        method = "linear fusion on rows it was not fitted on"
        for person, one, guess in zip(people, age.tolist(), predicted.tolist()):
            values_of = {"participant_id": person, "model": model, "age": one, "predicted": guess, "residual": one - guess}
            rows.append({"part": "prediction", **tidy(method, 1, _ASSUMPTIONS, **values_of)})
    return rows


def _complete(
    table: Columns, ages: Sequence[Any], models: Mapping[str, Sequence[str]], names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    everything = sorted({name for each in models.values() for name in each})
    values, age = fusion_matrix(table, everything), numbers(ages, "age")
    complete = np.isfinite(values).all(axis=1) & np.isfinite(age)
    chosen = values[complete][:, [everything.index(name) for name in names]]
    return np.column_stack([np.ones(len(chosen)), chosen]), age[complete]
