"""ComBat between sites, fitted on the reference people: of the gap, of regional volumes; a site it has not seen is left empty."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from brainage_bids.cohort.harmonise import IMPUTED, Harmonisation, fit_harmonisation
from brainage_bids.group.adjust import taken
from brainage_bids.group.cohort import Cohort, columns_of
from brainage_bids.group.collect import some
from brainage_bids.group.fitted import Store, keep
from brainage_bids.group.own_columns import HARMONISED
from brainage_bids.group.results import Result, labelled, table
from brainage_bids.records import UnusableInput
from brainage_bids.stats.anova import analysis_of_variance
from brainage_bids.stats.rows import Row, tidy

if TYPE_CHECKING:
    import pandas as pd

FEWEST_OF_SITE = 5
_ABOUT = (
    "ComBat between sites, fitted on the reference people with age and sex kept (see 'assumptions'): what is taken off each site, and how "
    "much the sites differ at equal age before and after, in the people it was fitted on and in all. Sites without reference people stay "
    "empty."
)


def harmonised(cohort: Cohort, out_dir: Path | None = None, store: Store | None = None) -> tuple[Cohort, list[Result], list[str]]:
    """The cohort with ``pad_harmonised`` and with harmonised volumes, as ``--harmonise`` says; what was done; what could not be.

    Volumes are harmonised in the table that the steps read; ``group_brainage.tsv`` keeps them as they were measured.
    """
    asked = cohort.settings.harmonise
    frame = cohort.table.copy()
    rows: list[Row] = []
    problems: list[str] = []
    lost: dict[str, list[str]] = {}
    results: list[Result] = []
    if asked in ("gap", "both"):
        frame[HARMONISED] = np.nan
        for model in cohort.models:
            chosen = frame.index[frame["model"] == model]
            try:
                found, values, flags = _one(cohort, frame.loc[chosen], ("pad",), "combat_gap", model, out_dir, store)
            except UnusableInput as error:
                lost.setdefault(str(error), []).append(model)
                continue
            frame.loc[chosen, HARMONISED] = values["pad"].round(3)
            for place in chosen[[IMPUTED in codes for codes in flags]]:
                told = frame.at[place, "correction_flags"] if "correction_flags" in frame else None
                frame.loc[place, "correction_flags"] = f"{told};{IMPUTED}" if isinstance(told, str) else IMPUTED
            rows += labelled(found, model=model)
    if asked in ("regions", "both"):
        try:
            found, frame, result = _volumes(cohort, frame, out_dir, store)
            rows += found
            results.append(result)
        except UnusableInput as error:
            problems.append(f"regions: {error}")
    problems += [f"gap of {', '.join(models)}: {said}" for said, models in lost.items()]
    if rows:
        results.insert(0, table("harmonisation", "Harmonisation between sites", _ABOUT, rows))
    return replace(cohort, table=frame), results, problems


def _volumes(cohort: Cohort, frame: pd.DataFrame, out_dir: Path | None, store: Store | None) -> tuple[list[Row], pd.DataFrame, Result]:
    keys = ["participant_id", "session_id"]
    visits = frame.drop_duplicates(keys)
    reference = visits[visits["reference"].astype(bool)]
    names = store.get("combat_regions").columns if store else _varying(reference, cohort.regions)
    found, values, flags = _one(cohort, visits, names, "combat_regions", "", out_dir, store)
    new = {name: values[name].round(1) for name in names}
    told = [{key: value for key, value in zip(keys, visit)} for visit in zip(*columns_of(visits, keys).values())]
    lists = columns_of(visits.assign(**new), names)
    rows = [
        {**visit, **{name: lists[name][place] for name in names}, "flags": ";".join(flags[place]) or None}
        for place, visit in enumerate(told)
    ]
    place_of = {(visit["participant_id"], visit["session_id"]): place for place, visit in enumerate(told)}
    places = [place_of[visit] for visit in zip(*columns_of(frame, keys).values())]
    frame = frame.assign(**{name: new[name][places] for name in names})
    cohort.warnings.append(
        f"{len(names)} regional volumes are harmonised between sites (ComBat) in every table that uses volumes; regions_harmonised.tsv has "
        "them, group_brainage.tsv the measured ones."
    )
    about = "Regional volumes after ComBat, one row a visit; n/a at sites without reference people."
    return found, frame, table("regions_harmonised", "Harmonised volumes", about, rows)


def _one(
    cohort: Cohort, frame: pd.DataFrame, names: tuple[str, ...], part: str, model: str, out_dir: Path | None, store: Store | None
) -> tuple[list[Row], dict[str, np.ndarray], list[tuple[str, ...]]]:
    """Fit (or take) and apply; rows of what was done, harmonised columns, flags."""
    people = frame.drop_duplicates("participant_id")
    reference = people[people["reference"].astype(bool)]
    columns = columns_of(frame, [*names, "age", "sex", "site"])
    if store:
        fitted: Harmonisation = store.get(part, model)
    else:
        chosen = _sites(columns_of(reference, ["site"])["site"])
        known = reference[reference["site"].isin(chosen)]
        covariates = tuple(name for name in ("age", "sex") if known[name].nunique() > 1 and _taken(known, name))
        fitted = fit_harmonisation(columns_of(known, [*names, *covariates]), list(known["site"]), names, covariates)
        if out_dir is not None:
            keep(out_dir, part, fitted, model)
    values, flags = fitted.transform(columns, columns["site"], unseen="flag")
    unseen = sorted({str(site) for site in columns["site"] if site not in fitted.sites})
    if unseen:
        cohort.warnings.append(
            f"The harmonisation has seen too few reference people of {', '.join(unseen[:5])}; what lies there is left empty, not passed on."
        )
    said = _assumptions(people, names, fitted, applied=bool(store))
    return _rows(frame, people.index, names, values, fitted, said), values, flags


def _assumptions(people: pd.DataFrame, names: tuple[str, ...], fitted: Harmonisation, *, applied: bool) -> str:
    """What is kept and assumed, and by name what became of people who lack something."""
    kept = " and ".join(fitted.covariates) or "nothing"
    said = f"reference people of the sites are alike but for {kept}, whose effects are kept"
    if "sex" not in fitted.covariates:
        return f"{said}; sex is not among them, as it is one, or more than half of a site lack it"
    here = people["site"].isin(fitted.sites)
    lacking = people.loc[here & people["sex"].isna(), "participant_id"].tolist()
    if lacking:
        becomes = "the mean sex of the fit stands in for theirs" if fitted.covariate_mean else "left empty"
        said += f"; {some(lacking)} without sex: {'' if applied else 'left out of the fit, '}{becomes}"
    without = people.loc[here & people["reference"].astype(bool) & people[list(names)].isna().any(axis=1), "participant_id"].tolist()
    return said + (f"; {some(without)} without a value of every column: left out of the fit" if without and not applied else "")


def _taken(known: pd.DataFrame, name: str) -> bool:
    """Whether half of the reference people of every site have a column."""
    return all(taken(columns_of(people, [name])[name]) for _, people in known.groupby("site"))


def _sites(sites: list[Any]) -> list[str]:
    counts = Counter(site for site in sites if site is not None)
    enough = [site for site, count in counts.items() if count >= FEWEST_OF_SITE]
    if len(enough) < 2:
        said = ", ".join(f"{site} {count}" for site, count in sorted(counts.items())) or "none"
        raise UnusableInput(f"ComBat needs two sites with {FEWEST_OF_SITE} reference people each; there are: {said}.")
    return enough


def _varying(reference: pd.DataFrame, names: tuple[str, ...]) -> tuple[str, ...]:
    sites = _sites(list(reference["site"]))
    known = reference[reference["site"].isin(sites)]
    kept = tuple(name for name in names if _taken(known, name) and (known.groupby("site")[name].nunique() > 1).all())
    if not kept:
        raise UnusableInput("No volume of a region is known of half of the reference people of every site and varies there.")
    return kept


def _rows(
    frame: pd.DataFrame, people, names: tuple[str, ...], values: dict[str, np.ndarray], fitted: Harmonisation, said: str
) -> list[Row]:
    rows = []
    after = frame.assign(**values).loc[people]
    before = frame.loc[people]
    for place, name in enumerate(fitted.columns):
        for number, site in enumerate(fitted.sites):
            shift = {"offset": fitted.shifts[number][place] * fitted.scale[place], "spread": fitted.spreads[number][place]}
            about = {"column": name, "part": "site", "site": site}
            rows.append(tidy("ComBat (neuroHarmonize)", fitted.counts[number], said, **about, **shift))
        if name not in names:
            continue
        for who, chosen in (("reference", before["reference"].astype(bool)), ("all", before["reference"].notna())):
            for when, source in (("before", before[chosen]), ("after", after[chosen])):
                rows.append({**_differ(source, name), "column": name, "part": "test", "who": who, "when": when})
    return rows


def _differ(source: pd.DataFrame, name: str) -> Row:
    source = source[source[name].notna()]
    columns = columns_of(source, [name, "age", "site"])
    found = analysis_of_variance(columns[name], columns["site"], {"age": columns["age"]}, variable=name)[0]
    kept = {key: found.get(key) for key in ("f", "df", "df_residual", "p", "eta2")}
    note = "Fitted and tested on the same people where these are the reference." if not found["note"] else found["note"]
    return tidy("ANCOVA of sites with age", found["n"], found["assumptions"], note=note, **kept)
