"""Fitting models of kind ``volumes``: every choice by leaving sites out, under the errors that the transfer will make.

A model for other scanners and another segmentation must not be chosen by how well it does on the scanners and the
segmentation it was trained on. So each candidate is fitted without a site and judged on that site's people, whose features
have random errors added, of the size that the mapping of volumes was found to make. The scale by which features are divided
may hold these errors too: a feature that transfers badly then counts for less. For the linear kernel this is ridge regression
with a penalty of its own for each feature, which is regression with errors in the variables when alpha × weight² is the
number of people (Fuller 1987, Measurement Error Models, section 2.2).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from brainage_bids.models.regressor import Kernel, Regressor, fit_regressor
from brainage_bids.stats.folds import participant_folds

SMALLEST_SITE = 20
"""Sites with fewer people are not left out by themselves."""
DRAWS = 5
"""How often errors are drawn for each person held out."""


@dataclass(frozen=True)
class Candidate:
    """One way to fit.

    Attributes
    ----------
    kernel : {"linear", "rbf"}
    alpha : float
        See ``models.regressor``.
    error_weight : float
        Features are divided by √(s.d.² + (error_weight × transfer error)²).
    length_factor : float
        Length scale over the root mean squared length of the training people's features; 1 for the linear kernel.
    """

    kernel: Kernel
    alpha: float
    error_weight: float
    length_factor: float = 1.0


@dataclass(frozen=True)
class Choice:
    """A candidate, with what it was chosen for: its errors on the sites left out, years."""

    candidate: Candidate
    inner_mae: float
    inner_rmse: float


def grid() -> tuple[Candidate, ...]:
    """What is tried."""
    linear = itertools.product((3.0, 10.0, 30.0), (0.0, 1.0, 3.0, 10.0))
    curved = itertools.product((0.1, 0.3, 1.0), (0.0, 2.0), (1.0, 2.0))
    return (
        *(Candidate("linear", alpha, weight) for alpha, weight in linear),
        *(Candidate("rbf", alpha, weight, factor) for alpha, weight, factor in curved),
    )


@dataclass(frozen=True)
class Fit:
    """A regression with the standardisation of its features."""

    centre: np.ndarray
    spread: np.ndarray
    regressor: Regressor

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Ages of new people in years, from raw features, shape (m, d)."""
        return self.regressor.predict((features - self.centre) / self.spread)[0]


def fit(features: np.ndarray, ages: np.ndarray, errors: np.ndarray, candidate: Candidate, residual_sd: float = 0.0) -> Fit:
    """Fit one candidate.

    Parameters
    ----------
    features : ndarray, shape (n, d)
        As from ``VolumeTable.features``.
    ages : ndarray, shape (n,)
        Years.
    errors : ndarray, shape (d,)
        Standard deviation of the error of each feature in the transfer.
    candidate : Candidate
    residual_sd : float
        Years; the standard deviation that predictions are given.

    Examples
    --------
    >>> ages = np.array([20.0, 40.0, 60.0])
    >>> found = fit(np.array([[-1.0], [0.0], [1.0]]), ages, np.array([0.0]), Candidate("linear", 1e-6, 0.0))
    >>> found.predict(np.array([[0.5]])).round(2).tolist()
    [50.0]
    """
    centre = features.mean(axis=0)
    spread = np.sqrt(features.var(axis=0) + (candidate.error_weight * errors) ** 2)
    standard = (features - centre) / spread
    length = candidate.length_factor * float(np.sqrt((standard**2).sum(axis=1).mean())) if candidate.kernel == "rbf" else 1.0
    regressor = fit_regressor(
        standard, ages, kernel=candidate.kernel, alpha=candidate.alpha, length_scale=length, spread="residual", residual_sd=residual_sd
    )
    return Fit(centre, spread, regressor)


def site_folds(participants: Sequence[str], sites: Sequence[str | None], ages: np.ndarray, *, seed: int) -> np.ndarray:
    """A fold a site of `SMALLEST_SITE` people or more, the other people together; five folds by person if that gives but one.

    >>> site_folds(["a", "b"] * 30, ["x", "y"] * 30, np.arange(60.0), seed=1)[:4].tolist()
    [0, 1, 0, 1]
    """
    names = np.array([site or "" for site in sites])
    found, counts = np.unique(names, return_counts=True)
    large = [name for name, count in zip(found, counts, strict=True) if name and count >= SMALLEST_SITE]
    folds = np.full(len(names), len(large))
    for index, name in enumerate(large):
        folds[names == name] = index
    if len(np.unique(folds)) > 1:
        return folds
    return participant_folds(participants, min(5, len(set(participants))), seed=seed, ages=ages)


def choose(
    features: np.ndarray,
    ages: np.ndarray,
    folds: np.ndarray,
    errors: np.ndarray,
    *,
    seed: Sequence[int],
    candidates: Sequence[Candidate] | None = None,
) -> Choice:
    """The linear candidate with the least mean absolute error, unless an rbf one is clearly better.

    Clearly: by more than one standard error of the mean difference over people (the rule of Breiman et al. 1984). A linear
    model is easier to explain, and holds nobody's volumes.

    Parameters
    ----------
    features, ages, errors
        As in `fit`.
    folds : ndarray of int, shape (n,)
        What is held out together; see `site_folds`.
    seed : sequence of int
        Of the errors that are drawn, the same for all candidates.
    candidates : sequence of Candidate, optional
        By default `grid`; one of them must be linear.
    """
    candidates = grid() if candidates is None else tuple(candidates)
    drawn = np.random.default_rng(seed).normal(size=(DRAWS, *features.shape)) * errors
    misses = [_misses(features, ages, folds, errors, candidate, drawn) for candidate in candidates]
    sizes = np.array([np.abs(miss).mean(axis=0) for miss in misses])
    means = sizes.mean(axis=1)
    linear = min((index for index, item in enumerate(candidates) if item.kernel == "linear"), key=lambda index: means[index])
    best = int(np.argmin(means))
    difference = sizes[linear] - sizes[best]
    chosen = best if difference.mean() > difference.std(ddof=1) / np.sqrt(len(ages)) else linear
    return Choice(candidates[chosen], float(means[chosen]), float(np.sqrt((misses[chosen] ** 2).mean())))


def _misses(features, ages, folds, errors, candidate: Candidate, drawn: np.ndarray) -> np.ndarray:
    """Prediction − age of people held out with each draw of errors, shape (draws, n), years."""
    out = np.empty((len(drawn), len(ages)))
    for fold in np.unique(folds):
        test = folds == fold
        fitted = fit(features[~test], ages[~test], errors, candidate)
        for draw, noise in enumerate(drawn):
            out[draw, test] = fitted.predict(features[test] + noise[test])
    return out - ages
