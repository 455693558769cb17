"""How far predicted ages lie from true ones: error measures with bootstrap confidence intervals.

All measures are computed from the prediction as the model gave it. A prediction that was corrected for age bias contains the
true age, so its error says nothing about the model (Butler et al. 2021, doi:10.1002/hbm.25533).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

_RESAMPLES_AT_ONCE = 2_000_000
"""How many values a block of resamples holds (16 MB of float64)."""


@dataclass(frozen=True)
class Metrics:
    """Errors of one prediction a person; ages in years.

    Attributes
    ----------
    n : int
        How many people.
    mae, rmse : float
        Mean absolute and root mean squared error.
    r, r2 : float
        Pearson correlation; 1 − SSE/SST. NaN where ages or predictions do not vary.
    bias_slope : float
        Slope of prediction − age on age: 0 without age bias, −1 if the prediction does not depend on age.
    mae_guess : float
        Mean absolute error of the guess (an age that does not look at the person).
    age_min, age_max, age_mean, age_sd : float
        What the ages of these people are; ``age_sd`` has n − 1 below.
    """

    n: int
    mae: float
    rmse: float
    r: float
    r2: float
    bias_slope: float
    mae_guess: float
    age_min: float
    age_max: float
    age_mean: float
    age_sd: float

    def as_dict(self) -> dict[str, float]:
        """Name to value."""
        return asdict(self)


def mean_absolute_error(ages: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Mean of |P − A| over the last axis.

    >>> float(mean_absolute_error([20.0, 30.0], [22.0, 27.0]))
    2.5
    """
    return np.mean(np.abs(_difference(ages, predictions)), axis=-1)


def root_mean_squared_error(ages: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """√ of the mean of (P − A)² over the last axis.

    >>> float(root_mean_squared_error([20.0, 30.0], [23.0, 34.0])) == 12.5**0.5
    True
    """
    return np.sqrt(np.mean(_difference(ages, predictions) ** 2, axis=-1))


def pearson_r(ages: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Pearson correlation over the last axis; NaN where one side is constant.

    >>> round(float(pearson_r([20.0, 30.0, 40.0], [21.0, 25.0, 35.0])), 4)
    0.9707
    """
    _difference(ages, predictions)
    ages, predictions = _centred(ages), _centred(predictions)
    norm = np.sqrt(np.sum(ages**2, axis=-1) * np.sum(predictions**2, axis=-1))
    return np.clip(_divide(np.sum(ages * predictions, axis=-1), norm), -1.0, 1.0)


def r_squared(ages: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """1 − Σ(P − A)² / Σ(A − mean A)² over the last axis; NaN where the ages are constant.

    Negative for a prediction that is worse than the mean of these ages; not the square of the correlation.

    >>> float(r_squared([20.0, 30.0, 40.0], [30.0, 30.0, 30.0]))
    0.0
    """
    return 1.0 - _divide(np.sum(_difference(ages, predictions) ** 2, axis=-1), np.sum(_centred(ages) ** 2, axis=-1))


def bias_slope(ages: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Least-squares slope of P − A on A over the last axis; NaN where the ages are constant.

    >>> round(float(bias_slope([20.0, 30.0, 40.0], [25.0, 30.0, 35.0])), 4)
    -0.5
    """
    difference = _difference(ages, predictions)
    centred = _centred(ages)
    return _divide(np.sum(centred * difference, axis=-1), np.sum(centred**2, axis=-1))


def error_metrics(ages: np.ndarray, predictions: np.ndarray, guesses: np.ndarray | None = None) -> Metrics:
    """All measures of one set of predictions.

    Parameters
    ----------
    ages, predictions : ndarray, shape (n,)
        Years; one entry a person, n ≥ 2.
    guesses : ndarray, shape (n,), optional
        What someone who sees only the ages of the training people would say, out of fold; the mean of `ages` by default.

    Returns
    -------
    Metrics

    Raises
    ------
    ValueError
        If the shapes differ, fewer than two people are given or a value is not finite.

    Examples
    --------
    >>> error_metrics(np.array([20.0, 30.0, 40.0]), np.array([22.0, 30.0, 38.0])).mae_guess
    6.666666666666667
    """
    ages, predictions, guesses = _checked(ages, predictions, guesses)
    values = {name: float(value) for name, value in _measures(ages, predictions, guesses).items()}
    return Metrics(
        n=ages.size,
        age_min=float(ages.min()),
        age_max=float(ages.max()),
        age_mean=float(ages.mean()),
        age_sd=float(ages.std(ddof=1)),
        **values,
    )


def bootstrap_intervals(
    ages: np.ndarray,
    predictions: np.ndarray,
    guesses: np.ndarray | None = None,
    *,
    level: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """Percentile bootstrap intervals of every measure; people are drawn with replacement.

    Parameters
    ----------
    ages, predictions, guesses : ndarray, shape (n,)
        As in `error_metrics`: one entry a person, so that a draw is a person with all that belongs to them.
    level : float
        Of the interval.
    n_resamples, seed : int
        Number of draws of n people, and the seed of the draws.

    Returns
    -------
    dict
        ``mae``, ``rmse``, ``r``, ``r2``, ``bias_slope``, ``mae_guess`` → (low, high). Draws in which a measure is not
        defined (one person n times) do not count; (NaN, NaN) if there is none in which it is.

    Examples
    --------
    >>> low, high = bootstrap_intervals(np.array([20.0, 30.0, 40.0]), np.array([21.0, 31.0, 41.0]))["mae"]
    >>> low, high
    (1.0, 1.0)
    """
    if not 0 < level < 1 or n_resamples < 1:
        raise ValueError(f"A bootstrap needs a level between 0 and 1 and a draw at least, not {level} and {n_resamples}.")
    ages, predictions, guesses = _checked(ages, predictions, guesses)
    generator = np.random.default_rng(seed)
    draws: dict[str, list[np.ndarray]] = {}
    block = max(1, _RESAMPLES_AT_ONCE // ages.size)
    for start in range(0, n_resamples, block):
        chosen = generator.integers(0, ages.size, size=(min(block, n_resamples - start), ages.size))
        for name, values in _measures(ages[chosen], predictions[chosen], guesses[chosen]).items():
            draws.setdefault(name, []).append(values)
    tail = 100 * (1 - level) / 2
    return {name: _percentiles(np.concatenate(values), tail) for name, values in draws.items()}


def _measures(ages: np.ndarray, predictions: np.ndarray, guesses: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "mae": mean_absolute_error(ages, predictions),
        "rmse": root_mean_squared_error(ages, predictions),
        "r": pearson_r(ages, predictions),
        "r2": r_squared(ages, predictions),
        "bias_slope": bias_slope(ages, predictions),
        "mae_guess": mean_absolute_error(ages, guesses),
    }


def _checked(ages, predictions, guesses) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    ages, predictions = np.asarray(ages, dtype=float), np.asarray(predictions, dtype=float)
    guesses = np.full_like(ages, ages.mean()) if guesses is None else np.asarray(guesses, dtype=float)
    if ages.ndim != 1 or ages.size < 2 or predictions.shape != ages.shape or guesses.shape != ages.shape:
        shapes = f"{ages.shape}, {predictions.shape}, {guesses.shape}"
        raise ValueError(f"Errors need one prediction an age, two at least; got the shapes {shapes}.")
    if not all(np.isfinite(values).all() for values in (ages, predictions, guesses)):
        raise ValueError("Errors need finite ages and predictions.")
    return ages, predictions, guesses


def _difference(ages: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    ages, predictions = np.asarray(ages, dtype=float), np.asarray(predictions, dtype=float)
    if ages.shape != predictions.shape:
        raise ValueError(f"Ages of shape {ages.shape} do not fit predictions of shape {predictions.shape}.")
    return predictions - ages


def _centred(values: np.ndarray) -> np.ndarray:
    """Values minus their mean over the last axis; exactly zero where they are constant but for rounding."""
    values = np.asarray(values, dtype=float)
    centred = values - values.mean(axis=-1, keepdims=True)
    size = np.abs(values).max(axis=-1, keepdims=True)
    flat = np.abs(centred).max(axis=-1, keepdims=True) <= 1e-12 * size
    return np.where(flat, 0.0, centred)


def _divide(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    top, bottom = np.asarray(top, dtype=float), np.asarray(bottom, dtype=float)
    return np.divide(top, bottom, out=np.full(np.broadcast_shapes(top.shape, bottom.shape), np.nan), where=bottom > 0)


def _percentiles(values: np.ndarray, tail: float) -> tuple[float, float]:
    values = values[np.isfinite(values)]
    if values.size == 0:
        return float("nan"), float("nan")
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)
