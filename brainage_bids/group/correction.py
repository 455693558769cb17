"""Age bias, prediction intervals and offsets of sites: fitted on the reference people, written beside the raw gap."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from brainage_bids.cohort.age_bias import AgeBias, fit_age_bias
from brainage_bids.cohort.age_intervals import NO_AGE, AgeIntervals, fit_age_intervals
from brainage_bids.cohort.intervals import ConformalIntervals, coverage_rows, fit_intervals, held_rows
from brainage_bids.cohort.sites import SiteOffsets, fit_site_offsets
from brainage_bids.group.cohort import Cohort, columns_of
from brainage_bids.group.collect import some
from brainage_bids.group.fitted import Store, keep
from brainage_bids.group.own_columns import CORRECTION
from brainage_bids.group.results import Result, labelled, table
from brainage_bids.records import BadConfiguration, UnusableInput
from brainage_bids.stats.comparisons import shown
from brainage_bids.stats.metrics import bias_slope
from brainage_bids.stats.rows import Row, tidy

LEVEL, ALPHA = 0.95, 0.05
FEWEST_OF_SITE = 5
_HELD_OUT = "Interval calibrated on one random half of the reference people, scored on the other."


def corrected(cohort: Cohort, out_dir: Path | None = None, store: Store | None = None) -> tuple[Cohort, list[Result], list[str]]:
    """The cohort with corrected ages, intervals and gaps without the sites' offsets; what was fitted; what could not be.

    Every object is fitted for each model on the first visits of the reference people, saved as JSON beside the tables, and applied to all
    rows that take part.

    Parameters
    ----------
    cohort : Cohort
    out_dir : Path, optional
        Where objects are saved (``OUT/group``); nothing is saved without it.
    store : Store, optional
        Objects of an earlier run, applied instead of fitting.

    Raises
    ------
    BadConfiguration
        If the query for reference people holds for nobody.
    """
    if cohort.settings.reference and not cohort.table["reference"].any():
        raise BadConfiguration(
            f"The query --reference {shown(cohort.settings.reference)!r} holds for nobody, so nothing is corrected or calibrated."
        )
    frame = cohort.table.copy()
    for name in CORRECTION:
        frame[name] = None if name in ("bias_method", "correction_flags") else np.nan
    flags: list[list[str]] = [[] for _ in range(len(frame))]
    biases, coverages, offsets = [], [], []
    lost: dict[tuple[str, str], list[str]] = {}
    for model in cohort.models:
        rows = frame.index[frame["model"] == model]
        if not len(rows):
            lost.setdefault(("everything", "no row takes part."), []).append(model)
            continue
        people = cohort.people(model)
        reference = people[people["reference"].astype(bool)]
        for part, work in (("age bias", _bias), ("across ages", _across), ("intervals", _intervals), ("sites", _sites)):
            try:
                found, fitted = work(cohort, frame, rows, reference, flags, store)
            except UnusableInput as error:
                lost.setdefault((part, str(error)), []).append(model)
                continue
            {"age bias": biases, "across ages": coverages, "intervals": coverages, "sites": offsets}[part].extend(
                labelled(found, model=model)
            )
            if out_dir is not None and fitted is not None and store is None:
                keep(out_dir, part.replace(" ", "_"), fitted, model)
    frame["correction_flags"] = [";".join(dict.fromkeys(codes)) or None for codes in flags]
    problems = [f"{part} of {', '.join(models)}: {said}" for (part, said), models in lost.items()]
    results = []
    if biases:
        results.append(table("age_bias", "Age bias before and after", _ABOUT_BIAS, biases))
    coverages.sort(key=lambda row: ("all", "age", "predicted").index("all" if row["stratum"] == "all" else row["by"]))
    if coverages:
        results.append(table("coverage", "Coverage of the intervals", _ABOUT_COVERAGE, coverages))
    if offsets:
        results.append(table("site_offsets", "Offsets of sites", _ABOUT_SITES, offsets))
    return replace(cohort, table=frame), results, problems


_ABOUT_BIAS = (
    "Dependence of the gap on age in the reference people and in everyone, before and after correction. A corrected age contains the "
    "true age, so no error is ever computed from it."
)
_ABOUT_COVERAGE = (
    "How often intervals hold the age, of all and by decade of true age: those across ages (preferred, as made to hold at every age), "
    "those around the brain age (conformal; made to hold among people of similar brain ages, so with a model that shrinks too seldom at "
    "both ends of the age) - both scored on people they were not calibrated on - and those that the models wrote."
)
_ABOUT_SITES = "How far the gaps of the reference people of each site lie from the mean of all, at equal age."


def _bias(cohort: Cohort, frame, rows, reference, flags, store: Store | None) -> tuple[list[Row], AgeBias | None]:
    method = cohort.settings.bias_correction
    model = frame.loc[rows[0], "model"]
    if store and method != "none":
        bias: AgeBias = store.get("age_bias", model)
        method = bias.method
    else:
        bias = fit_age_bias(reference["age"], reference["brain_age"], method)
    age, predicted = frame.loc[rows, "age"].to_numpy(float), frame.loc[rows, "brain_age"].to_numpy(float)
    if method != "none":
        frame.loc[rows, "brain_age_corrected"] = bias.corrected_age(age, predicted).round(3)
        frame.loc[rows, "pad_corrected"] = bias.corrected_gap(age, predicted).round(3)
        frame.loc[rows, "bias_method"] = method
        for place, codes in zip(rows, bias.flags(age)):
            flags[place].extend(codes)
    about = {"alpha": bias.alpha, "beta": bias.beta, "reference_n": bias.n, "age_min": bias.age_min, "age_max": bias.age_max}
    people = cohort.people(model)
    found = []
    for who, chosen in (("reference", reference), ("all", people)):
        if chosen.empty:
            continue
        ages, predictions = chosen["age"].to_numpy(float), chosen["brain_age"].to_numpy(float)
        raw, after = predictions - ages, bias.corrected_gap(ages, predictions)
        values = {"mean_gap": raw.mean(), "slope": _slope(ages, predictions), "sd_gap": _sd(raw)}
        values |= {"mean_gap_corrected": after.mean(), "slope_corrected": _slope(ages, ages + after), "sd_gap_corrected": _sd(after)}
        assumptions = "the reference people are healthy, untrained on, and of the same scanners; ages outside theirs are flagged"
        found.append(tidy(f"bias correction '{method}'", len(chosen), assumptions, who=who, **about, **values))
    return found, bias if method != "none" else None


def _intervals(cohort: Cohort, frame, rows, reference, flags, store: Store | None) -> tuple[list[Row], object]:
    model = frame.loc[rows[0], "model"]
    fitted: ConformalIntervals = (
        store.get("intervals", model)
        if store
        else fit_intervals(reference["age"], reference["brain_age"], level=LEVEL, edges=_edges(reference["brain_age"]))
    )
    low, high = fitted.bounds(frame.loc[rows, "brain_age"].to_numpy(float))
    frame.loc[rows, "conformal_low"], frame.loc[rows, "conformal_high"] = low.round(3), high.round(3)
    if store:
        rows_of = coverage_rows(fitted, reference["age"], reference["brain_age"])
        rows_of += _by_true_age(fitted.bounds(reference["brain_age"]), reference, fitted.n, _AROUND)[1:]
        return [*labelled(rows_of, interval="conformal, of --fitted"), *_written(cohort.people(model))], fitted
    first, second = _halves(cohort, reference)

    def fit(people) -> ConformalIntervals:
        return fit_intervals(people["age"], people["brain_age"], level=LEVEL, edges=_edges(people["brain_age"]))

    try:
        found = [
            {**row, "note": f"{row['note']} {_HELD_OUT}".strip()} for row in coverage_rows(fit(first), second["age"], second["brain_age"])
        ]
        found += _exchanged(fit, first, second, _AROUND)[1:]
    except UnusableInput as error:
        found = [_unscored(first, second, str(error))]
    return [*labelled(found, interval="conformal, held out"), *_written(cohort.people(model))], fitted


_AROUND = "conformal intervals around the brain age"
_ACROSS = "conformal intervals across ages"
_ALIKE = "calibration and new people are alike (same scanners, same kind of people); one row a person"


def _exchanged(fit: Callable[[Any], Any], first, second, what: str) -> list[Row]:
    """Coverage by true age of two halves, each in the intervals of the other."""
    import pandas as pd

    bounds = [fit(one).bounds(other["brain_age"]) for one, other in ((first, second), (second, first))]
    people = pd.concat([second, first])
    rows = _by_true_age(np.concatenate(bounds, axis=1), people, min(len(first), len(second)), what)
    return [{**row, "note": "Each random half of the reference people scored by intervals calibrated on the other."} for row in rows]


def _by_true_age(bounds, people, n: int, what: str) -> list[Row]:
    method = f"coverage of {100 * LEVEL:g} % {what}; 95 % band of the beta-binomial"
    settings = {"level": LEVEL, "calibration_n": n, "edges": _edges(people["age"]), "method": method, "assumptions": _ALIKE}
    return held_rows(*bounds, people["age"], **settings)


def _across(cohort: Cohort, frame, rows, reference, flags, store: Store | None) -> tuple[list[Row], object]:
    """Intervals that hold at every true age: of every person, and how often they held the age of reference people."""
    model = frame.loc[rows[0], "model"]
    name = "across ages, of --fitted" if store else "across ages, held out"
    if store:
        fitted: AgeIntervals = store.get("across_ages", model)
    else:
        fitted = fit_age_intervals(reference["age"], reference["brain_age"], level=LEVEL, seed=cohort.seed)
    low, high = fitted.bounds(frame.loc[rows, "brain_age"])
    frame.loc[rows, "across_ages_low"], frame.loc[rows, "across_ages_high"] = low.round(3), high.round(3)
    for place, bound, predicted in zip(rows, low, frame.loc[rows, "brain_age"]):
        if np.isnan(bound) and np.isfinite(predicted):
            flags[place].append(NO_AGE)
    if store:
        return labelled(_by_true_age(fitted.bounds(reference["brain_age"]), reference, fitted.n, _ACROSS), interval=name), fitted
    first, second = _halves(cohort, reference)
    try:
        found = _exchanged(
            lambda people: fit_age_intervals(people["age"], people["brain_age"], level=LEVEL, seed=cohort.seed), first, second, _ACROSS
        )
    except UnusableInput as error:
        found = [_unscored(first, second, str(error))]
    return labelled(found, interval=name), fitted


def _halves(cohort: Cohort, reference):
    half = np.random.default_rng(cohort.seed).permutation(len(reference)) < len(reference) / 2
    return reference[half], reference[~half]


def _unscored(first, second, note: str) -> Row:
    values = dict.fromkeys(("covered", "coverage", "expected_low", "expected_high", "within_band", "width"))
    about = {"by": "all", "stratum": "all", "level": LEVEL, "calibration_n": len(first)}
    return tidy(_HELD_OUT, len(second), "", note=note, **about, **values)


def _written(people) -> list[Row]:
    """Coverage of the intervals that the model wrote, with the binomial band of its level."""
    rows = []
    known = people[people["brain_age_low"].notna() & people["brain_age_high"].notna() & people["interval_level"].notna()]
    for who, chosen in (("reference", known[known["reference"].astype(bool)]), ("all", known)):
        if chosen.empty:
            continue
        level, bounds = float(chosen["interval_level"].iloc[0]), chosen[["brain_age_low", "brain_age_high"]].to_numpy(float).T
        method = f"coverage of the {100 * level:g} % interval that the model wrote; 95 % band of the binomial"
        settings = {"level": level, "calibration_n": None, "edges": _edges(chosen["age"]), "method": method}
        found = held_rows(*bounds, chosen["age"], assumptions="independent people, one row each", **settings)
        rows += labelled(found, interval=f"the model's own, {who}")
    return rows


def coverage_warnings(results: list[Result]) -> list[str]:
    """A sentence for each kind of interval that holds fewer ages of reference people than chance allows: of all, and of some true ages."""
    rows = [row for result in results if result.name == "coverage" for row in result.rows if not row["interval"].endswith(", all")]
    rows = [row for row in rows if row["coverage"] is not None]
    kinds: dict[tuple[str, float], list[str]] = {}
    for row in rows:
        if row["stratum"] == "all" and row["coverage"] < row["expected_low"]:
            told = f"{row['model']} {100 * row['coverage']:.0f} % of {row['n']} people"
            kinds.setdefault((row["interval"], row["level"]), []).append(told)
    said = [
        f"Intervals ({interval}) hold the age of fewer people than the promised {100 * level:g} %: {', '.join(told)}; do not "
        "read them as such."
        for (interval, level), told in kinds.items()
    ]
    some_ages: dict[tuple[str, float], list[str]] = {}
    bins = Counter(row["interval"] for row in rows if row["by"] == "age")  # as many tests
    for row in rows:
        too_few = row["by"] == "age" and row["p_too_few"] * bins[row["interval"]] < ALPHA
        if too_few and (row["interval"], row["level"]) not in kinds:
            told = f"{row['model']} {100 * row['coverage']:.0f} % of {row['n']} people of {row['stratum']} years"
            some_ages.setdefault((row["interval"], row["level"]), []).append(told)
    return said + [
        f"Intervals ({interval}) hold too few people of some ages: {some(told)}, of the promised {100 * level:g} %"
        f"{'' if interval.startswith('across') else '; those across ages are made to hold at every age'}."
        for (interval, level), told in some_ages.items()
    ]


def _sites(cohort: Cohort, frame, rows, reference, flags, store: Store | None) -> tuple[list[Row], object]:
    site = columns_of(reference, ["site"])["site"]
    fitted: SiteOffsets
    if store:
        fitted = store.get("sites", frame.loc[rows[0], "model"])
    elif len({value for value in site if value is not None}) < 2:
        return [], None
    else:
        fitted = fit_site_offsets(reference["pad"], reference["age"], site, fewest=FEWEST_OF_SITE)
    gaps, codes = fitted.transform(frame.loc[rows, "pad"], columns_of(frame.loc[rows], ["site"])["site"])
    unseen = np.array([bool(code) for code in codes])
    frame.loc[rows, "pad_site_adjusted"] = np.where(unseen, np.nan, gaps).round(3)
    for place, code in zip(rows, codes):
        flags[place].extend(code)
    return fitted.rows(), fitted


def _edges(years) -> list[float]:
    years = years.to_numpy(float).clip(0, 130)
    low, high = np.floor(years.min() / 10) * 10, np.floor(years.max() / 10) * 10 + 10
    return np.arange(low, high + 1, 10).tolist()


def _slope(ages: np.ndarray, predictions: np.ndarray) -> float:
    return float(bias_slope(ages, predictions)) if len(ages) > 1 else float("nan")


def _sd(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else float("nan")
