"""Intervals of the age that hold as often as they say at every true age: the ages that a prediction is compatible with.

Predictions of brain-age models shrink towards the mean: P = m(A) + s(A) e with a slope of m below 1. An interval around the prediction
(`intervals`) then holds as often as it says over all people, or among people of similar predictions, but too seldom among the youngest
and the oldest, whose predictions lie too near to the middle. No interval around P is right for them unless it knows their age. Read the
other way round it can be: of every age a it is asked whether P would be usual for people of that age, |P − m(a)| ≤ q s(a), and the
interval is all ages for which it would be. The person's own age is among them exactly if P is usual for it, whatever the age is. With
straight m and constant s this is Cole's (P − β)/α ± q s/α: the price is the width, 1/α times that around P.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from brainage_bids.cohort.age_bias import spline_basis
from brainage_bids.cohort.intervals import conformal_quantile
from brainage_bids.records import BadConfiguration, UnusableInput
from brainage_bids.stats.rows import is_constant, numbers, same_length

NO_AGE = "no_plausible_age"
"""Flag of a prediction that would be unusual at every age."""

OLDEST, STEP = 125.0, 0.05
"""Years: ages that are tried, and how finely."""
_QUANTILES = (0.05, 0.35, 0.65, 0.95)
_FEWEST, _ENOUGH_TO_BEND = 40, 150
_FOLDS = 10
_AT_ONCE = 2000


@dataclass(frozen=True)
class AgeIntervals:
    """How predictions lie at each age in the calibration rows.

    Attributes
    ----------
    level : float
        Share of people, at every age, whose age the interval holds.
    knots : tuple of float
        Years; four of a restricted cubic spline, or the two ends of a straight line where there are fewer than 150 rows.
    centre, spread : tuples of float
        Coefficients of the basis at these knots: of m(a) in years, and of log s(a).
    quantile : float
        q, in units of s(a).
    age_min, age_max : float
        Ages of the calibration rows; beyond, m goes on straight and s stays as it is.
    n : int
        Calibration rows.
    """

    level: float
    knots: tuple[float, ...]
    centre: tuple[float, ...]
    spread: tuple[float, ...]
    quantile: float
    age_min: float
    age_max: float
    n: int

    def usual(self, ages: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
        """Least and largest usual prediction at these ages, in years."""
        age = numbers(ages, "age")
        middle, half = _basis(age, self.knots) @ np.asarray(self.centre), self.quantile * self._sd(age)
        return middle - half, middle + half

    def bounds(self, predictions: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
        """Least and largest age, between 0 and 125 years, for which a prediction would be usual.

        Returns
        -------
        low, high : ndarray, shape (n,)
            Years; NaN where the prediction is missing, or would be usual at no age.
        """
        prediction = numbers(predictions, "prediction")
        grid = np.arange(0.0, OLDEST + STEP / 2, STEP)
        least, largest = self.usual(grid)
        low, high = np.full((2, prediction.size), np.nan)
        for start in range(0, prediction.size, _AT_ONCE):
            part = prediction[start : start + _AT_ONCE, None]
            inside = (part >= least) & (part <= largest)
            there = np.flatnonzero(inside.any(axis=1))
            low[start + there] = np.maximum(grid[inside[there].argmax(axis=1)] - STEP, 0.0)
            high[start + there] = np.minimum(grid[grid.size - 1 - inside[there, ::-1].argmax(axis=1)] + STEP, OLDEST)
        return low, high

    def _sd(self, age: np.ndarray) -> np.ndarray:
        return np.exp(_basis(np.clip(age, self.age_min, self.age_max), self.knots) @ np.asarray(self.spread))


def fit_age_intervals(ages: Sequence[Any], predictions: Sequence[Any], *, level: float = 0.95, seed: int = 0) -> AgeIntervals:
    """Calibrate on rows that the model did not train on.

    m(a) is fitted by least squares, s(a) to the absolute residuals by quasi-likelihood with a logarithmic link (spread in proportion to the
    mean). q is the conformal quantile of the scores |P − m(A)| / s(A) of every row by fits without it (ten folds).

    Parameters
    ----------
    ages, predictions : sequences, length n
        Years; one row a person. Rows that lack a value are left out.
    level : float
    seed : int
        Of the folds.

    Raises
    ------
    UnusableInput
        If there are fewer than 40 rows (or too few for the level), or all are of one age.

    Examples
    --------
    >>> random = np.random.default_rng(0)
    >>> ages = random.uniform(20, 90, 140)
    >>> fitted = fit_age_intervals(ages, 25 + 0.5 * ages + random.normal(0, 4, 140))
    >>> [round(float(bound[0])) for bound in fitted.bounds([45.0])]
    [22, 60]
    """
    if not 0 < level < 1:
        raise BadConfiguration(f"Intervals need a level between 0 and 1, not {level}.")
    same_length(ages=ages, predictions=predictions)
    age, prediction = numbers(ages, "age"), numbers(predictions, "prediction")
    known = np.isfinite(age) & np.isfinite(prediction)
    age, prediction = age[known], prediction[known]
    needed = max(_FEWEST, math.ceil(round(level / (1 - level), 9)))
    if age.size < needed:
        raise UnusableInput(f"Intervals of {100 * level:g} % at every age need {needed} calibration rows at least; there are {age.size}.")
    if is_constant(age):
        raise UnusableInput(f"All calibration rows are {age[0]:g} years old, so nothing is known of other ages.")
    knots = tuple(float(knot) for knot in np.quantile(age, _QUANTILES if age.size >= _ENOUGH_TO_BEND else (0.05, 0.95)))
    if len(set(knots)) < len(knots):
        knots = (float(age.min()), float(age.max()))
    folds = np.random.default_rng(seed).permutation(age.size) % _FOLDS
    scores = np.empty(age.size)
    for fold in range(_FOLDS):
        inside, out = folds != fold, folds == fold
        centre, spread = _curves(age[inside], prediction[inside], knots)
        basis = _basis(age[out], knots)
        scores[out] = np.abs(prediction[out] - basis @ centre) / np.exp(basis @ spread)
    centre, spread = _curves(age, prediction, knots)
    quantile = conformal_quantile(scores, level)
    ends = float(age.min()), float(age.max())
    return AgeIntervals(level, knots, tuple(centre.tolist()), tuple(spread.tolist()), quantile, *ends, age.size)


def _curves(age: np.ndarray, prediction: np.ndarray, knots: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients of m and of log s."""
    basis = _basis(age, knots)
    centre = np.linalg.lstsq(basis, prediction, rcond=None)[0]
    size = np.abs(prediction - basis @ centre)
    size = np.maximum(size, 1e-6 * (size.mean() + 1e-6))
    spread = np.linalg.lstsq(basis, np.full(age.size, math.log(size.mean())), rcond=None)[0]
    for _ in range(25):
        fitted = np.exp(basis @ spread)
        step = np.linalg.lstsq(basis, size / fitted - 1, rcond=None)[0]
        spread = spread + step * min(1.0, 1.0 / max(float(np.abs(basis @ step).max()), 1e-12))
        if np.abs(step).max() < 1e-10:
            break
    return centre, spread


def _basis(ages: np.ndarray, knots: Sequence[float]) -> np.ndarray:
    if len(knots) == 2:
        return np.column_stack([np.ones_like(ages), (ages - knots[0]) / (knots[1] - knots[0]) - 0.5])
    return spline_basis(ages, knots)
