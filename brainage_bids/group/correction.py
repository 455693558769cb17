"""Age bias, prediction intervals and offsets of sites: fitted on the reference people, written beside the raw gap."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from brainage_bids.cohort.age_bias import AgeBias, fit_age_bias
from brainage_bids.cohort.intervals import ConformalIntervals, coverage_rows, fit_intervals
from brainage_bids.cohort.sites import SiteOffsets, fit_site_offsets
from brainage_bids.group.cohort import Cohort, columns_of
from brainage_bids.group.fitted import Store, keep
from brainage_bids.group.own_columns import CORRECTION
from brainage_bids.group.results import Result, labelled, table
from brainage_bids.records import BadConfiguration, UnusableInput
from brainage_bids.stats.comparisons import shown
from brainage_bids.stats.metrics import bias_slope
from brainage_bids.stats.rows import Row, tidy

LEVEL = 0.95
FEWEST_OF_SITE = 5
_HELD_OUT = "interval calibrated on one random half of the reference people, scored on the other"


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
        for part, work in (("age bias", _bias), ("intervals", _intervals), ("sites", _sites)):
            try:
                found, fitted = work(cohort, frame, rows, reference, flags, store)
            except UnusableInput as error:
                lost.setdefault((part, str(error)), []).append(model)
                continue
            {"age bias": biases, "intervals": coverages, "sites": offsets}[part].extend(labelled(found, model=model))
            if out_dir is not None and fitted is not None and store is None:
                keep(out_dir, part.replace(" ", "_"), fitted, model)
    frame["correction_flags"] = [";".join(dict.fromkeys(codes)) or None for codes in flags]
    problems = [f"{part} of {', '.join(models)}: {said}" for (part, said), models in lost.items()]
    results = []
    if biases:
        results.append(table("age_bias", "Age bias before and after", _ABOUT_BIAS, biases))
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
    "How often intervals hold the age: those calibrated here (split conformal; scored on people who were not used), and those that the "
    "models wrote."
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
        else fit_intervals(reference["age"], reference["brain_age"], level=LEVEL, edges=_edges(reference))
    )
    low, high = fitted.bounds(frame.loc[rows, "brain_age"].to_numpy(float))
    frame.loc[rows, "conformal_low"], frame.loc[rows, "conformal_high"] = low.round(3), high.round(3)
    if store:
        scored = coverage_rows(fitted, reference["age"], reference["brain_age"])
        return [*labelled(scored, interval="conformal, of --fitted"), *_written(cohort.people(model))], fitted
    found = []
    half = np.random.default_rng(cohort.seed).permutation(len(reference)) < len(reference) / 2
    first, second = reference[half], reference[~half]
    try:
        trial = fit_intervals(first["age"], first["brain_age"], level=LEVEL, edges=_edges(first))
        for row in coverage_rows(trial, second["age"], second["brain_age"]):
            found.append({"interval": "conformal, held out", **row, "note": f"{row['note']} {_HELD_OUT.capitalize()}.".strip()})
    except UnusableInput as error:
        values = dict.fromkeys(("covered", "coverage", "expected_low", "expected_high", "within_band", "width"))
        about = {"by": "predicted", "stratum": "all", "level": LEVEL, "calibration_n": len(first)}
        found.append({"interval": "conformal, held out", **tidy(_HELD_OUT, len(second), "", note=str(error), **about, **values)})
    return [*found, *_written(cohort.people(model))], fitted


def _written(people) -> list[Row]:
    """Coverage of the intervals that the model wrote, with the binomial band of its level."""
    from scipy.stats import binom

    rows = []
    known = people[people["brain_age_low"].notna() & people["brain_age_high"].notna() & people["interval_level"].notna()]
    for who, chosen in (("reference", known[known["reference"].astype(bool)]), ("all", known)):
        if chosen.empty:
            continue
        level, n = float(chosen["interval_level"].iloc[0]), len(chosen)
        covered = int(((chosen["brain_age_low"] <= chosen["age"]) & (chosen["age"] <= chosen["brain_age_high"])).sum())
        low, high = binom.ppf([0.025, 0.975], n, level)
        values = {"covered": covered, "coverage": covered / n, "expected_low": low / n, "expected_high": high / n}
        values |= {"within_band": bool(low <= covered <= high), "width": float((chosen["brain_age_high"] - chosen["brain_age_low"]).mean())}
        method = f"coverage of the {100 * level:g} % interval that the model wrote; 95 % band of the binomial"
        about = {"interval": f"the model's own, {who}", "by": "all", "stratum": "all", "level": level, "calibration_n": None}
        rows.append(tidy(method, n, "independent people, one row each", **about, **values))
    return rows


def coverage_warnings(results: list[Result]) -> list[str]:
    """A sentence for each kind of interval that holds fewer ages of reference people than chance allows, and of which models."""
    rows = [row for result in results if result.name == "coverage" for row in result.rows if not row["interval"].endswith(", all")]
    rows = [row for row in rows if row["stratum"] == "all" and row["coverage"] is not None and row["coverage"] < row["expected_low"]]
    kinds: dict[tuple[str, float], list[str]] = {}
    for row in rows:
        told = f"{row['model']} {100 * row['coverage']:.0f} % of {row['n']} people"
        kinds.setdefault((row["interval"], row["level"]), []).append(told)
    return [
        f"Intervals ({interval}) hold the age of fewer people than the promised {100 * level:g} %: {', '.join(said)}; do not "
        "read them as such."
        for (interval, level), said in kinds.items()
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


def _edges(people) -> list[float]:
    predicted = people["brain_age"].to_numpy(float).clip(0, 130)
    low, high = np.floor(predicted.min() / 10) * 10, np.floor(predicted.max() / 10) * 10 + 10
    return np.arange(low, high + 1, 10).tolist()


def _slope(ages: np.ndarray, predictions: np.ndarray) -> float:
    return float(bias_slope(ages, predictions)) if len(ages) > 1 else float("nan")


def _sd(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else float("nan")
