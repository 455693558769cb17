"""Bias-corrected and accelerated bootstrap intervals."""

from __future__ import annotations

import math

import numpy as np


def bca_interval(
    draws: np.ndarray, estimate: float, accelerated: float, level: float = 0.95, *, people: int = 0, df: int = 0
) -> tuple[float, float, float]:
    """Bias-corrected and accelerated interval (Efron 1987), and the p-value that belongs to it.

    Draws of regressions spread less than their estimates by √(df/n), and have no t distribution. With `people` and `df` the tails are
    expanded by both (Hesterberg 2015, doi:10.1080/00031305.2015.1089789): Φ(−√(n/df) t) in place of the level's tail.

    Parameters
    ----------
    draws : ndarray, shape (B,)
        Estimates of the bootstrap; those that are not finite do not count.
    estimate : float
        From all people.
    accelerated : float
        See `acceleration`.
    people, df : int, optional
        People and degrees of freedom of the estimate; 0 does not expand.

    Returns
    -------
    low, high, p : float
        p is 1 − the level of the interval that has 0 on its bound, 2/(B + 1) at least.

    Examples
    --------
    >>> low, high, p = bca_interval(np.linspace(-1.0, 3.0, 4001), 1.0, 0.0)
    >>> round(low, 2), round(high, 2), round(p, 2)
    (-0.9, 2.9, 0.5)
    >>> low, high, p = bca_interval(np.linspace(-1.0, 3.0, 4001), 1.0, 0.0, people=12, df=9)
    >>> round(low, 2), round(high, 2), round(p, 2)
    (-0.98, 2.98, 0.57)
    """
    from scipy.special import ndtr, ndtri, stdtr, stdtrit

    wider = math.sqrt(people / df) if df else 1.0

    draws = draws[np.isfinite(draws)]
    if draws.size == 0 or not math.isfinite(estimate):
        return math.nan, math.nan, math.nan
    smallest = 1 / (draws.size + 1)
    share = (np.count_nonzero(draws < estimate) + 0.5 * np.count_nonzero(draws == estimate)) / draws.size
    shift = float(ndtri(np.clip(share, smallest, 1 - smallest)))

    def place(tail: float) -> float:
        moved = shift + (wider * float(stdtrit(df, tail)) if df else float(ndtri(tail)))
        return float(ndtr(shift + moved / (1 - accelerated * moved)))

    low, high = np.quantile(draws, [place((1 - level) / 2), place((1 + level) / 2)])
    below = (np.count_nonzero(draws < 0) + 0.5 * np.count_nonzero(draws == 0)) / draws.size
    at = float(ndtri(np.clip(below, smallest, 1 - smallest))) - shift
    normal = at / (1 + accelerated * at) - shift
    tail = float(stdtr(df, normal / wider) if df else ndtr(normal))
    return float(low), float(high), float(np.clip(2 * min(tail, 1 - tail), 2 * smallest, 1.0))


def acceleration(estimates: np.ndarray) -> np.ndarray:
    """Acceleration from estimates without one person (or block) each: Σ(θ̄ − θᵢ)³ / {6 [Σ(θ̄ − θᵢ)²]^1.5}.

    Parameters
    ----------
    estimates : ndarray, shape (people, k)
        Of k measures; NaN does not count.

    Returns
    -------
    ndarray, shape (k,)
        0 where estimates do not vary.

    Examples
    --------
    >>> acceleration(np.array([[1.0], [2.0], [6.0]])).round(4).tolist()
    [-0.0573]
    """
    there = np.isfinite(estimates)
    means = np.where(there, estimates, 0.0).sum(axis=0) / np.maximum(there.sum(axis=0), 1)
    deviation = means - np.where(there, estimates, np.nan)
    top, bottom = np.nansum(deviation**3, axis=0), 6 * np.nansum(deviation**2, axis=0) ** 1.5
    return np.divide(top, bottom, out=np.zeros_like(top), where=bottom > 0)
