"""How near to the truth the models are: errors by age, sex and site, models against each other, errors by age."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from brainage_bids.group.cohort import Cohort, columns_of, need_rows
from brainage_bids.group.results import Result, labelled, table
from brainage_bids.records import UnusableInput
from brainage_bids.stats.accuracy import accuracy_rows, compare_with_null, error_by_age
from brainage_bids.stats.corrections import correct
from brainage_bids.stats.permutation import null_histogram
from brainage_bids.stats.polynomial import polynomial_by_age
from brainage_bids.stats.rows import Row, tidy

MOST_PAIRS = 15


def accuracy(cohort: Cohort) -> list[Result]:
    """Errors of each model, whole and by age bin, sex, site and group, from uncorrected predictions."""
    need_rows(cohort.table)
    rows = []
    for model in cohort.models:
        visits = cohort.visits(model)
        if visits.empty:
            rows.append(
                tidy("errors of the uncorrected prediction", 0, "", note="No row takes part.", model=model, by="all", stratum="all")
            )
            continue
        columns = columns_of(visits, [name for name in ("sex", "site", cohort.group_column) if name])
        by = {name: values for name, values in columns.items() if any(value is not None for value in values)}
        found = accuracy_rows(visits["age"], visits["brain_age"], list(visits["participant_id"]), by=by, seed=cohort.seed)
        rows += labelled(found, model=model)
    rows.sort(key=lambda row: row["by"] != "all")  # the models as a whole first
    about = "Errors of brain ages as the models gave them, never of corrected ones; intervals by bootstrap over people."
    return [table("accuracy", "Accuracy", about, rows)]


def compared(cohort: Cohort) -> list[Result]:
    """Models two by two on the visits that have both."""
    if len(cohort.models) < 2:
        raise UnusableInput("There is one model, so none can be compared.")
    pairs = list(combinations(cohort.models, 2))
    rows: list[Row] = []
    drawn: list[Row] = []
    paired = cohort.settings.permutation == "paired"
    for first, second in pairs[:MOST_PAIRS]:
        keys = ["participant_id", "session_id"]
        ages = [cohort.visits(name)[[*keys, "brain_age", "age"]] for name in (first, second)]
        both = ages[0].merge(ages[1].drop(columns="age"), on=keys, suffixes=("", "_second"))
        columns = (both["age"], both["brain_age"], both["brain_age_second"], list(both["participant_id"]))
        row, null = compare_with_null(*columns, names=(first, second), paired=paired, seed=cohort.seed)
        rows.append(row)
        if null.size:
            drawn += _histogram(row, null)
    about = "Difference of mean absolute errors of two models on the same visits; below 0 the first is better. r_predictions and "
    about += "r_errors say how far ages and signed errors of both go together."
    if len(pairs) > MOST_PAIRS:
        about += f" Of {len(pairs)} pairs the first {MOST_PAIRS} are compared; name fewer with --models."
    by_chance = "Differences of the mean absolute errors under the permutations, counted in bins, the observed one among them."
    return [
        table("model_comparison", "Models compared", about, correct(rows, "bh", family="pairs of models")),
        table("model_comparison_null", "Differences by chance", by_chance, drawn),
    ]


def _histogram(row: Row, null: np.ndarray) -> list[Row]:
    counts, edges = null_histogram(null, row["difference"])
    about = {name: row[name] for name in ("first", "second", "difference")}
    return [
        tidy(row["method"], row["n"], row["assumptions"], **about, bin_low=low, bin_high=high, draws=int(count))
        for count, low, high in zip(counts, edges, edges[1:])
    ]


def by_age(cohort: Cohort) -> list[Result]:
    """Absolute error and the models' own spread on age, as polynomials of third order."""
    rows = []
    for model in cohort.models:
        people = cohort.people(model)
        if people.empty:
            continue
        values = {"absolute_error": np.abs(people["pad"].to_numpy(float)), "brain_age_sd": people["brain_age_sd"].to_numpy(float)}
        for variable, column in values.items():
            if np.isfinite(column).any():
                found = polynomial_by_age(people["age"], column, variable=variable, points=31)
                rows += labelled(found, model=model, variable=variable)
    about = "Third-order polynomials of the absolute error and of the models' own standard deviation on age, with the band of the mean."
    return [table("error_by_age", "Error and spread by age", about, need_rows_of(rows))]


def by_bins(cohort: Cohort) -> list[Result]:
    """Mean and variance of the signed error in half-open bins of age, and how much smaller the error is than the first model's."""
    need_rows(cohort.table)
    keys = ["participant_id", "session_id"]
    first = cohort.visits(cohort.models[0])
    edges = cohort.settings.age_edges() or _decades(cohort.table["age"].to_numpy(float))
    rows = []
    for model in cohort.models:
        visits = cohort.visits(model)
        if model == cohort.models[0]:
            rows += labelled(error_by_age(visits["age"], visits["brain_age"], edges), model=model, baseline=None)
            continue
        both = visits[[*keys, "brain_age", "age"]].merge(first[[*keys, "brain_age"]], on=keys, suffixes=("", "_first"))
        if not both.empty:
            found = error_by_age(both["age"], both["brain_age"], edges, baseline=both["brain_age_first"])
            rows += labelled(found, model=model, baseline=cohort.models[0])
    about = (
        "Mean, variance and size of the signed error (brain age - age) of all visits in half-open bins of age, and by how many per cent it "
        f"is smaller than that of {cohort.models[0]} on the same visits."
    )
    return [table("error_bins", "Errors by bins of age", about, need_rows_of(rows))]


def _decades(ages: np.ndarray) -> list[float]:
    low, high = np.floor(ages.min() / 10) * 10, np.floor(ages.max() / 10) * 10 + 10
    return np.arange(low, high + 1, 10).tolist()


def need_rows_of(rows: list) -> list:
    """The same rows, if there are any.

    Raises
    ------
    UnusableInput
        If there are none.
    """
    if not rows:
        raise UnusableInput("Nobody has the values that are needed.")
    return rows
