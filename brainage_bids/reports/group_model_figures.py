"""Pictures of models beside each other: differences by chance, fits of linear fusions, curves along age."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from brainage_bids.reports.group_content import Row
from brainage_bids.reports.group_figures import MOST_POINTS, QUIET
from brainage_bids.reports.scatter import COLOURS

COLUMNS = 3
MOST_PANELS = 9
MOST_FITS = 6
MOST_CURVES = 6
MEASURES = {
    "absolute_error": "absolute error (years)",
    "brain_age_sd": "standard deviation (years)",
    "base_width": "width over base models (years)",
    "sub_width": "width over sub-ensembles (years)",
}
"""Words of the measures that are drawn along age."""


def null_histograms(
    rows: Sequence[Row], figure: Any, *, pairs: Sequence[tuple[str, str]], p_of: Mapping[tuple[str, str], float | None]
) -> None:
    """Histogram of the differences by chance, a panel a pair, with the observed difference."""
    columns = min(COLUMNS, len(pairs))
    panels = figure.subplots(-(-len(pairs) // columns), columns, squeeze=False)
    for axes, (first, second) in zip(panels.flat, pairs):
        chosen = [row for row in rows if (row["first"], row["second"]) == (first, second)]
        edges = [row["bin_low"] for row in chosen] + [chosen[-1]["bin_high"]]
        axes.stairs([row["draws"] for row in chosen], edges, fill=True, color="#c3cfda")
        observed = chosen[0]["difference"]
        axes.axvline(observed, color="#a01616", lw=1.5)
        axes.axvline(-observed, color="#a01616", lw=1, ls=":")
        p = p_of.get((first, second))
        axes.set_title(f"{first} − {second}" + ("" if p is None else f", p = {p:.3f}"), fontsize=8.5)
    for axes in panels.flat[len(pairs) :]:
        axes.set_visible(False)
    figure.supxlabel("difference of mean absolute errors (years)")
    figure.supylabel("permutations")


def shown_models(names: Sequence[str], most: int = MOST_FITS) -> list[str]:
    """Models to draw: all in their order, or the first ones and the last two, which are the whole without and with covariates.

    >>> shown_models(["a", "b", "c", "a+b+c"], most=3)
    ['a', 'c', 'a+b+c']
    """
    models = list(dict.fromkeys(names))
    return models if len(models) <= most else models[: most - 2] + models[-2:]


def fits(rows: Sequence[Row], figure: Any, *, models: Sequence[str], errors: Mapping[str, Row]) -> None:
    """Predicted age (above) and residual (below) against age, a column a model."""
    panels = figure.subplots(2, len(models), sharex=True, sharey="row", squeeze=False)
    for (above, below), model in zip(panels.T, models):
        chosen = [row for row in rows if row["model"] == model]
        age, predicted, residual = (np.array([row[name] for row in chosen]) for name in ("age", "predicted", "residual"))
        style = {"ms": 2.5, "alpha": 0.5, "mew": 0, "color": COLOURS[0], "rasterized": age.size > MOST_POINTS}
        ends = [age.min(), age.max()]
        above.plot(ends, ends, color="#333", lw=1, ls="--")
        above.plot(age, predicted, "o", **style)
        below.plot(age, residual, "o", **style)
        below.axhline(0, color="#333", lw=1, ls="--")
        row = errors.get(model, {})
        words = f"MAE {row['mae']:.2f}, R² {row['r2']:.2f}" if row.get("mae") is not None and row.get("r2") is not None else ""
        above.set_title(f"{model}\n{words}", fontsize=8, wrap=True)
    panels[0, 0].set_ylabel("predicted (years)")
    panels[1, 0].set_ylabel("residual (years)")
    figure.supxlabel("age (years)")


def curves(rows: Sequence[Row], figure: Any, *, key: str) -> None:
    """Polynomials along age, a panel a measure, models or ensembles (by the column `key`) over each other."""
    measures = [name for name in MEASURES if any(row["variable"] == name for row in rows)]
    names = list(dict.fromkeys(row[key] for row in rows))[:MOST_CURVES]
    panels = figure.subplots(1, len(measures), squeeze=False)[0]
    for axes, measure in zip(panels, measures):
        for place, name in enumerate(names):
            chosen = [row for row in rows if row["variable"] == measure and row[key] == name]
            ages, colour = [row["age"] for row in chosen], COLOURS[place % len(COLOURS)]
            axes.plot(ages, [row["value"] for row in chosen], color=colour, label=str(name))
            axes.fill_between(ages, [row["low"] for row in chosen], [row["high"] for row in chosen], color=colour, alpha=0.15, lw=0)
        axes.axhline(0, color=QUIET, lw=0.8, ls=":")
        axes.set(xlabel="age (years)", ylabel=MEASURES[measure])
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=min(4, len(names)), frameon=False)
