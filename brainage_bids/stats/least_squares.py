"""Least squares of one outcome on a design matrix, as several tests need it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from brainage_bids.records import UnusableInput
from brainage_bids.stats.rows import is_constant, labels, numbers


@dataclass(frozen=True)
class Fit:
    """A least-squares fit.

    Attributes
    ----------
    coefficients : ndarray, shape (p,)
        In the order of the columns of the design.
    covariance : ndarray, shape (p, p)
        Of the coefficients, with the residual variance.
    residual_ss : float
        Sum of squared residuals.
    df : int
        Residual degrees of freedom, n − p.
    """

    coefficients: np.ndarray
    covariance: np.ndarray
    residual_ss: float
    df: int


def least_squares(design: np.ndarray, outcome: np.ndarray) -> Fit:
    """Fit ``outcome ≈ design @ coefficients``.

    Parameters
    ----------
    design : ndarray, shape (n, p)
        Columns that do not depend on each other, the constant among them if wanted; n > p.
    outcome : ndarray, shape (n,)

    Raises
    ------
    UnusableInput
        If a column follows from the others or there are too few rows.

    Examples
    --------
    >>> least_squares(np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]]), np.array([1.0, 3.0, 5.0])).coefficients.round(6).tolist()
    [1.0, 2.0]
    """
    n, p = design.shape
    if n <= p:
        raise UnusableInput(f"A model with {p} coefficients needs more than {p} complete rows; there are {n}.")
    scale = np.sqrt(np.sum(design**2, axis=0))
    scale[scale == 0] = 1.0
    q, r = np.linalg.qr(design / scale)
    if np.abs(np.diag(r)).min() < 1e-9:
        raise UnusableInput("A column of the model is constant or follows from the others, so its effect cannot be told apart.")
    coefficients = np.linalg.solve(r, q.T @ outcome) / scale
    residuals = outcome - design @ coefficients
    residual_ss = float(residuals @ residuals)
    inverse = np.linalg.inv(r) / scale[:, None]
    return Fit(coefficients, inverse @ inverse.T * (residual_ss / (n - p)), residual_ss, n - p)


def indicators(names: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Groups in alphabetical order and their 0/1 columns, the first group's left out (the reference).

    >>> groups, columns = indicators(np.array(["b", "a", "b"], dtype=object))
    >>> groups, columns.tolist()
    (['a', 'b'], [[1.0], [0.0], [1.0]])
    """
    found = sorted(set(names))
    return found, np.array([[float(name == group) for group in found[1:]] for name in names]).reshape(len(names), len(found) - 1)


def covariate_columns(values: Sequence[Any], name: str) -> np.ndarray:
    """A covariate as columns of a design: a number is one column, text becomes indicators; NaN where it is missing.

    >>> covariate_columns(["F", "M", None], "sex").tolist()
    [[0.0], [1.0], [nan]]
    """
    try:
        return numbers(values, name)[:, None]
    except UnusableInput:
        text = labels(values)
        known = np.array([value is not None for value in text])
        groups, columns = indicators(text[known])
        whole = np.full((len(text), len(groups) - 1), np.nan)
        whole[known] = columns
        return whole


def present(values: Sequence[Any], name: str) -> np.ndarray:
    """Which rows of a covariate have a value.

    >>> present(["F", None], "sex").tolist()
    [True, False]
    """
    try:
        return np.isfinite(numbers(values, name))
    except UnusableInput:
        return np.array([value is not None for value in labels(values)], dtype=bool)


def covariate_design(covariates: Mapping[str, Sequence[Any]], rows: np.ndarray) -> np.ndarray:
    """Covariates of some rows side by side, each category that occurs among those rows but the first a column.

    Categories are found after the rows were chosen: one that none of them has would be a column of zeros.

    Parameters
    ----------
    covariates : mapping of name to sequence of length n
    rows : ndarray of bool, shape (n,)
        Rows that have all covariates (`present`).

    Returns
    -------
    ndarray, shape (chosen rows, q)

    Examples
    --------
    >>> covariate_design({"site": ["a", "b", "c"]}, np.array([False, True, True])).tolist()
    [[0.0], [1.0]]
    """
    chosen = np.flatnonzero(rows)
    listed = {name: list(values) for name, values in covariates.items()}
    parts = [covariate_columns([values[row] for row in chosen], name) for name, values in listed.items()]
    return np.column_stack(parts) if parts else np.empty((chosen.size, 0))


class Covariates:
    """Covariates of a table, whose designs are kept by the rows they are asked for.

    Parameters
    ----------
    columns : mapping of name to sequence of length n
        Numbers or text.
    size : int
        n.

    Attributes
    ----------
    names : tuple of str
    covered : ndarray of bool, shape (n,)
        Rows that have all covariates.
    """

    def __init__(self, columns: Mapping[str, Sequence[Any]], size: int) -> None:
        self._columns = dict(columns)
        self._designs: dict[bytes, np.ndarray] = {}
        self.names = tuple(columns)
        self._present = {name: present(values, name) for name, values in columns.items()}
        self.covered = np.ones(size, dtype=bool)
        for there in self._present.values():
            self.covered &= there

    def lacking(self, rows: np.ndarray) -> str:
        """How many of some rows lack a covariate and are left out, in words; empty if none does.

        >>> Covariates({"sex": ["F", None]}, 2).lacking(np.array([True, True]))
        '; 1 row(s) without sex left out where covariates are'
        """
        lost = int((rows & ~self.covered).sum())
        names = [name for name, there in self._present.items() if (rows & ~there).any()]
        return f"; {lost} row(s) without {', '.join(names)} left out where covariates are" if lost else ""

    def design(self, rows: np.ndarray) -> np.ndarray:
        """`covariate_design` of rows that are covered."""
        key = rows.tobytes()
        if key not in self._designs:
            self._designs[key] = covariate_design(self._columns, rows)
        return self._designs[key]


def residuals_on(covariates: np.ndarray, values: np.ndarray) -> np.ndarray:
    """What is left of columns after least squares on covariates and a constant.

    Parameters
    ----------
    covariates : ndarray, shape (n, q)
        Constant columns do no harm.
    values : ndarray, shape (n,) or (n, m)

    Examples
    --------
    >>> residuals_on(np.array([[0.0], [1.0], [2.0]]), np.array([1.0, 2.0, 3.0])).round(9).tolist()
    [0.0, 0.0, 0.0]
    """
    varied = covariates[:, [not is_constant(column) for column in covariates.T]]
    centred = varied - varied.mean(axis=0)
    design = np.column_stack([np.ones(len(values)), centred / (centred.std(axis=0) if centred.size else 1.0)])
    return values - design @ np.linalg.lstsq(design, values, rcond=None)[0]
