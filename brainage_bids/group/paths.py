"""Mediation and principal components: blood, regions and age together."""

from __future__ import annotations

from brainage_bids.group.adjust import adjusting
from brainage_bids.group.associations import words_of
from brainage_bids.group.cohort import Cohort, columns_of
from brainage_bids.group.regions import INTRACRANIAL
from brainage_bids.group.results import Result, table
from brainage_bids.records import UnusableInput
from brainage_bids.stats.biplot import biplot_rows
from brainage_bids.stats.mediation import correct_over_all, mediation_rows

MOST_PEOPLE = 500
MOST_REGIONS = 40
MOST_BLOOD = 20
FEWEST = 40


def mediation(cohort: Cohort) -> list[Result]:
    """Mediation both ways: region → phenotype → outcome, and phenotype → region → outcome, at equal sex, group and intracranial volume.

    The outcome is the age, or what ``--mediation-outcome`` says. Exposures are screened by it (`stats.mediation.mediation_rows`); nothing
    that stands as a mediator is, since a mediator that was chosen for going with the outcome looks like one (of 24 that do nothing, 11 %
    of the eight nearest). Runs by itself for up to 500 people, for more when asked for (``--slow-steps run``).
    """
    people, regions, numbers = _people(cohort)
    if cohort.settings.slow_steps == "skip":
        raise UnusableInput("Mediation was switched off (--slow-steps skip).")
    if cohort.settings.slow_steps == "auto" and len(people) > MOST_PEOPLE:
        raise UnusableInput(f"Mediation of {len(people)} people is slow and was not asked for; --slow-steps run does it.")
    outcome = cohort.settings.mediation_outcome
    columns = columns_of(people, [*regions, *numbers, "pad", "age", "brain_age"])
    covariates = adjusting(cohort, people, age=outcome == "pad")
    covariates |= {INTRACRANIAL: columns[INTRACRANIAL]} if INTRACRANIAL in regions else {}
    anatomy = both_sides({name: columns[name] for name in regions if name not in covariates})
    anatomy, blood = dict(list(anatomy.items())[:MOST_REGIONS]), {name: columns[name] for name in numbers[:MOST_BLOOD]}
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
        f"Mediation of {what} by {len(anatomy)} regions (sides summed) and {len(blood)} phenotype columns. Exposures need p < .05 with it, "
        f"mediators are not chosen by it. Beyond {words_of(covariates)}. Named by the corrected p of its direction. That exposure comes "
        "before mediator and mediator before outcome is assumed, not shown; rho is the correlation of errors at which the mediated effect "
        "would be 0."
    )
    return [table("mediation", "Mediation", about, correct_over_all(rows))]


def both_sides(volumes: dict[str, list]) -> dict[str, list]:
    """Volumes with the two sides of a structure summed.

    >>> both_sides({"vol_Left-Putamen": [1.0, None], "vol_Right-Putamen": [2.0, 3.0], "vol_Brain-Stem": [9.0, 9.0]})
    {'vol_Putamen': [3.0, None], 'vol_Brain-Stem': [9.0, 9.0]}
    """
    found = {}
    for name, values in volumes.items():
        other = volumes.get(name.replace("vol_Left-", "vol_Right-", 1))
        if name.startswith("vol_Left-") and other is not None:
            summed = [None if None in pair else pair[0] + pair[1] for pair in zip(values, other)]
            found[name.replace("Left-", "", 1)] = summed
        elif not name.startswith("vol_Right-") or name.replace("vol_Right-", "vol_Left-", 1) not in volumes:
            found[name] = values
    return found


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
