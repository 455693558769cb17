"""Corrections of p-values for the number of tests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np

from brainage_bids.records import BadConfiguration, UnusableInput
from brainage_bids.stats.rows import Row

Correction = Literal["bonferroni", "bh", "none"]
NAMES = {"bonferroni": "Bonferroni", "bh": "Benjamini-Hochberg"}


def bonferroni(p: Sequence[float]) -> np.ndarray:
    """Each p times the number of tests, at most 1; NaN stays NaN and does not count as a test.

    >>> bonferroni([0.01, 0.4, float("nan")]).tolist()
    [0.02, 0.8, nan]
    """
    p = _checked(p)
    return np.minimum(p * np.count_nonzero(np.isfinite(p)), 1.0)


def benjamini_hochberg(p: Sequence[float]) -> np.ndarray:
    """Smallest false discovery rates at which each test is found (Benjamini and Hochberg 1995); NaN stays and does not count.

    >>> benjamini_hochberg([0.01, 0.02, 0.5]).tolist()
    [0.03, 0.03, 0.5]
    """
    p = _checked(p)
    found = np.full(p.shape, np.nan)
    tested = np.flatnonzero(np.isfinite(p))
    order = tested[np.argsort(-p[tested], kind="stable")]
    rank = np.arange(tested.size, 0, -1)
    found[order] = np.minimum(np.minimum.accumulate(p[order] * tested.size / rank), 1.0)
    return found


def correct(
    rows: Iterable[Row], how: Correction = "bh", *, family: str = "these tests", p: str = "p", into: str | None = None
) -> list[Row]:
    """Add corrected p-values to rows that form one family.

    Parameters
    ----------
    rows : iterable of Row
        Rows with a p-value or None each; they are copied.
    how : {"bonferroni", "bh", "none"}
        The correction.
    family : str
        What the tests have in common; part of the sentence in ``correction``.
    p, into : str
        Names of the column of p-values and of the new one (``p_corrected`` after ``p``).

    Returns
    -------
    list of Row
        With ``correction`` naming the method, the number of tests and the family.

    Raises
    ------
    BadConfiguration
        If there is no such correction.

    Examples
    --------
    >>> correct([{"p": 0.02}, {"p": None}, {"p": 0.5}], "bonferroni", family="regions")[0]
    {'p': 0.02, 'p_corrected': 0.04, 'correction': 'Bonferroni over 2 tests (regions)'}
    """
    rows, into = [dict(row) for row in rows], into or f"{p}_corrected"
    if how not in ("bonferroni", "bh", "none"):
        raise BadConfiguration(f"There is no correction '{how}'; choose bonferroni, bh or none.")
    values = np.array([np.nan if row.get(p) is None else row[p] for row in rows], dtype=float)
    if how == "none":
        return [{**row, into: row.get(p), "correction": "none"} for row in rows]
    corrected = bonferroni(values) if how == "bonferroni" else benjamini_hochberg(values)
    said = f"{NAMES[how]} over {np.count_nonzero(np.isfinite(values))} tests ({family})"
    return [{**row, into: _or_none(value), "correction": said} for row, value in zip(rows, corrected)]


def _or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _checked(p: Sequence[float]) -> np.ndarray:
    p = np.asarray(p, dtype=float)
    tested = p[np.isfinite(p)]
    if ((tested < 0) | (tested > 1)).any():
        raise UnusableInput("A p-value lies outside 0 to 1.")
    return p
