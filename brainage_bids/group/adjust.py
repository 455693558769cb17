"""Covariates of the steps: which are taken where, and who lacks one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from brainage_bids.group.cohort import Cohort, columns_of
from brainage_bids.group.collect import some
from brainage_bids.group.groups import usable_group
from brainage_bids.stats.rows import labels

if TYPE_CHECKING:
    import pandas as pd

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
