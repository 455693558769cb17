"""Age read from blood alone, from volumes alone, and from both, by four regressors: what a modality knows without a network."""

from __future__ import annotations

import numpy as np

from brainage_bids.cohort.regressors import judge_regressors
from brainage_bids.group.associations import measures_of, numbers_of
from brainage_bids.group.cohort import Cohort, columns_of
from brainage_bids.group.regions import varying
from brainage_bids.group.results import Result, labelled, table
from brainage_bids.records import UnusableInput
from brainage_bids.stats.accuracy import compare_models
from brainage_bids.stats.associations import correlation
from brainage_bids.stats.corrections import correct
from brainage_bids.stats.rows import Row, numbers

FEWEST = 30
MOST_PEOPLE = 100
"""Above, the table is made only when asked for (``--slow-steps run``)."""
LIKE_AGE = 0.97
"""A column that correlates with age more than this is an age, a year of birth or the like."""


def regressors(cohort: Cohort) -> list[Result]:
    """Errors out of fold of age from phenotype columns, volumes and both, on the reference people."""
    people = cohort.people(cohort.models[0])
    people = people[people["reference"].astype(bool)].reset_index(drop=True)
    if cohort.settings.slow_steps == "skip":
        raise UnusableInput("Regressors were switched off (--slow-steps skip).")
    if len(people) < FEWEST:
        raise UnusableInput(f"Regressors need {FEWEST} reference people; there are {len(people)}.")
    if cohort.settings.slow_steps == "auto" and len(people) > MOST_PEOPLE:
        raise UnusableInput(f"Regressors of {len(people)} reference people are slow and were not asked for; --slow-steps run does it.")
    sets, left_out = feature_sets(cohort, people)
    if not sets:
        raise UnusableInput("There are neither phenotype columns nor volumes that most reference people have and that vary.")
    ages, who = people["age"].to_numpy(float), list(people["participant_id"])
    judged = judge_regressors(sets, ages, who, folds=5, inner=3, seed=cohort.seed)
    counts = {name: len(columns) for name, columns in sets.items()}
    rows = [{**one.row, "columns": counts[one.features]} for one in judged]
    about = "Age of the reference people from their columns, by nested five-fold cross-validation over people; columns are "
    about += "chosen, imputed and scaled within the folds."
    if left_out:
        about += f" Left out, as they follow age itself: {', '.join(left_out)}."
    results = [table("regressors", "Age from blood and volumes", about, rows)]
    compared = _compared(judged, ages, who, cohort.seed, paired=cohort.settings.permutation == "paired")
    if compared:
        said = "Whether both sets together read the age better than one, by the same regressor on the same people."
        results.append(table("regressors_compared", "Sets of columns compared", said, compared))
    return results


def feature_sets(cohort: Cohort, people) -> tuple[dict[str, dict[str, list]], list[str]]:
    """Columns by set, and the names of those left out because they are ages themselves."""
    ages = people["age"].to_numpy(float)
    measures = measures_of(people, [name for name in numbers_of(cohort) if people[name].notna().mean() > 0.5])
    measures = {name: values for name, values in measures.items() if len(set(values) - {None}) > 1}
    left_out = [name for name, values in measures.items() if _is_age(values, ages)]
    blood = {name: values for name, values in measures.items() if name not in left_out}
    volumes = columns_of(people, names) if (names := varying(people, cohort.regions)) else {}
    sets = {name: columns for name, columns in (("phenotype", blood), ("volumes", volumes)) if columns}
    return sets | ({"phenotype and volumes": blood | volumes} if len(sets) > 1 else {}), left_out


def _is_age(values: list, ages: np.ndarray) -> bool:
    column = numbers(values)
    known = np.isfinite(column)
    r = correlation(column[known], ages[known], kind="pearson")["r"] if known.sum() > 3 else None
    return r is not None and abs(r) > LIKE_AGE


def _compared(judged, ages: np.ndarray, who: list, seed: int, *, paired: bool) -> list[Row]:
    found = {(one.features, one.regressor): one.predictions for one in judged}
    rows: list[Row] = []
    for (features, regressor), predictions in found.items():
        both = found.get(("phenotype and volumes", regressor))
        if both is not None and features != "phenotype and volumes":
            names = ("phenotype and volumes", features)
            rows += labelled([compare_models(ages, both, predictions, who, names=names, paired=paired, seed=seed)], regressor=regressor)
    return correct(rows, "bh", family="sets of columns by regressor") if rows else []
