"""Ensembles of base models side by side: errors by level and activation, how far they agree, error and uncertainty along age.

The fusion of all models is one ensemble; ``--ensembles NAME=PATTERN,PATTERN`` makes others of models whose names fit a pattern, such as
whole brains and parts of brains (Hofmann et al. 2022, types i and ii). Each is ridge on two levels and a model to the steps after it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from itertools import combinations
from pathlib import Path

import numpy as np

from brainage_bids.cohort.fusion import RidgeHead, cross_fit, fit_ridge
from brainage_bids.group.activations import activations_of
from brainage_bids.group.cohort import Cohort, columns_of
from brainage_bids.group.fitted import Store, keep
from brainage_bids.group.fusion import NAME, Ensemble, FitRows, Fused, families_of, models_of, wide, with_model
from brainage_bids.group.fusion_results import spread_of_models
from brainage_bids.group.results import Result, labelled, table
from brainage_bids.records import BadConfiguration, UnusableInput
from brainage_bids.stats.associations import correlation
from brainage_bids.stats.polynomial import polynomial_by_age
from brainage_bids.stats.rows import Row, tidy

POINTS = 31
_UNSEEN = "base models did not train on these people; one row a person"
_ABOUT_LEVELS = (
    "Mean absolute error of base models (mean and s.d. over them), of each sub-ensemble's ridge, and of ridge over the sub-ensembles, by "
    "what follows the layers (activation) where the folder of the model is known; the last two out of fold."
)
_ABOUT_R = (
    "Pearson's correlation between the ages (r_predictions) and between the signed errors (r_errors) of sub-ensembles and of ensembles, "
    "reference people, out of fold."
)
_ABOUT_CURVES = (
    "Third-order polynomials on age of each ensemble's absolute error and of the widths of the 95 % interval over base models and over "
    "sub-ensembles, with the band of the mean; reference people, out of fold."
)


def check_names(cohort: Cohort) -> None:
    """Refuse ensembles that cannot be read, whose name is taken, or that no two models belong to.

    Raises
    ------
    BadConfiguration
        With a sentence for each of them.
    """
    said = [problem for *_, problem in _asked(cohort) if problem]
    if said:
        raise BadConfiguration(" ".join(said))


def ensembles(
    cohort: Cohort, out_dir: Path | None = None, store: Store | None = None, fused: Fused | None = None
) -> tuple[Cohort, list[Result], list[str]]:
    """The cohort with a model for each ensemble that was asked for; tables of these and of the fusion; what could not be done."""
    found, problems = [fused.ensemble] if fused else [], []
    for name, members, problem in _asked(cohort):
        if problem:
            continue
        try:
            one, flags = _made(cohort, name, members, out_dir, store)
        except UnusableInput as error:
            problems.append(f"{name}: {error}")
            continue
        cohort = with_model(cohort, one, flags)
        found.append(one)
    levels, between = _levels_and_agreement(cohort, found) if store is None else ([], _between(found))
    parts = [
        ("fusion_levels", "Errors by level", _ABOUT_LEVELS, levels),
        ("ensembles", "Agreement of ensembles", _ABOUT_R, between),
        ("ensembles_by_age", "Error and uncertainty of ensembles by age", _ABOUT_CURVES, list(_curves(found))),
    ]
    return cohort, [table(*part) for part in parts if part[-1]], problems


def _asked(cohort: Cohort) -> Iterator[tuple[str, list[str], str]]:
    """Name, models and what is wrong of each ensemble of the settings."""
    taken = {NAME, *cohort.everyone["model"]}
    bases = [name for name in cohort.models if name != NAME]
    names: set[str] = set()
    for text in cohort.settings.ensembles:
        name, equals, patterns = text.partition("=")
        members = [model for model in bases if any(fnmatchcase(model, pattern) for pattern in patterns.split(",") if pattern)]
        problem = ""
        if not equals or not name.replace("-", "").replace("_", "").isalnum() or not patterns:
            problem = f"The ensemble {text!r} of --ensembles cannot be read; write NAME=PATTERN,PATTERN, such as whole=whole*,t1*."
        elif name in taken or name in names:
            problem = f"The ensemble {name} of --ensembles has the name of a model or of another ensemble; give it another name."
        elif len(members) < 2:
            known = ", ".join(bases)
            problem = f"The ensemble {name} of --ensembles needs two models; {patterns} fits {len(members)} of {known}."
        names.add(name)
        yield name, members, problem


def _made(
    cohort: Cohort, name: str, members: Sequence[str], out_dir: Path | None, store: Store | None
) -> tuple[Ensemble, list[tuple[str, ...]]]:
    """An ensemble and the flags of its visits; the head is fitted on the reference people, or taken from a store."""
    if store:
        head: RidgeHead = store.get("fusion_ridge", name)
        families = head.groups
        visits = wide(cohort, families)
        ages = head.estimate(columns_of(visits, models_of(families))).ages
    else:
        families = families_of(replace(cohort, models=tuple(members)))
        visits = wide(cohort, families)

        def fit(columns, age, people):
            return fit_ridge(columns, age, list(people), families, seed=cohort.seed)

        head, ages = FitRows.of(visits, families).fitted(fit, cohort.seed)
        if out_dir is not None:
            keep(out_dir, "fusion_ridge", head, name)
    flags = head.estimate(columns_of(visits, models_of(families))).flags
    return Ensemble(name, families, visits, ages, ages, spread_of_models(visits, families, head)), flags


def _levels_and_agreement(cohort: Cohort, found: Sequence[Ensemble]) -> tuple[list[Row], list[Row]]:
    levels: list[Row] = []
    agreement: list[Row] = []
    known = activations_of(cohort)
    for one in found:
        subs = _out_of_fold(cohort, one)
        levels += labelled(_levels(one, subs, known), ensemble=one.name)
        truth = one.people()["age"].to_numpy(float)
        for first, second in combinations(subs, 2):
            row = _agreement(truth, (first, subs[first]), (second, subs[second]))
            agreement += labelled([row], level="sub-ensembles", ensemble=one.name)
    return levels, agreement + _between(found)


def _out_of_fold(cohort: Cohort, one: Ensemble) -> dict[str, np.ndarray]:
    """Ages of each sub-ensemble's ridge, out of fold, of the people whose errors are told."""
    people = one.people()
    found = {}
    for family, members in one.families.items():

        def fit(columns, age, who, family=family, members=members):
            return fit_ridge(columns, age, list(who), {family: members}, seed=cohort.seed)

        columns = columns_of(people, list(members))
        found[family] = cross_fit(fit, columns, people["age"].to_numpy(float), list(people["participant_id"]), seed=cohort.seed)
    return found


def _levels(one: Ensemble, subs: Mapping[str, np.ndarray], known: Mapping[str, str]) -> list[Row]:
    people = one.people()
    ages = people["age"].to_numpy(float)
    rows = []
    for family, members in one.families.items():
        for kind in sorted({known.get(name, "") for name in members}):
            chosen = [name for name in members if known.get(name, "") == kind]
            errors = [_mae(people[name].to_numpy(float), ages) for name in chosen]
            about = {"level": "base models", "family": family, "activation": kind or None, "base_models": len(chosen)}
            spread = float(np.std(errors, ddof=1)) if len(errors) > 1 else None
            rows.append(tidy("mean absolute error", len(ages), _UNSEEN, **about, mae=float(np.mean(errors)), mae_sd=spread))
    for family, members in one.families.items():
        about = {"level": "sub-ensemble", "family": family, "activation": _kinds(members, known), "base_models": len(members)}
        rows.append(tidy("ridge, out of fold", len(ages), _UNSEEN, **about, mae=_mae(subs[family], ages)))
    everything = models_of(one.families)
    about = {"level": "ensemble", "family": "all", "activation": _kinds(everything, known), "base_models": len(everything)}
    ridge = one.ridge[people.index]
    return [*rows, tidy("ridge on two levels, out of fold", len(ages), _UNSEEN, **about, mae=_mae(ridge, ages))]


def _kinds(members: Sequence[str], known: Mapping[str, str]) -> str | None:
    return ", ".join(sorted({known[name] for name in members if name in known})) or None


def _mae(predicted: np.ndarray, ages: np.ndarray) -> float:
    return float(np.abs(predicted - ages).mean())


def _between(found: Sequence[Ensemble]) -> list[Row]:
    """Agreement of all pairs of ensembles on the reference people whom both know."""
    rows = []
    for first, second in combinations(found, 2):
        tables = []
        for one, name in ((first, "first"), (second, "second")):
            people = one.people()
            tables.append(people[["participant_id", "age"]].assign(**{name: one.ages[people.index]}).set_index("participant_id"))
        both = tables[0].join(tables[1][["second"]], how="inner")
        pair = ((first.name, both["first"].to_numpy(float)), (second.name, both["second"].to_numpy(float)))
        rows += labelled([_agreement(both["age"].to_numpy(float), *pair)], level="ensembles", ensemble=None)
    return rows


def _agreement(truth: np.ndarray, first: tuple[str, np.ndarray], second: tuple[str, np.ndarray]) -> Row:
    known = np.isfinite(first[1]) & np.isfinite(second[1])
    one, other, age = first[1][known], second[1][known], truth[known]
    values = {f"{name}_predictions": value for name, value in correlation(one, other).items()}
    values |= {f"{name}_errors": value for name, value in correlation(one - age, other - age).items()}
    about = {"first": first[0], "second": second[0]}
    errors = {"mae_first": _mae(one, age), "mae_second": _mae(other, age)} if age.size else {}
    return tidy("Pearson's correlation", age.size, _UNSEEN, **about, **values, **errors)


def _curves(found: Sequence[Ensemble]) -> Iterator[Row]:
    for one in found:
        people = one.people()
        ages = people["age"].to_numpy(float)
        measures = {"absolute_error": np.abs(one.ages[people.index] - ages)}
        measures |= {name: np.asarray(one.spreads[name], dtype=float)[people.index] for name in ("base_width", "sub_width")}
        for variable, column in measures.items():
            if np.isfinite(column).any():
                yield from labelled(polynomial_by_age(ages, column, variable=variable, points=POINTS), ensemble=one.name)
