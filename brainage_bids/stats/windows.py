"""Correlation of the brain-age gap with a column in sliding windows of age."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from brainage_bids.records import BadConfiguration, UnusableInput
from brainage_bids.stats.associations import correlation
from brainage_bids.stats.corrections import Correction, correct
from brainage_bids.stats.least_squares import Covariates
from brainage_bids.stats.rows import Row, labels, numbers, same_length, tidy, why_empty

_ASSUMPTIONS = "independent people, one row each; a linear relation within the window; neighbouring windows share people"


def as_measure(values: Sequence[Any], name: str = "values") -> np.ndarray:
    """A column as numbers; text of two kinds becomes 0 and 1 in alphabetical order.

    Raises
    ------
    UnusableInput
        If it is text of more than two kinds.

    Examples
    --------
    >>> as_measure(["no", "yes", None]).tolist()
    [0.0, 1.0, nan]
    """
    try:
        return numbers(values, name)
    except UnusableInput:
        text = labels(values)
        kinds = sorted({value for value in text if value is not None})
        if len(kinds) > 2:
            raise UnusableInput(f"The column '{name}' is text of {len(kinds)} kinds; numbers or two kinds are needed.") from None
        return np.array([np.nan if value is None else float(kinds.index(value)) for value in text])


def lesion_load(lesions: Sequence[Any], white_matter: Sequence[Any]) -> np.ndarray:
    """Logarithm of lesion volume over white-matter volume; NaN where one is missing or not above zero.

    >>> lesion_load([1.0, 0.0], [1.0, 400.0]).tolist()
    [0.0, nan]
    """
    lesion, white = numbers(lesions, "lesions"), numbers(white_matter, "white matter")
    usable = (lesion > 0) & (white > 0)
    return np.log(np.divide(lesion, white, out=np.full(lesion.shape, np.nan), where=usable))


def sliding_windows(
    ages: Sequence[Any], gaps: Sequence[Any], values: Sequence[Any], *, variable: str = "value", width: float = 10.0, step: float = 1.0,
    fewest: int = 20, covariates: Mapping[str, Sequence[Any]] | None = None, level: float = 0.95, correction: Correction = "bonferroni",
) -> list[Row]:  # fmt: skip
    """Pearson correlation of gap and column in each window [start, start + width) of age.

    Parameters
    ----------
    ages, gaps, values : sequences, length n
        One row a person; rows that lack one are left out. Text of two kinds counts as 0 and 1.
    width, step : float
        Of the windows, in years; they start at multiples of the step and cover all ages.
    fewest : int
        A window with fewer people is not computed, and its row says so.
    covariates : mapping of name to sequence, optional
        For the partial correlation, beside age, which is always among them.
    level : float
        Of the band around r.
    correction : str
        Over the windows that were computed.

    Returns
    -------
    list of Row
        ``age_low, age_high, age_mean, r, low, high, p, p_corrected, r_partial, low_partial, high_partial, p_partial``.

    Raises
    ------
    UnusableInput
        If nobody has an age, a gap and a value.
    """
    if width <= 0 or step <= 0 or fewest < 4:
        raise BadConfiguration(f"Windows need a width and a step above 0 and 4 people at least, not {width}, {step}, {fewest}.")
    covariates = covariates or {}
    same_length(ages=ages, gaps=gaps, values=values, **covariates)
    age, gap, value = numbers(ages, "age"), numbers(gaps, "gap"), as_measure(values, variable)
    others = Covariates({"age": age, **covariates}, age.size)
    known = np.isfinite(age) & np.isfinite(gap) & np.isfinite(value)
    if not known.any():
        raise UnusableInput(f"Nobody has an age, a gap and a value of '{variable}'.")
    first, last = age[known].min(), age[known].max()
    start = np.floor(first / step) * step
    starts = start + step * np.arange(max(1, int(np.floor((last - width - start) / step)) + 2))
    method = f"Pearson correlation in windows of {width:g} years, step {step:g}; partial for age" + "".join(
        f", {name}" for name in covariates
    )
    rows = []
    for low in starts:
        chosen = known & (age >= low) & (age < low + width)
        about = {"variable": variable, "age_low": low, "age_high": low + width, "age_mean": age[chosen].mean() if chosen.any() else None}
        empty = dict.fromkeys(("r", "low", "high", "p", "r_partial", "low_partial", "high_partial", "p_partial"))
        note = f"Fewer than {fewest} people." if chosen.sum() < fewest else ""
        note = note or why_empty(gap[chosen], "gap", 4) or why_empty(value[chosen], variable, 4)
        if not note:
            complete = chosen & others.covered
            partial = correlation(gap[complete], value[complete], covariates=others.design(complete), level=level)
            empty |= {f"{name}_partial": number for name, number in partial.items()}
            empty |= correlation(gap[chosen], value[chosen], level=level)
        rows.append(tidy(method, int(chosen.sum()), _ASSUMPTIONS + others.lacking(chosen), note=note, **about, **empty))
    return correct(rows, correction, family=f"windows of {variable}")
