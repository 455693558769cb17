"""The table of a study's groups: medians and ranges, counts, and how the groups differ."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from brainage_bids.stats.anova import analysis_of_variance
from brainage_bids.stats.counts import compare_counts
from brainage_bids.stats.rows import Columns, Row, column, labels, numbers, tidy

_ASSUMPTIONS = "one row a person"


def describe_groups(
    table: Columns, groups: Sequence[str | None] | None = None, *, variables: Sequence[str] = (), counts: Sequence[str] = ()
) -> list[Row]:
    """Describe columns by group.

    Parameters
    ----------
    table : mapping of columns
        One row a person.
    groups : sequence, length n, optional
        Each person's group; without it everybody is one.
    variables : sequence of str
        Columns of numbers: median, range, quartiles, mean and s.d., how many are missing.
    counts : sequence of str
        Columns of categories: how many of each.

    Returns
    -------
    list of Row
        ``variable, group`` ("all" first), then ``median, minimum, maximum, q1, q3, mean, sd, missing`` for numbers and ``category, count,
        percent, missing`` for categories. Rows of tests have the group "test": ANOVA for numbers, χ² for categories, where there are two
        groups.

    Examples
    --------
    >>> rows = describe_groups({"age": [20.0, 30.0, 70.0]}, variables=["age"])
    >>> rows[0]["median"], rows[0]["minimum"], rows[0]["maximum"]
    (30.0, 20.0, 70.0)
    """
    size = len(next(iter(table[name] for name in table), ()))
    names = labels(groups) if groups is not None else np.full(size, None, dtype=object)
    parts = [("all", np.ones(size, dtype=bool))] + [(name, names == name) for name in sorted({name for name in names if name is not None})]
    rows = []
    for variable in variables:
        values = numbers(column(table, variable), variable)
        rows += [_numbers(variable, name, values[chosen]) for name, chosen in parts]
        if len(parts) > 2:
            rows.append({"group": "test", **analysis_of_variance(values, names, variable=variable)[0]})
    for variable in counts:
        kinds = labels(column(table, variable))
        for name, chosen in parts:
            known = [kind for kind in kinds[chosen] if kind is not None]
            missing = int(chosen.sum()) - len(known)
            for kind in sorted(set(kinds) - {None}):
                count = known.count(kind)
                share = 100 * count / len(known) if known else None
                note = "" if known else f"No value of '{variable}' in this group."
                about = {"variable": variable, "group": name, "category": kind, "count": count, "percent": share, "missing": missing}
                rows.append(tidy("counts", len(known), _ASSUMPTIONS, note=note, **about))
        if len(parts) > 2:
            rows.append({"group": "test", **compare_counts(kinds, names, variable=variable)})
    return rows


def _numbers(variable: str, group: str, values: np.ndarray) -> Row:
    present = values[np.isfinite(values)]
    about = {"variable": variable, "group": group, "missing": int(values.size - present.size)}
    if present.size == 0:
        empty = dict.fromkeys(("median", "minimum", "maximum", "q1", "q3", "mean", "sd"))
        return tidy("median and range", 0, _ASSUMPTIONS, note=f"No value of '{variable}' in this group.", **about, **empty)
    low, first, middle, third, high = np.percentile(present, [0, 25, 50, 75, 100])
    sd = present.std(ddof=1) if present.size > 1 else None
    note = "" if present.size > 1 else "One value: no standard deviation."
    values_of = {"median": middle, "minimum": low, "maximum": high, "q1": first, "q3": third, "mean": present.mean(), "sd": sd}
    return tidy("median and range", present.size, _ASSUMPTIONS, note=note, **about, **values_of)
