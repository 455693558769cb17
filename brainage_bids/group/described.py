"""The table of a study's groups, and the phenotype between groups beyond covariates."""

from __future__ import annotations

import numpy as np

from brainage_bids.group.adjust import CARRIER, carriers, counted, risk_column
from brainage_bids.group.associations import measures_of, numbers_of
from brainage_bids.group.cohort import Cohort, columns_of
from brainage_bids.group.groups import groups_column
from brainage_bids.group.results import Result, labelled, table
from brainage_bids.records import BadConfiguration, UnusableInput
from brainage_bids.stats.anova import compare_adjusted
from brainage_bids.stats.corrections import correct
from brainage_bids.stats.describe import describe_groups
from brainage_bids.stats.rows import Row, labels, numbers

MOST_COLUMNS = 60


def described(cohort: Cohort) -> list[Result]:
    """Medians, ranges and counts by group; phenotype columns between groups by ANCOVA with age, sex and ε4 carriers."""
    if cohort.table.empty:
        raise UnusableInput("Nobody takes part, so nobody is described.")
    people = cohort.people(cohort.models[0])
    kinds = counted(cohort, people)
    names = [name for name in numbers_of(cohort) if name not in kinds][:MOST_COLUMNS]
    try:
        column = groups_column(cohort)
        group = list(labels(people[column]))
    except (UnusableInput, BadConfiguration):  # no groups that can be compared: everybody is one; the step of the groups says why
        column, group = "", None
    columns = columns_of(people, ["age", "brain_age", "pad", "sex"]) | measures_of(people, names)
    rows = describe_groups(columns | kinds, group, variables=["age", "brain_age", "pad", *names], counts=list(kinds))
    about = f"First visits{f' by {column}' if column else ''}: medians and ranges, means, counts; rows of tests compare the groups."
    results = [table("description", "The study's people", about, rows)]
    if column and names:
        risk = risk_column(cohort)
        if risk and risk != column:
            columns[CARRIER] = carriers(people[risk])
        rows = _between(columns, group, names)
        about = (
            f"Phenotype columns between the groups of '{column}': ANCOVA with sex and carriers of ε4 where known, and with age beside them "
            "(column 'covariates'); ANOVA with Bonferroni pairs where no covariate does anything; of logarithms where all values are above "
            "0 and skewed to the right."
        )
        results.append(table("groups_phenotype", "Phenotype by group", about, rows))
    return results


def _between(columns: dict[str, list], group: list | None, names: list[str]) -> list[Row]:
    """Tests and pairs with sex and carriers as covariates, then with age too."""
    vary = [name for name in ("sex", CARRIER, "age") if len({value for value in columns.get(name, ()) if value is not None}) > 1]
    found: list[Row] = []
    for chosen in dict.fromkeys((tuple(name for name in vary if name != "age"), tuple(vary))):
        said = ", ".join(chosen) or "none"
        tests: list[Row] = []
        for name in names:
            try:
                given = {one: columns[one] for one in chosen}
                rows = compare_adjusted(columns[name], group, given, variable=name, log=skewed(columns[name]))
            except UnusableInput:
                continue  # the row of the column in the description shows that nobody, or one group, has it
            rows = labelled(rows, column=name, covariates=said)
            tests += [row for row in rows if row["part"] == "test" and row["term"] == "group"][-1:]
            found += [row for row in rows if row["part"] == "pair"]
        found += correct(tests, "bh", family=f"phenotype columns between groups, covariates {said}")
    return sorted(found, key=lambda row: row["part"], reverse=True)  # tests first


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
