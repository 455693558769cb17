"""The table of a study's groups, and the phenotype between groups beyond covariates."""

from __future__ import annotations

import numpy as np

from brainage_bids.group.associations import measures_of, numbers_of
from brainage_bids.group.cohort import Cohort, columns_of
from brainage_bids.group.groups import groups_column
from brainage_bids.group.results import Result, labelled, table
from brainage_bids.records import BadConfiguration, UnusableInput
from brainage_bids.stats.anova import compare_adjusted
from brainage_bids.stats.corrections import correct
from brainage_bids.stats.describe import describe_groups
from brainage_bids.stats.rows import Row, labels, numbers

RISK = ("apoe", "apoe4", "apoe_e4", "apoee4")
"""Columns with the number of ε4 alleles; who carries one is a covariate."""
MOST_COLUMNS = 60


def described(cohort: Cohort) -> list[Result]:
    """Medians, ranges and counts by group; phenotype columns between groups by ANCOVA with age, sex and ε4 carriers."""
    if cohort.table.empty:
        raise UnusableInput("Nobody takes part, so nobody is described.")
    people = cohort.people(cohort.models[0])
    names = numbers_of(cohort)[:MOST_COLUMNS]
    try:
        column = groups_column(cohort)
        group = list(labels(people[column]))
    except (UnusableInput, BadConfiguration):  # no groups that can be compared: everybody is one; the step of the groups says why
        column, group = "", None
    columns = columns_of(people, ["age", "brain_age", "pad", "sex", "site"]) | measures_of(people, names)
    kinds = [name for name in ("sex", "site") if any(value is not None for value in columns[name])]
    rows = describe_groups(columns, group, variables=["age", "brain_age", "pad", *names], counts=kinds)
    about = f"First visits{f' by {column}' if column else ''}: medians and ranges, means, counts; rows of tests compare the groups."
    results = [table("description", "The study's people", about, rows)]
    if column and names:
        rows = _between(columns, group, names)
        about = (
            f"Phenotype columns between the groups of '{column}': ANCOVA with age, sex and carriers of ε4 where known; ANOVA with "
            "Bonferroni pairs where no covariate does anything; of logarithms where all values are above 0 and skewed to the right."
        )
        results.append(table("groups_phenotype", "Phenotype by group", about, rows))
    return results


def _between(columns: dict[str, list], group: list | None, names: list[str]) -> list[Row]:
    carrier = next((name for name in names if name.lower().replace("-", "_") in RISK), None)
    known = {name: columns[name] for name in ("age", "sex") if len({value for value in columns[name] if value is not None}) > 1}
    tests: list[Row] = []
    pairs: list[Row] = []
    for name in names:
        covariates = dict(known)
        if carrier is not None and name != carrier:
            covariates["carrier"] = [None if value is None else float(value > 0) for value in columns[carrier]]
        try:
            rows = compare_adjusted(columns[name], group, covariates, variable=name, log=skewed(columns[name]))
        except UnusableInput:
            continue  # the row of the column in the description shows that nobody, or one group, has it
        rows = labelled(rows, column=name, covariates=", ".join(covariates))
        tests += [row for row in rows if row["part"] == "test" and row["term"] == "group"][-1:]
        pairs += [row for row in rows if row["part"] == "pair"]
    return [*correct(tests, "bh", family="phenotype columns between groups"), *pairs]


def skewed(values: list) -> bool:
    """Whether logarithms are taken: all values above 0, and less skewed as logarithms than they are to the right.

    >>> skewed([1.0, 2.0, 4.0, 8.0, 16.0]), skewed([-1.0, 2.0, 40.0]), skewed([1.0, 2.0, 3.0])
    (True, False, False)
    """
    from scipy.stats import skew

    column = numbers(values)
    column = column[np.isfinite(column)]
    if column.size < 3 or column.min() <= 0 or np.ptp(column) < 1e-9 * np.abs(column).max():
        return False
    return bool(skew(column) > 0.5 and abs(skew(np.log(column))) < skew(column))
