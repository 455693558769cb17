"""Pieces of a group's page on models beside each other and together."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from brainage_bids.reports import group_model_figures as figures
from brainage_bids.reports.group_content import GroupView
from brainage_bids.reports.group_parts import Part, figure_part, table_part


def compared(view: GroupView, out_dir: Path) -> Iterator[Part]:
    """Models two by two, with what chance gives; trained networks."""
    rows = view.rows("model_comparison_null")
    pairs = list(dict.fromkeys((row["first"], row["second"]) for row in rows))[: figures.MOST_PANELS]
    if pairs:
        caption = f"Differences of the mean absolute errors by chance ({_how(view)}); red: the observed one, dotted with the other sign."
        p_of = {(row["first"], row["second"]): row["p"] for row in view.rows("model_comparison")}
        work = partial(figures.null_histograms, rows, pairs=pairs, p_of=p_of)
        size = (8.4, 0.9 + 2.1 * -(-len(pairs) // figures.COLUMNS))
        yield from figure_part(view, out_dir, "model_comparison_null", caption, work, size=size)
    yield from table_part(view, "model_comparison", open_=True)
    yield from table_part(view, "model_comparison_null")
    yield from table_part(view, "comparison_errors", open_=True)


def _how(view: GroupView) -> str:
    draws = sum(row["draws"] for row in view.rows("model_comparison_null") if _pair(row) == _pair(view.rows("model_comparison_null")[0]))
    way = "unpaired shuffle" if "unpaired" in view.rows("model_comparison_null")[0]["method"] else "paired sign flips"
    return f"{way}, {draws} with the observed one"


def _pair(row) -> tuple[str, str]:
    return row["first"], row["second"]


def fusion(view: GroupView, out_dir: Path) -> Iterator[Part]:
    """Heads, what linear fusions are made of and how they fit, ensembles by level, agreement and age."""
    yield from table_part(
        view, "fusion_accuracy", open_=True, only=("head", "n", "mae", "mae_low", "mae_high", "rmse", "r", "r2", "bias_slope")
    )
    predicted = view.rows("fusion_predictions")
    models = figures.shown_models([row["model"] for row in predicted])
    if models:
        caption = "Linear fusions on people they were not fitted on: predicted age and residual (age − predicted) against age."
        errors = {row["model"]: row for row in view.rows("fusion_errors")}
        work = partial(figures.fits, predicted, models=models, errors=errors)
        yield from figure_part(view, out_dir, "fusion_predictions", caption, work, size=(max(5.0, 2.1 * len(models)), 4.6))
    for name in ("fusion_coefficients", "fusion_nested", "fusion_errors", "fusion_comparison"):
        yield from table_part(view, name, open_=True)
    yield from table_part(view, "fusion_predictions")
    yield from table_part(view, "fusion_levels", open_=True)
    yield from table_part(view, "ensembles", open_=True)
    curves = view.rows("ensembles_by_age", part="curve")
    if curves:
        caption = "Absolute error and width of the 95 % interval over base models and over sub-ensembles along age (third order)."
        work = partial(figures.curves, curves, key="ensemble")
        yield from figure_part(view, out_dir, "ensembles_by_age", caption, work, size=(8.4, 3.8))
    yield from table_part(view, "ensembles_by_age")
