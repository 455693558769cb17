"""The pieces of a group's page: tables cut to what can be read, with pictures, filled into templates that escape all text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from brainage_bids.reports import group_figures as figures
from brainage_bids.reports import group_model_figures as model_figures
from brainage_bids.reports.group_content import SCATTERS, GroupView, ResultView, Row, plain_name
from brainage_bids.reports.group_methods import methods_of
from brainage_bids.reports.group_model_pieces import compared, fusion
from brainage_bids.reports.group_parts import IN_SECTION, Part, figure_part, table_part

if TYPE_CHECKING:
    import jinja2

OTHERS = "Further results"
"""Section of results that name none."""


def render(view: GroupView, out_dir: Path, *, version: str, run_settings: str) -> dict[str, str]:
    """Every piece that has content, by name, as HTML; pictures are also written to ``OUT/group``."""
    env = _environment()
    methods = methods_of(view, version)
    out = {
        "warnings": env.get_template("group_warnings.html").render(warnings=view.warnings, problems=len(view.problems)),
        "glance": env.get_template("group_facts.html").render(facts=view.facts, link="./group_brainage.tsv"),
        "methods": env.get_template("methods.html").render(done=None, paragraphs=methods.paragraphs, references=methods.references),
        "run": env.get_template("run.html").render(version=version, versions=_versions(), settings=run_settings),
    }
    if view.problems:
        out["problems"] = env.get_template("group_problems.html").render(problems=view.problems)
    pieces = {name: list(maker(view, out_dir)) for name, maker in _PIECES.items()}
    shown = {part["address"] for parts in pieces.values() for part in parts} | {"./group/problems.tsv"}
    for name, result in view.results.items():
        if f"./group/{name}.tsv" not in shown:
            pieces.setdefault(f"{IN_SECTION}{result.section or OTHERS}", []).extend(_as_it_is(view, out_dir, result))
    out |= {name: env.get_template("group_parts.html").render(parts=parts) for name, parts in pieces.items() if parts}
    return out


def _as_it_is(view: GroupView, out_dir: Path, result: ResultView) -> Iterator[Part]:
    """A result that no piece above knows: its picture, if it draws one, and its table."""
    if result.draw is not None:
        yield from figure_part(view, out_dir, result.name, result.about, lambda figure: result.draw(result.rows, figure))
    yield from table_part(view, result.name, open_=True)


def _flow(view: GroupView, out_dir: Path) -> Iterator[Part]:
    yield from table_part(view, "participants_flow", open_=True)
    yield from table_part(view, "description")
    yield from table_part(view, "participants_missing")


def _accuracy(view: GroupView, out_dir: Path) -> Iterator[Part]:
    if view.numbers("age").size:
        caption = f"Brain age of {view.models[0]} against age, first visit of each person."
        yield from figure_part(
            view,
            out_dir,
            "accuracy",
            caption,
            lambda figure: figures.predicted_against_age(view, figure),
            table="./group_brainage.tsv",
            size=(6.2, 5.6),
        )
    yield from table_part(view, "accuracy", open_=True, only=_ACCURACY)
    yield from table_part(view, "error_bins")
    curves = view.rows("error_by_age", part="curve")
    if curves:
        caption = "Absolute error and the models' own standard deviation along age (third order); the band is that of the mean."
        work = partial(model_figures.curves, curves, key="model")
        yield from figure_part(view, out_dir, "error_by_age", caption, work, size=(8.4, 3.8))
    yield from table_part(view, "error_by_age")


_ACCURACY = (
    "model",
    "by",
    "stratum",
    "n",
    "participants",
    "mae",
    "mae_low",
    "mae_high",
    "mae_guess",
    "rmse",
    "r",
    "r2",
    "bias_slope",
    "note",
)


def _regressors(view: GroupView, out_dir: Path) -> Iterator[Part]:
    yield from table_part(view, "regressors", open_=True)
    yield from table_part(view, "regressors_compared")


def _bias(view: GroupView, out_dir: Path) -> Iterator[Part]:
    if view.rows("age_bias") and _any(view, "pad_corrected"):
        caption = f"Gap of {view.models[0]} against age before and after correction ({view.settings.get('bias_correction')})."
        yield from figure_part(
            view, out_dir, "age_bias", caption, lambda figure: figures.bias_before_and_after(view, figure), size=(8.4, 4.0)
        )
    yield from table_part(view, "age_bias", open_=True, only=_BIAS)


_BIAS = (
    "model", "who", "n", "slope", "slope_corrected", "mean_gap", "mean_gap_corrected", "sd_gap", "sd_gap_corrected", "alpha", "beta",
    "reference_n", "age_min", "age_max", "note",
)  # fmt: skip


def _coverage(view: GroupView, out_dir: Path) -> Iterator[Part]:
    if any(row["coverage"] is not None for row in view.rows("coverage", model=view.models[0])):
        caption = f"Share of ages inside the intervals of {view.models[0]} by true age; grey: what chance allows, hollow: outside it."
        yield from figure_part(view, out_dir, "coverage", caption, lambda figure: figures.coverage(view, figure), size=(7.6, 4.4))
    yield from table_part(view, "coverage", open_=True, only=_COVERAGE)


_COVERAGE = (
    "model", "interval", "by", "stratum", "n", "coverage", "expected_low", "expected_high", "within_band", "width", "level", "note",
)  # fmt: skip


def _groups(view: GroupView, out_dir: Path) -> Iterator[Part]:
    if view.rows("groups_means"):
        caption = f"Gap of {view.models[0]} by {view.settings.get('group_column')}; boxes are quartiles."
        yield from figure_part(view, out_dir, "groups_means", caption, lambda figure: figures.gap_by_group(view, figure))
    yield from table_part(view, "groups_means", open_=True, only=_MEANS)
    yield from table_part(view, "groups_adjusted", only=_ADJUSTED)
    for name in ("groups_anova", "groups_ranks", "groups_counts"):
        yield from table_part(view, name)
    yield from table_part(view, "groups_phenotype", by="p")
    yield from table_part(view, "comparison_groups", open_=True)


_MEANS = (
    "model", "variable", "first", "second", "difference", "low", "high", "p", "p_corrected", "d", "d_low", "d_high", "g", "n_first",
    "n_second", "mean_first", "sd_first", "mean_second", "sd_second", "t", "df", "note",
)  # fmt: skip
_ADJUSTED = ("model", "variable", "first", "second", "difference", "low", "high", "p", "p_corrected", "n", "covariates", "note")


def _models(view: GroupView, out_dir: Path) -> Iterator[Part]:
    yield from table_part(view, "pad_models", open_=True, only=_TERMS)
    yield from table_part(view, "pad_mixed", only=_TERMS)


_TERMS = ("model", "term", "estimate", "low", "high", "p", "n", "t", "df", "r2", "formula", "note")


def _sites(view: GroupView, out_dir: Path) -> Iterator[Part]:
    yield from table_part(view, "site_offsets", open_=True)
    yield from table_part(view, "harmonisation")
    yield from table_part(view, "regions_harmonised")


def _quality(view: GroupView, out_dir: Path) -> Iterator[Part]:
    yield from _forest(view, out_dir, "quality", "quality figure", view.rows("quality", model=view.models[0]))
    yield from table_part(view, "quality", by="p_partial")


def _reliability(view: GroupView, out_dir: Path) -> Iterator[Part]:
    if len(view.pairs) >= 3:
        caption = f"Two visits of the same people, gap of {view.models[0]}, with limits of agreement."
        yield from figure_part(view, out_dir, "bland_altman", caption, lambda figure: figures.bland_altman(view, figure))
    yield from table_part(view, "reliability", open_=True)
    yield from table_part(view, "bland_altman")
    yield from table_part(view, "reliability_regions")


def _change(view: GroupView, out_dir: Path) -> Iterator[Part]:
    yield from table_part(view, "change")


def _associations(view: GroupView, out_dir: Path) -> Iterator[Part]:
    yield from _forest(view, out_dir, "associations", "phenotype column", view.rows("associations", model=view.models[0], first="pad"))
    yield from _scatters(view, out_dir)
    yield from table_part(view, "associations", by="p_partial", only=("model", "first", *_ASSOCIATIONS[1:]))
    yield from table_part(view, "associations_kinds")


def _scatters(view: GroupView, out_dir: Path) -> Iterator[Part]:
    for name, outcome in SCATTERS.items():
        words = {"pad": f"Gap of {view.models[0]}", "age": "Age"}[outcome]
        rows = [row for row in view.rows("associations", model=view.models[0], first=outcome) if row["second"] in view.measures]
        drawn = figures.strongest(rows, "r", most=figures.MOST_PANELS)
        if drawn:
            caption = (
                f"{words} against phenotype columns, the {len(drawn)} with the largest plain correlation of {len(rows)}; hollow: outliers "
            )
            caption += "(a modified z-score above 3.5, of the column or of the outcome)."
            size = (8.4, 1.2 + 2.2 * -(-len(drawn) // 3))
            work = partial(figures.scatters, view, drawn)
            yield from figure_part(view, out_dir, name, caption, work, table="./group/associations.tsv", size=size)


_ASSOCIATIONS = (
    "model", "second", "n", "r", "p", "p_corrected", "r_partial", "low_partial", "high_partial", "p_partial", "p_partial_corrected",
    "outliers", "r_without_outliers", "covariates", "note",
)  # fmt: skip


def _windows(view: GroupView, out_dir: Path) -> Iterator[Part]:
    rows = view.rows("age_windows")
    drawn = list(dict.fromkeys(row["variable"] for row in figures.strongest(rows, "r", most=len(rows))))
    if "lesion_load" in drawn[9:]:
        drawn.insert(8, "lesion_load")
    drawn = drawn[:9]
    if drawn:
        caption = f"The {len(drawn)} column(s) with the strongest correlation in any window; the band is the 95 % "
        caption += "interval of the first model."
        size = (8.4, 1.2 + 1.9 * -(-len(drawn) // 3))
        yield from figure_part(view, out_dir, "age_windows", caption, lambda figure: figures.windows(rows, figure, drawn), size=size)
    yield from table_part(view, "age_windows", by="p")


def _correlations(view: GroupView, out_dir: Path) -> Iterator[Part]:
    rows = view.rows("correlations")
    every = list(dict.fromkeys(name for row in rows for name in (row["first"], row["second"])))
    names = every[: figures.MOST_CELLS]
    if len(names) > 1:
        side = min(2.5 + 0.28 * len(names), 12.0)
        beyond = ", ".join(dict.fromkeys(row["covariates"] for row in rows if row.get("covariates")))
        caption = f"Correlations of all pairs{f' beyond {beyond}' if beyond else ''}; blank where the corrected p is .05 or more"
        caption += f"; the first {len(names)} of {len(every)} columns." if len(every) > len(names) else "."
        yield from figure_part(
            view,
            out_dir,
            "correlations",
            caption,
            lambda figure: figures.heat_map(rows, figure, names),
            size=(side + 1, side),
        )
    yield from table_part(view, "correlations", by="p")


def _regions(view: GroupView, out_dir: Path) -> Iterator[Part]:
    rows = [row for row in view.rows("regions", model=view.models[0]) if row["first"] == "pad"]
    yield from _forest(view, out_dir, "regions", "volume", rows)
    yield from table_part(view, "regions", by="p_partial", only=("model", "first", *_ASSOCIATIONS[1:]))
    yield from table_part(view, "regions_phenotype", by="p_partial", only=("first", *_ASSOCIATIONS[1:]))
    yield from table_part(view, "regions_matrix", by="p")
    yield from table_part(view, "contributions", by="p_partial", only=("model", "first", *_ASSOCIATIONS[1:]))


def _mediation(view: GroupView, out_dir: Path) -> Iterator[Part]:
    rows = view.rows("mediation")
    if any(row["acme"] is not None for row in rows):
        caption = (
            "Mediated effects that are full (f) or partial (p) by the corrected p: sign and strength of evidence. Which comes first is "
        )
        caption += "assumed, not shown."
        yield from figure_part(view, out_dir, "mediation", caption, lambda figure: figures.mediated(rows, figure), size=(10.0, 5.6))
    yield from table_part(view, "mediation", by="acme_p")


def _components(view: GroupView, out_dir: Path) -> Iterator[Part]:
    points, arrows = view.rows("pca_points"), view.rows("pca_arrows")
    if points:
        caption = "People on the first two principal components of regions and phenotype; arrows: phenotype columns."
        yield from figure_part(view, out_dir, "pca_points", caption, lambda figure: figures.biplot(points, arrows, figure), size=(6.4, 5.6))
    for name in ("pca_components", "pca_arrows"):
        yield from table_part(view, name)


_PIECES: dict[str, Callable[[GroupView, Path], Iterator[Part]]] = {
    "flow": _flow, "accuracy": _accuracy, "compared": compared, "fusion": fusion,
    "regressors": _regressors, "bias": _bias, "coverage": _coverage, "groups": _groups,
    "models": _models, "sites": _sites, "quality": _quality, "reliability": _reliability, "change": _change, "associations": _associations,
    "windows": _windows, "correlations": _correlations, "regions": _regions, "mediation": _mediation, "components": _components,
}  # fmt: skip


def _forest(view: GroupView, out_dir: Path, name: str, what: str, rows: Sequence[Row]) -> Iterator[Part]:
    chosen = figures.strongest(rows)
    if chosen:
        more = f"; the {len(chosen)} strongest of {len(rows)}" if len(chosen) < len(rows) else ""
        beyond = ", ".join(plain_name(name) for name in str(chosen[0]["covariates"]).split(", "))
        caption = f"Correlation of the gap of {view.models[0]} with each {what}, beyond {beyond}{more}."
        size = (7.0, 1.1 + 0.24 * len(chosen))
        label = f"correlation beyond {beyond}"
        yield from figure_part(view, out_dir, name, caption, lambda figure: figures.forest(chosen, figure, label=label), size=size)


def _any(view: GroupView, name: str) -> bool:
    return any(value is not None for value in view.people.get(name, ()))


def _environment() -> jinja2.Environment:
    import jinja2

    loader = jinja2.PackageLoader("brainage_bids", "data/report/pieces")
    return jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)


def _versions() -> list[tuple[str, str]]:
    import platform
    from importlib import metadata

    names = ("numpy", "scipy", "pandas", "statsmodels", "matplotlib")
    return [("Python", platform.python_version()), *((name, metadata.version(name)) for name in names)]
