"""Offsets of sites from their controls."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from brainage_bids.records import UnusableInput
from brainage_bids.stats.least_squares import indicators
from brainage_bids.stats.rows import Row, is_constant, labels, numbers, same_length, tidy

NO_OFFSET = "site_without_offset"
"""Flag of someone whose site has no offset, so that nothing was taken off."""

_ASSUMPTIONS = "controls of every site are alike but for age; the same slope with age at every site; one row a person"


@dataclass(frozen=True)
class SiteOffsets:
    """How far the gaps of each site's controls lie from the mean of all controls, at equal age.

    Attributes
    ----------
    sites : tuple of str
        Sites with enough controls.
    offsets, errors : tuple of float
        Years, and their standard errors (of the site's mean).
    counts : tuple of int
        Controls of each site.
    slope : float
        Gap on age within sites, per year.
    n : int
        Controls of all sites, those of sites with too few aside.
    age_min, age_max : float
        Their ages.
    """

    sites: tuple[str, ...]
    offsets: tuple[float, ...]
    errors: tuple[float, ...]
    counts: tuple[int, ...]
    slope: float
    n: int
    age_min: float
    age_max: float

    def transform(self, gaps: Sequence[Any], sites: Sequence[Any]) -> tuple[np.ndarray, list[tuple[str, ...]]]:
        """Gaps without their site's offset, and ``site_without_offset`` for those of other sites, which stay as they are."""
        same_length(gaps=gaps, sites=sites)
        known = dict(zip(self.sites, self.offsets))
        names = labels(sites)
        return numbers(gaps, "gap") - np.array([known.get(name, 0.0) for name in names]), [
            () if name in known else (NO_OFFSET,) for name in names
        ]

    def rows(self) -> list[Row]:
        """The offsets as a table."""
        method = "gap of controls by site at equal age, minus the mean of all"
        return [
            tidy(method, count, _ASSUMPTIONS, site=site, offset=offset, se=error)
            for site, offset, error, count in zip(self.sites, self.offsets, self.errors, self.counts)
        ]


def fit_site_offsets(gaps: Sequence[Any], ages: Sequence[Any], sites: Sequence[Any], *, fewest: int = 5) -> SiteOffsets:
    """Fit on controls.

    Parameters
    ----------
    gaps, ages, sites : sequences, length n
        Gap (years), age (years) and site of controls; one row a person. Rows that lack one are left out.
    fewest : int
        Sites with fewer controls get no offset.

    Raises
    ------
    UnusableInput
        If fewer than two sites have enough controls.

    Examples
    --------
    >>> fitted = fit_site_offsets([1.0, 3.0, 5.0, 7.0], [20, 30, 20, 30], ["a", "a", "b", "b"], fewest=2)
    >>> [round(offset, 9) for offset in fitted.offsets], round(fitted.slope, 9)
    ([-2.0, 2.0], 0.2)
    """
    same_length(gaps=gaps, ages=ages, sites=sites)
    gap, age, names = numbers(gaps, "gap"), numbers(ages, "age"), labels(sites)
    known = np.isfinite(gap) & np.isfinite(age) & np.array([name is not None for name in names], dtype=bool)
    counts = {name: int((known & (names == name)).sum()) for name in sorted(set(names[known]))}
    enough = [name for name, count in counts.items() if count >= max(fewest, 2)]
    if len(enough) < 2:
        said = ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"
        raise UnusableInput(f"Offsets need two sites with {fewest} controls each; controls by site: {said}.")
    known &= np.isin(names.astype(str), enough)
    gap, age, names = gap[known], age[known], names[known]
    found, columns = indicators(names)
    whole = np.column_stack([1 - columns.sum(axis=1), columns])
    members = whole.sum(axis=0)

    def within(values: np.ndarray) -> np.ndarray:
        return values - whole @ (whole.T @ values / members)

    spread = within(age)
    slope = 0.0 if is_constant(age) or spread @ spread < 1e-9 else float(spread @ within(gap) / (spread @ spread))
    adjusted = gap - slope * (age - age.mean())
    means = whole.T @ adjusted / members
    offsets = means - adjusted.mean()
    errors = [math.sqrt(adjusted[whole[:, place] == 1].var(ddof=1) / members[place]) for place in range(len(found))]
    limits = (float(age.min()), float(age.max()))
    return SiteOffsets(tuple(found), tuple(offsets.tolist()), tuple(errors), tuple(members.astype(int).tolist()), slope, gap.size, *limits)
