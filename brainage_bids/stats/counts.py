"""Counts of categories by group."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from brainage_bids.stats.rows import Row, labels, same_length, tidy

_ASSUMPTIONS = "independent people, each in one cell; expected counts of 5 or more"


def compare_counts(categories: Sequence[Any], groups: Sequence[Any], *, variable: str = "category") -> Row:
    """Pearson's χ² of a table of counts (no continuity correction) with Cramér's V.

    Where an expected count is below 5 the note says so, and for two by two cells Fisher's exact p stands in ``p_exact``.

    Parameters
    ----------
    categories, groups : sequences, length n
        One category and one group a person; rows that lack one are left out.
    variable : str
        Name of the categories.

    Returns
    -------
    Row
        ``chi2, df, p, p_exact, cramers_v, smallest_expected, counts`` (text: group: category n, …).

    Examples
    --------
    >>> row = compare_counts(["F", "F", "M", "M"] * 10, (["a"] * 3 + ["b"]) * 10)
    >>> round(row["chi2"], 4), row["df"]
    (13.3333, 1)
    """
    from scipy.stats import chi2_contingency, fisher_exact

    same_length(categories=categories, groups=groups)
    kinds, names = labels(categories), labels(groups)
    known = [(name, kind) for name, kind in zip(names, kinds) if name is not None and kind is not None]
    rows, columns = sorted({name for name, _ in known}), sorted({kind for _, kind in known})
    table = np.zeros((len(rows), len(columns)), dtype=int)
    for name, kind in known:
        table[rows.index(name), columns.index(kind)] += 1
    said = "; ".join(f"{name}: " + ", ".join(f"{kind} {count}" for kind, count in zip(columns, line)) for name, line in zip(rows, table))
    about, method = {"variable": variable, "counts": said}, "Pearson's chi-squared without continuity correction, Cramér's V"
    empty = dict.fromkeys(("chi2", "df", "p", "p_exact", "cramers_v", "smallest_expected"))
    if min(table.shape) < 2:
        note = f"The counts have {len(rows)} group(s) and {len(columns)} categories; a test needs two of each."
        return tidy(method, len(known), _ASSUMPTIONS, note=note, **about, **empty)
    found = chi2_contingency(table, correction=False)
    smallest = float(found.expected_freq.min())
    exact, note = None, ""
    if smallest < 5:
        note = f"The smallest expected count is {smallest:.1f}; the p of chi-squared is rough."
        exact = fisher_exact(table)[1] if table.shape == (2, 2) else None
    values = {"chi2": found.statistic, "df": int(found.dof), "p": found.pvalue, "p_exact": exact}
    values |= {"cramers_v": math.sqrt(found.statistic / (len(known) * (min(table.shape) - 1))), "smallest_expected": smallest}
    return tidy(method, len(known), _ASSUMPTIONS, note=note, **about, **values)
