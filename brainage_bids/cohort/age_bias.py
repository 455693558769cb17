"""Age bias: predictions of old people are too low and of young people too high; fitted on reference rows, taken off others.

A corrected gap contains the person's age (all methods but ``linear-predicted``, whose gap does too), so an error computed from corrected
ages is small whatever the model: a useless model with r = 0.015 reaches a "corrected" error of 4 years (Butler et al. 2021,
doi:10.1002/hbm.25533). Nothing here computes an error, and nothing may compute one from what comes out of here. The default for
inference is the raw gap with age, age² and sex as covariates (de Lange and Cole 2020); the corrected gap is an extra column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from brainage_bids.records import BadConfiguration, UnusableInput
from brainage_bids.stats.rows import is_constant, numbers, same_length

Method = Literal["none", "linear", "linear-predicted", "spline"]
OUTSIDE = "age_outside_reference"
"""Flag of a person whose age lies outside the ages of the reference rows."""

_QUANTILES = (0.05, 0.35, 0.65, 0.95)  # Harrell's knots of a restricted cubic spline with four
_FEWEST = {"none": 1, "linear": 3, "linear-predicted": 3, "spline": 10}


@dataclass(frozen=True)
class AgeBias:
    """How predictions depend on age in the reference rows.

    Attributes
    ----------
    method : {"none", "linear", "linear-predicted", "spline"}
        ``linear``: gap − (αA + β), which is Beheshti's and de Lange's correction (the same numbers); ``linear-predicted``: (P − β)/α − A,
        Cole's, whose corrected age needs no age; ``spline``: the gap minus a restricted cubic spline of age.
    alpha, beta : float
        P = αA + β in the reference rows; α per year, β in years. Beheshti's a = α − 1, b = β.
    knots : tuple of float
        Of the spline, in years; empty otherwise.
    weights : tuple of float
        Coefficients of the spline's basis; empty otherwise.
    n : int
        Reference rows.
    age_min, age_max : float
        Their ages.
    """

    method: Method
    alpha: float
    beta: float
    knots: tuple[float, ...]
    weights: tuple[float, ...]
    n: int
    age_min: float
    age_max: float

    def expected_gap(self, ages: Sequence[Any]) -> np.ndarray:
        """Gap that the reference rows have at these ages, in years; 0 by the method ``none``."""
        age = numbers(ages, "age")
        if self.method == "none":
            return np.where(np.isfinite(age), 0.0, np.nan)
        if self.method == "spline":
            return spline_basis(age, self.knots) @ np.asarray(self.weights)
        return (self.alpha - 1) * age + self.beta

    def corrected_age(self, ages: Sequence[Any], predictions: Sequence[Any]) -> np.ndarray:
        """Corrected prediction in years; NaN where a value is missing. Never for an error: see the top of the file."""
        prediction = numbers(predictions, "prediction")
        if self.method == "linear-predicted":
            return (prediction - self.beta) / self.alpha
        return prediction - self.expected_gap(ages)

    def corrected_gap(self, ages: Sequence[Any], predictions: Sequence[Any]) -> np.ndarray:
        """Corrected prediction − age in years; NaN where a value is missing."""
        same_length(ages=ages, predictions=predictions)
        return self.corrected_age(ages, predictions) - numbers(ages, "age")

    def flags(self, ages: Sequence[Any]) -> list[tuple[str, ...]]:
        """``("age_outside_reference",)`` for ages outside the reference rows', which the correction extrapolates to."""
        age = numbers(ages, "age")
        return [(OUTSIDE,) if np.isfinite(one) and not self.age_min <= one <= self.age_max else () for one in age]


def fit_age_bias(ages: Sequence[Any], predictions: Sequence[Any], method: Method = "linear") -> AgeBias:
    """Fit the bias on reference rows.

    Parameters
    ----------
    ages, predictions : sequences, length n
        Years, of rows that the model did not train on and that are not the group under test (validation rows, controls); one row a person.
        Rows that lack one are left out. In cross-validation, fit within each fold.
    method : {"none", "linear", "linear-predicted", "spline"}

    Returns
    -------
    AgeBias

    Raises
    ------
    BadConfiguration
        If there is no such method.
    UnusableInput
        If there are too few rows, all of one age, or predictions that do not grow with age (``linear-predicted`` only).

    Examples
    --------
    >>> bias = fit_age_bias([20, 30, 40], [25, 30, 35])
    >>> bias.alpha, bias.beta, bias.corrected_gap([50], [45]).tolist()
    (0.5, 15.0, [5.0])
    """
    if method not in get_args(Method):
        raise BadConfiguration(f"There is no bias correction '{method}'; choose {', '.join(get_args(Method))}.")
    same_length(ages=ages, predictions=predictions)
    age, prediction = numbers(ages, "age"), numbers(predictions, "prediction")
    known = np.isfinite(age) & np.isfinite(prediction)
    age, prediction = age[known], prediction[known]
    if age.size < _FEWEST[method]:
        raise UnusableInput(
            f"The bias correction '{method}' needs {_FEWEST[method]} reference rows with age and prediction; there are {age.size}."
        )
    if method == "none":
        return AgeBias("none", 1.0, 0.0, (), (), age.size, float(age.min()), float(age.max()))
    if is_constant(age):
        raise UnusableInput(f"All reference rows are {age[0]:g} years old, so no bias with age can be fitted.")
    centred = age - age.mean()
    alpha = float(centred @ prediction / (centred @ centred))
    beta = float(prediction.mean() - alpha * age.mean())
    if method == "linear-predicted" and alpha <= 1e-6:
        said = f"the slope of prediction on age is {alpha:.3g} in the reference rows and cannot be divided by"
        raise UnusableInput(f"The bias correction 'linear-predicted' cannot be used: {said}; use linear.")
    knots: tuple[float, ...] = ()
    weights: tuple[float, ...] = ()
    if method == "spline":
        knots = tuple(float(knot) for knot in np.quantile(age, _QUANTILES))
        if len(set(knots)) < len(knots):
            raise UnusableInput("The ages of the reference rows are too much alike for a spline; use linear.")
        weights = tuple(float(weight) for weight in np.linalg.lstsq(spline_basis(age, knots), prediction - age, rcond=None)[0])
    return AgeBias(method, alpha, beta, knots, weights, age.size, float(age.min()), float(age.max()))


def spline_basis(ages: np.ndarray, knots: Sequence[float]) -> np.ndarray:
    """Restricted cubic spline: a constant, the age (centred and scaled by the knots) and k − 2 bends; a line beyond the outer knots.

    Harrell's basis: bend j is (x − tⱼ)₊³ − (x − tₖ₋₁)₊³ (tₖ − tⱼ)/(tₖ − tₖ₋₁) + (x − tₖ)₊³ (tₖ₋₁ − tⱼ)/(tₖ − tₖ₋₁).

    Parameters
    ----------
    ages : ndarray, shape (n,)
    knots : sequence of float, length k ≥ 3
        Growing.

    Returns
    -------
    ndarray, shape (n, k)

    Examples
    --------
    >>> spline_basis(np.array([0.0, 10.0]), [0.0, 5.0, 10.0]).round(3).tolist()
    [[1.0, -0.5, 0.0], [1.0, 0.5, 0.75]]
    """
    width = knots[-1] - knots[0]
    x = (np.asarray(ages, dtype=float) - knots[0]) / width
    t = (np.asarray(knots) - knots[0]) / width

    def cube(at: float) -> np.ndarray:
        return np.maximum(x - at, 0.0) ** 3

    last, before = t[-1], t[-2]
    bends = [
        cube(knot) - cube(before) * (last - knot) / (last - before) + cube(last) * (before - knot) / (last - before) for knot in t[:-2]
    ]
    return np.column_stack([np.ones_like(x), x - 0.5, *bends]) + 0.0 * x[:, None]
