"""Covariates of the steps: which are taken where, and who lacks one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from brainage_bids.group.cohort import Cohort, columns_of, is_numeric
from brainage_bids.group.collect import some
from brainage_bids.group.phenotype_columns import MOST_KINDS
from brainage_bids.stats.rows import labels

if TYPE_CHECKING:
    import pandas as pd

RISK = frozenset({"apoe", "apoe4", "apoee4", "apoeε4", "e4", "ε4", "apoegenotype"})
"""Columns with the number of ε4 alleles, or the genotype, without signs between letters."""
CARRIER = "carrier"
NO_GROUP = "no group"
"""People without a group are one group, so that they stay in."""
MOST_MISSING = 0.5
"""A covariate that a larger share of people lack is not taken."""


def adjusting(cohort: Cohort, people: pd.DataFrame, *, age: bool = True) -> dict[str, list]:
    """Age, sex and the study's group by name, where they vary and half of the people have them.

    A gap and a marker that a disease moves both are correlated in patients and controls together without one having to do with the
    other; at equal group they are not.
    """
    found = {}
    for name in dict.fromkeys(("age",) * age + ("sex", usable_group(cohort) or "sex")):
        values = columns_of(people, [name])[name] if name in ("age", "sex") else groups_of(cohort, people)
        if taken(values) and len({value for value in values if value is not None}) > 1:
            found[name] = values
    return found


def usable_group(cohort: Cohort) -> str | None:
    """The column of groups, if it is one whose groups can be compared."""
    if not cohort.group_column or (is_numeric(cohort.table[cohort.group_column]) and not cohort.group_asked):
        return None
    kinds = {value for value in labels(cohort.table[cohort.group_column]) if value is not None}
    return cohort.group_column if 2 <= len(kinds) <= MOST_KINDS else None


def taken(values: list) -> bool:
    """Whether enough people have a covariate for it to be taken.

    >>> taken(["F", "M", None]), taken(["F", None, None])
    (True, False)
    """
    return sum(value is None for value in values) <= MOST_MISSING * len(values)


def groups_of(cohort: Cohort, people: pd.DataFrame) -> list[str]:
    """Each person's group, that of the others for who has none."""
    return [NO_GROUP if name is None else str(name) for name in labels(people[cohort.group_column])]


def about_lacking(cohort: Cohort) -> list[str]:
    """A sentence that names who has no sex, and what becomes of them; none if everybody, or nobody, has one."""
    people = cohort.table.drop_duplicates("participant_id")
    lacking = sorted(people.loc[people["sex"].isna(), "participant_id"])
    if not lacking or len(lacking) == len(people):
        return []
    if not taken(columns_of(people, ["sex"])["sex"]):
        return [f"{len(lacking)} of {len(people)} participants have no sex, so it is no covariate of correlations, fusion and ComBat."]
    return [
        f"{len(lacking)} participant(s) have no sex ({some(lacking)}): left out of what takes it as a covariate (adjusted correlations, "
        "ANCOVA, formulas, mediation, fits of fusion and ComBat); their own fused and harmonised values are made without it."
    ]


def counted(cohort: Cohort, people: pd.DataFrame) -> dict[str, list[str | None]]:
    """Columns whose values are counted and not averaged: sex, site, every phenotype column of a few kinds or of two values, ε4.

    Not that of the groups. Carriers of ε4 stand beside the number of alleles where the column tells more than them.
    """
    risk = risk_column(cohort)
    two = [name for name in cohort.numeric() if len({value for value in labels(people[name]) if value is not None}) <= 2]
    kinds = {*cohort.categories(), *two, risk}
    names = [name for name in ("sex", "site", *cohort.phenotype) if name in ("sex", "site") or name in kinds]
    found = {name: list(labels(people[name])) for name in names if name != cohort.group_column}
    if risk in found and len(set(found[risk]) - {None}) > 2:
        found[f"{risk} {CARRIER}"] = [None if value is None else "yes" if value else "no" for value in carriers(found[risk])]
    return {name: values for name, values in found.items() if any(value is not None for value in values)}


def risk_column(cohort: Cohort) -> str:
    """The phenotype column of ε4 alleles; empty without one."""
    return next((name for name in cohort.phenotype if "".join(filter(str.isalnum, name.lower())) in RISK), "")


def carriers(values: Sequence[Any]) -> list[float | None]:
    """Who carries ε4, of numbers of alleles or of genotypes.

    >>> carriers([0, "2", "E3/E4", "33", None])
    [0.0, 1.0, 1.0, 0.0, None]
    """
    found: list[float | None] = []
    for text in labels(values):
        alleles = text in ("0", "1", "2")
        found.append(None if text is None else float(text != "0" if alleles else "4" in text))
    return found
