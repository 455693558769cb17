"""Visits of the same people: agreement of retests, between scanners, and change over years."""

from __future__ import annotations

import numpy as np

from brainage_bids.group.cohort import Cohort, columns_of
from brainage_bids.group.results import Result, labelled, table
from brainage_bids.records import UnusableInput
from brainage_bids.stats.change import change_per_year
from brainage_bids.stats.reliability import agreement_row, bland_altman, within_person_row
from brainage_bids.stats.rows import Row

RETEST_YEARS = 0.5
"""Two visits at most this far apart are a retest; the brain has not aged measurably between them."""


def reliability(cohort: Cohort) -> list[Result]:
    """ICC, spread within people and limits of agreement of the first two visits within half a year."""
    _need_repeats(cohort)
    agreement: list[Row] = []
    limits: list[Row] = []
    for model in cohort.models:
        pairs = retests(cohort, model)
        if not pairs:
            continue
        for who, chosen in _kinds(pairs):
            for variable in ("brain_age", "pad"):
                both = [[one[variable], other[variable]] for one, other in chosen]
                agreement += labelled([agreement_row(both, variable=variable, sessions=("first", "second"))], model=model, pairs=who)
                first, second = [one for one, _ in both], [other for _, other in both]
                found = bland_altman(first, second, names=("first visit", "second visit"), variable=variable)
                limits += labelled([found], model=model, pairs=who)
        people = {one["participant_id"] for one, _ in pairs}
        visits = cohort.visits(model)
        visits = visits[visits["participant_id"].isin(people)]
        row = within_person_row(visits["pad"], list(visits["participant_id"]), variable="pad", seed=cohort.seed)
        agreement += labelled([row], model=model, pairs="all visits of these people")
    if not agreement:
        raise UnusableInput(f"No two visits of a person lie within {RETEST_YEARS:g} years, so nothing is said of reliability.")
    about = (
        f"Agreement of two visits at most {RETEST_YEARS:g} years apart; with a wide range of ages the ICC of brain age is high for free, "
        "so see the gap's."
    )
    return [
        table("reliability", "Reliability", about, agreement),
        table("bland_altman", "Limits of agreement", "Bland and Altman's limits of the difference between two visits.", limits),
    ]


def regions(cohort: Cohort) -> list[Result]:
    """ICC and spread within people of every regional volume, of the same pairs of visits."""
    _need_repeats(cohort)
    pairs = retests(cohort, cohort.models[0])
    names = [name for name in cohort.regions if cohort.table[name].nunique() > 1]
    if not pairs or not names:
        raise UnusableInput("There are no retests with volumes, so nothing is said of the reliability of regions.")
    visits = cohort.visits(cohort.models[0]).set_index(["participant_id", cohort.visits(cohort.models[0])["session_id"].fillna("")])
    rows: list[Row] = []
    for who, chosen in _kinds(pairs):
        keys = [[(visit["participant_id"], visit["session_id"] or "") for visit in pair] for pair in chosen]
        for name in names:
            column = visits[name]
            both = [[column[one], column[other]] for one, other in keys]
            rows += labelled([agreement_row(both, variable=name, sessions=("first", "second"))], pairs=who)
    about = f"Agreement of regional volumes (mm³) of two visits at most {RETEST_YEARS:g} years apart."
    return [table("reliability_regions", "Reliability of regions", about, rows)]


def change(cohort: Cohort) -> list[Result]:
    """Change per year of brain age and gap, where visits are further apart."""
    _need_repeats(cohort)
    rows: list[Row] = []
    for model in cohort.models:
        visits = cohort.visits(model)
        spans = visits.groupby("participant_id")["age"].agg(np.ptp) if len(visits) else None
        far = set(spans.index[spans > RETEST_YEARS]) if spans is not None else set()
        chosen = visits[visits["participant_id"].isin(far)]
        chosen = chosen[~chosen["flags"].fillna("").str.contains("age_not_per_session")]
        if chosen.empty:
            continue
        for variable in ("brain_age", "pad"):
            rows += labelled(
                change_per_year(chosen[variable], chosen["age"], list(chosen["participant_id"]), variable=variable), model=model
            )
    if not rows:
        raise UnusableInput(
            f"Nobody has visits more than {RETEST_YEARS:g} years apart with an age at each, so no change per year is computed."
        )
    return [table("change", "Change per year", "Slope of each person over the visits, and the mean slope.", rows)]


def retests(cohort: Cohort, model: str) -> list[tuple[dict, dict]]:
    """The first two visits of each person that lie close together, or whose distance is not known (``dated`` is then false)."""
    pairs = []
    visits = cohort.visits(model)
    visits = visits.assign(dated=~visits["flags"].fillna("").str.contains("age_not_per_session"))
    visits = visits[visits["participant_id"].duplicated(keep=False)]
    names = ["participant_id", "session_id", "age", "brain_age", "pad", "dated", *(["scanner"] if "scanner" in visits else [])]
    for _, rows in visits.groupby("participant_id", sort=True):
        columns = columns_of(rows, names)
        records = [dict(zip(columns, values)) for values in zip(*columns.values())]
        close = [(one, other) for one, other in zip(records, records[1:]) if other["age"] - one["age"] <= RETEST_YEARS]
        pairs += close[:1]
    return pairs


def _kinds(pairs: list[tuple[dict, dict]]) -> list[tuple[str, list[tuple[dict, dict]]]]:
    """Pairs that lie close together, by one scanner and between scanners where these are known; pairs of unknown distance apart."""
    unknown = [pair for pair in pairs if not (pair[0]["dated"] and pair[1]["dated"])]
    pairs = [pair for pair in pairs if pair not in unknown]
    same = [pair for pair in pairs if "scanner" in pair[0] and pair[0]["scanner"] is not None and pair[0]["scanner"] == pair[1]["scanner"]]
    between = [pair for pair in pairs if "scanner" in pair[0] and None not in (pair[0]["scanner"], pair[1]["scanner"]) and pair not in same]
    kinds = [("retests on one scanner", same), ("between scanners", between)] if between else [("retests", pairs)]
    return [(name, chosen) for name, chosen in (*kinds, ("visits without an age of their own", unknown)) if chosen]


def _need_repeats(cohort: Cohort) -> None:
    visits = cohort.table.drop_duplicates(["participant_id", "session_id"])
    if not visits["participant_id"].duplicated().any():
        raise UnusableInput("Nobody has more than one visit.")
    if cohort.table["flags"].fillna("").str.contains("age_not_per_session").any():
        cohort.warnings.append(
            "Some sessions have no age of their own (age_not_per_session); how far apart they are is not known, so add ages to "
            "sub-X_sessions.tsv."
        )
