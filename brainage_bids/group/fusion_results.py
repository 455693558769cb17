"""Tables of a fusion: weights, nested models, their errors, and the fused age of every visit with the spread of its parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from brainage_bids.cohort.fusion import RidgeHead
from brainage_bids.cohort.fusion_tables import coefficient_rows, fusion_errors, nested_rows
from brainage_bids.group.cohort import Cohort, columns_of
from brainage_bids.group.results import Result, table
from brainage_bids.stats.polynomial import interval_width
from brainage_bids.stats.rows import Row

if TYPE_CHECKING:
    import pandas as pd

Families = Mapping[str, tuple[str, ...]]


def fitted_results(cohort: Cohort, complete: pd.DataFrame, families: Families, covariates: tuple[str, ...]) -> list[Result]:
    """Coefficients, nested models, errors and ages of T, A, T+A and T+A+sex."""
    inputs = tuple(families)
    whole, adjusted = "+".join(inputs), "+".join((*inputs, *covariates))
    models = {name: (name,) for name in inputs} | {whole: inputs}
    pairs = [(name, whole) for name in inputs] if len(inputs) > 1 else []
    if covariates:
        models[adjusted] = (*inputs, *covariates)
        pairs.append((whole, adjusted))
    names = [*inputs, *covariates]
    columns, ages = columns_of(complete, names), complete["age"].to_numpy(float)
    half = np.random.default_rng(cohort.seed).permutation(len(complete)) < len(complete) / 2
    first, second = complete[half], complete[~half]
    errors = fusion_errors(
        columns_of(first, names), first["age"].to_numpy(float), columns_of(second, names), second["age"].to_numpy(float),
        list(second["participant_id"]), models, pairs, paired=cohort.settings.permutation == "paired", seed=cohort.seed,
    )  # fmt: skip
    scored, compared, predicted = ([row for row in errors if row["part"] == part] for part in ("error", "comparison", "prediction"))
    about = "Least squares of age on the models' ages, alone, together and with sex; F tests of one within the other, on the reference "
    about += "people, on whom the head that is kept is fitted."
    halves = "Fitted on one random half of the reference people, scored on the other."
    found = [
        ("fusion_coefficients", "Weights of the fusion", about, coefficient_rows(columns, ages, models)),
        ("fusion_nested", "Nested fusions", about, nested_rows(columns, ages, models, pairs)),
        ("fusion_errors", "Errors of linear fusions", halves, scored),
        ("fusion_comparison", "Fusions compared", "Each linear fusion against one within it, on the people that are scored.", compared),
        ("fusion_predictions", "Ages of the linear fusions", "Predicted age and residual of the people that are scored.", predicted),
    ]
    return [table(*parts) for parts in found if parts[-1]]


def spread_of_models(visits: pd.DataFrame, families: Families, head: RidgeHead) -> dict[str, np.ndarray]:
    """S.d. and 95 % width 2 t s/√k over base models and over sub-ensembles (first-level ages of the ridge head) of every visit.

    Returns
    -------
    dict of str to ndarray, shape (visits,)
        ``base_models, base_sd, base_width, sub_sd, sub_width``; NaN where fewer than two are there.
    """
    names = list(dict.fromkeys(name for members in families.values() for name in members))
    base = visits[names].to_numpy(float)
    first = head.first_level(columns_of(visits, names))
    base_sd, base_width = _spread(base)
    sub_sd, sub_width = _spread(first)
    there = np.isfinite(base).sum(axis=1)
    return {"base_models": there, "base_sd": base_sd, "base_width": base_width, "sub_sd": sub_sd, "sub_width": sub_width}


def _spread(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    counts = np.isfinite(values).sum(axis=1)
    several = counts > 1
    sd = np.full(len(values), np.nan)
    sd[several] = np.nanstd(values[several], axis=1, ddof=1)
    return sd.round(3), interval_width(sd, counts).round(3)


def visit_rows(
    visits: pd.DataFrame, families: Families, fused: Mapping[str, np.ndarray], spreads: Mapping[str, np.ndarray],
    flags: list[tuple[str, ...]],
) -> list[Row]:  # fmt: skip
    """One row a visit: fused ages and gaps of every head, which sub-ensembles were there, spreads."""
    there = visits[list(families)].notna().to_numpy()
    rows = []
    for place, (person, session, age) in enumerate(zip(visits["participant_id"], visits["session_id"], visits["age"])):
        values: dict[str, Any] = {"participant_id": person, "session_id": session or None, "age": age}
        values |= {f"fused_{name}": _years(ages[place]) for name, ages in fused.items()}
        values |= {f"pad_{name}": _years(ages[place] - age) for name, ages in fused.items()}
        values["used"] = "+".join(name for name, known in zip(families, there[place]) if known)
        values["base_models"] = int(spreads["base_models"][place])
        values |= {name: _years(spreads[name][place]) for name in ("base_sd", "base_width", "sub_sd", "sub_width")}
        rows.append({**values, "flags": ";".join(flags[place]) or None})
    return rows


def _years(value: float) -> float | None:
    return round(float(value), 3) if np.isfinite(value) else None
