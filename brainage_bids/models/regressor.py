"""Ridge and Gaussian-process regression of age: mean and standard deviation for new people, numpy alone.

With n training rows x_i (d features) and centred ages y, noise-to-signal ratio α and kernel k, K_ij = k(x_i, x_j):

- mean: ȳ + k*ᵀ (K + αI)⁻¹ y, which for the linear kernel k(x, x′) = xᵀx′ is ridge regression with penalty α;
- variance of a new person's age: σ² (k** − k*ᵀ (K + αI)⁻¹ k*) + ασ², with σ² = yᵀ (K + αI)⁻¹ y / n, the value of the
  signal's variance that maximises the likelihood for this α.

Source: Rasmussen and Williams 2006, Gaussian Processes for Machine Learning, algorithm 2.1 and equations 2.11 and 5.8. The
spread "residual" stands for ridge regression, which has none of its own: the errors on people held out in training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from brainage_bids.records import BadConfiguration

Kernel = Literal["linear", "rbf"]
Spread = Literal["process", "residual"]


@dataclass(frozen=True)
class Regressor:
    """A fitted regression; made by `fit_regressor` or `regressor_from_files`.

    Attributes
    ----------
    kernel : {"linear", "rbf"}
        x·x′, or exp(−|x − x′|² / (2 ℓ²)).
    intercept : float
        Mean age of the training rows, years.
    alpha : float
        Noise variance over signal variance.
    signal_variance : float
        σ², years².
    length_scale : float
        ℓ; 1 for the linear kernel, which has none.
    spread : {"process", "residual"}
        Where the standard deviation comes from.
    residual_sd : float
        Root mean squared error on people held out in training, years.
    arrays : mapping
        linear: ``coefficients`` (d,) and ``covariance`` (d, d) = (XᵀX + αI)⁻¹; rbf: ``support`` (n, d), ``dual`` (n,) and, for
        the spread "process", ``inverse`` (n, n) = (K + αI)⁻¹. float64.
    """

    kernel: Kernel
    intercept: float
    alpha: float
    signal_variance: float
    length_scale: float
    spread: Spread
    residual_sd: float
    arrays: Mapping[str, np.ndarray]

    def predict(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Ages of new people.

        Parameters
        ----------
        features : ndarray, shape (m, d)

        Returns
        -------
        ndarray, ndarray, shape (m,)
            Mean and standard deviation in years; the latter is that of an age, its noise included.
        """
        features = np.asarray(features, dtype=np.float64)
        if self.kernel == "linear":
            mean = self.intercept + features @ self.arrays["coefficients"]
            # k** − k*ᵀ(K + αI)⁻¹k* = α xᵀ(XᵀX + αI)⁻¹x, by the matrix inversion lemma
            unexplained = self.alpha * np.einsum("md,de,me->m", features, self.arrays["covariance"], features)
        else:
            cross = rbf_kernel(features, self.arrays["support"], self.length_scale)
            mean = self.intercept + cross @ self.arrays["dual"]
            if self.spread == "process":
                unexplained = 1.0 - np.einsum("mn,no,mo->m", cross, self.arrays["inverse"], cross)
        if self.spread == "residual":
            return mean, np.full_like(mean, self.residual_sd)
        return mean, np.sqrt(self.signal_variance * (np.clip(unexplained, 0.0, None) + self.alpha))


def contributions(regressor: Regressor, start: np.ndarray, end: np.ndarray, n_points: int = 64) -> np.ndarray:
    """Years that each feature adds on the straight way from one point to another.

    The derivative of the mean along each feature is integrated over the way (integrated gradients, Sundararajan et al. 2017,
    arXiv:1703.01365): the sum is the difference of the two means. For the linear kernel this is coefficient × difference,
    exactly; for rbf the integral is a Gauss-Legendre sum.

    Parameters
    ----------
    regressor : Regressor
    start, end : ndarray, shape (d,)
    n_points : int
        Points of the sum.

    Returns
    -------
    ndarray, shape (d,)
        Years.

    Examples
    --------
    >>> model = fit_regressor(np.array([[-1.0], [1.0]]), np.array([30.0, 40.0]), kernel="rbf", alpha=2.0)
    >>> first, second = model.predict(np.array([[0.0], [0.8]]))[0]
    >>> bool(np.isclose(contributions(model, np.array([0.0]), np.array([0.8]))[0], second - first))
    True
    """
    difference = np.asarray(end, dtype=np.float64) - start
    if regressor.kernel == "linear":
        return difference * regressor.arrays["coefficients"]
    nodes, weights = np.polynomial.legendre.leggauss(n_points)
    way = start + (nodes[:, None] + 1) / 2 * difference
    support, dual = regressor.arrays["support"], regressor.arrays["dual"]
    pulled = rbf_kernel(way, support, regressor.length_scale) * dual
    slopes = (pulled @ support - pulled.sum(axis=1)[:, None] * way) / regressor.length_scale**2
    return difference * (weights / 2 @ slopes)


def rbf_kernel(first: np.ndarray, second: np.ndarray, length_scale: float) -> np.ndarray:
    """exp(−|x − x′|² / (2 ℓ²)) for every pair of rows.

    >>> rbf_kernel(np.array([[0.0]]), np.array([[0.0], [2.0]]), 1.0).round(4).tolist()
    [[1.0, 0.1353]]
    """
    return np.exp(-squared_distances(first, second) / (2.0 * length_scale**2))


def squared_distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """|x − x′|² for every pair of rows.

    >>> squared_distances(np.array([[0.0, 0.0]]), np.array([[3.0, 4.0]])).tolist()
    [[25.0]]
    """
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    squares = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1)[None, :]
    return np.clip(squares - 2.0 * first @ second.T, 0.0, None)


def fit_regressor(
    features: np.ndarray,
    ages: np.ndarray,
    *,
    kernel: Kernel,
    alpha: float,
    length_scale: float = 1.0,
    spread: Spread = "process",
    residual_sd: float = 0.0,
) -> Regressor:
    """Fit a regression.

    Parameters
    ----------
    features : ndarray, shape (n, d)
    ages : ndarray, shape (n,)
        Years.
    kernel, alpha, length_scale, spread, residual_sd
        See `Regressor`.

    Returns
    -------
    Regressor

    Raises
    ------
    ValueError
        If the shapes do not fit, or ``alpha`` or ``length_scale`` is not above zero.

    Examples
    --------
    >>> model = fit_regressor(np.array([[-1.0], [1.0]]), np.array([30.0, 40.0]), kernel="linear", alpha=2.0)
    >>> float(model.predict(np.array([[1.0]]))[0][0])  # 35 + 10 / (2 + 2)
    37.5
    """
    features, ages = np.asarray(features, dtype=np.float64), np.asarray(ages, dtype=np.float64)
    if features.ndim != 2 or ages.shape != features.shape[:1] or ages.size < 2:
        raise ValueError(f"Features of shape {features.shape} do not fit ages of shape {ages.shape}.")
    if not alpha > 0 or not length_scale > 0:
        raise ValueError(f"alpha and length_scale must be above zero, not {alpha} and {length_scale}.")
    intercept = float(ages.mean())
    centred = ages - intercept
    if kernel == "linear":
        covariance = np.linalg.inv(features.T @ features + alpha * np.eye(features.shape[1]))
        coefficients = covariance @ (features.T @ centred)
        arrays = {"coefficients": coefficients, "covariance": covariance}
        signal = float(centred @ (centred - features @ coefficients)) / (alpha * ages.size)
    else:
        inverse = np.linalg.inv(rbf_kernel(features, features, length_scale) + alpha * np.eye(ages.size))
        arrays = {"support": features, "dual": inverse @ centred, **({"inverse": inverse} if spread == "process" else {})}
        signal = float(centred @ arrays["dual"]) / ages.size
    return Regressor(kernel, intercept, float(alpha), signal, float(length_scale), spread, float(residual_sd), arrays)


def regressor_to_json(regressor: Regressor) -> dict[str, Any]:
    """The numbers of a regression for ``heads.json``; its arrays go to the weights."""
    return {
        "kernel": regressor.kernel,
        "intercept": regressor.intercept,
        "alpha": regressor.alpha,
        "signal_variance": regressor.signal_variance,
        "length_scale": regressor.length_scale,
        "spread": regressor.spread,
        "residual_sd": regressor.residual_sd,
    }


def regressor_from_files(content: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Regressor:
    """A regression from ``heads.json`` and the weights.

    Raises
    ------
    BadConfiguration
        If a number or an array is missing, of another form, or not finite.
    """
    try:
        kernel, spread = content["kernel"], content["spread"]
        numbers = {name: float(content[name]) for name in ("intercept", "alpha", "signal_variance", "length_scale", "residual_sd")}
        process = ("inverse",) if spread == "process" else ()
        names = {"linear": ("coefficients", "covariance"), "rbf": ("support", "dual", *process)}[kernel]
        kept = {name: np.asarray(arrays[name], dtype=np.float64) for name in names}
    except (KeyError, TypeError, ValueError) as error:
        raise BadConfiguration(f"The regression in the model's heads.json is not described as it should be ({error!r}).") from error
    if spread not in ("process", "residual"):
        raise BadConfiguration(f"The model's heads.json has the spread {spread!r}, which is not known.")
    if not np.isfinite(list(numbers.values())).all() or not all(np.isfinite(array).all() for array in kept.values()):
        raise BadConfiguration("The model's regression holds numbers that are not finite; get the model again.")
    if numbers["alpha"] <= 0 or numbers["length_scale"] <= 0 or numbers["signal_variance"] < 0 or numbers["residual_sd"] < 0:
        raise BadConfiguration("The model's heads.json has a variance below zero.")
    return Regressor(kernel=kernel, spread=spread, arrays=kept, **numbers)
