"""Sizes of the difference between two groups, first minus second."""

from __future__ import annotations

import math

import numpy as np

from brainage_bids.records import UnusableInput
from brainage_bids.stats.rows import is_constant

Interval = tuple[float, float]


def cohens_d(first: np.ndarray, second: np.ndarray) -> float:
    """Difference of means over the pooled standard deviation √{[(n₁−1)s₁² + (n₂−1)s₂²]/(n₁+n₂−2)}; without unit.

    Parameters
    ----------
    first, second : ndarray, shapes (n₁,), (n₂,)
        Values of the two groups, two at least each, in any one unit.

    Raises
    ------
    UnusableInput
        If a group has fewer than two values, or neither varies.

    Examples
    --------
    >>> round(cohens_d([2.0, 4.0, 6.0], [1.0, 3.0]), 6)
    1.095445
    """
    first, second = two_groups(first, second)
    n_first, n_second = first.size, second.size
    pooled = ((n_first - 1) * first.var(ddof=1) + (n_second - 1) * second.var(ddof=1)) / (n_first + n_second - 2)
    return float((first.mean() - second.mean()) / math.sqrt(pooled))


def hedges_factor(degrees: float) -> float:
    """Hedges' exact J, which takes the small-sample bias from Cohen's d: Γ(m/2) / (√(m/2) Γ((m − 1)/2)) (Hedges 1981).

    Parameters
    ----------
    degrees : float
        Degrees of freedom m, n₁ + n₂ − 2 for two groups; above 1.

    Examples
    --------
    >>> round(hedges_factor(10), 3)
    0.923
    """
    if degrees <= 1:
        return math.nan
    return math.exp(math.lgamma(degrees / 2) - math.lgamma((degrees - 1) / 2)) / math.sqrt(degrees / 2)


def cohens_d_interval(d: float, n_first: int, n_second: int, level: float = 0.95) -> Interval:
    """Exact interval of Cohen's d for normal values of equal variance, from the non-central t distribution.

    t = d √(n₁n₂/(n₁+n₂)) has the non-centrality δ √(n₁n₂/(n₁+n₂)); the bounds are the δ at which t is the upper or the lower
    (1 − level)/2 quantile (Steiger and Fouladi 1997).

    Examples
    --------
    >>> low, high = cohens_d_interval(0.0, 50, 50)
    >>> round(low, 4), round(high, 4)
    (-0.392, 0.392)
    """
    from scipy.special import nctdtrinc

    scale = math.sqrt(n_first * n_second / (n_first + n_second))
    tail, degrees = (1 - level) / 2, n_first + n_second - 2
    return float(nctdtrinc(degrees, 1 - tail, d * scale)) / scale, float(nctdtrinc(degrees, tail, d * scale)) / scale


def auc(first: np.ndarray, second: np.ndarray) -> float:
    """Share of pairs in which the value of the first group is larger, ties half: U₁ / (n₁n₂).

    >>> auc([3.0, 4.0], [1.0, 3.0])
    0.875
    """
    first, second = np.asarray(first, dtype=float), np.sort(np.asarray(second, dtype=float))
    if first.size == 0 or second.size == 0:
        raise UnusableInput("The share of pairs needs a value in each group.")
    below = np.searchsorted(second, first, "left") + np.searchsorted(second, first, "right")
    return float(below.sum() / (2 * first.size * second.size))


def rank_biserial(first: np.ndarray, second: np.ndarray) -> float:
    """Rank-biserial correlation 2U₁/(n₁n₂) − 1: 1 if all of the first group lie above, −1 if all lie below.

    >>> rank_biserial([3.0, 4.0], [1.0, 3.0])
    0.75
    """
    return 2 * auc(first, second) - 1


def auc_interval(first: np.ndarray, second: np.ndarray, level: float = 0.95) -> Interval:
    """Interval of the AUC: DeLong's variance (1988), normal on the scale of the logit.

    Returns
    -------
    (low, high)
        (NaN, NaN) where the AUC is 0 or 1 or a group has one value: the variance is not defined there.

    Examples
    --------
    >>> low, high = auc_interval([1.0, 2.0, 3.0, 4.0], [1.5, 2.5, 3.5, 0.5])
    >>> round(low, 3), round(high, 3)
    (0.198, 0.918)
    """
    from scipy.stats import norm

    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    area = auc(first, second)
    if area in (0.0, 1.0) or min(first.size, second.size) < 2:
        return math.nan, math.nan
    of_first = _shares_below(first, second)
    of_second = 1 - _shares_below(second, first)
    variance = of_first.var(ddof=1) / first.size + of_second.var(ddof=1) / second.size
    half = norm.ppf((1 + level) / 2) * math.sqrt(variance) / (area * (1 - area))
    logit = math.log(area / (1 - area))
    return 1 / (1 + math.exp(-(logit - half))), 1 / (1 + math.exp(-(logit + half)))


def two_groups(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values of two groups that can be compared by their means.

    Raises
    ------
    UnusableInput
        If a group has fewer than two values, a value is not finite, or neither group varies.
    """
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if min(first.size, second.size) < 2:
        raise UnusableInput(f"A comparison of means needs two values a group at least; there are {first.size} and {second.size}.")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise UnusableInput("A comparison of groups needs finite values.")
    if is_constant(first) and is_constant(second):
        raise UnusableInput("Neither group varies, so their difference has no scale.")
    return first, second


def _shares_below(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    others = np.sort(others)
    return (np.searchsorted(others, values, "left") + np.searchsorted(others, values, "right")) / (2 * others.size)
