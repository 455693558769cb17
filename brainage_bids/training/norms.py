"""Fitting norm curves: percentiles of a share as smooth functions of age, by quantile regression.

The logarithm of the share is a natural cubic spline of age with knots at five percentiles of the ages; each percentile
minimises Koenker and Bassett's sum of tilted absolute errors (1978, Econometrica 46:33), a linear programme.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog

from brainage_bids.models.norms import NormCurve
from brainage_bids.records import BadDataset

QUANTILES = (0.05, 0.50, 0.95)
KNOTS = (0.05, 0.35, 0.65, 0.95)
"""Percentiles of the ages at which the knots lie: two curved parts and straight ends, where people are few."""


def natural_spline(ages: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Basis of natural cubic splines: cubic between the knots, straight beyond the outer ones.

    Parameters
    ----------
    ages : ndarray, shape (n,)
    knots : ndarray, shape (k,)
        Rising.

    Returns
    -------
    ndarray, shape (n, k)
        1, the age (0 at the first and 1 at the last knot) and k − 2 curved functions (Hastie, Tibshirani and Friedman 2009,
        equation 5.4).

    Examples
    --------
    >>> natural_spline(np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0, 2.0])).round(3).tolist()
    [[1.0, 0.0, 0.0], [1.0, 0.5, 0.125], [1.0, 1.0, 0.75]]
    """
    knots = np.asarray(knots, dtype=float)
    unit = (np.asarray(ages, dtype=float) - knots[0]) / (knots[-1] - knots[0])
    places = (knots - knots[0]) / (knots[-1] - knots[0])
    cubes = np.clip(unit[:, None] - places, 0.0, None) ** 3
    pieces = (cubes[:, :-1] - cubes[:, -1:]) / (1.0 - places[:-1])
    return np.column_stack([np.ones_like(unit), unit, pieces[:, :-1] - pieces[:, -1:]])


def quantile_fit(basis: np.ndarray, values: np.ndarray, quantile: float) -> np.ndarray:
    """Coefficients of a quantile regression.

    Parameters
    ----------
    basis : ndarray, shape (n, k)
    values : ndarray, shape (n,)
    quantile : float
        Between 0 and 1.

    Returns
    -------
    ndarray, shape (k,)

    Examples
    --------
    >>> float(quantile_fit(np.ones((5, 1)), np.array([1.0, 2.0, 3.0, 4.0, 50.0]), 0.5)[0])
    3.0
    """
    n, k = basis.shape
    cost = np.concatenate([np.zeros(k), np.full(n, quantile), np.full(n, 1.0 - quantile)])
    equal = np.hstack([basis, np.eye(n), -np.eye(n)])
    bounds = [(None, None)] * k + [(0, None)] * (2 * n)
    found = linprog(cost, A_eq=equal, b_eq=values, bounds=bounds, method="highs")
    if not found.success:
        raise BadDataset(f"The norm curves cannot be fitted ({found.message}).")
    return found.x[:k]


def fit_norm(name: str, label: str, ages: np.ndarray, log_share: np.ndarray) -> NormCurve:
    """Norm curve of one structure on a grid of whole years, from the youngest to the oldest age (rounded).

    Parameters
    ----------
    name, label : str
    ages : ndarray, shape (n,)
        Years.
    log_share : ndarray, shape (n,)
        Natural logarithm of the share of the brain (not in percent).

    Raises
    ------
    BadDataset
        If the fit fails or two curves cross.
    """
    ages = np.asarray(ages, dtype=float)
    grid = np.arange(np.round(ages.min()), np.round(ages.max()) + 1)
    knots = np.quantile(ages, KNOTS)
    basis, wanted = natural_spline(ages, knots), natural_spline(grid, knots)
    curves = [100 * np.exp(wanted @ quantile_fit(basis, log_share, quantile)) for quantile in QUANTILES]
    if not np.all(np.diff(curves, axis=0) > 0):
        raise BadDataset(f"The norm curves of {label} cross; there are too few people at some ages.")
    return NormCurve(name, label, tuple(map(float, grid)), *(tuple(map(float, np.round(curve, 6))) for curve in curves))
