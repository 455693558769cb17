"""Regional tables of the participant level: volumes against gap, age, each other and the phenotype; what structures add to an age."""

from __future__ import annotations

from collections.abc import Sequence

from brainage_bids.group.adjust import adjusting
from brainage_bids.group.associations import measures_of, numbers_of, words_of
from brainage_bids.group.cohort import Cohort, columns_of
from brainage_bids.group.results import Result, labelled, table
from brainage_bids.records import UnusableInput
from brainage_bids.stats.associations import associate, correlation_matrix
from brainage_bids.stats.rows import Row

ALPHA = 0.05
MOST_COLUMNS = 60
INTRACRANIAL = "vol_eTIV"


def regions(cohort: Cohort) -> list[Result]:
    """Regional volumes against gap, age, each other and the phenotype."""
    if not cohort.regions:
        raise UnusableInput("The outputs hold no volumes of regions.")
    rows: list[Row] = []
    for model in cohort.models:
        people = cohort.people(model)
        names = varying(people, cohort.regions)
        if names:
            outcomes = ("pad", "age") if model == cohort.models[0] else ("pad",)
            rows += labelled(_against(cohort, people, names, outcomes, f"regions, {model}"), model=model)
    if not rows:
        raise UnusableInput("No volume of a region varies.")
    beyond = words_of([*adjusting(cohort, people := cohort.people(cohort.models[0])), "intracranial volume"])
    about = f"Volumes against the gap and against age, beyond {beyond}. Surface areas are not measured by this app."
    results = [table("regions", "Regions", about, rows)]
    names = varying(people, cohort.regions)[:MOST_COLUMNS]
    others = {name: values for name, values in adjusting(cohort, people, age=False).items() if name == cohort.group_column}
    about = f"Correlations of all pairs of volumes{', within groups' * bool(others)}."
    matrix = correlation_matrix(columns_of(people, names), covariates=others)
    results.append(table("regions_matrix", "Regions among each other", about, matrix))
    return [*results, *_blood(cohort)]


def contributions(cohort: Cohort) -> list[Result]:
    """Years that each structure adds to the brain age of its model, against the gap and age."""
    if not cohort.contributions:
        raise UnusableInput("The outputs hold no table of what structures add to a brain age.")
    rows: list[Row] = []
    for model in cohort.models:
        people = cohort.people(model)
        names = varying(people, [name for name in cohort.contributions if name.startswith(f"contrib_{model}_")])
        if names:
            rows += labelled(_against(cohort, people, names, ("pad", "age"), f"contributions, {model}"), model=model)
    if not rows:
        raise UnusableInput("What structures add to a brain age does not vary.")
    about = (
        "Years that structures add to the brain age, against the gap and against age. The contributions sum to the brain age, so a "
        "correlation with the gap says which structure carries it, not that it is a finding."
    )
    return [table("contributions", "What structures add", about, rows)]


def varying(people, names: Sequence[str]) -> list[str]:
    """Columns with more than one value."""
    return [name for name in names if people[name].nunique() > 1]


def _against(cohort: Cohort, people, names: list[str], outcomes: tuple[str, ...], family: str) -> list[Row]:
    others = adjusting(cohort, people)
    columns = columns_of(people, [*names, "pad", "age"]) | others
    covariates = [*others, *([INTRACRANIAL] if INTRACRANIAL in names else [])]
    rows: list[Row] = []
    for outcome in outcomes:
        own = [name for name in covariates if name != outcome]
        rows += associate(columns, outcome, names, covariates=own, family=f"{family}, {outcome}")
    return rows


def _blood(cohort: Cohort) -> list[Result]:
    """Volumes against phenotype columns: of both those that go with age."""
    people = cohort.people(cohort.models[0])
    names, other = varying(people, cohort.regions)[:MOST_COLUMNS], numbers_of(cohort)[:MOST_COLUMNS]
    if not other:
        return []
    others = adjusting(cohort, people)
    columns, measures = columns_of(people, [*names, "age"]) | others, measures_of(people, other)
    own = [name for name in others if name == cohort.group_column]
    chosen = _with_age(columns, names, own, "volumes"), _with_age({**columns, **measures}, other, own, "phenotype columns")
    about = f"Volumes and phenotype columns that go with age (corrected p < {ALPHA:g}), beyond {words_of(others)}; one row a person."
    if not all(chosen):
        return []
    rows: list[Row] = []
    for name in chosen[1]:
        whole = {**columns, name: measures[name]}
        rows += associate(whole, name, chosen[0], covariates=list(others), family=f"volumes against {name}")
    about += f" {len(chosen[0])} of {len(names)} volumes and {len(chosen[1])} of {len(other)} columns; corrected within each column."
    return [table("regions_phenotype", "Regions and phenotype", about, rows)]


def _with_age(columns: dict[str, list], names: list[str], covariates: list[str], family: str) -> list[str]:
    """Columns that go with age, within groups where there are some."""
    rows = associate(columns, "age", names, covariates=covariates, family=f"{family} against age")
    p = "p_partial_corrected" if covariates else "p_corrected"
    return [row["second"] for row in rows if row.get(p) is not None and row[p] < ALPHA]
