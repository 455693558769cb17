"""Several models or modalities in one age: mean, linear with sex, ridge on two levels; fitted on the reference people."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from brainage_bids.cohort.fusion import MeanHead, cross_fit, fit_linear, fit_ridge
from brainage_bids.cohort.fusion_tables import coefficient_rows, fusion_errors, nested_rows
from brainage_bids.cohort.saving import save
from brainage_bids.group.cohort import Cohort, columns_of
from brainage_bids.group.results import Result, labelled, table
from brainage_bids.records import UnusableInput
from brainage_bids.stats.accuracy import accuracy_rows
from brainage_bids.stats.rows import Row

FEWEST = 30
"""Reference people with all estimates, below which weights would be noise."""
MOST_INPUTS = 6
_HELD_OUT = "out of fold for reference people, by the head of all reference people for others"


def fusion(cohort: Cohort, out_dir: Path | None = None) -> list[Result]:
    """Fuse the models of single modalities; weights, errors out of fold, and the fused age of every visit.

    A visit that lacks a model gets the estimate of what there is, with a flag.
    """
    inputs = _inputs(cohort)
    visits = _wide(cohort, inputs)
    reference = visits[visits["reference"].astype(bool)].drop_duplicates("participant_id")
    complete = reference[reference[list(inputs)].notna().all(axis=1)]
    if len(complete) < FEWEST:
        raise UnusableInput(f"Fusion needs {FEWEST} reference people with estimates of {', '.join(inputs)}; there are {len(complete)}.")
    with_sex = complete["sex"].notna().all() and complete["sex"].nunique() > 1
    covariates = ("sex",) if with_sex else ()
    fits = {
        "mean": lambda columns, ages, people: MeanHead(inputs),
        "linear": lambda columns, ages, people: fit_linear(columns, ages, inputs, covariates),
        "ridge": lambda columns, ages, people: fit_ridge(columns, ages, list(people), _sub_ensembles(inputs), seed=cohort.seed),
    }
    columns = columns_of(complete, [*inputs, *covariates])
    people, ages = list(complete["participant_id"]), complete["age"].to_numpy(float)
    everyone = columns_of(visits, [*inputs, "sex"])
    fused, errors = {}, []
    for name, fit in fits.items():
        out_of_fold = cross_fit(fit, columns, ages, people, seed=cohort.seed)
        errors += labelled(accuracy_rows(ages, out_of_fold, people, seed=cohort.seed)[:1], head=name)
        head = fit(columns, ages, people)
        if out_dir is not None:
            save(head, out_dir / "group" / f"fusion_{name}.json")
        estimate = head.estimate(everyone)
        held_out = dict(zip(complete.index, out_of_fold))
        fused[name] = [held_out.get(index, age) for index, age in zip(visits.index, estimate.ages)]
    single = [labelled(accuracy_rows(ages, columns[name], people, seed=cohort.seed)[:1], head=f"{name} alone") for name in inputs]
    errors += [row for rows in single for row in rows]
    rows = _visits(visits, fused, estimate.flags)
    about = f"Errors of heads over {', '.join(inputs)} on {len(complete)} reference people, each predicted by a head fitted without them."
    return [
        table("fusion_accuracy", "Fusion", about, errors),
        *_models(cohort, complete, inputs, covariates),
        table("fusion", "Fused ages", f"Fused age of every visit: {_HELD_OUT}.", rows),
    ]


def _inputs(cohort: Cohort) -> tuple[str, ...]:
    modality = cohort.table.drop_duplicates("model").set_index("model")["modality"].to_dict()
    single = [name for name in cohort.models if name in modality and "+" not in str(modality[name])]
    names = single if len(single) > 1 else [name for name in cohort.models if name in modality]
    if len(names) < 2:
        raise UnusableInput("There is one model, so there is nothing to fuse.")
    return tuple(sorted(names)[:MOST_INPUTS])


def _wide(cohort: Cohort, inputs: tuple[str, ...]):
    rows = cohort.table[cohort.table["model"].isin(inputs)]
    keys = ["participant_id", "session_id"]
    ages = rows.assign(session_id=rows["session_id"].fillna("")).pivot(index=keys, columns="model", values="brain_age")
    facts = rows.assign(session_id=rows["session_id"].fillna("")).drop_duplicates(keys).set_index(keys)[["age", "sex", "reference"]]
    return (
        facts.join(ages.reindex(columns=list(inputs)).astype(float))
        .reset_index()
        .sort_values(["participant_id", "age", "session_id"])
        .reset_index(drop=True)
    )


def _sub_ensembles(inputs: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Every pair of models, and all of them."""
    groups = {"+".join(pair): pair for pair in combinations(inputs, 2)} if len(inputs) > 2 else {name: (name,) for name in inputs}
    return {**groups, "all": inputs}


def _visits(visits, fused: dict[str, list[float]], flags: list[tuple[str, ...]]) -> list[Row]:
    rows = []
    for place, (person, session, age) in enumerate(zip(visits["participant_id"], visits["session_id"], visits["age"])):
        values: dict[str, Any] = {"participant_id": person, "session_id": session or None, "age": age}
        values |= {f"fused_{name}": _years(ages[place]) for name, ages in fused.items()}
        values |= {f"pad_{name}": _years(ages[place] - age) for name, ages in fused.items()}
        rows.append({**values, "flags": ";".join(flags[place]) or None})
    return rows


def _years(value: float) -> float | None:
    return round(float(value), 3) if np.isfinite(value) else None


def _models(cohort: Cohort, complete, inputs: tuple[str, ...], covariates: tuple[str, ...]) -> list[Result]:
    """Coefficients and nested models of T, A, T+A and T+A+sex, with errors on a random half that they were not fitted on."""
    models = {name: (name,) for name in inputs} | {"+".join(inputs): inputs}
    if covariates:
        models["+".join((*inputs, *covariates))] = (*inputs, *covariates)
    pairs = [(name, "+".join(inputs)) for name in inputs]
    pairs += [("+".join(inputs), "+".join((*inputs, *covariates)))] if covariates else []
    columns, ages = columns_of(complete, [*inputs, *covariates]), complete["age"].to_numpy(float)
    half = np.random.default_rng(cohort.seed).permutation(len(complete)) < len(complete) / 2
    first, second = complete[half], complete[~half]
    names = [*inputs, *covariates]
    errors = fusion_errors(
        columns_of(first, names), first["age"].to_numpy(float), columns_of(second, names), second["age"].to_numpy(float),
        list(second["participant_id"]), models, seed=cohort.seed,
    )  # fmt: skip
    scored, compared = ([row for row in errors if row["part"] == part] for part in ("error", "comparison"))
    about = "Least squares of age on the models' ages, alone, together and with sex; F tests of one within the other."
    results = [
        table("fusion_coefficients", "Weights of the fusion", about, coefficient_rows(columns, ages, models)),
        table("fusion_nested", "Nested fusions", about, nested_rows(columns, ages, models, pairs)),
        table(
            "fusion_errors", "Errors of linear fusions", "Fitted on one random half of the reference people, scored on the other.", scored
        ),
    ]
    if compared:
        results.append(
            table("fusion_comparison", "Fusions compared", "Each linear fusion against the one before, on the same people.", compared)
        )
    return results
