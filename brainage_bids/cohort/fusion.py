"""Heads that make one age of several predictions: mean, linear regression with covariates, ridge on two levels.

A head keeps the means and cross-products of its reference rows. From them the regression on any part of its inputs can be solved, so
someone who lacks a modality gets the estimate that a head trained without that modality would give.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from brainage_bids.records import UnusableInput
from brainage_bids.stats.folds import participant_folds
from brainage_bids.stats.rows import Columns, column, is_constant, labels, numbers, same_length

PARTIAL = "fusion_of_part"
"""Flag of someone who lacks one of the head's inputs."""

_SEX = {"F": 0.0, "M": 1.0}
_FOLDS = 5


@dataclass(frozen=True)
class Moments:
    """Means and centred cross-products of columns and age, from complete reference rows.

    Attributes
    ----------
    names : tuple of str, length k
        The columns.
    means : tuple of float, length k + 1
        The age's last.
    products : tuple of tuples of float, (k + 1) × (k + 1)
        Σ (zᵢ − z̄)(zᵢ − z̄)ᵀ with z = (columns, age).
    n : int
        Rows.
    """

    names: tuple[str, ...]
    means: tuple[float, ...]
    products: tuple[tuple[float, ...], ...]
    n: int

    def solve(self, chosen: Sequence[int], penalty: float) -> tuple[float, np.ndarray]:
        """Intercept and coefficients of the (ridge) regression of age on some of the columns, by their places."""
        products, means = np.asarray(self.products), np.asarray(self.means)
        chosen = list(chosen)
        left = products[np.ix_(chosen, chosen)] + penalty * np.eye(len(chosen))
        weights = np.linalg.solve(left, products[chosen, -1])
        return float(means[-1] - means[chosen] @ weights), weights


class Head(Protocol):
    """What every head can do."""

    def estimate(self, table: Columns) -> Fused:
        """Fuse the predictions of a table."""


@dataclass(frozen=True)
class Fused:
    """Fused ages.

    Attributes
    ----------
    ages : ndarray, shape (n,)
        Years; NaN for someone without any prediction.
    used : list of tuples of str
        The predictions and covariates behind each.
    flags : list of tuples of str
        ``fusion_of_part`` where an input is missing.
    """

    ages: np.ndarray
    used: list[tuple[str, ...]]
    flags: list[tuple[str, ...]]


@dataclass(frozen=True)
class MeanHead:
    """Mean of the predictions that there are; nothing is fitted."""

    inputs: tuple[str, ...]

    def estimate(self, table: Columns) -> Fused:
        """Fuse the predictions of a table."""
        values = fusion_matrix(table, self.inputs)
        there = np.isfinite(values)
        counts = there.sum(axis=1)
        means = np.divide(np.where(there, values, 0.0).sum(axis=1), counts, out=np.full(len(values), np.nan), where=counts > 0)
        return _fused(means, there, self.inputs)


@dataclass(frozen=True)
class LinearHead:
    """Least squares of age on predictions and covariates.

    Attributes
    ----------
    inputs, covariates : tuples of str
        Columns; ages in years, sex as F and M or 0 (female) and 1.
    moments : Moments
        Of inputs, then covariates.
    """

    inputs: tuple[str, ...]
    covariates: tuple[str, ...]
    moments: Moments

    def __post_init__(self) -> None:
        """Take moments as they come from a file."""
        object.__setattr__(self, "moments", _moments(self.moments))

    def estimate(self, table: Columns) -> Fused:
        """Fuse the predictions of a table; a missing covariate is left out as a missing prediction is."""
        names = self.inputs + self.covariates
        return _regressed(fusion_matrix(table, names), self.moments, 0.0, names, len(self.inputs))


@dataclass(frozen=True)
class RidgeHead:
    """Ridge on two levels: base models to sub-ensembles, sub-ensembles to one age.

    Attributes
    ----------
    groups : dict of str to tuple of str
        Sub-ensemble to its base models.
    first : dict of str to Moments
        Of each sub-ensemble's base models.
    second : Moments
        Of the sub-ensembles' out-of-fold ages.
    penalty : float
        Ridge's α, on ages in years that are centred and not scaled.
    """

    groups: dict[str, tuple[str, ...]]
    first: dict[str, Moments]
    second: Moments
    penalty: float

    def __post_init__(self) -> None:
        """Take moments as they come from a file."""
        object.__setattr__(self, "first", {name: _moments(moments) for name, moments in self.first.items()})
        object.__setattr__(self, "second", _moments(self.second))

    def first_level(self, table: Columns) -> np.ndarray:
        """Ages of the sub-ensembles, shape (n, groups), in years; NaN where a sub-ensemble has no prediction."""
        return np.column_stack([level.ages for level in self._levels(table)])

    def _levels(self, table: Columns) -> list[Fused]:
        return [
            _regressed(fusion_matrix(table, names), self.first[group], self.penalty, names, len(names))
            for group, names in self.groups.items()
        ]

    def estimate(self, table: Columns) -> Fused:
        """Fuse the predictions of a table."""
        levels = self._levels(table)
        between = np.column_stack([level.ages for level in levels])
        fused = _regressed(between, self.second, self.penalty, tuple(self.groups), len(self.groups))
        used = [tuple(name for level in levels for name in level.used[row]) for row in range(len(between))]
        total = sum(len(names) for names in self.groups.values())
        flags = [(PARTIAL,) if 0 < len(names) < total else () for names in used]
        return Fused(fused.ages, used, flags)


def fit_linear(table: Columns, ages: Sequence[Any], inputs: Sequence[str], covariates: Sequence[str] = ()) -> LinearHead:
    """Fit least squares on the reference rows that have everything.

    Parameters
    ----------
    table : mapping of columns
        Predictions of models that did not train on these rows, and covariates.
    ages : sequence, length n
        Years.
    inputs, covariates : sequences of str
        Columns.

    Raises
    ------
    UnusableInput
        If a column is missing or constant, or too few rows are complete.

    Examples
    --------
    >>> table = {"t1w": [20.0, 31.0, 39.0, 52.0], "flair": [22.0, 29.0, 41.0, 49.0]}
    >>> head = fit_linear(table, [20, 30, 40, 50], ["t1w", "flair"])
    >>> head.estimate({"t1w": [35.0, None], "flair": [35.0, 35.0]}).ages.round(2).tolist()
    [34.62, 34.73]
    """
    names = (*inputs, *covariates)
    return LinearHead(tuple(inputs), tuple(covariates), _moments_of(fusion_matrix(table, names), ages, names, 0.0))


def fit_ridge(
    table: Columns,
    ages: Sequence[Any],
    participants: Sequence[str],
    groups: Mapping[str, Sequence[str]],
    *,
    penalty: float = 1.0,
    seed: int = 0,
) -> RidgeHead:
    """Fit ridge on two levels; the second learns from ages of the first that are out of fold (five folds of people).

    Parameters
    ----------
    table : mapping of columns
        Predictions of the base models.
    ages, participants : sequences, length n
        Years; whose row it is.
    groups : mapping of str to sequence of str
        Sub-ensemble to its base models.
    penalty : float
        Ridge's α on both levels.
    seed : int
        Of the folds.
    """
    if penalty < 0 or not groups:
        raise UnusableInput(f"A ridge head needs a sub-ensemble and a penalty of 0 or more; got {len(groups)} and {penalty}.")
    chosen = {group: tuple(names) for group, names in groups.items()}
    everything = tuple(name for names in chosen.values() for name in names)
    values, age = fusion_matrix(table, everything), numbers(ages, "age")
    same_length(ages=ages, participants=participants, predictions=values)
    complete = np.isfinite(values).all(axis=1) & np.isfinite(age)
    people = labels(participants)[complete].astype(str)
    kept, age = {name: values[complete, place] for place, name in enumerate(everything)}, age[complete]
    if np.unique(people).size < _FOLDS:
        raise UnusableInput(f"A ridge head needs {_FOLDS} people with all predictions at least; there are {np.unique(people).size}.")
    folds = participant_folds(people, _FOLDS, seed=seed, ages=age)
    out_of_fold = np.empty((age.size, len(chosen)))
    for place, names in enumerate(chosen.values()):
        columns = np.column_stack([kept[name] for name in names])
        for fold in range(_FOLDS):
            inside = _moments_of(columns[folds != fold], age[folds != fold], names, penalty)
            out_of_fold[folds == fold, place] = _regressed(columns[folds == fold], inside, penalty, names, len(names)).ages
    first = {group: _moments_of(np.column_stack([kept[name] for name in names]), age, names, penalty) for group, names in chosen.items()}
    return RidgeHead(chosen, first, _moments_of(out_of_fold, age, tuple(chosen), penalty), penalty)


def cross_fit(
    fit: Callable[[dict[str, np.ndarray], np.ndarray, np.ndarray], Head],
    table: Columns,
    ages: Sequence[Any],
    participants: Sequence[str],
    *,
    folds: int = 10,
    seed: int = 0,
) -> np.ndarray:
    """Fused ages of every row by heads that were fitted without that person.

    Parameters
    ----------
    fit : callable (table, ages, participants) → head
        Sees the rows of the other folds only; what it does inside (`fit_ridge`'s own folds) is nested.
    table, ages, participants
        As above; rows without age are left out of the fits but get an estimate.

    Returns
    -------
    ndarray, shape (n,)
        Years; NaN without any prediction.
    """
    people, age = labels(participants).astype(str), numbers(ages, "age")
    same_length(ages=ages, participants=participants, **{name: table[name] for name in table})
    columns = {name: np.asarray(list(table[name]), dtype=object) for name in table}
    filled = np.where(np.isfinite(age), age, np.nanmean(age) if np.isfinite(age).any() else 0.0)
    assigned = participant_folds(people, min(folds, len(set(people))), seed=seed, ages=filled)
    fused = np.full(age.shape, np.nan)
    for fold in np.unique(assigned):
        inside = (assigned != fold) & np.isfinite(age)
        head = fit({name: values[inside] for name, values in columns.items()}, age[inside], people[inside])
        fused[assigned == fold] = head.estimate({name: values[assigned == fold] for name, values in columns.items()}).ages
    return fused


def fusion_matrix(table: Columns, names: Sequence[str]) -> np.ndarray:
    """Columns as numbers, side by side; sex as 0 (F) and 1 (M), NaN where missing.

    >>> fusion_matrix({"t1w": [30.0, None], "sex": ["M", "F"]}, ["t1w", "sex"]).tolist()
    [[30.0, 1.0], [nan, 0.0]]
    """
    return np.column_stack([numbers((_SEX.get(v, v) if isinstance(v, str) else v for v in column(table, name)), name) for name in names])


def _moments_of(values: np.ndarray, ages: Sequence[Any], names: Sequence[str], penalty: float) -> Moments:
    age = numbers(ages, "age")
    same_length(ages=age, predictions=values)
    complete = np.isfinite(values).all(axis=1) & np.isfinite(age)
    whole = np.column_stack([values, age])[complete]
    if len(whole) < len(names) + 2:
        raise UnusableInput(
            f"A head of {len(names)} columns needs {len(names) + 2} reference rows with all of them; there are {len(whole)}."
        )
    for name, part in zip((*names, "age"), whole.T):
        if is_constant(part):
            raise UnusableInput(f"The column '{name}' is constant in the reference rows, so no head can be fitted.")
    centred = whole - whole.mean(axis=0)
    products = centred.T @ centred
    spread = np.sqrt(np.diag(products)[:-1])
    if penalty == 0 and np.linalg.eigvalsh(products[:-1, :-1] / np.outer(spread, spread)).min() < 1e-10:
        raise UnusableInput("A prediction follows from the others in the reference rows; take it out, or use ridge.")
    return Moments(tuple(names), tuple(whole.mean(axis=0).tolist()), tuple(map(tuple, products.tolist())), len(whole))


def _moments(value: Moments | Mapping[str, Any]) -> Moments:
    return value if isinstance(value, Moments) else Moments(**value)


def _regressed(values: np.ndarray, moments: Moments, penalty: float, names: Sequence[str], inputs: int) -> Fused:
    there = np.isfinite(values)
    ages = np.full(len(values), np.nan)
    for pattern in np.unique(there, axis=0):
        if pattern[:inputs].any():
            rows, chosen = (there == pattern).all(axis=1), np.flatnonzero(pattern)
            intercept, weights = moments.solve(chosen, penalty)
            ages[rows] = intercept + values[np.ix_(rows, chosen)] @ weights
    there = np.where(np.isfinite(ages)[:, None], there, False)
    return _fused(ages, there, names)


def _fused(ages: np.ndarray, there: np.ndarray, names: Sequence[str]) -> Fused:
    used = [tuple(name for name, is_there in zip(names, row) if is_there) for row in there]
    return Fused(ages, used, [(PARTIAL,) if 0 < len(row) < len(names) else () for row in used])
