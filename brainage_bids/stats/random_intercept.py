"""Linear model with a random intercept a person, by restricted maximum likelihood."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from brainage_bids.records import UnusableInput

_LARGEST_RATIO = 1e6
_GRID = 41


@dataclass(frozen=True)
class RandomIntercept:
    """A fit.

    Attributes
    ----------
    coefficients : ndarray, shape (p,)
        Fixed effects.
    covariance : ndarray, shape (p, p)
        Of the fixed effects.
    sd_between, sd_within : float
        Standard deviations of the intercepts and of the residuals.
    at_bound : bool
        Whether the variance between people is estimated as 0.
    """

    coefficients: np.ndarray
    covariance: np.ndarray
    sd_between: float
    sd_within: float
    at_bound: bool


def fit_random_intercept(design: np.ndarray, outcome: np.ndarray, participants: Sequence[str]) -> RandomIntercept:
    """Fit ``outcome = design @ coefficients + intercept of the person + residual``.

    With λ = σ²_between / σ²_within the inverse covariance of a person's n rows is I − λ/(1 + nλ) 11ᵀ, so that everything follows from
    cross-products and each person's sums, and the restricted likelihood is a function of λ alone (Laird and Ware 1982). It is searched
    on a grid of λ/(1 + λ) and refined around the best.

    Parameters
    ----------
    design : ndarray, shape (n, p)
        Columns that do not depend on each other; n > p.
    outcome : ndarray, shape (n,)
    participants : sequence of str, length n
        Whose row it is; two people and a repeated row at least.

    Returns
    -------
    RandomIntercept

    Raises
    ------
    UnusableInput
        If a column follows from the others, or people are too few.

    Examples
    --------
    >>> fitted = fit_random_intercept(np.ones((4, 1)), np.array([1.0, 3.0, 7.0, 9.0]), ["a", "a", "b", "b"])
    >>> round(float(fitted.coefficients[0]), 6), round(fitted.sd_within**2, 3), round(fitted.sd_between**2, 3)
    (5.0, 2.0, 17.0)
    """
    from scipy.optimize import minimize_scalar

    people, row_of, visits = np.unique(np.asarray(participants, dtype=str), return_inverse=True, return_counts=True)
    n, p = design.shape
    if n <= p or people.size < 2 or visits.max() < 2:
        raise UnusableInput(f"{people.size} people with {n} complete rows: a mixed model needs two people and repeated visits.")
    scale = np.sqrt(np.mean(design**2, axis=0))
    spread = np.sqrt(np.mean(outcome**2))
    columns = np.column_stack([design / np.where(scale > 0, scale, 1.0), outcome / spread])
    if np.linalg.matrix_rank(columns[:, :-1], tol=1e-9 * np.sqrt(n)) < p:
        raise UnusableInput("A term is constant or follows from the others; take it out of the formula.")
    products = columns.T @ columns
    sums = np.zeros((people.size, p + 1))
    np.add.at(sums, row_of, columns)

    def solved(ratio: float) -> tuple[float, np.ndarray, np.ndarray, float]:
        weighted = products - sums.T @ (sums * (ratio / (1 + visits * ratio))[:, None])
        inner = weighted[:-1, :-1]
        coefficients = np.linalg.solve(inner, weighted[:-1, -1])
        variance = max(float(weighted[-1, -1] - coefficients @ weighted[:-1, -1]), 1e-300) / (n - p)
        deviance = (n - p) * np.log(variance) + np.linalg.slogdet(inner)[1] + np.log1p(visits * ratio).sum()
        return float(deviance), coefficients, np.linalg.inv(inner) * variance, variance

    def deviance_at(share: float) -> float:
        return solved(share / (1 - share))[0]

    top = _LARGEST_RATIO / (1 + _LARGEST_RATIO)
    grid = top * np.linspace(0, 1, _GRID) ** 0.75
    best = int(np.argmin([deviance_at(share) for share in grid]))
    around = (grid[max(best - 1, 0)], grid[min(best + 1, _GRID - 1)])
    share = float(minimize_scalar(deviance_at, bounds=around, method="bounded", options={"xatol": 1e-10}).x)
    share = 0.0 if deviance_at(0.0) <= deviance_at(share) else share
    _, coefficients, covariance, variance = solved(share / (1 - share))
    unit = spread / np.where(scale > 0, scale, 1.0)
    within = float(np.sqrt(variance) * spread)
    between = float(np.sqrt(share / (1 - share)) * within)
    return RandomIntercept(coefficients * unit, covariance * np.outer(unit, unit), between, within, share == 0.0)
