"""Prediction intervals by split conformal calibration, and how often they hold the age."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from brainage_bids.records import BadConfiguration, UnusableInput
from brainage_bids.stats.rows import Row, numbers, same_length, tidy

By = Literal["predicted", "age"]
_ASSUMPTIONS = "calibration and new people are exchangeable (same scanners, same kind of people); one row a person"


@dataclass(frozen=True)
class ConformalIntervals:
    """Half widths of intervals, by bin.

    Attributes
    ----------
    level : float
        Share of ages that the intervals hold.
    by : {"predicted", "age"}
        What the bins divide. By the predicted age an interval needs no age, and holds as often as said among people of similar
        predictions; by the age it holds as often among people of similar age.
    edges : tuple of float
        Of half-open bins, in years; empty for one bin.
    half_widths : tuple of float
        One a bin, in years, or in units of the s.d. if `scaled`.
    counts : tuple of int
        Calibration rows behind each half width (all rows where a bin has too few).
    pooled : tuple of bool
        Which bins have too few rows of their own and use those of all.
    scaled : bool
        Whether half widths are multiplied by each person's s.d.
    overall : float
        Half width from all rows, for what lies outside all bins.
    n : int
        Calibration rows.
    """

    level: float
    by: By
    edges: tuple[float, ...]
    half_widths: tuple[float, ...]
    counts: tuple[int, ...]
    pooled: tuple[bool, ...]
    scaled: bool
    overall: float
    n: int

    def bounds(
        self, predictions: Sequence[Any], *, sds: Sequence[Any] | None = None, ages: Sequence[Any] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper bounds in years; NaN where the prediction (or what the interval needs beside) is missing.

        Raises
        ------
        BadConfiguration
            If the intervals are scaled and no s.d. is given, or are by age and no age is.
        """
        half = self.half_width(predictions, sds=sds, ages=ages)
        prediction = numbers(predictions, "prediction")
        return prediction - half, prediction + half

    def half_width(self, predictions: Sequence[Any], *, sds: Sequence[Any] | None = None, ages: Sequence[Any] | None = None) -> np.ndarray:
        """Half width of each interval in years; see `bounds`."""
        if self.scaled and sds is None:
            raise BadConfiguration("These intervals are scaled by the model's s.d., and none is given.")
        if self.by == "age" and ages is None:
            raise BadConfiguration("These intervals are by age, and no ages are given.")
        place = numbers(predictions if self.by == "predicted" else ages, self.by)
        same_length(predictions=predictions, sds=sds, ages=ages)
        half = np.full(place.shape, self.overall)
        for number, width in enumerate(self.half_widths):
            inside = (place >= self.edges[number]) & (place < self.edges[number + 1]) if self.edges else np.ones(place.shape, dtype=bool)
            half[inside] = width
        half[~np.isfinite(place)] = np.nan
        return half * _positive(sds) if self.scaled else half


def conformal_quantile(scores: np.ndarray, level: float = 0.95) -> float:
    """The ⌈(n + 1) level⌉-th smallest score; infinite if there are too few for the level.

    >>> conformal_quantile(np.arange(1.0, 20.0))
    19.0
    """
    scores = np.sort(np.asarray(scores, dtype=float))
    rank = math.ceil(round((scores.size + 1) * level, 9))
    return float(scores[rank - 1]) if rank <= scores.size else math.inf


def fit_intervals(
    ages: Sequence[Any], predictions: Sequence[Any], *, sds: Sequence[Any] | None = None, level: float = 0.95,
    edges: Sequence[float] | None = None, by: By = "predicted", fewest: int = 50,
) -> ConformalIntervals:  # fmt: skip
    """Calibrate on rows that the model did not train on.

    Parameters
    ----------
    ages, predictions : sequences, length n
        Years; one row a person. Rows that lack a value are left out.
    sds : sequence, optional
        The model's s.d. of each prediction in years, above 0; the scores are then |P − A| / s.d.
    level : float
        Share of ages that an interval is to hold.
    edges : sequence of float, optional
        Of bins; a bin with fewer than `fewest` rows, or too few for the level, uses the quantile of all rows.
    by : {"predicted", "age"}
        What the bins divide.

    Returns
    -------
    ConformalIntervals

    Raises
    ------
    UnusableInput
        If there are too few rows for the level (19 for 95 %).

    Examples
    --------
    >>> fitted = fit_intervals(np.arange(20.0, 60.0), np.arange(20.0, 60.0) + np.tile([1.0, -2.0], 20), level=0.9)
    >>> fitted.bounds([40.0])
    (array([38.]), array([42.]))
    """
    if not 0 < level < 1 or by not in ("predicted", "age"):
        raise BadConfiguration(f"Intervals need a level between 0 and 1 and bins by predicted or age, not {level} and '{by}'.")
    if edges is not None and (len(edges) < 2 or any(low >= high for low, high in zip(edges, edges[1:]))):
        raise BadConfiguration(f"Bins need two growing edges at least, not {list(edges)}.")
    same_length(ages=ages, predictions=predictions, sds=sds)
    age, prediction = numbers(ages, "age"), numbers(predictions, "prediction")
    scores = np.abs(prediction - age) / (1.0 if sds is None else _positive(sds))
    known = np.isfinite(scores)
    scores, place = scores[known], (prediction if by == "predicted" else age)[known]
    overall = conformal_quantile(scores, level)
    if not math.isfinite(overall):
        needed = math.ceil(round(level / (1 - level), 9))
        raise UnusableInput(f"Intervals of {100 * level:g} % need {needed} calibration rows at least; there are {scores.size}.")
    widths, counts, pooled = [], [], []
    for low, high in zip(edges, edges[1:]) if edges is not None else [(-math.inf, math.inf)]:
        inside = scores[(place >= low) & (place < high)]
        own = conformal_quantile(inside, level)
        pooled.append(inside.size < fewest and edges is not None or not math.isfinite(own))
        widths.append(overall if pooled[-1] else own)
        counts.append(scores.size if pooled[-1] else inside.size)
    kept = tuple(float(edge) for edge in edges) if edges is not None else ()
    return ConformalIntervals(level, by, kept, tuple(widths), tuple(counts), tuple(pooled), sds is not None, overall, scores.size)


def coverage_rows(
    intervals: ConformalIntervals, ages: Sequence[Any], predictions: Sequence[Any], *, sds: Sequence[Any] | None = None, band: float = 0.95
) -> list[Row]:
    """How many ages of rows that were not used for calibration lie in their intervals, and how many had to.

    Parameters
    ----------
    ages, predictions, sds
        Of the new rows; one row a person.
    band : float
        Of the counts that chance allows. With k = ⌈(m + 1) level⌉ of m calibration rows, the number covered among n exchangeable
        rows is beta-binomial(n, k, m + 1 − k): the binomial of a level that is itself known from m rows only.

    Returns
    -------
    list of Row
        All rows first, then each bin: ``covered, coverage, expected_low, expected_high`` (shares), ``within_band``, ``width``
        (mean, years).
    """
    from scipy.stats import betabinom

    same_length(ages=ages, predictions=predictions, sds=sds)
    age, prediction = numbers(ages, "age"), numbers(predictions, "prediction")
    half = intervals.half_width(predictions, sds=sds, ages=ages)
    known = np.isfinite(age) & np.isfinite(prediction) & np.isfinite(half)
    covered = np.abs(prediction - age) <= half * (1 + 1e-12)
    place = prediction if intervals.by == "predicted" else age
    parts = [("all", known, intervals.n)]
    for number, (low, high) in enumerate(zip(intervals.edges, intervals.edges[1:])):
        parts.append((f"[{low:g}, {high:g})", known & (place >= low) & (place < high), intervals.counts[number]))
    method = f"coverage of {100 * intervals.level:g} % split-conformal intervals; {100 * band:g} % band of the beta-binomial"
    rows = []
    for name, chosen, m in parts:
        n, about = int(chosen.sum()), {"by": intervals.by, "stratum": name, "level": intervals.level, "calibration_n": m}
        if n == 0:
            empty = dict.fromkeys(("covered", "coverage", "expected_low", "expected_high", "within_band", "width"))
            rows.append(tidy(method, 0, _ASSUMPTIONS, note="Nobody.", **about, **empty))
            continue
        rank = math.ceil(round((m + 1) * intervals.level, 9))
        low, high = betabinom.ppf([(1 - band) / 2, (1 + band) / 2], n, rank, m + 1 - rank)
        count = int(covered[chosen].sum())
        values = {"covered": count, "coverage": count / n, "expected_low": low / n, "expected_high": high / n}
        values |= {"within_band": bool(low <= count <= high), "width": float(2 * half[chosen].mean())}
        pooled = name != "all" and m == intervals.n and intervals.pooled[intervals.edges.index(float(name[1:].split(",")[0]))]
        note = "Too few calibration rows of this bin: half width of all, so coverage here is not promised." if pooled else ""
        rows.append(tidy(method, n, _ASSUMPTIONS, note=note, **about, **values))
    return rows


def held_rows(
    low: np.ndarray, high: np.ndarray, ages: Sequence[Any], *, level: float, calibration_n: int | None, edges: Sequence[float],
    method: str, assumptions: str = _ASSUMPTIONS, band: float = 0.95,
) -> list[Row]:  # fmt: skip
    """How many people's ages lie in their intervals: of all, and of people whose true age lies in each bin.

    Parameters
    ----------
    low, high : ndarray, shape (n,)
        Bounds in years; an interval that is NaN holds nothing.
    calibration_n : int, optional
        Rows behind the intervals, for the band (see `coverage_rows`); without it the band is the binomial's.
    edges : sequence of float
        Of half-open bins of age.

    Returns
    -------
    list of Row
        As `coverage_rows`; ``by`` is all, then age. ``width`` is of those that are not NaN. Nobody in a bin gives no row.
    """
    from scipy.stats import betabinom, binom

    age = numbers(ages, "age")
    covered = (low <= age) & (age <= high)
    rows = []
    bins = [("age", f"[{one:g}, {other:g})", (age >= one) & (age < other)) for one, other in zip(edges, edges[1:])]
    for by, stratum, chosen in [("all", "all", np.isfinite(age)), *bins]:
        n, count = int(chosen.sum()), int(covered[chosen].sum())
        if n == 0:
            continue
        if calibration_n is None:
            expected = binom(n, level)
        else:
            rank = math.ceil(round((calibration_n + 1) * level, 9))
            expected = betabinom(n, rank, calibration_n + 1 - rank)
        least, most = expected.ppf([(1 - band) / 2, (1 + band) / 2])
        widths = (high - low)[chosen & np.isfinite(high - low)]
        about = {"by": by, "stratum": stratum, "level": level, "calibration_n": calibration_n, "covered": count, "coverage": count / n}
        values = {"expected_low": least / n, "expected_high": most / n, "within_band": bool(least <= count <= most)}
        values |= {"width": float(widths.mean()) if widths.size else None, "p_too_few": float(expected.cdf(count))}
        rows.append(tidy(method, n, assumptions, **about, **values))
    return rows


def _positive(sds: Sequence[Any]) -> np.ndarray:
    column = numbers(sds, "sd")
    if (column <= 0).any():
        raise UnusableInput("Intervals scaled by the s.d. need s.d. above 0.")
    return column
