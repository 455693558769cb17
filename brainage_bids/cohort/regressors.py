"""Age from any columns (blood, a network's features) by four regressors, judged out of fold."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from brainage_bids.cohort.fusion import fusion_matrix
from brainage_bids.records import BadConfiguration, UnusableInput
from brainage_bids.stats.accuracy import weighted_measures
from brainage_bids.stats.associations import correlation
from brainage_bids.stats.folds import participant_folds
from brainage_bids.stats.people import person_weights
from brainage_bids.stats.rows import Columns, Row, is_constant, labels, numbers, same_length, tidy

Regressor = Literal["linear", "svr", "forest", "lasso"]
_ASSUMPTIONS = "independent people; folds by person; scaling, imputation, selection and settings are chosen within the training folds"
_NAMES = {
    "linear": "least squares",
    "svr": "support vector regression, RBF kernel, epsilon and C searched",
    "forest": "random forest of 100 trees",
    "lasso": "lasso, alpha searched",
}


@dataclass(frozen=True)
class Judged:
    """Predictions out of fold of one regressor on one set of columns.

    Attributes
    ----------
    features, regressor : str
    predictions : ndarray, shape (n,)
        Years; NaN for rows without age or without any feature.
    row : Row
        MAE with interval, Spearman's r and p.
    """

    features: str
    regressor: str
    predictions: np.ndarray
    row: Row


def judge_regressors(
    features: Mapping[str, Columns],
    ages: Sequence[Any],
    participants: Sequence[str],
    *,
    regressors: Sequence[Regressor] = get_args(Regressor),
    given: Mapping[str, Sequence[Any]] | None = None,
    folds: int = 10,
    inner: int = 5,
    seed: int = 0,
    n_resamples: int = 2000,
) -> list[Judged]:
    """Features × regressor → MAE, Spearman's r and p, by nested cross-validation over people.

    Columns are imputed by the median (with a column that says where), scaled, and chosen by a univariate F test, all within the
    training folds; how many columns, and each regressor's settings, are chosen by an inner cross-validation over people.

    Parameters
    ----------
    features : mapping of str to columns
        Such as ``{"blood": {...}, "image": {...}}``; numbers, missing values allowed. Features of a network must be out of fold.
    ages, participants : sequences, length n
        Years; whose row it is.
    regressors : sequence of {"linear", "svr", "forest", "lasso"}
    given : mapping of str to sequence, optional
        Predictions that stand in for "linear" of a set of features: the network's own last layer.
    folds, inner : int
        Of the outer and of the inner cross-validation.

    Returns
    -------
    list of Judged
        One a set and regressor. The row holds ``features, regressor, mae, mae_low, mae_high, spearman_r, p``.

    Raises
    ------
    UnusableInput
        If there are fewer than ten people with age.
    """
    unknown = [name for name in regressors if name not in get_args(Regressor)]
    if unknown:
        raise BadConfiguration(f"There is no regressor '{unknown[0]}'; choose {', '.join(get_args(Regressor))}.")
    same_length(ages=ages, participants=participants)
    age, people = numbers(ages, "age"), labels(participants).astype(str)
    aged = np.isfinite(age)
    if np.unique(people[aged]).size < 10:
        raise UnusableInput(f"Regressors need ten people with an age at least; there are {np.unique(people[aged]).size}.")
    judged = []
    for name, columns in features.items():
        values = fusion_matrix(columns, list(columns)) if len(columns) else np.empty((age.size, 0))
        same_length(ages=ages, **{name: values})
        for regressor in regressors:
            if regressor == "linear" and given is not None and name in given:
                predictions, said = numbers(given[name], name), "the network's own last layer"
            else:
                predictions, said = _out_of_fold(values, age, people, regressor, (folds, inner), seed), _NAMES[regressor]
            judged.append(Judged(name, regressor, predictions, _row(name, regressor, said, age, predictions, people, seed, n_resamples)))
    return judged


def _out_of_fold(values: np.ndarray, age: np.ndarray, people: np.ndarray, regressor: str, folds: tuple[int, int], seed: int) -> np.ndarray:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import GridSearchCV

    predictions = np.full(age.shape, np.nan)
    varied = np.array([not is_constant(part[np.isfinite(part)]) for part in values.T], dtype=bool)
    values = values[:, varied]
    usable = np.isfinite(age) & np.isfinite(values).any(axis=1) if values.shape[1] else np.zeros(age.shape, dtype=bool)
    if np.unique(people[usable]).size < 10:
        return predictions
    x, y, who = values[usable], age[usable], people[usable]
    outer = participant_folds(who, min(folds[0], np.unique(who).size), seed=seed, ages=y)
    found = np.empty(y.shape)
    for fold in np.unique(outer):
        inside = outer != fold
        inner = participant_folds(who[inside], min(folds[1], np.unique(who[inside]).size), seed=(seed, int(fold)), ages=y[inside])
        splits = [(np.flatnonzero(inner != part), np.flatnonzero(inner == part)) for part in np.unique(inner)]
        pipeline, grid = _pipeline(regressor, x.shape[1], seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            search = GridSearchCV(pipeline, grid, cv=splits, scoring="neg_mean_absolute_error").fit(x[inside], y[inside])
        found[~inside] = search.predict(x[~inside])
    predictions[usable] = found
    return predictions


def _pipeline(regressor: str, columns: int, seed: int):
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.feature_selection import SelectPercentile, f_regression
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import Lasso, LinearRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVR

    models = {
        "linear": (LinearRegression(), {}),
        "svr": (SVR(), {"model__C": [1.0, 10.0, 100.0], "model__epsilon": [0.1, 1.0, 3.0]}),
        "forest": (RandomForestRegressor(100, min_samples_leaf=3, random_state=seed), {}),
        "lasso": (Lasso(max_iter=5000), {"model__alpha": [0.03, 0.1, 0.3, 1.0, 3.0]}),
    }
    model, grid = models[regressor]
    steps = [
        ("impute", SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)),
        ("scale", StandardScaler()),
        ("choose", SelectPercentile(f_regression)),
        ("model", model),
    ]
    return Pipeline(steps), {**grid, "choose__percentile": [50, 100] if columns > 3 else [100]}


def _row(
    name: str, regressor: str, said: str, age: np.ndarray, predictions: np.ndarray, people: np.ndarray, seed: int, n_resamples: int
) -> Row:
    known = np.isfinite(age) & np.isfinite(predictions)
    method, about = f"{said}; nested cross-validation over people; Spearman correlation", {"features": name, "regressor": regressor}
    if np.unique(people[known]).size < 10:
        note = f"{np.unique(people[known]).size} people have an age and a feature that varies; ten are needed."
        return tidy(
            method, int(known.sum()), _ASSUMPTIONS, note=note, **about, **dict.fromkeys(("mae", "mae_low", "mae_high", "spearman_r", "p"))
        )
    y, predicted, who = age[known], predictions[known], people[known]
    draws = [weighted_measures(y, predicted, y.mean(), weights)["mae"] for weights in person_weights(who, n_resamples, seed)]
    low, high = np.quantile(np.concatenate(draws), [0.025, 0.975])
    found = correlation(y, predicted, kind="spearman")
    note = "People have several rows; p takes them as independent." if np.unique(who).size < who.size else ""
    values = {"mae": np.abs(predicted - y).mean(), "mae_low": low, "mae_high": high, "spearman_r": found["r"], "p": found["p"]}
    return tidy(method, y.size, _ASSUMPTIONS, note=note, **about, **values)
