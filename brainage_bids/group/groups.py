"""Groups compared, and models of the gap by formula."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from brainage_bids.group.adjust import counted, usable_group
from brainage_bids.group.cohort import Cohort, columns_of
from brainage_bids.group.phenotype_columns import MOST_KINDS
from brainage_bids.group.results import Result, labelled, table
from brainage_bids.records import BadConfiguration, UnusableInput
from brainage_bids.stats.anova import adjusted_pairs, analysis_of_variance
from brainage_bids.stats.corrections import correct
from brainage_bids.stats.counts import compare_counts
from brainage_bids.stats.formulas import default_formula, fit_formula, fit_mixed, formula_columns
from brainage_bids.stats.groups import compare_groups
from brainage_bids.stats.rows import Row, labels

CONTROLS = frozenset({"control", "controls", "hc", "cn", "nc", "healthy", "healthy control", "ctrl", "con", "normal"})
MOST_VISITS_MIXED = 4000
"""Above, mixed models run only when asked for."""


def group_order(cohort: Cohort, names: Sequence[str]) -> list[str]:
    """Groups in the order in which they are compared: the controls last, so that a difference is theirs subtracted from others.

    Controls are the group of all reference people, if they are of one, or the one with such a name.
    """
    reference = {
        value for value in labels(cohort.table.loc[cohort.table["reference"].astype(bool), cohort.group_column]) if value is not None
    }
    last = reference if len(reference) == 1 else {name for name in names if name.lower() in CONTROLS}
    return sorted(names, key=lambda name: (name in last, name))


def compared_groups(cohort: Cohort) -> list[Result]:
    """Gap, corrected gap and age between groups: Welch, Mann-Whitney, ANOVA and ANCOVA, adjusted pairs; sex and site by χ²."""
    column = groups_column(cohort)
    means: list[Row] = []
    ranks: list[Row] = []
    variance: list[Row] = []
    adjusted: list[Row] = []
    for model in cohort.models:
        people = cohort.people(model)
        group = list(labels(people[column]))
        names = sorted({name for name in group if name is not None})
        if len(names) < 2:
            continue
        order = group_order(cohort, names)
        for variable in ("pad", "pad_corrected", "pad_site_adjusted", "pad_harmonised", "age"):
            if variable not in people or people[variable].isna().all() or (variable == "age" and model != cohort.models[0]):
                continue
            values = people[variable].astype(float).tolist()
            there = [name for name in order if _count(values, group, name) > 0]
            family = f"pairs of groups, {variable}, {model}"
            means += labelled(compare_groups(values, group, variable=variable, order=there, family=family), model=model)
            how = {"ranks": True, "alternative": cohort.settings.alternative if variable != "age" else "two-sided", "family": family}
            ranks += labelled(compare_groups(values, group, variable=variable, order=there, **how), model=model)
            if variable in ("pad", "pad_site_adjusted", "pad_harmonised"):
                covariates = _covariates(people, variable)
                variance += labelled(analysis_of_variance(values, group, variable=variable), model=model, covariates="none")
                said = ", ".join(covariates)
                variance += labelled(analysis_of_variance(values, group, covariates, variable=variable), model=model, covariates=said)
                pairs = [_turned(row, order) for row in _adjusted(values, group, covariates, variable)]
                adjusted += labelled(pairs, model=model, covariates=said)
    if not means:
        raise UnusableInput(f"The column '{column}' has fewer than two groups with people, so none can be compared.")
    people = cohort.people(cohort.models[0])
    counts = [compare_counts(kinds, people[column], variable=name) for name, kinds in counted(cohort, people).items()]
    counts = correct(counts, "bh", family=f"counts between the groups of {column}")
    return [
        table(
            "groups_means",
            "Means of groups",
            f"Welch's tests between the groups of '{column}', first minus second, with effect sizes.",
            means,
        ),
        table("groups_ranks", "Ranks of groups", f"Mann-Whitney tests between the groups of '{column}', with AUC.", ranks),
        table("groups_anova", "ANOVA and ANCOVA", f"Effect of '{column}' on the gap, alone and beyond covariates.", variance),
        table(
            "groups_adjusted", "Adjusted differences", f"Differences of the gap between groups of '{column}' at equal covariates.", adjusted
        ),
        table("groups_counts", "Counts by group", f"Whether the groups of '{column}' differ in what is counted: {_COUNTED}.", counts),
    ]


_COUNTED = "sex, site and every phenotype column of a few kinds or of two values"


def formula_models(cohort: Cohort) -> list[Result]:
    """The gap by formula: least squares on first visits, mixed models where people have several."""
    rows: list[Row] = []
    mixed: list[Row] = []
    asked = readable_formulas(cohort)
    for model in cohort.models:
        people, visits = cohort.people(model), cohort.visits(model)
        if people.empty:
            continue
        columns = columns_of(people)
        formulas = asked or [default_formula(columns, group=usable_group(cohort))]
        for formula in formulas:
            rows += labelled(fit_formula(columns, formula), model=model, formula=formula)
            if visits["participant_id"].duplicated().any() and _mixed_wanted(cohort, len(visits)):
                found = fit_mixed(columns_of(visits), formula, list(visits["participant_id"]))
                mixed += labelled(found, model=model, formula=formula)
    if not rows:
        raise UnusableInput("Nobody takes part, so no model can be fitted.")
    about = "Models of the gap; with age, age² and sex as covariates the raw gap needs no correction (the default for inference)."
    results = [table("pad_models", "Models of the gap", about, rows)]
    if mixed:
        results.append(table("pad_mixed", "Mixed models of the gap", "The same with all visits and a random intercept a person.", mixed))
    return results


def check_formulas(cohort: Cohort) -> None:
    """Refuse formulas that cannot be read, name what is no column, or cannot be fitted.

    Raises
    ------
    BadConfiguration
        With a sentence for each of them.
    """
    refused = _refused(cohort)
    if refused:
        raise BadConfiguration(" ".join(refused.values()))


def readable_formulas(cohort: Cohort) -> list[str]:
    """The formulas of the settings that can be used; `check_formulas` says what is wrong with the others."""
    refused = _refused(cohort)
    return [formula for formula in cohort.settings.formula if formula not in refused]


def _refused(cohort: Cohort) -> dict[str, str]:
    columns = columns_of(cohort.people(cohort.models[0]))
    refused = {}
    for formula in cohort.settings.formula:
        try:
            formula_columns(formula, cohort.table)
            fit_formula(columns, formula)
        except BadConfiguration as error:
            refused[formula] = str(error)
    return refused


def groups_column(cohort: Cohort) -> str:
    """The column whose groups are compared.

    Raises
    ------
    UnusableInput, BadConfiguration
        If there is none, or none with two groups and not too many.
    """
    column = cohort.group_column
    if not column:
        raise UnusableInput("There is no column of groups (group, diagnosis, dx); name one with --group-column.")
    kinds = sorted({value for value in labels(cohort.table[column]) if value is not None})
    if len(kinds) > MOST_KINDS:
        said = f"The column '{column}' has {len(kinds)} different values; groups are compared up to {MOST_KINDS}."
        raise BadConfiguration(said) if cohort.group_asked else UnusableInput(said)
    if len(kinds) < 2:
        said = f"The column '{column}' has {len(kinds)} group(s)" + (f" ({kinds[0]})" if kinds else "")
        raise UnusableInput(f"{said}; two are needed to compare.")
    return column


def _covariates(people, variable: str) -> dict[str, list]:
    names = ["age", "sex"] + (["site"] if variable == "pad" else [])
    columns = columns_of(people, names)
    kept = {name: values for name, values in columns.items() if len({value for value in values if value is not None}) > 1}
    if "age" in kept:
        kept["age2"] = [None if value is None else (value - float(np.mean(people["age"]))) ** 2 for value in kept["age"]]
    return kept


def _adjusted(values: list, group: list, covariates: dict[str, list], variable: str) -> list[Row]:
    try:
        return adjusted_pairs(values, group, covariates, variable=variable)
    except UnusableInput:
        return []  # the row of the ANCOVA beside says why


def _turned(row: Row, order: Sequence[str]) -> Row:
    """A difference of a pair in the order of the groups."""
    if row["first"] not in order or row["second"] not in order or order.index(row["first"]) < order.index(row["second"]):
        return row
    swapped = {"first": "second", "second": "first", "mean_first": "mean_second", "mean_second": "mean_first"}
    negated = {"difference": "difference", "low": "high", "high": "low", "t": "t"}
    values = {name: row[other] for name, other in swapped.items()}
    return {**row, **values, **{name: None if row[other] is None else -row[other] for name, other in negated.items()}}


def _count(values: list, group: list, name: str) -> int:
    return sum(value == value and member == name for value, member in zip(values, group))


def _mixed_wanted(cohort: Cohort, visits: int) -> bool:
    slow = cohort.settings.slow_steps
    return slow == "run" or (slow == "auto" and visits <= MOST_VISITS_MIXED)
