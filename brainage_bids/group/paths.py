"""Mediation and principal components: blood, regions and age together."""

from __future__ import annotations

from brainage_bids.group.cohort import Cohort, columns_of
from brainage_bids.group.regions import INTRACRANIAL
from brainage_bids.group.results import Result, table
from brainage_bids.records import UnusableInput
from brainage_bids.stats.associations import associate
from brainage_bids.stats.biplot import biplot_rows
from brainage_bids.stats.mediation import correct_over_all, mediation_rows

MOST_PEOPLE = 500
MOST_REGIONS = 8
MOST_BLOOD = 20
FEWEST = 40


def mediation(cohort: Cohort) -> list[Result]:
    """Mediation both ways: region → phenotype → outcome, and phenotype → region → outcome, of the eight regions nearest to the outcome.

    The outcome is the age, or what ``--mediation-outcome`` says. Runs by itself for up to 500 people, for more when asked for
    (``--slow-steps run``).
    """
    people, regions, numbers = _people(cohort)
    if cohort.settings.slow_steps == "skip":
        raise UnusableInput("Mediation was switched off (--slow-steps skip).")
    if cohort.settings.slow_steps == "auto" and len(people) > MOST_PEOPLE:
        raise UnusableInput(f"Mediation of {len(people)} people is slow and was not asked for; --slow-steps run does it.")
    outcome = cohort.settings.mediation_outcome
    columns = columns_of(people, [*regions, *numbers, "pad", "age", "brain_age", "sex"])
    adjust = [*(("age",) if outcome == "pad" else ()), "sex", *((INTRACRANIAL,) if INTRACRANIAL in regions else ())]
    known = [name for name in adjust if len(set(columns[name]) - {None}) > 1]
    covariates = {name: columns[name] for name in known}
    near = associate(columns, outcome, [name for name in regions if name not in known], covariates=known)
    ranked = sorted((row for row in near if row["p_partial"] is not None), key=lambda row: row["p_partial"])
    chosen = [row["second"] for row in ranked[:MOST_REGIONS]]
    anatomy, blood = ({name: columns[name] for name in names} for names in (chosen, numbers[:MOST_BLOOD]))
    what = {"age": "age", "pad": f"the gap of {cohort.models[0]}", "brain_age": f"the brain age of {cohort.models[0]}"}[outcome]
    rows = []
    for exposures, mediators, direction in (
        (anatomy, blood, f"region -> phenotype -> {outcome}"),
        (blood, anatomy, f"phenotype -> region -> {outcome}"),
    ):
        rows += mediation_rows(
            exposures, mediators, columns[outcome], outcome_name=outcome, covariates=covariates, direction=direction, seed=cohort.seed
        )
    about = (
        f"Mediation of {what} by the {len(chosen)} regions nearest to it and {len(blood)} phenotype columns. "
        f"Covariates: {', '.join(known) or 'none'}. That exposure comes before mediator and mediator before outcome is assumed, not shown; "
        "rho is the correlation of errors at which the mediated effect would be 0."
    )
    return [table("mediation", "Mediation", about, correct_over_all(rows))]


def components(cohort: Cohort) -> list[Result]:
    """Biplot of regions and phenotype columns on two principal components."""
    people, regions, numbers = _people(cohort)
    columns = columns_of(people, [*regions, *numbers])
    features, parameters = ({name: columns[name] for name in names} for names in (regions, numbers))
    rows = biplot_rows(features, parameters, list(people["participant_id"]))
    about = "Principal components of z-scored regional volumes and phenotype columns, first visits; arrows are phenotype columns."
    parts = {
        "component": ("pca_components", "Principal components"),
        "arrow": ("pca_arrows", "Phenotype columns on the components"),
        "point": ("pca_points", "People on the components"),
    }
    found = [(*names, about, [row for row in rows if row["part"] == part]) for part, names in parts.items()]
    return [table(*told) for told in found if told[-1]]


def _people(cohort: Cohort):
    """First visits of the first model, the varying regions and the phenotype columns most people have."""
    people = cohort.people(cohort.models[0])
    varying = [name for name in (*cohort.regions, *cohort.numeric()) if people[name].nunique() > 2]
    regions = [name for name in varying if name in cohort.regions]
    numbers = [name for name in varying if name not in cohort.regions and people[name].notna().mean() > 0.5]
    if not regions or not numbers:
        raise UnusableInput("Volumes of regions and phenotype columns of numbers are needed, and one of them is missing.")
    if len(people) < FEWEST:
        raise UnusableInput(f"{FEWEST} people are needed; there are {len(people)}.")
    return people, regions, numbers
