"""Pictures of a group's page: each function draws into an axis of matplotlib; `draw` makes an SVG of it that needs nothing else."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from brainage_bids.reports.group_content import GroupView, Row, plain_name
from brainage_bids.reports.scatter import COLOURS
from brainage_bids.stats.associations import outliers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_POINTS = 2000
"""Above, points become a picture inside the drawing, so that the page stays small."""
MOST_BARS = 30
MOST_CELLS = 64
MOST_PANELS = 9
BLANK = "#f3f5f7"
QUIET = "#6b7885"


def draw(name: str, title: str, work: Callable[[Any], None], *, size: tuple[float, float] = (7.0, 4.2)) -> str:
    """An SVG as text; the same input gives the same text.

    Parameters
    ----------
    name : str
        Of the picture; keeps its identifiers apart from those of others on the page.
    title : str
        What a screen reader says.
    work : callable (Figure)
        Draws.
    size : tuple of float
        Width and height in inches.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    settings = {"svg.hashsalt": name, "svg.fonttype": "none", "font.family": "DejaVu Sans", "font.size": 9.5, "axes.titlesize": 10}
    with mpl.rc_context(settings):
        figure = Figure(figsize=size, layout="constrained", facecolor="white", dpi=150)
        FigureCanvasSVG(figure)
        work(figure)
        for axes in figure.axes:
            axes.spines[["top", "right"]].set_visible(False)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = stream.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    return text.replace(">", f' role="img" aria-label="{escape(title)}"><title>{escape(title)}</title>', 1)


def predicted_against_age(view: GroupView, figure: Any) -> None:
    """Brain age against age, coloured by group, with the identity and what the errors are."""
    axes = figure.add_subplot()
    age, brain_age = view.numbers("age"), view.numbers("brain_age")
    low, high = np.nanmin([age, brain_age]), np.nanmax([age, brain_age])
    margin = 0.04 * (high - low) or 1.0
    axes.plot([low - margin, high + margin], [low - margin, high + margin], color="#333", lw=1, ls="--", label="brain age = age")
    _points(axes, age, brain_age, _groups(view))
    row = next(iter(view.rows("accuracy", model=view.models[0], by="all")), {})
    if row.get("mae") is not None:
        words = [f"MAE {row['mae']:.2f} years" + _between(row, "mae"), f"guessing the mean age: {row['mae_guess']:.2f} years"]
        words += [f"r {row['r']:.3f}" + _between(row, "r", 3)] if row.get("r") is not None else []
        axes.text(
            0.02,
            0.98,
            "\n".join([*words, f"{row['n']} visits of {row['participants']} people"]),
            transform=axes.transAxes,
            va="top",
            fontsize=9,
        )
    axes.set(xlabel="age (years)", ylabel=f"brain age, {view.models[0]} (years)", xlim=(low - margin, high + margin))
    axes.set_ylim(low - margin, high + margin + 0.12 * (high - low))
    axes.legend(loc="lower right", frameon=False, markerscale=_marker(age.size))


def bias_before_and_after(view: GroupView, figure: Any) -> None:
    """Gap against age, raw and corrected, with the reference people's line."""
    left, right = figure.subplots(1, 2, sharey=True)
    age, raw, after = view.numbers("age"), view.numbers("pad"), view.numbers("pad_corrected")
    row = next(iter(view.rows("age_bias", model=view.models[0], who="reference")), {})
    for axes, gap, title in ((left, raw, "before"), (right, after, "after")):
        _points(axes, age, gap, _groups(view))
        axes.axhline(0, color="#333", lw=1)
        axes.set(xlabel="age (years)", title=title)
    if row.get("alpha") is not None and np.isfinite(age).any():
        ends = np.array([np.nanmin(age), np.nanmax(age)])
        left.plot(ends, (row["alpha"] - 1) * ends + row["beta"], color="#a01616", lw=2, label=f"reference: slope {row['slope']:.2f} a year")
    left.set_ylabel("gap (years)")
    handles, names = left.get_legend_handles_labels()
    if handles:
        figure.legend(handles, names, loc="outside upper center", ncols=min(4, len(handles)), frameon=False, markerscale=_marker(age.size))


def coverage(view: GroupView, figure: Any) -> None:
    """Share of ages inside each kind of interval, of all and by decade of true age, with what chance allows."""
    axes = figure.add_subplot()
    rows = [row for row in view.rows("coverage", model=view.models[0]) if row["coverage"] is not None and row["by"] in ("all", "age")]
    rows += [row for row in view.rows("coverage", model=view.models[0], by="predicted", stratum="all") if row["coverage"] is not None]
    names = list(dict.fromkeys(row["interval"] for row in rows if not row["interval"].endswith(", all")))
    strata = sorted({row["stratum"] for row in rows if row["by"] == "age"}, key=lambda name: float(name[1:].split(",")[0]))
    for number, name in enumerate(names):
        colour = COLOURS[number % len(COLOURS)]
        for row in (row for row in rows if row["interval"] == name):
            place = (strata.index(row["stratum"]) + 1 if row["by"] == "age" else 0) + 0.22 * (number - (len(names) - 1) / 2)
            axes.plot([place, place], [row["expected_low"], row["expected_high"]], color="#c3cfda", lw=7, solid_capstyle="butt", zorder=1)
            axes.plot(place, row["coverage"], "o", ms=5, color=colour, mfc=colour if row["within_band"] else "white", zorder=2)
        axes.plot([], [], "o", color=colour, label=name)
    axes.axhline(rows[0]["level"], color="#333", lw=1, ls="--")
    axes.set_xticks(range(len(strata) + 1), ["all", *strata], fontsize=8.5)
    lowest = min([0.8, *(row["coverage"] for row in rows)]) - 0.03
    axes.set(xlim=(-0.6, len(strata) + 0.6), xlabel="true age (years)", ylabel="share of ages inside", ylim=(lowest, 1.01))
    figure.legend(loc="outside upper center", ncols=3, frameon=False)


def gap_by_group(view: GroupView, figure: Any) -> None:
    """Gap of each person by group, with boxes of quartiles."""
    axes = figure.add_subplot()
    gaps, groups = view.numbers("pad"), np.array(view.people["group"], dtype=object)
    names = sorted({name for name, gap in zip(groups, gaps) if name is not None and np.isfinite(gap)})
    random = np.random.default_rng(1)
    for place, name in enumerate(names):
        values = gaps[(groups == name) & np.isfinite(gaps)]
        axes.plot(
            place + random.uniform(-0.16, 0.16, values.size), values, ".", ms=5 if values.size < 300 else 2, alpha=0.5,
            color=COLOURS[place % len(COLOURS)], rasterized=values.size > MOST_POINTS,
        )  # fmt: skip
    axes.boxplot([gaps[(groups == name) & np.isfinite(gaps)] for name in names], positions=range(len(names)), widths=0.5, showfliers=False)
    axes.axhline(0, color=QUIET, lw=1, ls=":")
    axes.set_xticks(range(len(names)), [f"{name}\nn = {int(((groups == name) & np.isfinite(gaps)).sum())}" for name in names])
    axes.set(ylabel=f"gap, {view.models[0]} (years)", xlim=(-0.6, len(names) - 0.4))


def bland_altman(view: GroupView, figure: Any) -> None:
    """Difference of two visits against their mean, with limits of agreement."""
    axes = figure.add_subplot()
    first, second = np.array(view.pairs, dtype=float).T
    axes.plot((first + second) / 2, first - second, "o", ms=4, alpha=0.6, color=COLOURS[0], rasterized=first.size > MOST_POINTS)
    difference = first - second
    centre, width = difference.mean(), 1.959963984540054 * difference.std(ddof=1)
    for height, style in ((centre, "-"), (centre - width, "--"), (centre + width, "--")):
        axes.axhline(height, color="#a01616", lw=1.2, ls=style)
        axes.text(1.0, height, f" {height:.2f}", transform=axes.get_yaxis_transform(), va="center", fontsize=8.5)
    axes.set(xlabel="mean gap of two visits (years)", ylabel="first − second (years)")


def forest(rows: Sequence[Row], figure: Any, *, r: str = "r_partial", label: str = "correlation with the gap beyond age") -> None:
    """Correlations with intervals, the largest on top; filled where the corrected p is below .05."""
    axes = figure.add_subplot()
    low, high, p = (f"{name}{r.removeprefix('r')}" for name in ("low", "high", "p"))
    for place, row in enumerate(rows):
        strong = row.get(f"{p}_corrected") is not None and row[f"{p}_corrected"] < 0.05
        if row.get(low) is not None:
            axes.plot([row[low], row[high]], [place, place], color=COLOURS[0], lw=1.5)
        axes.plot(row[r], place, "o", color=COLOURS[0], mfc=COLOURS[0] if strong else "white")
    axes.axvline(0, color="#333", lw=1)
    axes.set_yticks(range(len(rows)), [plain_name(str(row["second"])) for row in rows])
    axes.invert_yaxis()
    axes.set(xlabel=f"{label} (filled: corrected p < .05)", ylim=(len(rows) - 0.4, -0.6))


def strongest(rows: Sequence[Row], r: str = "r_partial", most: int = MOST_BARS) -> list[Row]:
    """Rows with the largest correlations.

    >>> [row["r"] for row in strongest([{"r": 0.1}, {"r": None}, {"r": -0.5}], "r")]
    [-0.5, 0.1]
    """
    return sorted((row for row in rows if row.get(r) is not None), key=lambda row: -abs(row[r]))[:most]


def heat_map(rows: Sequence[Row], figure: Any, names: Sequence[str]) -> None:
    """Correlations of all pairs as colours where the corrected p is below .05, blank elsewhere; with the value where pairs are few."""
    axes = figure.add_subplot()
    values = np.full((len(names), len(names)), np.nan)
    place = {name: number for number, name in enumerate(names)}
    for row in rows:
        p = row.get("p_corrected") if row.get("p_corrected") is not None else row.get("p")
        if row["first"] in place and row["second"] in place and row["r"] is not None and p is not None and p < 0.05:
            one, other = place[row["first"]], place[row["second"]]
            values[one, other] = values[other, one] = row["r"]
    axes.set_facecolor(BLANK)
    drawn = axes.imshow(values, vmin=-1, vmax=1, cmap="RdBu_r", aspect="auto")
    _ticks(axes, names, names)
    if len(names) <= 20:
        for (one, other), value in np.ndenumerate(values):
            if np.isfinite(value):
                colour = "white" if abs(value) > 0.6 else "#222"
                axes.text(other, one, f"{round(value, 1) + 0.0:.1f}", ha="center", va="center", fontsize=7, color=colour)
    figure.colorbar(drawn, ax=axes, label="correlation", shrink=0.8)


def scatters(view: GroupView, rows: Sequence[Row], figure: Any) -> None:
    """An outcome against a column in each panel, by group; outliers hollow; the correlation with and without them."""
    across = min(3, len(rows))
    panels = figure.subplots(-(-len(rows) // across), across, squeeze=False)
    groups = _groups(view)
    for axes, row in zip(panels.flat, rows):
        x = np.array([np.nan if value is None else value for value in view.measures[row["second"]]], dtype=float)
        y = view.numbers(row["first"])
        both = np.isfinite(x) & np.isfinite(y)
        far = np.zeros(x.shape, dtype=bool)
        far[both] = outliers(x[both]) | outliers(y[both])
        names = sorted({name for name in groups if name is not None}) if groups is not None else []
        for place, name in enumerate(names[: len(COLOURS)] or [None]):
            chosen = both & (groups == name if name is not None else True)
            style = {"color": COLOURS[place], "ms": 3, "alpha": 0.6, "rasterized": x.size > MOST_POINTS}
            axes.plot(x[chosen & ~far], y[chosen & ~far], "o", mew=0, label=name, **style)
            axes.plot(x[chosen & far], y[chosen & far], "o", mfc="none", **style)
        said = [f"r {row['r']:.2f}"] if row.get("r") is not None else []
        if row.get("outliers") and row.get("r_without_outliers") is not None:
            said.append(f"{row['r_without_outliers']:.2f} without {row['outliers']} outlier(s)")
        axes.set_title(f"{plain_name(row['second'])}\n{', '.join(said)}", fontsize=8.5)
    for axes in panels.flat[len(rows) :]:
        axes.set_visible(False)
    figure.supylabel({"pad": f"gap, {view.models[0]} (years)", "age": "age (years)"}[rows[0]["first"]])
    if groups is not None:
        figure.legend(*panels.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)


def windows(rows: Sequence[Row], figure: Any, names: Sequence[str]) -> None:
    """Correlations in windows of age, a panel a column, models over each other; the band is that of the first model."""
    columns = min(3, len(names))
    models = list(dict.fromkeys(row["model"] for row in rows))
    panels = figure.subplots(-(-len(names) // columns), columns, sharex=True, sharey=True, squeeze=False)
    for axes, name in zip(panels.flat, names):
        for place, model in enumerate(models):
            chosen = [row for row in rows if row["variable"] == name and row["model"] == model and row["r"] is not None]
            middle, colour = [(row["age_low"] + row["age_high"]) / 2 for row in chosen], COLOURS[place % len(COLOURS)]
            if place == 0:
                axes.fill_between(middle, [row["low"] for row in chosen], [row["high"] for row in chosen], color=colour, alpha=0.2, lw=0)
            axes.plot(middle, [row["r"] for row in chosen], color=colour, lw=2.0 if place == 0 else 1.2, label=str(model))
        axes.axhline(0, color=QUIET, lw=1, ls=":")
        axes.set_title(plain_name(name))
    for axes in panels.flat[len(names) :]:
        axes.set_visible(False)
    figure.supxlabel("middle of ten years of age")
    figure.supylabel("correlation with the gap")
    if len(models) > 1:
        figure.legend(*panels.flat[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(models), frameon=False)


def mediated(rows: Sequence[Row], figure: Any) -> None:
    """Mediated effects in both directions as colours of −log10 of the corrected p, signed, where one is named full (f) or partial (p)."""
    directions = list(dict.fromkeys(row["direction"] for row in rows))
    panels = figure.subplots(1, len(directions), squeeze=False)[0]
    for axes, direction in zip(panels, directions):
        chosen = [row for row in rows if row["direction"] == direction]
        exposures, mediators = (list(dict.fromkeys(row[name] for row in chosen)) for name in ("exposure", "mediator"))
        values = np.full((len(exposures), len(mediators)), np.nan)
        for row in chosen:
            if row["mediation"] in ("full", "partial"):
                place = exposures.index(row["exposure"]), mediators.index(row["mediator"])
                values[place] = np.sign(row["acme"]) * -np.log10(max(row["acme_p_corrected"], 1e-4))
                colour = "white" if abs(values[place]) > 2.4 else "#222"
                axes.text(place[1], place[0], row["mediation"][0], ha="center", va="center", fontsize=7, color=colour)
        axes.set_facecolor(BLANK)
        drawn = axes.imshow(values, vmin=-4, vmax=4, cmap="RdBu_r", aspect="auto")
        _ticks(axes, mediators, exposures)
        axes.set(xlabel="mediator", ylabel="exposure", title=direction)
    figure.colorbar(drawn, ax=panels.tolist(), label="sign × −log10 corrected p", shrink=0.8)


def biplot(points: Sequence[Row], arrows: Sequence[Row], figure: Any) -> None:
    """People on two components, phenotype columns as arrows."""
    axes = figure.add_subplot()
    x, y = (np.array([row[name] for row in points], dtype=float) for name in ("pc1", "pc2"))
    axes.plot(x, y, ".", ms=4, alpha=0.4, color=QUIET, rasterized=x.size > MOST_POINTS)
    reach = 0.8 * max(np.abs(x).max(), np.abs(y).max()) / max([row["length"] for row in arrows] or [1.0])
    for row in arrows:
        axes.annotate("", (reach * row["pc1"], reach * row["pc2"]), (0, 0), arrowprops={"arrowstyle": "->", "color": COLOURS[1]})
        axes.text(1.05 * reach * row["pc1"], 1.05 * reach * row["pc2"], row["variable"], color=COLOURS[1], fontsize=8)
    axes.set(xlabel="component 1", ylabel="component 2")


def _points(axes: Axes, x: np.ndarray, y: np.ndarray, groups: np.ndarray | None) -> None:
    names = sorted({name for name in groups if name is not None}) if groups is not None else []
    many = x.size > MOST_POINTS
    for place, name in enumerate(names[: len(COLOURS)] or [None]):
        chosen = groups == name if name is not None and groups is not None else np.ones(x.size, dtype=bool)
        style = {"ms": 2 if many else 4, "alpha": 0.35 if many else 0.65, "color": COLOURS[place], "rasterized": many}
        axes.plot(x[chosen], y[chosen], "o", mew=0, label=name if name is None else str(name), **style)


def _marker(n: int) -> float:
    """How much larger a point is in the key than in the drawing."""
    return 4.0 if n > MOST_POINTS else 1.0


def _groups(view: GroupView) -> np.ndarray | None:
    groups = np.array(view.people.get("group", ()), dtype=object)
    return groups if groups.size and any(name is not None for name in groups) else None


def _between(row: Row, name: str, digits: int = 2) -> str:
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    return "" if low is None else f" ({low:.{digits}f} to {high:.{digits}f})"


def _ticks(axes: Axes, x: Sequence[str], y: Sequence[str]) -> None:
    size = 7.5 if max(len(x), len(y)) <= 30 else 5.5
    axes.set_xticks(range(len(x)), [plain_name(name) for name in x], rotation=60, ha="right", fontsize=size)
    axes.set_yticks(range(len(y)), [plain_name(name) for name in y], fontsize=size)
